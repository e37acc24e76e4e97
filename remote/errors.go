package remote

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
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

	RetryAt time.Time // of ErrThrottled: no request is made before; zero where the service did not say
}

// Error is one line: the request, and what came of it.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Method != "" { // else it was not made
		fmt.Fprintf(&b, "%s %s: ", e.Method, e.Path)
	}
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

// maxSearched bounds what of it is searched for secrets, before it is cut to
// that, in bytes.
const maxSearched = 16 << 10

// parseEnvelope reads a failure's answer; whatever is no envelope is an empty
// one.
func parseEnvelope(body []byte) (e envelope) {
	// An error leaves the fields that could be read.
	_ = json.Unmarshal(body, &e)
	return e
}

// The shortest piece of a secret that is hidden, in bytes: as it is, and in a
// form with an alphabet so small that other texts have such pieces too.
const (
	shortPiece = 4
	longPiece  = 8
)

// hide takes a secret out of a text, and all pieces of it, in the forms that
// pages, addresses and headers have.
func hide(s, secret string) string {
	if secret == "" {
		return s
	}
	b := []byte(secret)
	for _, form := range []string{secret, url.QueryEscape(secret), html.EscapeString(secret)} {
		s = hidePieces(s, form, shortPiece)
	}
	for _, form := range []string{base64.RawStdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b), hex.EncodeToString(b)} {
		s = hidePieces(s, form, longPiece)
	}
	return s
}

func hidePieces(s, secret string, shortest int) string {
	var b strings.Builder
	n, shown := min(len(secret), shortest), 0
	for i := 0; i+n <= len(s); i++ {
		if !strings.Contains(secret, s[i:i+n]) {
			continue
		}
		end := i + n
		for end < len(s) && strings.Contains(secret, s[end+1-n:end+1]) {
			end++
		}
		b.WriteString(s[shown:i] + redacted)
		shown, i = end, end-1
	}
	return b.String() + s[shown:]
}

const redacted = "[redacted]"

// clean makes a stranger's text one bounded line without control characters.
// Secrets are taken out before: one that is cut would not be found any more.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxDescription {
		s = strings.ToValidUTF8(s[:maxDescription], "") + " …"
	}
	return s
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
	case status >= 500, status == http.StatusRequestTimeout:
		return ErrUnavailable
	case status >= 400:
		return ErrRejected
	}
	return ErrMalformed // neither success nor failure
}
