package service_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"chatfs/remote/service"
)

// ask makes a request as a page, or a name that leads here, would.
func (s *served) ask(method, path, host, origin string) *http.Response {
	s.t.Helper()
	req, err := http.NewRequest(method, s.Base()+path, strings.NewReader(`{"username":"eve","password":"pw"}`))
	if err != nil {
		s.t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp
}

// TestClosedServiceRegistersNobody, and keeps those it has.
func TestClosedServiceRegistersNobody(t *testing.T) {
	s := serve(t, func(c *service.Config) { c.Closed = true })
	if resp := s.ask("POST", "/users", "", ""); resp.StatusCode != 401 {
		t.Errorf("registering where it is closed: %s", resp.Status)
	}
}

// TestPagesOfOtherOriginsMayNotAsk, whether a browser asks first or not.
func TestPagesOfOtherOriginsMayNotAsk(t *testing.T) {
	const page = "https://evil.example"
	for origins, want := range map[string]string{"": "", "https://chat.example": "", page: page, "*": "*"} {
		s := serve(t, func(c *service.Config) {
			if origins != "" {
				c.Origins = []string{"https://first.example", origins}
			}
		})
		for _, method := range []string{"OPTIONS", "POST"} {
			resp := s.ask(method, "/users", "", page)
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != want || (resp.StatusCode == 403) != (want == "") {
				t.Errorf("%s of a page where %q may ask: %s, allowed is %q", method, origins, resp.Status, got)
			}
		}
		if resp := s.ask("POST", "/users", "", ""); resp.StatusCode == 403 {
			t.Errorf("a program is refused: %s", resp.Status)
		}
	}
}

// TestOtherNamesOfThisMachineAreRefused, as a page's own name may be made to
// lead here.
func TestOtherNamesOfThisMachineAreRefused(t *testing.T) {
	s := serve(t, func(c *service.Config) { c.LoopbackOnly = true })
	for host, ok := range map[string]bool{"": true, "localhost": true, "localhost:80": true, "127.0.0.1": true, "[::1]:8080": true, "127.1.2.3:1": true,
		"evil.example": false, "evil.example:8080": false, "localhost.evil.example": false, "10.0.0.1": false, "127.0.0.1.evil.example": false} {
		if resp := s.ask("GET", "/chatfiles/5b9a2a60-0000-11f0-8000-000000000001", host, ""); (resp.StatusCode != 403) != ok {
			t.Errorf("Host %q: %s", host, resp.Status)
		}
	}
}

// TestEachRequestIsOneLine of the debugging log, without a secret.
func TestEachRequestIsOneLine(t *testing.T) {
	said := make(lines, 100)
	log := logrus.New()
	log.SetOutput(said)
	log.SetLevel(logrus.DebugLevel)
	s := serve(t, func(c *service.Config) { c.Log = log.WithField("", "") })
	e := s.put("a.txt", "hello")
	resp := s.do("GET", "/chatfiles/"+e.UUID+"?share-secret="+e.secret(), "")
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	text := ""
	for _, want := range []string{"POST", "POST", "GET"} { // a token, an upload and a download
		line := <-said
		text += line
		if !strings.Contains(line, want) {
			t.Errorf("no %q in:\n%s", want, line)
		}
	}
	for _, want := range []string{"/org/app/chatfiles", e.UUID, "200, 0 bytes in, 5 bytes out"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	for _, secret := range []string{e.secret(), s.token, "share-secret"} {
		if strings.Contains(text, secret) {
			t.Error("a secret is in the log")
		}
	}
}

// lines are what a log writes.
type lines chan string

// Write is one line.
func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// TestLargeMessageIsRefused: each recipient's copy is kept.
func TestLargeMessageIsRefused(t *testing.T) {
	s := serve(t)
	long := strings.Repeat("x", 6<<10)
	for _, body := range []string{
		`{"to":["a"],"type":"txt","body":{"msg":"` + long + `"}}`,
		`{"to":["a"],"type":"txt","body":{"msg":"x"},"ext":{"a":"` + long + `"}}`,
		`{"to":["` + long + `"],"type":"txt","body":{"msg":"x"}}`,
		`{"from":"` + long + `","to":["a"],"type":"txt","body":{"msg":"x"}}`,
	} {
		s.want(400, s.do("POST", "/messages/users", body), nil)
	}
}
