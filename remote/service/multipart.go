package service

import (
	"bufio"
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

// maxParts bounds a form's parts before its file.
const maxParts = 32

// filePart finds the part named file, with its file's base name. Other parts
// may stand before it.
func filePart(r *http.Request) (io.Reader, string, *failure) {
	boundary := boundaryOf(r.Header.Get("Content-Type"))
	if boundary == "" {
		return nil, "", fail(http.StatusUnsupportedMediaType, "web_application", "the body is no multipart/form-data")
	}
	form := multipart.NewReader(bufio.NewReaderSize(r.Body, bodyBuffer), boundary)
	for range maxParts {
		p, err := form.NextRawPart()
		if err != nil {
			return nil, "", errNoFile
		}
		_, params, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
		if err != nil {
			params = looseParams(p.Header.Get("Content-Disposition"))
		}
		if params["name"] == "file" {
			return p, baseName(params["filename"]), nil
		}
	}
	return nil, "", fail(http.StatusBadRequest, "illegal_argument", "too many parts before the file")
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
