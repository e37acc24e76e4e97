package service

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"strings"
)

// bodyBuffer is read from the connection at once, in bytes: multipart asks for
// 4 KiB at a time.
const bodyBuffer = 64 << 10

// Bounds of a form besides its file.
const (
	maxParts = 32       // before and after the file
	maxPart  = 64 << 10 // bytes of a part's head, and of a field
)

// A form is a multipart body that is read part by part: fields, the file, and
// again fields, as web clients send them.
type form struct {
	reader *multipart.Reader
	body   *budget
	parts  int
	fields map[string]string
}

func newForm(r *http.Request) (*form, *failure) {
	boundary := boundaryOf(r.Header.Get("Content-Type"))
	if boundary == "" {
		return nil, fail(http.StatusUnsupportedMediaType, "web_application", "the body is no multipart/form-data")
	}
	size := bodyBuffer
	if n := r.ContentLength; n > 0 && n < bodyBuffer {
		size = int(n)
	}
	body := &budget{r: r.Body}
	return &form{reader: multipart.NewReader(bufio.NewReaderSize(body, size), boundary), body: body, fields: make(map[string]string)}, nil
}

// file finds the part named file, with its file's base name, and lets it have
// limit bytes.
func (f *form) file(limit int64) (io.Reader, string, *failure) {
	for {
		part, params, failed := f.next()
		switch {
		case failed != nil:
			return nil, "", failed
		case part == nil:
			return nil, "", errNoFile
		case params["name"] == "file":
			f.body.allow(limit + maxPart)
			return part, baseName(params["filename"]), nil
		}
		if failed := f.field(part, params); failed != nil {
			return nil, "", failed
		}
	}
}

// rest reads what comes after the file. A form that is cut off behind the file
// was not meant to be whole.
func (f *form) rest() *failure {
	for {
		part, params, failed := f.next()
		if part == nil || failed != nil {
			return failed
		}
		if failed := f.field(part, params); failed != nil {
			return failed
		}
	}
}

// next answers the next part, or nil at the form's end.
func (f *form) next() (*multipart.Part, map[string]string, *failure) {
	if f.parts++; f.parts > maxParts {
		return nil, nil, fail(http.StatusBadRequest, "illegal_argument", "the form has too many parts")
	}
	f.body.allow(maxPart)
	part, err := f.reader.NextRawPart()
	switch {
	case err == io.EOF && f.parts > 1: // the closing boundary; one that is wrapped is a cut
		return nil, nil, nil
	case err != nil && f.parts == 1:
		return nil, nil, errNoFile
	case err != nil:
		return nil, nil, errCut
	}
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		params = looseParams(part.Header.Get("Content-Disposition"))
	}
	return part, params, nil
}

func (f *form) field(part io.Reader, params map[string]string) *failure {
	f.body.allow(maxPart)
	b, err := io.ReadAll(io.LimitReader(part, maxPart+1))
	if err != nil || len(b) > maxPart {
		return errCut
	}
	f.fields[params["name"]] = string(b)
	return nil
}

// A budget bounds how much of a body is read for a part's head or content;
// bodyBuffer is read ahead.
type budget struct {
	r    io.Reader
	left int64
}

var errBudget = errors.New("a part is too large")

func (b *budget) allow(n int64) { b.left = n + bodyBuffer }

// Read fails where more is asked for than is allowed.
func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errBudget
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// boundaryOf reads the boundary of a multipart content type. Where there are
// two, as curl sends with a header of its own, the last is the real one; Go's
// parser refuses that.
func boundaryOf(contentType string) string {
	kind, rest, _ := strings.Cut(contentType, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "multipart/form-data") {
		return ""
	}
	boundary := ""
	for _, param := range strings.Split(rest, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(name, "boundary") {
			boundary = strings.Trim(value, `"`)
		}
	}
	if len(boundary) > 70 { // RFC 2046, 5.1.1
		return ""
	}
	return boundary
}

// looseParams reads a Content-Disposition that mime does not: raw UTF-8,
// backslashes of Windows paths.
func looseParams(disposition string) map[string]string {
	params := make(map[string]string)
	for _, param := range strings.Split(disposition, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(param), "=")
		if ok {
			params[strings.ToLower(name)] = strings.Trim(value, `"`)
		}
	}
	return params
}

// baseName is a file name's last part, of either system's paths.
func baseName(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	if name == "." || name == "/" {
		return "file"
	}
	return name
}
