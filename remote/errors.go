package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// The kinds of failure, for errors.Is.
var (
	ErrBadBase      = errors.New("not a service's address, https://HOST/ORG/APP")
	ErrUnauthorized = errors.New("the service does not accept the credentials")
	ErrForbidden    = errors.New("the service refuses this")
	ErrNotFound     = errors.New("the service does not know this")
	ErrExpired      = errors.New("the service has forgotten the file")
	ErrTooLarge     = errors.New("the file is larger than the service takes")
	ErrThrottled    = errors.New("the service asks to slow down")
	ErrPlanLimit    = errors.New("the plan's limit is reached")
	ErrRejected     = errors.New("the service rejects the request")
	ErrUnavailable  = errors.New("the service cannot be reached")
	ErrMalformed    = errors.New("the service's answer makes no sense")
)

// An Error is a request that failed. It holds no token or secret.
type Error struct {
	Kind        error  // one of the kinds above
	Status      int    // of HTTP; 0 without an answer
	Code        string // the envelope's error
	Description string // the envelope's error_description, bounded
	Method      string
	Path        string
	Err         error // the cause, if it is not the service's answer
}

// Error is one line: the request, and what came of it.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Method, e.Path)
	switch {
	case e.Err != nil:
		fmt.Fprintf(&b, "%v: %v", e.Kind, e.Err)
	case e.Code != "":
		fmt.Fprintf(&b, "%d %s", e.Status, e.Code)
	default:
		fmt.Fprintf(&b, "%d: %v", e.Status, e.Kind)
	}
	if e.Description != "" {
		fmt.Fprintf(&b, ": %s", e.Description)
	}
	return b.String()
}

// Unwrap gives kind and cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Temporary tells whether the same request may succeed later.
func Temporary(err error) bool {
	return errors.Is(err, ErrThrottled) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrMalformed)
}

// maxEnvelope bounds an answer that should be a JSON envelope, in bytes.
const maxEnvelope = 1 << 20

// envelope is what the service answers a failure with.
type envelope struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// maxDescription bounds what of the service's text stands in an error.
const maxDescription = 300

// parseEnvelope reads a failure's answer; whatever is no envelope is an empty
// one.
func parseEnvelope(body []byte) envelope {
	var e envelope
	if json.Unmarshal(body, &e) != nil {
		return envelope{}
	}
	e.Error, e.Description = clean(e.Error), clean(e.Description)
	return e
}

// clean makes a stranger's text one bounded line.
func clean(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > maxDescription {
		s = strings.ToValidUTF8(s[:maxDescription], "") + " …"
	}
	return s
}

// failure reads a response that is no success.
func (c *Client) failure(resp *http.Response) *Error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxEnvelope))
	env := parseEnvelope(body)
	return &Error{Kind: kindOf(resp.StatusCode, env.Error), Status: resp.StatusCode, Code: c.redact(env.Error),
		Description: c.redact(env.Description), Method: resp.Request.Method, Path: resp.Request.URL.Path}
}

// kindOf is the table of what an answer means.
func kindOf(status int, code string) error {
	switch {
	case code == "file_expired":
		return ErrExpired
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	case status == http.StatusForbidden:
		return ErrForbidden
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusRequestEntityTooLarge:
		return ErrTooLarge
	case status == http.StatusTooManyRequests && code == "resource_limited":
		return ErrPlanLimit
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return ErrThrottled
	case status >= 500:
		return ErrUnavailable
	case status >= 400:
		return ErrRejected
	}
	return ErrMalformed // neither success nor failure
}

// broken is a request that got no whole answer. The caller's own end of it
// is passed on as it is.
func (c *Client) broken(ctx context.Context, req *http.Request, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &Error{Kind: ErrUnavailable, Method: req.Method, Path: req.URL.Path, Err: errors.New(c.redact(err.Error()))}
}
