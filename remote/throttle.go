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
	first time.Duration // after one refusal

	mu       sync.Mutex
	until    time.Time
	strikes  int // refusals since the last success
	refusals int // ever; those of requests that were sent at the same time count once
}

// Bounds of the pauses. The service documents no Retry-After.
const (
	maxPause = 60 * time.Second
	// A longer Retry-After is not believed: the next request asks again.
	maxRetryAfter = 5 * time.Minute
)

// throttle paces the requests of one direction.
type throttle struct {
	shared  *pauses
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

// wait returns when a request may be sent, and how many refusals there were
// until then.
func (t *throttle) wait(ctx context.Context) (since int, err error) {
	for paced := t.limiter == nil; ; {
		t.shared.mu.Lock()
		d, since := time.Until(t.shared.until), t.shared.refusals
		t.shared.mu.Unlock()
		switch {
		case d > 0:
			err = sleep(ctx, d)
		case paced:
			return since, ctx.Err()
		default: // and look again: a pause may have begun meanwhile
			err = t.pace(ctx)
			paced = true
		}
		if err != nil {
			return 0, err
		}
	}
}

// pace waits for the request's turn.
func (t *throttle) pace(ctx context.Context) error {
	// Wait fails at once where ctx would end before its turn; then it is
	// ctx's end that the caller waits for.
	if err := t.limiter.Wait(ctx); err != nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// slowDown pauses all requests, for as long as the service asks or else with
// jittered exponential back-off, and halves the rate. Many requests that were
// under way together are refused together: what the first of them did, the
// others leave as it is, and 0 is answered.
func (t *throttle) slowDown(since int, asked time.Duration) (pause time.Duration) {
	s := t.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if since == s.refusals {
		s.refusals++
		s.strikes++
		pause = backOff(s.first, s.strikes)
		t.scale(0.5)
	}
	if asked > 0 {
		pause = asked
	}
	until := time.Now().Add(pause)
	if !until.After(s.until) {
		return 0
	}
	s.until = until
	return pause
}

// worked notes a success: the rate rises again, slowly. A request that was
// sent before a refusal tells nothing of what the service takes since.
func (t *throttle) worked(since int) {
	t.shared.mu.Lock()
	defer t.shared.mu.Unlock()
	if since == t.shared.refusals {
		t.shared.strikes = 0
		t.scale(1.02)
	}
}

// scale changes the rate, within its bounds. The caller holds shared.mu.
func (t *throttle) scale(factor float64) {
	if t.limiter == nil {
		return
	}
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
