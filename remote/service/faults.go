package service

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
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
	on    string // token, upload, download, or of these content or thumbnail; "" is each
	rate  float64
	left  int
	delay time.Duration // of latency
}

// faultScopes are the requests that a fault may be kept to.
var faultScopes = []string{"token", "upload", "download", "thumbnail", "message", "history"}

// FaultKinds are the faults there are.
var FaultKinds = []string{
	"throttle",    // 429 reach_limit
	"plan",        // 429 resource_limited
	"unavailable", // 503
	"error",       // 500
	"html",        // 502 with a page of HTML
	"reset",       // the connection is reset
	"stall",       // the answer does not come
	"cut",         // the answer's body ends early
	"hang",        // the answer's body stops in its middle
	"length",      // the answer is shorter than its Content-Length
	"expire",      // 401 auth_bad_access_token
	"redirect",    // 302 to another port, which refuses credentials
	"latency",     // the answer comes late: latency=30ms, latency=2s@5%

	// Of downloads of contents; of thumbnails where they are kept to those:
	"page",   // 200 with a page of HTML, as long as the content
	"gzip",   // the content gzip-encoded
	"flip",   // one of its bits is another
	"swap",   // another file's bytes, of the same length where there is such a file
	"longer", // more bytes than it has, and no Content-Length
}

// ParseFaults reads a list such as "throttle=5%,upload.reset=3,latency=30ms":
// each kind with a rate in percent, or how many of the first requests it
// strikes; before it, perhaps, which requests. Of latency it is a time, perhaps
// with @ and a rate or number. The seed makes a run repeatable.
func ParseFaults(list string, seed uint64) (*Faults, error) {
	f := &Faults{random: rand.New(rand.NewPCG(seed, 0)), counts: make(map[string]int)}
	return f, f.Become(list)
}

// Become puts the faults of a list in the place of those that there are. What
// was counted stays.
func (f *Faults) Become(list string) error {
	var points []*faultPoint
	for _, item := range strings.Split(list, ",") {
		p, err := parseFault(strings.TrimSpace(item))
		if err != nil {
			return err
		}
		points = append(points, p)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.points = points
	return nil
}

func parseFault(item string) (*faultPoint, error) {
	name, amount, ok := strings.Cut(item, "=")
	p := &faultPoint{kind: name, rate: 1, left: -1}
	if on, kind, scoped := strings.Cut(name, "."); scoped {
		p.on, p.kind = on, kind
	}
	known := slices.Contains(FaultKinds, p.kind) && (p.on == "" || slices.Contains(faultScopes, p.on))
	if wrongBytes[p.kind] != nil {
		known = known && (p.on == "" || p.on == "download" || p.on == "thumbnail")
		if p.on != "thumbnail" {
			p.on = "content"
		}
	}
	if !ok || !known {
		return nil, fmt.Errorf("fault %q: not of the form [%s.]KIND=AMOUNT with a kind of %s", item, strings.Join(faultScopes, ".|"), strings.Join(FaultKinds, ", "))
	}
	var err error
	if p.kind == "latency" {
		delay, often, some := strings.Cut(amount, "@")
		if p.delay, err = time.ParseDuration(delay); err == nil && some {
			err = p.often(often)
		}
	} else {
		err = p.often(amount)
	}
	if err != nil {
		return nil, fmt.Errorf("fault %q: %w", item, err)
	}
	return p, nil
}

// often reads a rate, or a number of requests.
func (p *faultPoint) often(amount string) (err error) {
	if percent, isRate := strings.CutSuffix(amount, "%"); isRate {
		p.rate, err = strconv.ParseFloat(percent, 64)
		p.rate /= 100
	} else if p.left, err = strconv.Atoi(amount); err == nil && p.left < 0 {
		err = errors.New("less than none")
	}
	return err
}

// Counts tells how often each kind has struck.
func (f *Faults) Counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}

// intN draws a number below n.
func (f *Faults) intN(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.random.IntN(n)
}

