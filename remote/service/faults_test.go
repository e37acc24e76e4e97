package service_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathbits "math/bits"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chatfs/internal/fusetest"
	"chatfs/remote/service"
)

// TestFaultsAreParsed, and what is none is refused.
func TestFaultsAreParsed(t *testing.T) {
	for _, good := range []string{"throttle=5%", "upload.reset=3", "latency=30ms", "latency=2s@5%", "history.plan=1,token.hang=0.5%", "cut=0", "flip=1,download.page=2%"} {
		if _, err := service.ParseFaults(good, 1); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "x", "throttle", "throttle=", "throttle=x%", "none=1", "users.reset=1", "latency=5", "latency=1s@x", "reset=-1", "a.b.c=1", "upload.flip=1"} {
		if _, err := service.ParseFaults(bad, 1); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestFaultsStrikeAsOften as they are told, the same with the same seed.
func TestFaultsStrikeAsOften(t *testing.T) {
	var first string
	for range 2 {
		faults, err := service.ParseFaults("error=20%,upload.plan=2,download.unavailable=1,latency=1us@50%", 7)
		must(t, err)
		s := serve(t, func(c *service.Config) { c.Faults = faults })
		for range 300 {
			s.do("GET", "/chatfiles/x", "").Body.Close()
		}
		counts := s.Counts().Faults
		if counts["error"] < 30 || counts["error"] > 90 || counts["plan"] != 0 || counts["unavailable"] != 1 || counts["latency"] < 100 || counts["latency"] > 200 {
			t.Errorf("%v of 300", counts)
		}
		if got := fmt.Sprint(counts); first != "" && got != first {
			t.Errorf("%s, then %s with the same seed", first, got)
		} else {
			first = got
		}
	}
}

// TestEachFaultIsWhatItSays to a client that bears no fault.
func TestEachFaultIsWhatItSays(t *testing.T) {
	for kind, want := range map[string]string{
		"throttle": "429 reach_limit", "plan": "429 resource_limited", "unavailable": "503 service_unavailable", "error": "500 internal_error",
		"expire": "401 auth_bad_access_token", "html": "502 html", "reset": "no answer", "stall": "no answer", "cut": "half", "hang": "half",
		"length": "short", "redirect": "307", "latency": "200",
	} {
		amount := "=1"
		if kind == "latency" {
			amount = "=1ms@1"
		}
		faults, err := service.ParseFaults("upload."+kind+amount, 1)
		must(t, err)
		s := serve(t, func(c *service.Config) { c.Faults = faults })
		s.token = s.appToken()
		s.http.Timeout = 200 * time.Millisecond // for those that hang
		s.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		if got := s.met(); got != want {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
		if n := s.Counts().Faults[kind]; n != 1 {
			t.Errorf("%s was counted %d times", kind, n)
		}
		s.http.Timeout = 0
		s.put("a", "works again")
	}
}

// TestWrongBytesAreWhatTheySay, in a download's answer of 200, and never in a
// thumbnail's.
func TestWrongBytesAreWhatTheySay(t *testing.T) {
	right := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	for kind, is := range map[string]func(h http.Header, got []byte) bool{
		"page": func(h http.Header, got []byte) bool {
			return h.Get("Content-Type") == "text/html" && len(got) == len(right) && bytes.HasPrefix(got, []byte("<html>"))
		},
		"gzip": func(h http.Header, got []byte) bool {
			z, err := gzip.NewReader(bytes.NewReader(got))
			must(t, err)
			plain, err := io.ReadAll(z)
			return h.Get("Content-Encoding") == "gzip" && err == nil && bytes.Equal(plain, right)
		},
		"flip": func(_ http.Header, got []byte) bool {
			bits := 0
			for i := range min(len(got), len(right)) {
				bits += mathbits.OnesCount8(got[i] ^ right[i])
			}
			return len(got) == len(right) && bits == 1
		},
		"swap":   func(_ http.Header, got []byte) bool { return bytes.Equal(got, bytes.ToUpper(right)) },
		"longer": func(_ http.Header, got []byte) bool { return len(got) > len(right) && bytes.HasPrefix(got, right) },
	} {
		faults, err := service.ParseFaults(kind+"=1", uint64(time.Now().UnixNano()))
		must(t, err)
		s := serve(t, func(c *service.Config) { c.Faults = faults })
		s.token = s.appToken()
		first := s.put("right", string(right))
		s.put("small", "x")
		s.put("other", string(bytes.ToUpper(right)))
		s.get(first, "thumbnail", "true")
		if n := s.Counts().Faults[kind]; n != 0 {
			t.Errorf("%s struck a thumbnail", kind)
		}
		resp := s.do("GET", "/chatfiles/"+first.UUID, "", "share-secret", first.secret(), "Accept-Encoding", "identity")
		if got := s.want(200, resp, nil); !is(resp.Header, got) {
			t.Errorf("%s: %d bytes %.20q…, %v", kind, len(got), got, resp.Header)
		}
		if s.get(first) != string(right) {
			t.Errorf("%s: the next answer is wrong too", kind)
		}
	}
}

// met tells what an upload met.
func (s *served) met() string {
	body, kind := form("file", "a", "hello")
	req, err := http.NewRequest("POST", s.Base()+"/chatfiles", strings.NewReader(body))
	must(s.t, err)
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", kind)
	resp, err := s.http.Do(req)
	if err != nil {
		return "no answer"
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	var e struct{ Error string }
	switch {
	case err != nil && int64(len(b)) == resp.ContentLength/2:
		return "half"
	case errors.Is(err, io.ErrUnexpectedEOF) && int64(len(b)) == resp.ContentLength-10:
		return "short"
	case strings.HasPrefix(string(b), "<html>"):
		return fmt.Sprint(resp.StatusCode, " html")
	case json.Unmarshal(b, &e) == nil && e.Error != "":
		return fmt.Sprint(resp.StatusCode, " ", e.Error)
	}
	return fmt.Sprint(resp.StatusCode)
}

// TestStallsDoNotKeepShutdown: its context bounds it.
func TestStallsDoNotKeepShutdown(t *testing.T) {
	fusetest.Guard(t)
	faults, err := service.ParseFaults("upload.stall=1", 1)
	must(t, err)
	s := startIn(t, filepath.Join(t.TempDir(), "data"), func(c *service.Config) { c.Faults = faults })
	s.token = s.appToken()
	met := make(chan string)
	go func() { met <- s.met() }()
	fusetest.Eventually(t, "the stall", func() error {
		if s.Counts().Faults["stall"] == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	<-met
	s.http.CloseIdleConnections()
}
