package remote_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"chatfs/internal/entity"
	"chatfs/internal/fusetest"
	"chatfs/remote"
)

func TestAddresses(t *testing.T) {
	for base, good := range map[string]bool{
		"https://a1.example.com/org/app": true, "https://a1.example.com/org/app/": true, "https://a1.example.com:8443/org/app": true,
		"http://127.0.0.1:1/org/app": true, "http://localhost/org/app": true, "http://[::1]/org/app": true,
		"http://a1.example.com/org/app": false, "http://10.0.0.1/org/app": false, "http://127.0.0.1.example.com/org/app": false,
		"https://a1.example.com/org": false, "https://a1.example.com/org/app/more": false, "https://a1.example.com": false,
		"https://user:pw@a1.example.com/org/app": false, "https://a1.example.com/org/app?x=1": false, "https://a1.example.com/org/app#x": false,
		"ftp://a1.example.com/org/app": false, "a1.example.com/org/app": false, "": false, "https:///org/app": false,
	} {
		c, err := remote.New(remote.Config{Base: base})
		if good != (err == nil) || !good && !errors.Is(err, remote.ErrBadBase) {
			t.Errorf("%s: %v", base, err)
		}
		if err == nil {
			c.Close()
		}
	}
	c, err := remote.New(remote.Config{Base: "http://a1.example.com/org/app", InsecureHTTP: true})
	must(t, err)
	c.Close()
}

// another is a second host, which notes what it is shown.
type another struct {
	*httptest.Server
	mu    sync.Mutex
	asked []*http.Request
}

func newAnother(t *testing.T) *another {
	a := &another{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.asked = append(a.asked, r.Clone(context.Background()))
		a.mu.Unlock()
		io.WriteString(w, theContent)
	}))
	t.Cleanup(a.Close)
	return a
}

// TestRedirectToAnotherHostCarriesNoCredential, at any hop.
func TestRedirectToAnotherHostCarriesNoCredential(t *testing.T) {
	s := scripted(t)
	a := newAnother(t)
	s.file = func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 1 { // a hop on the same host keeps them
			http.Redirect(w, r, "?hop=2", http.StatusFound)
			return
		}
		if r.Header.Get("Authorization") == "" || r.Header.Get("share-secret") != theSecret {
			t.Error("a redirect on the same host lost the credentials")
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		http.Redirect(w, r, a.URL+"/bucket/object?Signature=x", http.StatusFound)
	}
	got, err := download(context.Background(), newClient(t, s.URL))
	if err != nil || got != theContent || len(a.asked) != 1 {
		t.Fatalf("%q, %v, %d requests", got, err, len(a.asked))
	}
	for _, name := range []string{"Authorization", "Share-Secret", "Referer", "Cookie"} {
		if v := a.asked[0].Header.Values(name); len(v) > 0 {
			t.Errorf("the other host was shown %s: %s", name, v)
		}
	}
}

// TestOnlyDownloadsAreRedirected: a token request's body is a password.
func TestOnlyDownloadsAreRedirected(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := scripted(t)
		a := newAnother(t)
		away := func(_ int, w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, a.URL, status) }
		s.token = away
		once := func(c *remote.Config) { c.MaxTries = 1 }
		if err := put(newClient(t, s.URL, once)); !remote.Temporary(err) {
			t.Errorf("a token's %d: %v", status, err)
		}
		s.token, s.file = nil, away
		if err := put(newClient(t, s.URL, once)); !remote.Temporary(err) {
			t.Errorf("an upload's %d: %v", status, err)
		}
		if len(a.asked) > 0 {
			t.Errorf("%d was followed to another host", status)
		}
	}
}

// TestRefusedRedirects are to plain http from https, elsewhere than http, and
// without end.
func TestRefusedRedirects(t *testing.T) {
	s := unstarted(t)
	s.StartTLS()
	ca := certificate(t, s)
	a := newAnother(t)
	for _, to := range []string{a.URL, "http://a1.example.com/x", "ftp://a1.example.com/", "file:///etc/passwd", "", "://", "?again"} {
		s.file = func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		}
		if err := get(newClient(t, s.URL, func(c *remote.Config) { c.CACert, c.MaxTries = ca, 1 })); !remote.Temporary(err) {
			t.Errorf("to %q: %v", to, err)
		}
	}
	if len(a.asked) > 0 {
		t.Error("followed from https to plain http")
	}
}

