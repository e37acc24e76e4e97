package remote

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"chatfs/internal/entity"
)

// FuzzEnvelope has any body become one bounded, printable line without the
// secrets in it.
func FuzzEnvelope(f *testing.F) {
	for _, seed := range []string{`{"error":"reach_limit","error_description":"slow down"}`, `{"error":7}`, `<html>`, ``, `{"error":"\u001b[31m"}`,
		`{"error":"a","error_description":"hunter2hunter2"}`} {
		f.Add([]byte(seed), 429)
	}
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		c := &Client{Config: Config{Password: entity.NewSecret("hunter2")}}
		req, _ := http.NewRequest(http.MethodGet, "https://a1.example.com/org/app/chatfiles", nil)
		resp := say(status, string(body))
		e := (&exchange{client: c, req: req, resp: resp}).failure()
		for _, text := range []string{e.Code, e.Description} {
			if len(text) > maxDescription+len(" …") || !utf8.ValidString(text) || strings.Contains(text, "hunter2") ||
				strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q of %q", text, body)
			}
		}
		if e.Kind == nil || e.Error() == "" {
			t.Errorf("%d %q is no failure", status, body)
		}
	})
}

// FuzzRetryAfter has any header give a pause within the bounds.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"7", "-1", "99999999999999999999", "Fri, 02 Jan 2026 03:04:15 GMT", "Fri Jan  2 03:04:15 2026", "0x10", ""} {
		f.Add(seed)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, header string) {
		if d := retryAfter(header, now); d < 0 || d > maxRetryAfter {
			t.Errorf("%q: %s", header, d)
		}
	})
}

// FuzzRedirect has no address be followed with credentials but one of the
// service itself, nor to plain http elsewhere.
func FuzzRedirect(f *testing.F) {
	for _, seed := range []string{"/other", "https://a1.example.com/x", "https://a1.example.com:443/x", "https://A1.example.com/x", "http://a1.example.com/x",
		"https://a1.example.com.evil.org", "https://a1.example.com@evil.org", "https://a1.example.com\\@evil.org", "//evil.org", "http://127.0.0.1:1", "ftp://a", "https:a"} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, location string, insecure bool) {
		c, err := New(Config{Base: "https://a1.example.com/org/app", InsecureHTTP: insecure})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		to, err := c.base.Parse(location)
		if err != nil {
			return
		}
		first, _ := http.NewRequest(http.MethodGet, c.address("chatfiles"), nil)
		next := &http.Request{Method: http.MethodGet, URL: to, Header: http.Header{"Authorization": {"Bearer x"}, "Share-Secret": {"x"}, "Referer": {"x"}}}
		if c.checkRedirect(next, []*http.Request{first}) != nil {
			return
		}
		shown := next.Header.Get("Authorization") != "" || next.Header.Get("share-secret") != ""
		if shown && (to.Scheme != "https" || to.Host != "a1.example.com") || next.Header.Get("Referer") != "" {
			t.Errorf("%q is shown %v", location, next.Header)
		}
		if to.Scheme == "http" && !insecure {
			t.Errorf("%q is followed", location)
		}
		post, _ := http.NewRequest(http.MethodPost, c.address("token"), nil)
		if c.checkRedirect(next, []*http.Request{post}) == nil {
			t.Errorf("%q is followed from a POST", location)
		}
	})
}
