package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"chatfs/internal/entity"
)

// A Body is a content as it arrives. A body that is cut, or stalls, ends in a
// temporary error, never in io.EOF.
type Body struct {
	Length int64 // bytes; -1 where the service does not tell

	x *exchange
	n int64 // bytes read

	waited time.Duration // for the service, since the rate was looked at
	came   int64         // bytes, in that time
}

// Download asks for an entity's content, or its thumbnail. It returns with
// the beginning of the answer; the caller closes the body. Beginning the
// answer is repeated as other requests are, the body is not. An encoded answer
// is ErrMalformed.
func (c *Client) Download(ctx context.Context, u entity.UUID, secret entity.Secret, thumb bool) (*Body, error) {
	var b *Body
	priority := Reads
	if thumb {
		priority = Thumbnails
	}
	err := c.do(ctx, call{down, priorityOf(ctx, priority),
		func(ctx context.Context) (*http.Request, error) { return c.downloadRequest(ctx, u, secret, thumb) },
		func(x *exchange) error {
			b = &Body{Length: x.resp.ContentLength, x: x}
			return nil
		}})
	if err == nil {
		err = b.plain()
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// plain refuses an answer that is encoded: nobody asked for that, and its bytes
// are not the content's. It ends the download then.
func (b *Body) plain() error {
	encoding := strings.Join(b.x.resp.Header.Values("Content-Encoding"), ", ")
	if encoding == "" || strings.EqualFold(encoding, "identity") {
		return nil
	}
	b.Close()
	return b.x.malformed("its Content-Encoding is %s", clean(b.x.redact(encoding)))
}

func (c *Client) downloadRequest(ctx context.Context, u entity.UUID, secret entity.Secret, thumb bool) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL(u), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/octet-stream")
	req.Header.Set("Accept-Encoding", "identity")
	if !secret.IsZero() {
		req.Header.Set("share-secret", secret.Reveal())
	}
	if thumb {
		setThumbnail(req)
	}
	return req, nil
}

// Read gives what has arrived. Only waiting for the service counts as a
// stall, not the time between two Reads. One that comes more slowly than
// Config.MinRate is as good as stalled: another connection may do better.
func (b *Body) Read(p []byte) (int, error) {
	began := time.Now()
	n, err := b.x.resp.Body.Read(p)
	b.n += int64(n)
	switch {
	case err == nil && b.drips(int64(n), time.Since(began)):
		err = fmt.Errorf("less than %d bytes a second come", b.x.client.MinRate)
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && (b.Length < 0 || b.n == b.Length):
		return n, io.EOF
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("%d of %d bytes came", b.n, b.Length)
	}
	return n, b.x.broken(err)
}

// drips counts n bytes that were waited for, and tells whether too few come.
func (b *Body) drips(n int64, waited time.Duration) bool {
	b.came, b.waited = b.came+n, b.waited+waited
	if b.waited < b.x.client.ProgressTimeout {
		return false
	}
	slow := float64(b.came) < float64(b.x.client.MinRate)*b.waited.Seconds()
	b.came, b.waited = 0, 0
	return slow
}

// Close ends the download.
func (b *Body) Close() error { return b.x.close() }
