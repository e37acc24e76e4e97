package remote

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"chatfs/internal/entity"
)

// roundTrip is what a request to a pretended service takes.
const roundTrip = 30 * time.Millisecond

// A pretended service lets through what allow does, on the bubble's clock.
type pretended struct {
	mu              sync.Mutex
	allow           func(now time.Time, r *http.Request) *http.Response // nil lets it through
	served, refused int
	tokens          bool // are refused too
}

func (p *pretended) answer(r *http.Request) *http.Response {
	if isToken(r) && !p.tokens {
		return say(200, okToken)
	}
	time.Sleep(roundTrip / 2)
	resp := p.decide(r)
	time.Sleep(roundTrip / 2)
	return resp
}

func (p *pretended) decide(r *http.Request) *http.Response {
	p.mu.Lock()
	defer p.mu.Unlock()
	if resp := p.allow(time.Now(), r); resp != nil {
		p.refused++
		return resp
	}
	p.served++
	if isToken(r) {
		return say(200, okToken)
	}
	return say(200, okUpload)
}

// bucket lets rate requests a second through, and as many at once after a rest.
func bucket(rate float64) func(time.Time, *http.Request) *http.Response {
	tokens, last := rate, time.Time{}
	return func(now time.Time, _ *http.Request) *http.Response {
		if !last.IsZero() {
			tokens = min(rate, tokens+rate*now.Sub(last).Seconds())
		}
		if last = now; tokens < 1 {
			return say(429, reached)
		}
		tokens--
		return nil
	}
}

// window lets rate requests through in each second of the clock.
func window(rate float64) func(time.Time, *http.Request) *http.Response {
	left, second := 0, time.Time{}
	return func(now time.Time, _ *http.Request) *http.Response {
		if s := now.Truncate(time.Second); s != second {
			left, second = int(rate), s
		}
		if left == 0 {
			return say(429, reached)
		}
		left--
		return nil
	}
}

// noise refuses each 17th request with 429 and each 23rd with 503, as a service
// does whose limit others use as well.
func noise() func(time.Time, *http.Request) *http.Response {
	n := 0
	return func(time.Time, *http.Request) *http.Response {
		switch n++; {
		case n%17 == 0:
			return say(429, reached)
		case n%23 == 0:
			return say(503, "<html>")
		}
		return nil
	}
}

// chance refuses one of ten.
func chance() func(time.Time, *http.Request) *http.Response {
	random := rand.New(rand.NewPCG(1, 2))
	return func(time.Time, *http.Request) *http.Response {
		if random.IntN(10) == 0 {
			return say(429, reached)
		}
		return nil
	}
}

// uploadAll sends n uploads, as many at once as the uploader does, and tells how
// long that took.
func (c *Client) uploadAll(t *testing.T, n int) time.Duration {
	t.Helper()
	began := time.Now()
	work := make(chan bool)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range work {
				try(t, c.testUpload())
			}
		})
	}
	for range n {
		work <- true
	}
	close(work)
	all.Wait()
	return time.Since(began)
}

// TestLimitIsFound sends to services of limits that it does not know: the time
// is at most a fifth above what the limit makes of it, and few requests are in
// vain.
func TestLimitIsFound(t *testing.T) {
	for name, kind := range map[string]func(float64) func(time.Time, *http.Request) *http.Response{"bucket": bucket, "window": window} {
		for _, x := range []struct {
			rate float64
			n    int
		}{{2, 12}, {2, 120}, {10, 50}, {10, 300}, {50, 1000}, {100, 1000}} {
			p := &pretended{allow: kind(x.rate)}
			inBubble(t, 0, p.answer, func(c *Client) {
				took := c.uploadAll(t, x.n)
				ideal := time.Duration(float64(x.n) / x.rate * float64(time.Second))
				t.Logf("%s of %g/s: %d requests and %d in vain in %s, %.2f of the limit's time", name, x.rate, x.n, p.refused, took, float64(took)/float64(ideal))
				if float64(took) > 1.2*float64(ideal) || p.refused > 25+x.n/5 {
					t.Errorf("%s of %g/s: %d requests and %d in vain in %s, want %s", name, x.rate, x.n, p.refused, took, ideal)
				}
			})
		}
	}
}

// TestRefusalsByChanceCostLittle is a service that refuses some whatever the
// rate.
func TestRefusalsByChanceCostLittle(t *testing.T) {
	for name, kind := range map[string]func() func(time.Time, *http.Request) *http.Response{"each 17th and 23rd": noise, "one of ten": chance} {
		for _, n := range []int{30, 300, 3000} {
			p := &pretended{allow: kind()}
			inBubble(t, 0, p.answer, func(c *Client) {
				took := c.uploadAll(t, n)
				ideal := max(time.Duration(n)*time.Second/100, 150*time.Millisecond)
				t.Logf("%s: %d requests and %d in vain in %s", name, n, p.refused, took)
				if took > 2*ideal {
					t.Errorf("%s: %d requests and %d in vain in %s, want at most twice %s", name, n, p.refused, took, ideal)
				}
			})
		}
	}
}

