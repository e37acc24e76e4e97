package service

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"chatfs/internal/entity"
)

// Faults are what goes wrong on purpose, for tests.
type Faults struct {
	mu     sync.Mutex
	random *rand.Rand
	points []*faultPoint
	counts map[string]int
}

// A faultPoint strikes by rate, or a number of times.
type faultPoint struct {
	kind  string
	on    string // token, upload, download; "" is each
	rate  float64
	left  int
	delay time.Duration // of latency
}

// FaultKinds are the faults there are.
var FaultKinds = []string{
	"throttle",    // 429 reach_limit
	"unavailable", // 503
	"error",       // 500
	"html",        // 502 with a page of HTML
	"reset",       // the connection is reset
	"stall",       // the answer does not come
	"cut",         // the answer's body ends early
	"length",      // the answer is longer than its Content-Length
	"expire",      // 401 auth_bad_access_token
	"redirect",    // 302 to another port, which refuses credentials
	"latency",     // the answer comes late: latency=30ms
}

// ParseFaults reads a list such as "throttle=5%,upload.reset=3,latency=30ms":
// each kind with a rate in percent, or how many of the first requests it
// strikes; before it, perhaps, which requests. The seed makes a run
// repeatable.
func ParseFaults(list string, seed uint64) (*Faults, error) {
	f := &Faults{random: rand.New(rand.NewPCG(seed, 0)), counts: make(map[string]int)}
	for _, item := range strings.Split(list, ",") {
		p, err := parseFault(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		f.points = append(f.points, p)
	}
	return f, nil
}

func parseFault(item string) (*faultPoint, error) {
	name, amount, ok := strings.Cut(item, "=")
	p := &faultPoint{kind: name, rate: 1, left: -1}
	if on, kind, scoped := strings.Cut(name, "."); scoped {
		p.on, p.kind = on, kind
	}
	known := false
	for _, k := range FaultKinds {
		known = known || k == p.kind
	}
	if !ok || !known || p.on != "" && p.on != "token" && p.on != "upload" && p.on != "download" {
		return nil, fmt.Errorf("fault %q: not of the form [token.|upload.|download.]KIND=AMOUNT with a kind of %s", item, strings.Join(FaultKinds, ", "))
	}
	var err error
	switch percent, isRate := strings.CutSuffix(amount, "%"); {
	case p.kind == "latency":
		p.delay, err = time.ParseDuration(amount)
	case isRate:
		p.rate, err = strconv.ParseFloat(percent, 64)
		p.rate /= 100
	default:
		p.left, err = strconv.Atoi(amount)
	}
	if err != nil {
		return nil, fmt.Errorf("fault %q: %w", item, err)
	}
	return p, nil
}

// Counts tells how often each kind has struck.
func (f *Faults) Counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(map[string]int)
	for k, n := range f.counts {
		c[k] = n
	}
	return c
}

// strike draws which fault, if any, a request meets, and its latency.
func (f *Faults) strike(on string) (kind string, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.points {
		if p.on != "" && p.on != on || p.left == 0 {
			continue
		}
		if p.kind == "latency" {
			delay += p.delay
			continue
		}
		if kind != "" || f.random.Float64() >= p.rate {
			continue
		}
		if p.left > 0 {
			p.left--
		}
		kind = p.kind
		f.counts[kind]++
	}
	return kind, delay
}

// faulty has a handler meet its faults.
func (s *Service) faulty(on string, h handler) handler {
	if s.Faults == nil {
		return h
	}
	return func(w http.ResponseWriter, r *http.Request) *failure {
		kind, delay := s.Faults.strike(on)
		if delay > 0 {
			select {
			case <-time.After(delay):
			case <-r.Context().Done():
			}
		}
		return s.misbehave(kind, w, r, h)
	}
}

func (s *Service) misbehave(kind string, w http.ResponseWriter, r *http.Request, h handler) *failure {
	switch kind {
	case "throttle":
		return errReachLimit
	case "unavailable":
		return fail(http.StatusServiceUnavailable, "service_unavailable", "on purpose")
	case "error":
		return fail(http.StatusInternalServerError, "internal_error", "on purpose")
	case "expire":
		return errBadToken
	case "html":
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "<html><body><h1>502 Bad Gateway</h1></body></html>")
		return nil
	case "reset":
		reset(w)
		return nil
	case "stall":
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case "cut":
		return h(&cutWriter{ResponseWriter: w, left: 100}, r)
	case "length":
		return h(&longWriter{w}, r)
	case "redirect":
		if r.Method == http.MethodGet {
			return s.redirect(w, r)
		}
	}
	return h(w, r)
}

// reset closes the connection so that the client sees a reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// cutWriter ends the connection after some bytes of the body.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left <= 0 {
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// Unwrap is for http.ResponseController.
func (c *cutWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// longWriter tells a Content-Length that is too large by 10 bytes.
type longWriter struct{ http.ResponseWriter }

func (l *longWriter) WriteHeader(status int) {
	if n, err := strconv.Atoi(l.Header().Get("Content-Length")); err == nil {
		l.Header().Set("Content-Length", strconv.Itoa(n+10))
	}
	l.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (l *longWriter) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// redirect checks the request here and sends the client to the other port.
func (s *Service) redirect(w http.ResponseWriter, r *http.Request) *failure {
	if _, f := s.authorize(r); f != nil {
		return f
	}
	u, _, f := s.find(r)
	if f != nil {
		return f
	}
	address := s.other + "/" + u.String()
	if wantsThumbnail(r) {
		address += "?thumbnail=true"
	}
	http.Redirect(w, r, address, http.StatusFound)
	return nil
}

// objectStore serves the other port: bytes for whoever has the address, but
// for none that shows a credential.
func (s *Service) objectStore(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" || header(r, "share-secret") != "" {
		http.Error(w, "credentials were carried to another host", http.StatusBadRequest)
		return
	}
	s.count(func(c *Counts) { c.Downloads++ })
	var record fileRecord
	u, err := entity.ParseUUID(strings.TrimPrefix(r.URL.Path, "/"))
	if err == nil {
		_, err = s.store.get(bucketFiles, u[:], &record)
	}
	if err == nil {
		var content io.ReadSeekCloser
		if content, err = s.content(u, record, wantsThumbnail(r)); err == nil {
			defer content.Close()
			s.send(w, r, u, content)
			return
		}
	}
	http.Error(w, "no such object", http.StatusNotFound)
}
