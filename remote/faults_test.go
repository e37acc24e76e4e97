package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"chatfs/internal/entity"
	"chatfs/internal/fusetest"
	"chatfs/remote"
)

// faults are what a service, or what stands before it, does to a request
// that would have been well.
var faults = map[string]func(s *script, w http.ResponseWriter, r *http.Request){
	"500":         func(_ *script, w http.ResponseWriter, _ *http.Request) { fail(w, 500, "internal_error", "") },
	"502 html":    func(_ *script, w http.ResponseWriter, _ *http.Request) { html(w, 502) },
	"503 empty":   func(_ *script, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
	"504":         func(_ *script, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(504) },
	"408":         func(_ *script, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(408) },
	"reach_limit": func(_ *script, w http.ResponseWriter, _ *http.Request) { fail(w, 429, "reach_limit", "") },
	"reset":       func(_ *script, w http.ResponseWriter, _ *http.Request) { reset(w) },
	"closed":      func(_ *script, _ http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
	"no answer":   func(s *script, _ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); s.hang(r) },
	"cut head": func(_ *script, w http.ResponseWriter, _ *http.Request) {
		conn, buf, _ := http.NewResponseController(w).Hijack()
		buf.WriteString("HTTP/1.1 200 OK\r\nContent-Le")
		buf.Flush()
		conn.Close()
	},
	"no http": func(_ *script, w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := http.NewResponseController(w).Hijack()
		io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n")
		conn.Close()
	},
}

// halves are what befalls an answer that had begun well.
var halves = map[string]func(s *script, w http.ResponseWriter, r *http.Request){
	"cut body": func(_ *script, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, `{"entities":[`)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	},
	"cut chunks": func(_ *script, w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"entities":[`)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	},
	"stalled body": func(s *script, w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, `{"entities":[`)
		http.NewResponseController(w).Flush()
		s.hang(r)
	},
}

func html(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	io.WriteString(w, "<html><body><h1>Bad Gateway</h1></body></html>")
}

func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

// impatient makes waits for a service that hangs short.
func impatient(c *remote.Config) {
	c.AnswerTimeout, c.ProgressTimeout = 100*time.Millisecond, 100*time.Millisecond
}

// TestEachFaultIsRepeated has the first request of each kind meet each fault.
func TestEachFaultIsRepeated(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) { eachMeets(t, fault) })
	}
	for name, fault := range halves {
		t.Run(name, func(t *testing.T) {
			meets(t, "upload", fault)
			meets(t, "token", fault)
		})
	}
}

func eachMeets(t *testing.T, fault func(*script, http.ResponseWriter, *http.Request)) {
	for _, kind := range []string{"upload", "download", "token"} {
		meets(t, kind, fault)
	}
}

func meets(t *testing.T, kind string, fault func(*script, http.ResponseWriter, *http.Request)) {
	t.Helper()
	s := scripted(t)
	once := func(well http.HandlerFunc) func(int, http.ResponseWriter, *http.Request) {
		return func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				fault(s, w, r)
			} else {
				well(w, r)
			}
		}
	}
	if kind == "token" {
		s.token = once(tokenAnswer)
	} else {
		s.file = once(fileAnswer)
	}
	c := newClient(t, s.URL, impatient)
	if kind == "download" {
		if got, err := download(context.Background(), c); err != nil || got != theContent {
			t.Errorf("download: %q, %v", got, err)
		}
	} else if e, err := upload(c); err != nil || e.UUID != someFile || e.Secret.Reveal() != theSecret || e.Size != int64(len(theContent)) {
		t.Errorf("%s: %+v, %v", kind, e, err)
	}
	if n := s.files.Load() + s.tokens.Load(); n != 3 {
		t.Errorf("%s: %d requests, want 3", kind, n)
	}
}

// TestBrokenBodyIsNoEnd has a download's body fail: its reader must not take
// what came for all.
func TestBrokenBodyIsNoEnd(t *testing.T) {
	for name, fault := range halves {
		t.Run(name, func(t *testing.T) {
			s := scripted(t)
			s.file = func(_ int, w http.ResponseWriter, r *http.Request) { fault(s, w, r) }
			got, err := download(context.Background(), newClient(t, s.URL, impatient))
			if !errors.Is(err, remote.ErrUnavailable) || errors.Is(err, context.Canceled) || len(got) == 0 {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// TestFaultsThatStayAreReported within the bound of tries, by kind.
func TestFaultsThatStayAreReported(t *testing.T) {
	for _, x := range []struct {
		name string
		want error
	}{
		{"500", remote.ErrUnavailable}, {"502 html", remote.ErrUnavailable}, {"reset", remote.ErrUnavailable},
		{"closed", remote.ErrUnavailable}, {"no answer", remote.ErrUnavailable}, {"no http", remote.ErrUnavailable},
	} {
		for kind, op := range map[string]func(*remote.Client) error{"upload": put, "download": get} {
			s := scripted(t)
			s.file = func(_ int, w http.ResponseWriter, r *http.Request) { faults[x.name](s, w, r) }
			c := newClient(t, s.URL, impatient, func(c *remote.Config) { c.MaxTries = 3 })
			// A download on a kept connection that dies at once is repeated by
			// net/http too, on another.
			if err := op(c); !errors.Is(err, x.want) || errors.Is(err, context.Canceled) || s.files.Load() < 3 || s.files.Load() > 4 {
				t.Errorf("%s of %s: %d requests, %v", x.name, kind, s.files.Load(), err)
			}
		}
	}
}

// TestWhatIsFinalIsNotRepeated, and is told with all that the answer says.
func TestWhatIsFinalIsNotRepeated(t *testing.T) {
	for _, x := range []struct {
		status int
		code   string
		want   error
	}{
		{400, "illegal_argument", remote.ErrRejected},
		{403, "forbidden", remote.ErrForbidden},
		{404, "entity_not_found", remote.ErrNotFound},
		{404, "file_expired", remote.ErrExpired},
		{404, "service_resource_not_found", remote.ErrNotFound},
		{404, "organization_application_not_found", remote.ErrNotFound},
		{413, "file exceeding maximum limit", remote.ErrTooLarge},
		{415, "web_application", remote.ErrRejected},
		{429, "resource_limited", remote.ErrPlanLimit},
	} {
		for method, op := range map[string]func(*remote.Client) error{"POST": put, "GET": get} {
			s := scripted(t)
			s.file = func(_ int, w http.ResponseWriter, _ *http.Request) { fail(w, x.status, x.code, "said so") }
			err := op(newClient(t, s.URL))
			var e *remote.Error
			if !errors.Is(err, x.want) || remote.Temporary(err) || !errors.As(err, &e) || s.files.Load() != 1 {
				t.Errorf("%d %s: %d requests, %v", x.status, x.code, s.files.Load(), err)
				continue
			}
			if e.Status != x.status || e.Code != x.code || e.Description != "said so" || e.Method != method || !strings.HasPrefix(e.Path, "/org/app/chatfiles") {
				t.Errorf("%d %s: %+v", x.status, x.code, e)
			}
		}
	}
}

// TestOnly200IsTaken: a 206 was not asked for, and the others have no body to
// take.
func TestOnly200IsTaken(t *testing.T) {
	for _, status := range []int{201, 202, 204, 206, 300, 304} {
		s := scripted(t)
		s.file = func(_ int, w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			if status != 204 && status != 304 {
				io.WriteString(w, theContent)
			}
		}
		if err := get(newClient(t, s.URL)); !errors.Is(err, remote.ErrMalformed) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// TestSenselessAnswersAreSurvived, whatever the status.
func TestSenselessAnswersAreSurvived(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "html": "<html>", "cut": `{"error":"reach_`, "array": `[1,2]`, "number": `7`, "null": "null",
		"other types": `{"error":{"a":1},"error_description":7,"entities":"x"}`, "no uuid": `{"entities":[{"uuid":"x"}]}`,
		"nil uuid": `{"entities":[{"uuid":"00000000-0000-0000-0000-000000000000"}]}`, "no entity": `{"entities":[]}`,
		"huge": strings.Repeat(" ", 3<<20), "deep": strings.Repeat("[", 100000), "binary": "\x00\xff\x1b[31m",
	} {
		for _, status := range []int{200, 400, 500} {
			s := scripted(t)
			s.file = func(_ int, w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(status)
				io.WriteString(w, body)
			}
			want := map[int]error{200: remote.ErrMalformed, 400: remote.ErrRejected, 500: remote.ErrUnavailable}[status]
			err := put(newClient(t, s.URL, func(c *remote.Config) { c.MaxTries = 1 }))
			if !errors.Is(err, want) || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\n\x00\x1b") {
				t.Errorf("%s with %d: %v", name, status, err)
			}
		}
	}
}

// TestRepeatedUploadIsWhole sends the content from its start again.
func TestRepeatedUploadIsWhole(t *testing.T) {
	s := scripted(t)
	content := strings.Repeat("0123456789", 50000)
	var got string
	s.file = func(n int, w http.ResponseWriter, r *http.Request) {
		if n < 3 {
			io.CopyN(io.Discard, r.Body, 100000)
			reset(w)
			return
		}
		file, header, err := r.FormFile("file")
		if err != nil {
			t.Error(err)
			return
		}
		b, _ := io.ReadAll(file)
		got = string(b)
		if header.Filename != "a.txt" || r.Header.Get("restrict-access") != "true" || r.ContentLength < int64(len(content)) {
			t.Errorf("%s, %v, %d", header.Filename, r.Header, r.ContentLength)
		}
		fileAnswer(w, r)
		r.MultipartForm.RemoveAll()
	}
	_, err := uploadBytes(newClient(t, s.URL), content)
	must(t, err)
	if got != content {
		t.Errorf("%d bytes came", len(got))
	}
}

// TestSlowButSteadyIsNoStall takes longer than the patience for all, but not
// for a piece.
func TestSlowButSteadyIsNoStall(t *testing.T) {
	s := scripted(t)
	drip := func(w http.ResponseWriter, body string) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		for i := range len(body) {
			io.WriteString(w, body[i:i+1])
			http.NewResponseController(w).Flush()
			time.Sleep(15 * time.Millisecond) // the slow service, not a wait of the test
		}
	}
	s.file = func(_ int, w http.ResponseWriter, r *http.Request) { drip(w, "0123456789012345678901234567890") }
	slow := func(c *remote.Config) { c.ProgressTimeout = 300 * time.Millisecond }
	c := newClient(t, s.URL, slow, func(c *remote.Config) { c.MinRate = 1 })
	got, err := download(context.Background(), c)
	if err != nil || len(got) != 31 {
		t.Errorf("%q, %v", got, err)
	}
	c = newClient(t, s.URL, slow)
	if _, err = download(context.Background(), c); !errors.Is(err, remote.ErrUnavailable) || !strings.Contains(err.Error(), "bytes a second") {
		t.Errorf("a download that drips: %v", err)
	}
}

// TestServiceThatTakesNothingIsAStall has an upload end though no answer ever
// comes.
func TestServiceThatTakesNothingIsAStall(t *testing.T) {
	s := scripted(t)
	s.file = func(_ int, _ http.ResponseWriter, r *http.Request) { <-s.over }
	c := newClient(t, s.URL, func(c *remote.Config) { c.ProgressTimeout, c.MaxTries = 100*time.Millisecond, 2 })
	_, err := uploadBytes(c, strings.Repeat("x", 64<<20)) // more than the kernel takes
	if !errors.Is(err, remote.ErrUnavailable) || !strings.Contains(err.Error(), "no byte moved") || s.files.Load() != 2 {
		t.Errorf("%d requests, %v", s.files.Load(), err)
	}
}

// TestSmallUploadThatIsNotTakenIsAStall has one end that a peer's window holds
// up, though it is in memory as a whole.
func TestSmallUploadThatIsNotTakenIsAStall(t *testing.T) {
	s := unstarted(t)
	s.EnableHTTP2 = true
	s.Config.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 16 << 10}
	s.file = func(_ int, _ http.ResponseWriter, r *http.Request) { s.hang(r) }
	s.StartTLS()
	c := newClient(t, s.URL, func(c *remote.Config) {
		c.CACert, c.ProgressTimeout, c.MaxTries = certificate(t, s), 100*time.Millisecond, 2
	})
	_, err := uploadBytes(c, strings.Repeat("x", 60<<10))
	if !errors.Is(err, remote.ErrUnavailable) || !strings.Contains(err.Error(), "no byte moved") || s.files.Load() != 2 {
		t.Errorf("%d requests, %v", s.files.Load(), err)
	}
}

// TestCancelEndsAtOnce whatever the request waits for.
func TestCancelEndsAtOnce(t *testing.T) {
	hang := func(s *script, _ http.ResponseWriter, r *http.Request) { s.hang(r) }
	for name, x := range map[string]struct {
		token, file func(*script, http.ResponseWriter, *http.Request)
	}{
		"the token":  {token: hang},
		"the answer": {file: hang},
		"the body":   {file: halves["stalled body"]},
		"the pause": {file: func(_ *script, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(503)
		}},
		"its next try":   {file: func(_ *script, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }},
		"a token's time": {token: func(_ *script, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }},
	} {
		for kind, op := range map[string]func(context.Context, *remote.Client) error{
			"upload": func(ctx context.Context, c *remote.Client) error {
				_, err := c.Upload(ctx, request(theContent))
				return err
			},
			"download": func(ctx context.Context, c *remote.Client) error { _, err := download(ctx, c); return err },
		} {
			t.Run(kind+", waiting for "+name, func(t *testing.T) { cancelled(t, x.token, x.file, op) })
		}
	}
}

func cancelled(t *testing.T, token, file func(*script, http.ResponseWriter, *http.Request), op func(context.Context, *remote.Client) error) {
	s := scripted(t)
	met := make(chan struct{}, 100)
	if token != nil {
		s.token = func(_ int, w http.ResponseWriter, r *http.Request) { met <- struct{}{}; token(s, w, r) }
	}
	if file != nil {
		s.file = func(_ int, w http.ResponseWriter, r *http.Request) { met <- struct{}{}; file(s, w, r) }
	}
	c := newClient(t, s.URL, func(c *remote.Config) { c.FirstPause = time.Minute })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	end := make(chan error, 1)
	go func() { end <- op(ctx, c) }()
	<-met
	cancel()
	select {
	case err := <-end:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(fusetest.Patience):
		t.Error("still waiting")
	}
}

// TestHostileNameStaysOnePart sends names that try to break out of the form.
func TestHostileNameStaysOnePart(t *testing.T) {
	for _, name := range []string{"a\r\n\r\n--x", `a"; name="b`, `back\slash"`, "тест 🎉.jpg", "\xff\xfe", ";", "a/b/c.txt", "\t"} {
		s := scripted(t)
		s.file = func(_ int, w http.ResponseWriter, r *http.Request) {
			form, err := r.MultipartReader()
			if err != nil {
				t.Error(err)
				return
			}
			part, err := form.NextRawPart()
			if err != nil || part.FormName() != "file" || len(part.Header) != 2 {
				t.Errorf("%q: %v, %v", name, part, err)
				return
			}
			if b, err := io.ReadAll(part); err != nil || string(b) != theContent {
				t.Errorf("%q: %q, %v", name, b, err)
			}
			fileAnswer(w, r)
		}
		u := request(theContent)
		u.Name = name
		_, err := newClient(t, s.URL).Upload(context.Background(), u)
		must(t, err)
	}
}

// TestUnrestrictedUploadSendsNoHeader, and takes each way of no secret.
func TestUnrestrictedUploadSendsNoHeader(t *testing.T) {
	for _, secret := range []string{"", `,"share-secret":null`, `,"share-secret":""`} {
		s := scripted(t)
		s.file = func(_ int, w http.ResponseWriter, r *http.Request) {
			if len(r.Header.Values("restrict-access")) > 0 {
				t.Error("restrict-access was sent")
			}
			io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, `{"entities":[{"uuid":%q,"type":"chatfile"%s,"file-metadata":{"a":1}}]}`, someFile, secret)
		}
		u := request(theContent)
		u.Restricted = false
		e, err := newClient(t, s.URL).Upload(context.Background(), u)
		if err != nil || e.Restricted() || e != (entity.Entity{UUID: someFile, Size: int64(len(theContent))}) {
			t.Errorf("%+v, %v", e, err)
		}
	}
}

// TestEarlyAnswerToALargeUploadIsSeen, though the service reads no more than
// its head: else a refusal would be repeated as a broken connection.
func TestEarlyAnswerToALargeUploadIsSeen(t *testing.T) {
	s := scripted(t)
	content := strings.Repeat("x", 10<<20)
	for range 5 {
		s.file = func(_ int, w http.ResponseWriter, _ *http.Request) { fail(w, 413, "file exceeding maximum limit", "") }
		if _, err := uploadBytes(newClient(t, s.URL), content); !errors.Is(err, remote.ErrTooLarge) {
			t.Errorf("got %v", err)
		}
		first := true
		s.file = func(_ int, w http.ResponseWriter, r *http.Request) {
			if first {
				first = false
				fail(w, 401, "auth_bad_access_token", "")
				return
			}
			fileAnswer(w, r)
		}
		if _, err := uploadBytes(newClient(t, s.URL), content); err != nil {
			t.Errorf("after a token that was refused: %v", err)
		}
	}
	if n := s.files.Load(); n != 15 {
		t.Errorf("%d requests, want 15", n)
	}
}
