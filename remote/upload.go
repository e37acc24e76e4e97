package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

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
func (c *Client) Upload(ctx context.Context, u UploadRequest) (entity.Entity, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // with it end the contexts of its requests
	var e entity.Entity
	err := c.do(ctx, call{c.up, func(ctx context.Context) (*http.Request, error) { return c.uploadRequest(ctx, u) }},
		func(resp *http.Response) (err error) {
			e, err = c.parseUpload(resp)
			return err
		})
	e.Size = u.Size
	return e, err
}

// uploadRequest streams the content between the form's head and tail, whose
// lengths are known, so that the request has a Content-Length.
func (c *Client) uploadRequest(ctx context.Context, u UploadRequest) (*http.Request, error) {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if _, err := w.CreateFormFile("file", formName(u.Name)); err != nil {
		return nil, err
	}
	head := bytes.Clone(form.Bytes())
	if err := w.Close(); err != nil {
		return nil, err
	}
	tail := form.Bytes()[len(head):]
	content, err := u.Open()
	if err != nil {
		return nil, fmt.Errorf("upload: %w", err)
	}
	ctx, body := watched(ctx, c.ProgressTimeout, struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), io.LimitReader(content, u.Size), bytes.NewReader(tail)), content})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address("chatfiles"), body)
	if err != nil {
		body.Close()
		return nil, err
	}
	req.ContentLength = int64(len(head)) + u.Size + int64(len(tail))
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("Accept", "application/json")
	if u.Restricted {
		// Nothing is sent otherwise: older services take any value for true.
		req.Header.Set("restrict-access", "true")
	}
	return req, nil
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
func (c *Client) parseUpload(resp *http.Response) (entity.Entity, error) {
	defer drain(resp.Body)
	var answer struct {
		Entities []struct {
			UUID   entity.UUID `json:"uuid"`
			Secret string      `json:"share-secret"`
		} `json:"entities"`
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxEnvelope))
	if err != nil {
		return entity.Entity{}, c.broken(resp.Request.Context(), resp.Request, err)
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Entities) == 0 || answer.Entities[0].UUID.IsZero() {
		return entity.Entity{}, &Error{Kind: ErrMalformed, Status: resp.StatusCode, Method: resp.Request.Method,
			Path: resp.Request.URL.Path, Err: fmt.Errorf("no entity in an answer of %d bytes", len(body))}
	}
	first := answer.Entities[0]
	return entity.Entity{UUID: first.UUID, Secret: entity.NewSecret(first.Secret)}, nil
}

// watched cancels a request whose body makes no progress for d. Progress is
// a Read: of an upload's body by the transport, of a download's by its user,
// whose own slowness does not count.
func watched(ctx context.Context, d time.Duration, body io.ReadCloser) (context.Context, *watchedBody) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchedBody{body: body, patience: d, cancel: cancel}
	w.timer = time.AfterFunc(d, func() { cancel(errStalled) })
	return ctx, w
}

var errStalled = fmt.Errorf("no byte moved for too long: %w", ErrUnavailable)

type watchedBody struct {
	body     io.ReadCloser
	patience time.Duration
	cancel   context.CancelCauseFunc
	once     sync.Once
	timer    *time.Timer
}

// Read restarts the clock: the transport asks for more as soon as what it had
// is on its way.
func (w *watchedBody) Read(p []byte) (int, error) {
	w.timer.Reset(w.patience)
	n, err := w.body.Read(p)
	if err == io.EOF {
		w.timer.Stop() // the answer has a patience of its own
	}
	return n, err
}

// Close stops the clock.
func (w *watchedBody) Close() (err error) {
	w.once.Do(func() {
		w.timer.Stop()
		err = w.body.Close()
	})
	return err
}