// TestLimitSharedWithOthers is a limit of which another user takes a half now
// and then: what is left is used, and all of it when he leaves.
func TestLimitSharedWithOthers(t *testing.T) {
	var theirs float64
	var last time.Time
	ours := bucket(40)
	p := &pretended{allow: func(now time.Time, r *http.Request) *http.Response {
		for !last.IsZero() && theirs > 0 && now.Sub(last) > time.Duration(float64(time.Second)/theirs) {
			last = last.Add(time.Duration(float64(time.Second) / theirs))
			ours(last, nil)
		}
		if theirs == 0 || last.IsZero() {
			last = now
		}
		return ours(now, r)
	}}
	inBubble(t, 0, p.answer, func(c *Client) {
		for _, part := range []float64{0, 20, 0} {
			p.mu.Lock()
			theirs = part
			p.mu.Unlock()
			took := c.uploadAll(t, 800)
			rate := 800 / took.Seconds()
			t.Logf("others take %g of 40/s: %.1f/s for us, %d in vain", part, rate, p.refused)
			if rate < 0.8*(40-part) {
				t.Errorf("others take %g of 40/s: %.1f/s for us", part, rate)
			}
		}
	})
}

// TestServiceThatRecovers refuses all for two minutes and then nothing: within
// some seconds the rate is what it was.
func TestServiceThatRecovers(t *testing.T) {
	var until time.Time
	p := &pretended{allow: func(now time.Time, _ *http.Request) *http.Response {
		if now.Before(until) {
			return say(503, "")
		}
		return nil
	}}
	inBubble(t, 0, p.answer, func(c *Client) {
		try(t, c.testUpload())
		until = time.Now().Add(2 * time.Minute)
		for time.Now().Before(until) {
			if err := c.testUpload(); err != nil && !errors.Is(err, ErrThrottled) {
				t.Error(err)
			}
		}
		t.Logf("%d in vain", p.refused)
		if p.refused > 100 {
			t.Errorf("%d requests in two minutes to a service that takes none", p.refused)
		}
		c.uploadAll(t, 100)
		if took := c.uploadAll(t, 500); took > 10*time.Second {
			t.Errorf("500 requests took %s after that", took)
		}
	})
}

// TestAskedPauses has a request of each kind be told to wait. Its kind waits as
// long as it was told, within bounds, or is refused at once; the others go on.
func TestAskedPauses(t *testing.T) {
	kinds := map[string]func(*Client) error{
		"upload":   (*Client).testUpload,
		"download": func(c *Client) error { return c.testDownload(context.Background()) },
	}
	for _, kind := range []string{"upload", "download", "token"} {
		for _, header := range []string{"7", "20", "36000"} {
			told := false
			allow := func(_ time.Time, r *http.Request) *http.Response {
				if told || kindOfRequest(r) != kind {
					return nil
				}
				told = true
				return say(429, reached, "Retry-After", header)
			}
			p := &pretended{allow: allow, tokens: kind == "token"}
			inBubble(t, 0, p.answer, func(c *Client) {
				var all sync.WaitGroup
				for other, op := range kinds {
					all.Go(func() { toldToWait(t, c, header, kind, other, op) })
				}
				all.Wait()
			})
		}
	}
}

func kindOfRequest(r *http.Request) string {
	switch {
	case isToken(r):
		return "token"
	case r.Method == http.MethodPost:
		return "upload"
	}
	return "download"
}

func toldToWait(t *testing.T, c *Client, header, told, kind string, op func(*Client) error) {
	asked, _ := time.ParseDuration(header + "s")
	for _, when := range []string{"first", "again"} {
		began := time.Now()
		err := op(c)
		took := time.Since(began)
		switch {
		case told != kind && told != "token", when == "again" && asked < c.Patience:
			if err != nil || took > 4*roundTrip {
				t.Errorf("a %s was told to wait %s: a %s took %s: %v", told, header, kind, took, err)
			}
		case asked < c.Patience:
			if err != nil || took < asked || took > asked+2*time.Second {
				t.Errorf("a %s was told to wait %s: a %s took %s: %v", told, header, kind, took, err)
			}
		case !errors.Is(err, ErrThrottled) || took > 4*roundTrip || when == "again" && told != "token" && !strings.Contains(err.Error(), "as it asked for 10h"):
			t.Errorf("a %s was told to wait %s: a %s ended after %s: %v", told, header, kind, took, err)
		}
	}
	if p := c.Pace().Pauses; asked > c.Patience && (len(p) != 1 || p[0].Asked != asked || time.Until(p[0].Until) > maxRetryAfter) {
		t.Errorf("a %s was told to wait %s: the pauses told are %+v", told, header, p)
	}
}