// strike draws which fault, if any, a request meets, and its latency. A download
// is of a content or thumbnail.
func (f *Faults) strike(on, of string) (kind string, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.points {
		if p.on != "" && p.on != on && p.on != of || p.left == 0 {
			continue
		}
		if kind != "" && p.kind != "latency" || f.random.Float64() >= p.rate {
			continue
		}
		if p.left > 0 {
			p.left--
		}
		f.counts[p.kind]++
		if p.kind == "latency" {
			delay += p.delay
		} else {
			kind = p.kind
		}
	}
	return kind, delay
}

// faulty has a handler meet its faults.
func (s *Service) faulty(on string, h handler) handler {
	if s.Faults == nil {
		return h
	}
	return func(w http.ResponseWriter, r *http.Request) *failure {
		kind, delay := s.Faults.strike(on, wanted(on, r))
		if delay > 0 {
			select {
			case <-time.After(delay):
			case <-r.Context().Done():
			case <-s.ctx.Done():
			}
		}
		return s.misbehave(kind, w, r, h)
	}
}

// wanted tells what a download is of.
func wanted(on string, r *http.Request) string {
	switch {
	case on != "download":
		return ""
	case wantsThumbnail(r):
		return "thumbnail"
	}
	return "content"
}

// refusals are the faults that are an answer of the API.
var refusals = map[string]*failure{
	"throttle":    errReachLimit,
	"plan":        errPlan,
	"unavailable": fail(http.StatusServiceUnavailable, "service_unavailable", "on purpose"),
	"error":       fail(http.StatusInternalServerError, "internal_error", "on purpose"),
	"expire":      errBadToken,
}

func (s *Service) misbehave(kind string, w http.ResponseWriter, r *http.Request, h handler) *failure {
	if f := refusals[kind]; f != nil {
		return f
	}
	if wrongBytes[kind] != nil {
		return s.wrong(kind, w, r, h)
	}
	switch kind {
	case "html":
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "<html><body><h1>502 Bad Gateway</h1></body></html>")
		return nil
	case "reset":
		reset(w)
		return nil
	case "stall":
		io.Copy(io.Discard, r.Body) // only then the client's end is noticed
		s.silence(r)
	case "cut":
		return h(&cutWriter{ResponseWriter: w, end: func() {}}, r)
	case "hang":
		return h(&cutWriter{ResponseWriter: w, end: func() { s.silence(r) }}, r)
	case "length":
		return h(&longWriter{w}, r)
	case "redirect":
		return s.redirect(w, r)
	}
	return h(w, r)
}

// silence lasts until the client leaves, and then ends the connection.
func (s *Service) silence(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.ctx.Done():
	}
	panic(http.ErrAbortHandler)
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

// cutWriter sends half of the body's Content-Length, then end, and then ends
// the connection.
type cutWriter struct {
	http.ResponseWriter
	end  func()
	left int
}

// WriteHeader learns the length.
func (c *cutWriter) WriteHeader(status int) {
	n, _ := strconv.Atoi(c.Header().Get("Content-Length"))
	c.left = n / 2
	c.ResponseWriter.WriteHeader(status)
}

// Write sends what may be sent.
func (c *cutWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left <= 0 {
		http.NewResponseController(c.ResponseWriter).Flush()
		c.end()
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

// redirect checks a download's request here and sends the client to the other
// port. Other requests are sent there as they are, which no client should
// follow.
func (s *Service) redirect(w http.ResponseWriter, r *http.Request) *failure {
	if r.Method != http.MethodGet || r.PathValue("uuid") == "" {
		http.Redirect(w, r, s.other+r.URL.Path, http.StatusTemporaryRedirect)
		return nil
	}
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
	if r.Header.Get("Authorization") != "" || header(r, "share-secret") != "" || r.Method != http.MethodGet {
		s.count(func(c *Counts) { c.Leaks++ })
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
		var bytes content
		if bytes, err = s.content(r.Context(), u, record, wantsThumbnail(r)); err == nil {
			defer bytes.Close()
			s.send(w, r, u, bytes)
			return
		}
	}
	http.Error(w, "no such object", http.StatusNotFound)
}