// certificate is a file with the one that the server shows.
func certificate(t *testing.T, s *script) string {
	path := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}
	must(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	return path
}

func TestOnlyTrustedCertificatesAreTaken(t *testing.T) {
	s := unstarted(t)
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	if err := get(newClient(t, s.URL, func(c *remote.Config) { c.MaxTries = 1 })); !errors.Is(err, remote.ErrUnavailable) || !strings.Contains(err.Error(), "x509") {
		t.Errorf("a stranger's certificate: %v", err)
	}
	ca := certificate(t, s)
	must(t, get(newClient(t, s.URL, func(c *remote.Config) { c.CACert = ca })))
	bad := filepath.Join(t.TempDir(), "bad.pem")
	must(t, os.WriteFile(bad, []byte("no certificate"), 0o600))
	for _, file := range []string{bad, bad + ".none"} {
		if _, err := remote.New(remote.Config{Base: "https://a1.example.com/org/app", CACert: file}); err == nil {
			t.Errorf("%s was taken", file)
		}
	}
}

// uploadsAtOnce has 32 workers upload 10 times each, and counts the service's
// connections.
func uploadsAtOnce(t *testing.T, s *script, start func(), change func(*remote.Config)) int32 {
	var connections, http2 atomic.Int32
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.file = func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			http2.Add(1)
		}
		fileAnswer(w, r)
	}
	start()
	c := newClient(t, s.URL, change)
	content := strings.Repeat("x", 100000)
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for range 10 {
				if _, err := uploadBytes(c, content); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := s.files.Load(); n != 320 || s.EnableHTTP2 != (http2.Load() == 320) {
		t.Errorf("%d uploads, %d of them by HTTP/2", n, http2.Load())
	}
	return connections.Load()
}

func TestConnectionsAreReused(t *testing.T) {
	s := unstarted(t)
	n := uploadsAtOnce(t, s, s.Start, func(*remote.Config) {})
	t.Logf("HTTP/1.1: 320 uploads, 32 at once, on %d connections", n)
	// net/http dials ahead while the kept ones are on their way back.
	if n > 80 {
		t.Errorf("%d connections for 320 uploads, 32 at once", n)
	}
}

func TestHTTP2IsUsed(t *testing.T) {
	s := unstarted(t)
	s.EnableHTTP2 = true
	n := uploadsAtOnce(t, s, s.StartTLS, func(c *remote.Config) { c.CACert = certificate(t, s) })
	t.Logf("HTTP/2: 320 uploads, 32 at once, on %d connections", n)
	if n > 3 {
		t.Errorf("%d connections", n)
	}
}

// TestNothingElseIsSent: no cookies, and a User-Agent with the version.
func TestNothingElseIsSent(t *testing.T) {
	s := scripted(t)
	check := func(well http.HandlerFunc) func(int, http.ResponseWriter, *http.Request) {
		return func(_ int, w http.ResponseWriter, r *http.Request) {
			if ua := r.UserAgent(); ua != "chatfs/1.2.3" || len(r.Cookies()) > 0 || r.URL.RawQuery != "" || r.Referer() != "" {
				t.Errorf("%s %s: User-Agent %q, %v", r.Method, r.URL, ua, r.Header)
			}
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "1", Path: "/"})
			well(w, r)
		}
	}
	s.file, s.token = check(fileAnswer), check(tokenAnswer)
	c := newClient(t, s.URL, func(c *remote.Config) { c.Version = "1.2.3" })
	for range 2 {
		must(t, errors.Join(put(c), get(c)))
	}
}

// TestSecretsStayOutOfErrors has a service echo whatever it was told.
func TestSecretsStayOutOfErrors(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 500} {
		for _, padding := range []int{0, 280, 295} { // where a long text is cut
			s := scripted(t)
			echo := func(_ int, w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				text := strings.Repeat("x", padding) + " " + r.Header.Get("share-secret") + strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + string(body)
				fail(w, status, "echo "+r.Header.Get("Authorization"), text)
			}
			for _, where := range []string{"file", "token"} {
				s.file, s.token = echo, nil
				if where == "token" {
					s.token = echo
				}
				for _, op := range []func(*remote.Client) error{put, get} {
					err := op(newClient(t, s.URL, func(c *remote.Config) { c.MaxTries = 1 }))
					shown := fmt.Sprintf("%v %+v %#v", err, err, errors.Unwrap(err))
					for _, secret := range []string{theToken, theSecret, theKey} {
						if err == nil || strings.Contains(shown, secret[:12]) {
							t.Errorf("%d, %s: %s", status, where, shown)
						}
					}
				}
			}
		}
	}
}

