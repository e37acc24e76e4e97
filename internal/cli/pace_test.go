package cli_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"chatfs/internal/fusetest"
)

// A weary service tells uploads, or downloads, to come back in ten hours.
type weary struct {
	*httptest.Server
	of atomic.Value // the methods that are told so
}

func newWeary(t *testing.T) *weary {
	w := &weary{}
	w.of.Store("")
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

// ServeHTTP takes any upload and gives the same content to each download.
func (s *weary) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	switch {
	case strings.HasSuffix(r.URL.Path, "/token"):
		io.WriteString(w, `{"access_token":"YWMt1","expires_in":3600}`)
	case strings.Contains(s.of.Load().(string), r.Method):
		w.Header().Set("Retry-After", "36000")
		w.WriteHeader(http.StatusTooManyRequests)
		io.WriteString(w, `{"error":"reach_limit"}`)
	case r.Method == http.MethodGet:
		io.WriteString(w, "hello")
	default:
		fmt.Fprint(w, `{"entities":[{"uuid":"5b9a2a60-0000-11f0-8000-000000000001","type":"chatfile","share-secret":"told once"}]}`)
	}
}

// TestLongPauseIsToldAndHoldsItsOwnAlone has the service tell uploads to come
// back in hours: status says so, and reads go on. A read that is told so fails
// at once, with EBUSY.
func TestLongPauseIsToldAndHoldsItsOwnAlone(t *testing.T) {
	t.Parallel()
	s := newWeary(t)
	p := withToken(newPlace(t))
	args := []string{"--remote", s.URL + "/org/app", "--settle", "10ms", "--drain-timeout", "10ms", "--retention", "0"}
	r := p.mount(args...)
	p.put("a.txt", "hello")
	p.expect(ok, "", "sync", p.dir)
	r.signal(syscall.SIGTERM)
	r.wait(ok, "")

	p.dropCache()
	s.of.Store(http.MethodPost)
	r = p.mount(append(args, "--read-timeout", "2m")...)
	p.put("b.txt", "other")
	fusetest.Eventually(t, "status tells of the pause", func() error {
		if out, _ := p.run("status", p.dir); !strings.Contains(out, "uploads, until") || !strings.Contains(out, "the service asked for 10h0m0s") {
			return errors.New(out)
		}
		return nil
	})
	p.want("a.txt", "hello")
	r.signal(syscall.SIGTERM)
	r.wait(waiting, "1 file (5 B) waits")

	p.dropCache()
	s.of.Store(http.MethodGet + http.MethodPost)
	r = p.mount(append(args, "--read-timeout", "2m")...)
	// By Go's os, which would wait for ever at an EAGAIN.
	if _, err := os.ReadFile(filepath.Join(p.dir, "a.txt")); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("a read that the service puts off for ten hours: %v, want EBUSY", err)
	}
	r.signal(syscall.SIGTERM)
	r.wait(waiting, "1 file (5 B) waits")
}

// dropCache has what is at the service be fetched anew.
func (p *place) dropCache() {
	p.t.Helper()
	if err := os.RemoveAll(filepath.Join(p.path("cache"), "chatfs")); err != nil {
		p.t.Fatal(err)
	}
}
