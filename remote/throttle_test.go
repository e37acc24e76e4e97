package remote

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"chatfs/internal/entity"
)

// An answerer stands for the network where a test's time is not the world's.
type answerer func(*http.Request) *http.Response

func (a answerer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	resp := a(r)
	resp.Request, resp.Proto, resp.ProtoMajor = r, "HTTP/1.1", 1
	return resp, r.Context().Err()
}

// oneByOne guards what an answerer counts.
func oneByOne(a answerer) answerer {
	var mu sync.Mutex
	return func(r *http.Request) *http.Response {
		mu.Lock()
		defer mu.Unlock()
		return a(r)
	}
}

func say(status int, body string, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	if len(header) > 0 {
		resp.Header.Set(header[0], header[1])
	}
	return resp
}

const (
	okToken  = `{"access_token":"YWMt1","expires_in":3600}`
	okUpload = `{"entities":[{"uuid":"aabb0000-0000-1000-8000-000000000001"}]}`
	reached  = `{"error":"reach_limit"}`
)

func isToken(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/token") }

// inBubble runs a test on a clock of its own, with a client whose requests are
// answered by a.
func inBubble(t *testing.T, rps float64, a answerer, test func(*Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := logrus.New()
		log.SetOutput(io.Discard)
		c, err := New(Config{Base: "https://chat.example/org/app", ClientID: "id", MaxRPS: rps, Log: log.WithField("", "")})
		if err != nil {
			t.Fatal(err)
		}
		c.http.Transport = a
		test(c)
		c.Close()
	})
}

func (c *Client) testDownload(ctx context.Context) error {
	b, err := c.Download(ctx, entity.UUID{1}, entity.Secret{}, false)
	if err == nil {
		io.Copy(io.Discard, b)
		b.Close()
	}
	return err
}

func (c *Client) testUpload() error {
	_, err := c.Upload(context.Background(), UploadRequest{Name: "a", Size: 1,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }})
	return err
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// TestRefusalsTogetherCountOnce has 32 requests that were under way together
// refused together: the rate falls once, to half of what was sent.
func TestRefusalsTogetherCountOnce(t *testing.T) {
	refusals := make(chan bool, 32)
	for range 32 {
		refusals <- true
	}
	a := func(r *http.Request) *http.Response {
		if isToken(r) {
			return say(200, okToken)
		}
		select {
		case <-refusals:
			time.Sleep(10 * time.Millisecond) // until all 32 are under way
			return say(429, reached)
		default:
			return say(200, "x")
		}
	}
	inBubble(t, 1e6, a, func(c *Client) {
		began := time.Now()
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() { try(t, c.testDownload(context.Background())) })
		}
		all.Wait()
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("32 requests that were refused once took %s", d)
		}
		if p := c.limits.pace; p.falls != 1 || p.rate < 16 {
			t.Errorf("the rate fell %d times, to %g/s", p.falls, p.rate)
		}
	})
}

// TestRefusalsNowAndThenDoNotAddUp has 32 requests under way all the time, of
// which each tenth is refused: as long as the others work, a pause is short.
func TestRefusalsNowAndThenDoNotAddUp(t *testing.T) {
	var n, refused atomic.Int32
	a := func(r *http.Request) *http.Response {
		if isToken(r) {
			return say(200, okToken)
		}
		i := n.Add(1)
		time.Sleep(time.Duration(i%7+1) * 10 * time.Millisecond)
		if i%10 == 0 {
			refused.Add(1)
			return say(429, reached)
		}
		return say(200, "x")
	}
	inBubble(t, -1, a, func(c *Client) {
		began := time.Now()
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() {
				for range 30 {
					try(t, c.testDownload(context.Background()))
				}
			})
		}
		all.Wait()
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("with %d refusals it took %s", refused.Load(), d)
		}
	})
}

// TestRateFallsAndRises sends to a service that takes 10 requests a second,
// and that much only.
func TestRateFallsAndRises(t *testing.T) {
	const takes = 10
	var recent []time.Time
	limited := true
	served, refused := 0, 0
	a := func(r *http.Request) *http.Response {
		now := time.Now()
		for len(recent) > 0 && now.Sub(recent[0]) >= time.Second {
			recent = recent[1:]
		}
		if isToken(r) {
			return say(200, okToken)
		}
		if limited && len(recent) >= takes {
			refused++
			return say(429, reached)
		}
		recent = append(recent, now)
		served++
		return say(200, "x")
	}
	inBubble(t, 50, oneByOne(a), func(c *Client) {
		began := time.Now()
		for range 600 {
			try(t, c.testDownload(context.Background()))
		}
		took := time.Since(began)
		t.Logf("%d served, %d refused in %s", served, refused, took)
		if served != 600 || refused > 100 || took > 3*600/takes*time.Second {
			t.Errorf("%d served, %d refused in %s at %d/s", served, refused, took, takes)
		}
		limited = false
		for range 200 {
			try(t, c.testDownload(context.Background()))
		}
		if r := c.limits.pace.rate; r < 49 {
			t.Errorf("the rate rose to %g/s, want 50 again", r)
		}
	})
}