// TestSignedAddressStaysOutOfErrors, which a redirect leads to.
func TestSignedAddressStaysOutOfErrors(t *testing.T) {
	s := scripted(t)
	s.file = func(_ int, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/object?Signature=hunter2", http.StatusFound)
	}
	err := get(newClient(t, s.URL, func(c *remote.Config) { c.MaxTries = 1 }))
	if !errors.Is(err, remote.ErrUnavailable) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// TestProxyOfTheEnvironment runs itself, since net/http reads the environment
// once.
func TestProxyOfTheEnvironment(t *testing.T) {
	const base = "http://chat.example.com"
	if os.Getenv("CHATFS_TEST_PROXIED") != "" {
		c := newClient(t, base, func(c *remote.Config) { c.InsecureHTTP, c.MaxTries = true, 1 })
		must(t, get(c))
		secure := newClient(t, "https://chat.example.com", func(c *remote.Config) { c.MaxTries = 1 })
		if err := get(secure); err == nil || !strings.Contains(err.Error(), "teapot") {
			t.Errorf("through CONNECT: %v", err)
		}
		return
	}
	fusetest.Guard(t)
	var mu sync.Mutex
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.URL.String()+r.Host)
		mu.Unlock()
		switch {
		case r.Method == http.MethodConnect:
			http.Error(w, "", http.StatusTeapot)
		case strings.HasSuffix(r.URL.Path, "/token"):
			tokenAnswer(w, r)
		default:
			fileAnswer(w, r)
		}
	}))
	defer proxy.Close()
	self := exec.Command(os.Args[0], "-test.run=^TestProxyOfTheEnvironment$")
	self.Env = append(os.Environ(), "CHATFS_TEST_PROXIED=1", "HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL, "NO_PROXY=", "no_proxy=")
	if out, err := self.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if all := strings.Join(asked, "\n"); !strings.Contains(all, "GET http://chat.example.com/org/app/chatfiles/") || !strings.Contains(all, "CONNECT //chat.example.com:443") {
		t.Errorf("the proxy was asked\n%s", all)
	}
}

// TestConfigShowsNoSecret when it is printed.
func TestConfigShowsNoSecret(t *testing.T) {
	c := newClient(t, "https://a1.example.com", func(c *remote.Config) { c.Password = entity.NewSecret("hunter2") })
	if shown := fmt.Sprintf("%+v", c.Config); strings.Contains(shown, theKey) || strings.Contains(shown, "hunter2") {
		t.Error(shown)
	}
}

// TestOldTLSIsRefused: below 1.2 there is no secrecy to speak of.
func TestOldTLSIsRefused(t *testing.T) {
	s := unstarted(t)
	s.Config.ErrorLog = quiet()
	s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11}
	s.StartTLS()
	ca := certificate(t, s)
	if err := get(newClient(t, s.URL, func(c *remote.Config) { c.CACert, c.MaxTries = ca, 1 })); !errors.Is(err, remote.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// TestEncodedAnswerIsRefused: a download asks for plain bytes, and takes no
// others for them.
func TestEncodedAnswerIsRefused(t *testing.T) {
	s := scripted(t)
	encoding := ""
	s.file = func(_ int, w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("Accept-Encoding %q", got)
		}
		w.Header().Set("Content-Encoding", encoding)
		io.WriteString(w, theContent)
	}
	c := newClient(t, s.URL)
	for encoding = range map[string]bool{"gzip": true, "br": true, "identity, gzip": true, "x-" + theSecret: true} {
		err := get(c)
		if !errors.Is(err, remote.ErrMalformed) || !remote.Temporary(err) || strings.Contains(err.Error(), theSecret) {
			t.Errorf("%s: %v", encoding, err)
		}
	}
	for _, encoding = range []string{"", "identity", "Identity"} {
		if got, err := download(context.Background(), c); err != nil || got != theContent {
			t.Errorf("%q: %q, %v", encoding, got, err)
		}
	}
}
