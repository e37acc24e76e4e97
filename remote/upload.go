package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"

	"chatfs/internal/entity"
)

// An UploadRequest is a content to upload.
type UploadRequest struct {
	Name string // its base name is told to the service
	Size int64  // bytes
	// Open gives the content from its start; it is called again for each
	// repeated request.
	Open       func() (io.ReadCloser, error)
	Restricted bool // a download shall need the share-secret
}

// Upload makes an entity of a content. A repeated request may leave an entity
// at the service that nobody knows; it expires there.
func (c *Client) Upload(ctx context.Context, u UploadRequest) (e entity.Entity, err error) {
	err = c.do(ctx, call{up, priorityOf(ctx, Uploads),
		func(ctx context.Context) (*http.Request, error) { return c.uploadRequest(ctx, u) },
		func(x *exchange) (err error) {
			e, err = parseUpload(x)
			return err
		}})
	if err == nil && u.Restricted && !e.Restricted() {
		c.Log.Warnf("the service restricts no access to %s: its address alone leads to it", e.UUID)
	}
	e.Size = u.Size
	return e, err
}

// inMemory is up to what size, in bytes, a content is sent as one piece with
// its form and header: that is one packet's work for either side where streams
// are several.
const inMemory = 64 << 10

// uploadRequest makes the form, whose length is known beforehand. The file's part
// bears the content's own type, as all real clients send it: the service may
// make thumbnails by it. A content of
// more than inMemory streams between the form's head and tail.
func (c *Client) uploadRequest(ctx context.Context, u UploadRequest) (*http.Request, error) {
	content, err := u.Open()
	if err != nil {
		return nil, fmt.Errorf("upload: %w", err)
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	begin, err := beginning(content, u.Size)
	part, failed := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {multipart.FileContentDisposition("file", formName(u.Name))},
		"Content-Type": {mimetype.Detect(begin).String()}})
	if err = errors.Join(err, failed); err == nil {
		_, err = part.Write(begin)
	}
	if err == nil && u.Size <= inMemory {
		_, err = io.CopyN(part, content, u.Size-int64(len(begin)))
	}
	head := form.Len()
	if err = errors.Join(err, w.Close()); err != nil {
		content.Close()
		return nil, fmt.Errorf("upload: %w", err)
	}
	var body io.Reader = &form
	length := int64(form.Len())
	if u.Size <= inMemory {
		content.Close()
	} else {
		left := u.Size - int64(len(begin))
		body = &stream{io.MultiReader(bytes.NewReader(form.Next(head)), io.LimitReader(content, left), &form), content}
		length += left
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address("chatfiles"), body)
	if err != nil {
		content.Close()
		return nil, err
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("Accept", "application/json")
	if u.Restricted {
		// Nothing is sent otherwise: older services take any value for true.
		req.Header.Set("restrict-access", "true")
	}
	return req, nil
}

// sniffed is what of a content tells its type, in bytes.
const sniffed = 3 << 10

// beginning reads as much of a content of size bytes.
func beginning(content io.Reader, size int64) ([]byte, error) {
	b := make([]byte, min(size, sniffed))
	_, err := io.ReadFull(content, b)
	return b, err
}

// A stream is a form whose content is read while it is sent.
type stream struct {
	io.Reader
	io.Closer
}

// formName is the file name that the service is told: of no control characters
// and of valid UTF-8, as parsers of forms refuse others. No name comes back.
func formName(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '_'
		}
		return r
	}, path.Base(name))
}

// parseUpload reads the answer. A share-secret may be absent, null or empty:
// then the entity is not restricted, whatever was asked for.
func parseUpload(x *exchange) (entity.Entity, error) {
	var answer struct {
		Entities []struct {
			UUID   entity.UUID `json:"uuid"`
			Secret string      `json:"share-secret"`
		} `json:"entities"`
	}
	if err := x.decode(&answer); err != nil {
		return entity.Entity{}, err
	}
	if len(answer.Entities) == 0 || answer.Entities[0].UUID.IsZero() {
		return entity.Entity{}, x.malformed("no entity in the answer")
	}
	first := answer.Entities[0]
	return entity.Entity{UUID: first.UUID, Secret: entity.NewSecret(first.Secret)}, nil
}
