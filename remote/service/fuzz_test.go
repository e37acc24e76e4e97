package service

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzFilePart reads any form with any content type. Whatever comes, it ends,
// and a name that it gives is no path.
func FuzzFilePart(f *testing.F) {
	form := "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jpg\"\r\n\r\ncontent\r\n--X--\r\n"
	for _, seed := range [][2]string{
		{"multipart/form-data; boundary=X", form},
		{"multipart/form-data; boundary=Y; boundary=X", form},
		{`Multipart/Form-Data; boundary="X"`, form},
		{"multipart/form-data", form},
		{"multipart/form-data; boundary=X", strings.ReplaceAll(form, "a.jpg", `C:\Users\фото.jpg`)},
		{"multipart/form-data; boundary=X", strings.ReplaceAll(form, "a.jpg", "../../etc/passwd")},
		{"multipart/form-data; boundary=X", form[:40]},
		{"multipart/form-data; boundary=X", "--X\r\n\r\nno name\r\n" + form},
		{"application/x-www-form-urlencoded", "file=content"},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/org/app/chatfiles", bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		part, name, failed := filePart(r)
		if failed != nil {
			if failed.status < 400 || failed.code == "" {
				t.Errorf("failure %d %q", failed.status, failed.code)
			}
			return
		}
		if name == "" || strings.ContainsAny(name, `/\`) {
			t.Errorf("name %q is a path", name)
		}
		if n, _ := io.Copy(io.Discard, part); n > int64(len(body)) {
			t.Errorf("%d bytes of a body of %d", n, len(body))
		}
	})
}
