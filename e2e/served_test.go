package e2e

import (
	"bytes"
	"io"
	stdlog "log"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A served session mounts a service of its own, whose requests are counted.
type served struct {
	*session
	front *httptest.Server

	mu       sync.Mutex
	requests int
	uploads  []string // the names that they bore
}

func newServed(t *testing.T, args ...string) *served {
	t.Helper()
	back := newServer(t)
	base, err := url.Parse(back.Base)
	if err != nil {
		t.Fatal(err)
	}
	v := &served{}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: base.Scheme, Host: base.Host})
	forward.ErrorLog = stdlog.New(io.Discard, "", 0) // it tells of uploads that were given up
	v.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.note(t, r)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(v.stop)
	back.Base = v.front.URL + base.Path
	v.session = back.session(args...)
	return v
}

// stop has the service out of reach.
func (v *served) stop() {
	v.front.CloseClientConnections()
	v.front.Close()
}

// note counts a request, and keeps the name that an upload bears.
func (v *served) note(t *testing.T, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.requests++
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/chatfiles") {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Logf("an upload was given up: %v", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		t.Errorf("upload: %v", err)
		return
	}
	part, err := multipart.NewReader(bytes.NewReader(body), params["boundary"]).NextPart()
	if err != nil {
		t.Errorf("upload: %v", err)
		return
	}
	v.uploads = append(v.uploads, part.FileName())
}

// asked tells how many requests there were.
func (v *served) asked() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.requests
}

// uploaded gives the names of the uploads since it was asked last, in order.
func (v *served) uploaded() []string {
	v.sync()
	v.mu.Lock()
	defer v.mu.Unlock()
	names := v.uploads
	v.uploads = nil
	slices.Sort(names)
	return names
}

// wantUploads fails where anything but names, one each, was uploaded.
func (v *served) wantUploads(what string, names ...string) {
	v.t.Helper()
	slices.Sort(names)
	if got := v.uploaded(); !slices.Equal(got, names) {
		v.t.Errorf("%s: uploaded are %q, want %q", what, got, names)
	}
}
