package service_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"chatfs/remote/service"
)

// TestUnrestrictedFilesNeedNoSecret, by either document.
func TestUnrestrictedFilesNeedNoSecret(t *testing.T) {
	s := serve(t, func(c *service.Config) { c.FalseIsOpen = true })
	body, kind := form("file", "a.txt", "hello")
	for _, header := range [][]string{{}, {"restrict-access", "false"}} {
		resp := s.do("POST", "/chatfiles", body, append(header, "Content-Type", kind)...)
		e := s.entityOf(resp)
		if e.Secret != nil {
			t.Errorf("%s: it has a secret", header)
		}
		if got := s.get(e); got != "hello" {
			t.Errorf("%s: %q", header, got)
		}
	}
	for _, value := range []string{"true", "1", "", "yes"} {
		e := s.entityOf(s.do("POST", "/chatfiles", body, "restrict-access", value, "Content-Type", kind))
		if e.secret() == "" {
			t.Errorf("restrict-access: %q restricts nothing", value)
		}
	}
}

// TestPresenceRestricts, whatever the header says, unless it is told otherwise.
func TestPresenceRestricts(t *testing.T) {
	s := serve(t)
	body, kind := form("file", "a.txt", "hello")
	for _, value := range []string{"true", "false", "0", ""} {
		e := s.entityOf(s.do("POST", "/chatfiles", body, "restrict-access", value, "Content-Type", kind))
		if e.secret() == "" {
			t.Errorf("restrict-access: %q restricts nothing", value)
		}
	}
}

// TestOnlyWhoMayGetsAFile: the app and its users, with the file's secret.
func TestOnlyWhoMayGetsAFile(t *testing.T) {
	s := serve(t)
	e := s.put("a.txt", "hello")
	app := s.token
	s.token = s.user("ann")
	if s.get(e) != "hello" {
		t.Error("a user's download differs")
	}
	mine := s.put("b.txt", "mine")
	s.wantError(403, "forbidden", s.do("GET", "/chatfiles/"+e.UUID, ""))
	s.wantError(403, "forbidden", s.do("GET", "/chatfiles/"+e.UUID, "", "share-secret", mine.secret()))
	body, kind := form("file", "a.txt", "x")
	for _, token := range []string{"", "YWMtnone", app[:len(app)-1]} {
		s.token = token
		code := "auth_bad_access_token"
		if token == "" {
			code = "unauthorized"
		}
		s.wantError(401, code, s.do("GET", "/chatfiles/"+e.UUID, "", "share-secret", e.secret()))
		s.wantError(401, code, s.do("POST", "/chatfiles", body, "Content-Type", kind))
	}
}

// TestRateLimitIsTheApps: 429 beyond it, but preflights pass.
func TestRateLimitIsTheApps(t *testing.T) {
	s := serve(t, func(c *service.Config) { c.RPS = 5 })
	limited := 0
	for range 20 {
		resp := s.do("GET", "/chatfiles/00000000-0000-1000-8000-000000000000", "")
		if resp.StatusCode == 429 {
			limited++
			s.wantError(429, "reach_limit", resp)
		} else {
			resp.Body.Close()
		}
	}
	if limited < 10 {
		t.Errorf("%d of 20 at once were limited at 5/s", limited)
	}
	s.want(200, s.do("OPTIONS", "/chatfiles", ""), nil)
}

