package remote

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// pauses are shared by all requests of a Client: when the service asks one to
// slow down, it means all.
type pauses struct {
	mu      sync.Mutex
	until   time.Time
	strikes int // refusals since the last success
}

// Bounds of the pause after a refusal. The service documents no Retry-After.
const (
	firstPause = 500 * time.Millisecond
	maxPause   = 60 * time.Second
	// A longer Retry-After is not believed: the next request asks again.
	maxRetryAfter = 5 * time.Minute
)

// throttle paces the requests of one direction.
type throttle struct {
	shared *pauses

	mu      sync.Mutex
	limiter *rate.Limiter // nil: no limit
	most    rate.Limit
}

func newThrottle(rps float64, shared *pauses) *throttle {
	t := &throttle{shared: shared, most: rate.Limit(rps)}
	if rps > 0 {
		t.limiter = rate.NewLimiter(t.most, max(int(rps/10), 1))
	}
	return t
}

// wait returns when a request may be sent.
func (t *throttle) wait(ctx context.Context) error {
	for {
		t.shared.mu.Lock()
		d := time.Until(t.shared.until)
		t.shared.mu.Unlock()
		if d <= 0 {
			break
		}
		if err := sleep(ctx, d); err != nil {
			return err
		}
	}
	if t.limiter == nil {
		return ctx.Err()
	}
	// Wait fails at once where ctx would end before its turn; then it is
	// ctx's end that the caller waits for.
	if err := t.limiter.Wait(ctx); err != nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// slowDown pauses all requests, for as long as the service asks or else with
// jittered exponential back-off, and halves the rate.
func (t *throttle) slowDown(asked time.Duration) {
	s := t.shared
	s.mu.Lock()
	s.strikes++
	d := asked
	if d == 0 {
		d = backOff(firstPause, s.strikes)
	}
	if until := time.Now().Add(d); until.After(s.until) {
		s.until = until
	}
	s.mu.Unlock()
	t.scale(0.5)
}

// worked notes a success: the rate rises again, slowly.
func (t *throttle) worked() {
	t.shared.mu.Lock()
	t.shared.strikes = 0
	t.shared.mu.Unlock()
	t.scale(1.02)
}

func (t *throttle) scale(factor float64) {
	if t.limiter == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	limit := min(max(t.limiter.Limit()*rate.Limit(factor), 1), t.most)
	if limit != t.limiter.Limit() {
		t.limiter.SetLimit(limit)
	}
}

// backOff is exponential from first on, with jitter between half and all of
// it, and a cap.
func backOff(first time.Duration, try int) time.Duration {
	d := min(first<<min(try-1, 16), maxPause)
	return d/2 + rand.N(d/2+1)
}

// retryAfter reads the header of that name, seconds or a date (RFC 9110,
// 10.2.3), within bounds; 0 where it says nothing usable.
func retryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	var d time.Duration
	if seconds, err := strconv.ParseInt(header, 10, 64); err == nil {
		d = time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