// TestSteadyRate is 100 requests a second at most, whatever the callers want.
func TestSteadyRate(t *testing.T) {
	a := func(r *http.Request) *http.Response {
		if isToken(r) {
			return say(200, okToken)
		}
		return say(200, "x")
	}
	inBubble(t, 0, a, func(c *Client) {
		began := time.Now()
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() { try(t, c.testDownload(context.Background())) })
		}
		all.Wait()
		if rate := 500 / time.Since(began).Seconds(); rate > DefaultRPS*1.03 || rate < DefaultRPS*0.9 {
			t.Errorf("%g requests a second, want %d", rate, DefaultRPS)
		}
	})
}

// TestServiceThatAlwaysRefusesIsGivenUp within a bound, and with its reason.
func TestServiceThatAlwaysRefusesIsGivenUp(t *testing.T) {
	n := 0
	a := func(r *http.Request) *http.Response {
		if isToken(r) {
			return say(200, okToken)
		}
		n++
		return say(429, reached)
	}
	inBubble(t, -1, oneByOne(a), func(c *Client) {
		began := time.Now()
		if err := c.testUpload(); !errors.Is(err, ErrThrottled) || n < 3 || n > 20 || time.Since(began) > c.Patience {
			t.Errorf("%d requests within %s, then %v", n, time.Since(began), err)
		}
		began = time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := c.testDownload(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Second {
			t.Errorf("within the pause, after %s: %v", time.Since(began), err)
		}
	})
}

// TestRenewalKeepsNobodyWaiting asks for a token at half life, once, while
// requests go on with the one that works.
func TestRenewalKeepsNobodyWaiting(t *testing.T) {
	var tokens, first, second atomic.Int32
	var answers chan *http.Response // of the bubble
	a := func(r *http.Request) *http.Response {
		if isToken(r) {
			tokens.Add(1)
			return <-answers
		}
		if r.Header.Get("Authorization") == "Bearer YWMt1" {
			first.Add(1)
		} else {
			second.Add(1)
		}
		return say(200, "x")
	}
	inBubble(t, -1, a, func(c *Client) {
		answers = make(chan *http.Response, 2)
		answers <- say(200, okToken)
		try(t, c.testDownload(context.Background()))
		time.Sleep(29 * time.Minute)
		try(t, c.testDownload(context.Background()))
		if tokens.Load() != 1 {
			t.Errorf("%d tokens before half life", tokens.Load())
		}
		time.Sleep(2 * time.Minute)
		began := time.Now()
		for range 100 {
			try(t, c.testDownload(context.Background()))
		}
		synctest.Wait()
		if tokens.Load() != 2 || first.Load() != 102 || time.Since(began) > 0 {
			t.Errorf("%d tokens, %d requests with the first, after %s", tokens.Load(), first.Load(), time.Since(began))
		}
		answers <- say(200, strings.Replace(okToken, "YWMt1", "YWMt2", 1))
		synctest.Wait()
		try(t, c.testDownload(context.Background()))
		if second.Load() != 1 || tokens.Load() != 2 {
			t.Errorf("%d tokens, %d requests with the second", tokens.Load(), second.Load())
		}
	})
}

// TestFailingTokenRequestsDoNotStorm counts what many callers cost in an hour.
func TestFailingTokenRequestsDoNotStorm(t *testing.T) {
	for name, x := range map[string]struct {
		answer func() *http.Response
		most   int
	}{
		"500":         {func() *http.Response { return say(500, "") }, 150},
		"throttled":   {func() *http.Response { return say(429, reached) }, 150},
		"malformed":   {func() *http.Response { return say(200, "<html>") }, 150},
		"credentials": {func() *http.Response { return say(400, `{"error":"invalid_grant"}`) }, 150},
	} {
		tokens := 0
		a := func(r *http.Request) *http.Response { tokens++; return x.answer() }
		inBubble(t, -1, oneByOne(a), func(c *Client) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					for ctx.Err() == nil {
						if c.testDownload(ctx) == nil {
							t.Error("a download without a token")
						}
						sleep(ctx, time.Second)
					}
				})
			}
			all.Wait()
		})
		if tokens > x.most {
			t.Errorf("%s: %d requests for tokens in an hour", name, tokens)
		}
	}
}

// TestFailedRenewalIsNoFailure goes on with the old token.
func TestFailedRenewalIsNoFailure(t *testing.T) {
	tokens := 0
	a := func(r *http.Request) *http.Response {
		if !isToken(r) {
			return say(200, "x")
		}
		if tokens++; tokens > 1 {
			return say(500, "")
		}
		return say(200, okToken)
	}
	inBubble(t, -1, oneByOne(a), func(c *Client) {
		for range 120 {
			try(t, c.testDownload(context.Background()))
			time.Sleep(time.Minute)
		}
	})
	if tokens < 20 || tokens > 95 {
		t.Errorf("%d requests for tokens in two hours", tokens)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "-3": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "99999999": 99999999 * time.Second, "9999999999999999": math.MaxInt64 / time.Second * time.Second,
		"99999999999999999999": 0, "1.5": 0, "soon": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT":   10 * time.Second,
		"Friday, 02-Jan-26 03:04:15 GMT":  10 * time.Second,
		"Fri Jan  2 03:04:15 2026":        10 * time.Second,
		"Fri, 02 Jan 2026 03:04:00 GMT":   0,
		"Fri, 02 Jan 2027 03:04:05 GMT":   365 * 24 * time.Hour,
		"Fri, 02 Jan 2026 03:04:15 +0100": 0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}