// TestOddForms are what real clients send.
func TestOddForms(t *testing.T) {
	s := serve(t)
	const head = "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s\"\r\nContent-Type: image/jpeg\r\n\r\nhello\r\n--X--\r\n"
	for _, name := range []string{"тест.jpg", "/home/ann/a.jpg", `C:\Users\ann\a.jpg`, "a;b.jpg", "", "..", "\xff\xfe.jpg"} {
		e := s.entityOf(s.do("POST", "/chatfiles?chat-type=x&em-redirect=true", fmt.Sprintf(head, name), "Content-Type", "multipart/form-data; boundary=X"))
		if got := s.get(e); got != "hello" {
			t.Errorf("%q: %q", name, got)
		}
	}
	for _, kind := range []string{"multipart/form-data; boundary=wrong; boundary=X", `Multipart/Form-Data; charset=utf-8; Boundary="X"`} {
		s.entityOf(s.do("POST", "/chatfiles", fmt.Sprintf(head, "a"), "Content-Type", kind))
	}
	body, kind := form("chat-type", "", "x", "thumbnail-width", "", "100", "file", "a.jpg", "hello", "thumbnail-height", "", "100")
	e := s.entityOf(s.do("POST", "/chatfiles", body, "Content-Type", kind))
	for _, header := range [][]string{{"Accept", "*/*"}, {"Accept", "application/json"}, {"thumbnail", "1"}, {"thumbnail", "true"}} {
		if got := s.get(e, header...); got != "hello" {
			t.Errorf("%s: %q", header, got)
		}
	}
	s.want(200, s.do("GET", "/chatfiles/"+e.UUID+"?thumbnail=true&em-redirect=true", ""), nil)
}

// TestFormsAreBounded in parts, heads and fields, before and after the file.
func TestFormsAreBounded(t *testing.T) {
	s := serve(t)
	many := strings.Split(strings.Repeat("x,,y,", 40), ",")[:120]
	huge := []string{"x", "", strings.Repeat("y", 300<<10)}
	named := []string{"x", strings.Repeat("n", 300<<10), "y"}
	file := []string{"file", "a", "hello"}
	for name, parts := range map[string][]string{
		"many before": append(many, file...), "many after": append(file, many...),
		"a huge field before": append(huge, file...), "a huge field after": append(file, huge...),
		"a huge head before": append(named, file...), "a huge head after": append(file, named...),
	} {
		body, kind := form(parts...)
		resp := s.do("POST", "/chatfiles", body, "Content-Type", kind)
		if resp.StatusCode != 400 {
			t.Errorf("%s: %s", name, resp.Status)
		}
		resp.Body.Close()
	}
	if n := s.Counts().Uploads; n != 0 {
		t.Errorf("%d were taken", n)
	}
}

// TestDrippingClientIsLeft: who sends a byte now and then, never too late for one,
// would hold a connection for ever.
func TestDrippingClientIsLeft(t *testing.T) {
	f := start(t, func(c *service.Config) { c.Patience = 200 * time.Millisecond })
	conn := f.dial()
	began := time.Now()
	left := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, conn) // its answer, then the end
		left <- err
	}()
	drip := time.NewTicker(50 * time.Millisecond)
	defer drip.Stop()
	for sent := 0; sent < 400; sent++ {
		select {
		case <-left:
			// Twice the patience, and a second for each KiB that came: 570 bytes.
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it was left after %v", took)
			}
			return
		case <-drip.C:
			_, _ = conn.Write([]byte("x"))
		}
	}
	t.Error("it could send all, at 20 bytes a second")
}

// TestUnknownUserCostsTheSame: the time of the answer does not tell who is
// registered, as one hash of the same cost is compared in either case.
func TestUnknownUserCostsTheSame(t *testing.T) {
	s := serve(t)
	s.user("ann")
	costs := make(chan int, 10)
	s.OnCompare(func(hash []byte) {
		cost, err := bcrypt.Cost(hash)
		must(t, err)
		costs <- cost
	})
	for _, name := range []string{"ann", "nobody", ""} {
		s.want(400, s.do("POST", "/token", `{"grant_type":"password","username":"`+name+`","password":"wrong"}`), nil)
		if n := len(costs); n != 1 {
			t.Fatalf("%q: %d hashes were compared, want 1", name, n)
		}
		if cost := <-costs; cost != bcrypt.MinCost {
			t.Errorf("%q: the hash's cost is %d, and a user's %d", name, cost, bcrypt.MinCost)
		}
	}
}