// TestTurnsGoByPriority has all kinds wait for a slow service: reads are first,
// then uploads, thumbnails and what nobody waits for, and none waits for ever.
func TestTurnsGoByPriority(t *testing.T) {
	p := &pretended{allow: bucket(10)}
	inBubble(t, 10, p.answer, func(c *Client) {
		ctx, stop := context.WithCancel(context.Background())
		var done [Prefetch + 1]atomic.Int32
		var all sync.WaitGroup
		keep := func(kind Priority, n int, op func() error) {
			for range n {
				all.Go(func() {
					for op() == nil {
						done[kind].Add(1)
					}
				})
			}
		}
		ahead := WithPriority(ctx, func() Priority { return Prefetch })
		keep(Prefetch, 8, func() error { return c.testDownload(ahead) })
		keep(Thumbnails, 8, func() error {
			b, err := c.Download(ctx, entity.UUID{1}, entity.Secret{}, true)
			if err == nil {
				b.Close()
			}
			return err
		})
		time.Sleep(10 * time.Second)
		thumbs, prefetch := done[Thumbnails].Load(), done[Prefetch].Load()
		if thumbs < 4*prefetch || prefetch == 0 {
			t.Errorf("%d thumbnails, %d ahead", thumbs, prefetch)
		}
		keep(Uploads, 8, func() error { return errors.Join(c.testUpload(), ctx.Err()) })
		time.Sleep(10 * time.Second)
		uploads := done[Uploads].Load()
		if thumbs = done[Thumbnails].Load() - thumbs; uploads < 4*thumbs {
			t.Errorf("%d uploads, %d thumbnails", uploads, thumbs)
		}
		for range 20 { // a reader, now and then
			began := time.Now()
			try(t, c.testDownload(ctx))
			if d := time.Since(began); d > 400*time.Millisecond {
				t.Errorf("a read took %s", d)
			}
			time.Sleep(time.Second)
		}
		for kind := range done {
			if Priority(kind) != Reads && done[kind].Load() == 0 {
				t.Errorf("priority %d: no turn in %d s", kind, 40)
			}
		}
		stop()
		all.Wait()
	})
}

// TestPriorityMayChange has a prefetch become a read while it waits.
func TestPriorityMayChange(t *testing.T) {
	p := &pretended{allow: bucket(1)}
	inBubble(t, 1, p.answer, func(c *Client) {
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { try(t, c.testUpload()) })
		}
		time.Sleep(time.Millisecond) // the first has its turn
		var wanted atomic.Bool
		all.Go(func() {
			began := time.Now()
			try(t, c.testDownload(WithPriority(context.Background(), func() Priority {
				if wanted.Load() {
					return Reads
				}
				return Prefetch
			})))
			if d := time.Since(began); d < 3*time.Second || d > 6*time.Second {
				t.Errorf("what is wanted after 3 s was there after %s", d)
			}
		})
		time.Sleep(3 * time.Second)
		wanted.Store(true)
		all.Wait()
	})
}

// TestCancelledTurnIsNotLost gives up requests that wait; the others get their
// turns.
func TestCancelledTurnIsNotLost(t *testing.T) {
	p := &pretended{allow: bucket(10)}
	inBubble(t, 10, p.answer, func(c *Client) {
		var all sync.WaitGroup
		for i := range 100 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*10*time.Millisecond)
			all.Go(func() {
				defer cancel()
				if err := c.testDownload(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if c.limits.since != (time.Time{}) || len(c.limits.waiting) != 0 {
			t.Errorf("%d wait still", len(c.limits.waiting))
		}
		if took := c.uploadAll(t, 20); took > 2500*time.Millisecond {
			t.Errorf("20 requests took %s afterwards", took)
		}
	})
}

// TestTokenWaitsAmongOthers has a request for a token and a download wait, until
// the turn of both comes.
func TestTokenWaitsAmongOthers(t *testing.T) {
	answer := func(r *http.Request) *http.Response {
		if isToken(r) {
			return say(200, okToken)
		}
		return say(200, okUpload)
	}
	for _, first := range []string{"token", "download"} {
		inBubble(t, 1, answer, func(c *Client) {
			try(t, c.testDownload(context.Background())) // the one that goes at once
			c.limits.mu.Lock()
			c.limits.pauses[asking].until = time.Now().Add(time.Second)
			c.limits.mu.Unlock()
			ops := []func() error{
				func() error { _, _, err := c.tokens.request(); return err },
				func() error { return c.testDownload(context.Background()) },
			}
			if first == "download" {
				slices.Reverse(ops)
			}
			var all sync.WaitGroup
			for _, op := range ops {
				all.Go(func() { try(t, op()) })
				synctest.Wait()
			}
			all.Wait()
		})
	}
}
