package service

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"strings"
	"testing"
)

// FuzzMultipart has any form give a file within the limit, or a failure of the
// table, and never read more than the bounds allow.
func FuzzMultipart(f *testing.F) {
	const file = "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jpg\"\r\n\r\nhello\r\n"
	for _, body := range []string{file + "--X--\r\n", file, file + "--X\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\nv\r\n--X--", "--X--", "",
		strings.Replace(file, "a.jpg", `C:\a"b.jpg`, 1) + "--X--", "--X\r\n\r\n\r\n" + file + "--X--", "junk\r\n" + file + "--X--\r\njunk"} {
		f.Add("multipart/form-data; boundary=X", []byte(body))
	}
	f.Add(`multipart/form-data; boundary=Y; Boundary="X"`, []byte(file+"--X--"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		const limit = 1000
		r := &http.Request{Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(bytes.NewReader(body))}
		form, failed := newForm(r)
		if failed != nil {
			return
		}
		content, name, failed := form.file(limit)
		if failed != nil {
			if failed.status != 400 {
				t.Errorf("%v", failed)
			}
			return
		}
		if name == "" || strings.ContainsAny(name, `/\`) {
			t.Errorf("name %q", name)
		}
		n, err := io.Copy(io.Discard, io.LimitReader(content, limit+1))
		if failed = form.rest(); err == nil && failed == nil && n > int64(len(body)) {
			t.Errorf("%d bytes of %d", n, len(body))
		}
		if _, params, perr := mime.ParseMediaType(contentType); perr == nil && boundaryOf(contentType) != params["boundary"] && !strings.Contains(contentType, "*") &&
			!strings.ContainsAny(contentType, "\\\"") {
			t.Errorf("boundary %q of %q, want %q", boundaryOf(contentType), contentType, params["boundary"])
		}
	})
}
