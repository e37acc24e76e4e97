package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"
)

// An exchange is one request and its answer. It ends when no byte moves for
// Config.ProgressTimeout.
type exchange struct {
	client *Client
	caller context.Context // whose end is no failure of the service
	ctx    context.Context // the request's
	cancel context.CancelCauseFunc
	req    *http.Request // as it was made, before any redirect
	resp   *http.Response
}

// begin sends a request and answers with the beginning of the response,
// whatever its status. Who gets the exchange ends or closes it.
func (c *Client) begin(caller context.Context, make func(context.Context) (*http.Request, error)) (*exchange, error) {
	x := &exchange{client: c, caller: caller}
	x.ctx, x.cancel = context.WithCancelCause(caller)
	var err error
	if x.req, err = make(x.ctx); err != nil {
		x.cancel(nil)
		return nil, err
	}
	if x.req.Body != nil {
		x.watchRequest()
	}
	x.req.Header.Set("User-Agent", "chatfs/"+c.Version)
	if x.resp, err = c.http.Do(x.req); err != nil {
		defer x.cancel(nil)
		return nil, x.broken(err)
	}
	x.resp.Body = x.watch(x.resp.Body, false)
	return x, nil
}

// close gives the rest of the answer up.
func (x *exchange) close() error {
	err := x.resp.Body.Close()
	x.cancel(nil)
	return err
}

// end reads the rest of the answer, within a bound, so that its connection
// can be used again.
func (x *exchange) end() {
	io.Copy(io.Discard, io.LimitReader(x.resp.Body, 256<<10))
	x.close()
}

// decode reads a success's JSON, within a bound, and ends the exchange.
func (x *exchange) decode(v any) error {
	defer x.end()
	body, err := io.ReadAll(io.LimitReader(x.resp.Body, maxEnvelope))
	if err != nil {
		return x.broken(err)
	}
	if json.Unmarshal(body, v) != nil {
		return x.malformed("an answer of %d bytes is not the JSON expected", len(body))
	}
	return nil
}

// failure reads a response that is no success.
func (x *exchange) failure() *Error {
	body, _ := io.ReadAll(io.LimitReader(x.resp.Body, maxEnvelope))
	env := parseEnvelope(body)
	return &Error{Kind: kindOf(x.resp.StatusCode, env.Error), Status: x.resp.StatusCode, Code: clean(x.redact(env.Error)),
		Description: clean(x.redact(env.Description)), Method: x.req.Method, Path: x.req.URL.Path}
}

// malformed is a success whose answer makes no sense.
func (x *exchange) malformed(format string, args ...any) error {
	return &Error{Kind: ErrMalformed, Status: x.resp.StatusCode, Method: x.req.Method, Path: x.req.URL.Path, Err: fmt.Errorf(format, args...)}
}

// broken is a request that got no whole answer. The caller's own end of it
// is passed on as it is; nothing else of err's chain is, since a context's
// end in it is not the caller's, and an address in it may be a signed one.
func (x *exchange) broken(err error) error {
	if x.caller.Err() != nil {
		return x.caller.Err()
	}
	if cause := context.Cause(x.ctx); cause != nil {
		err = cause
	}
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	return &Error{Kind: ErrUnavailable, Method: x.req.Method, Path: x.req.URL.Path, Err: errors.New(clean(x.redact(err.Error())))}
}

// redact takes the client's secrets, and the request's, out of a text that
// others wrote: whole or in pieces, as they are or as others write them.
func (x *exchange) redact(s string) string {
	c := x.client
	s = s[:min(len(s), maxSearched)]
	token := strings.TrimPrefix(x.req.Header.Get("Authorization"), "Bearer ")
	for _, secret := range []string{c.ClientSecret.Reveal(), c.Password.Reveal(), token, x.req.Header.Get("share-secret")} {
		s = hide(s, secret)
	}
	return s
}

// watchRequest ends the exchange when the request's body makes no progress.
// net/http sends a body that it knows to be in memory together with the head,
// so such a one stays as it is: its clock runs from the connection on until
// all is written.
func (x *exchange) watchRequest() {
	if x.req.GetBody == nil {
		x.req.Body = x.watch(x.req.Body, true)
		return
	}
	x.req.GetBody = nil // no redirect takes it along
	patience := x.client.ProgressTimeout
	timer := x.clock()
	x.req = x.req.WithContext(httptrace.WithClientTrace(x.ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { timer.Reset(patience) },
		WroteRequest: func(httptrace.WroteRequestInfo) { timer.Stop() },
	}))
}

// clock ends the exchange when it runs out; it stands still at first.
func (x *exchange) clock() *time.Timer {
	timer := time.AfterFunc(x.client.ProgressTimeout, func() { x.cancel(errStalled) })
	timer.Stop()
	return timer
}

// watch ends the exchange when body makes no progress. Of an upload, the
// clock runs between the transport's Reads, as it asks for more when what it
// had is on its way; of an answer it runs during a Read alone, for its
// reader's own slowness does not count.
func (x *exchange) watch(body io.ReadCloser, between bool) io.ReadCloser {
	return &watched{body, x.client.ProgressTimeout, x.clock(), between}
}

var errStalled = errors.New("no byte moved for too long")

type watched struct {
	io.ReadCloser
	patience time.Duration
	timer    *time.Timer
	between  bool
}

// Read starts the clock anew.
func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.patience)
	n, err := w.ReadCloser.Read(p)
	if !w.between || err != nil {
		w.timer.Stop()
	}
	return n, err
}

// Close stops the clock.
func (w *watched) Close() error {
	w.timer.Stop()
	return w.ReadCloser.Close()
}
