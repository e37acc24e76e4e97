package remote

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Priority orders the requests that wait for their turn.
type Priority int

// The priorities, the first first.
const (
	Reads Priority = iota // what a program waits for
	Uploads
	Thumbnails
	Prefetch // and other work that nobody waits for
)

type priorityKey struct{}

// WithPriority has downloads on ctx go by what of tells when a turn is given:
// it may change while they wait. of is called with locks held, and must not
// block.
func WithPriority(ctx context.Context, of func() Priority) context.Context {
	return context.WithValue(ctx, priorityKey{}, of)
}

// priorityOf is what ctx says, else p.
func priorityOf(ctx context.Context, p Priority) func() Priority {
	if of, ok := ctx.Value(priorityKey{}).(func() Priority); ok {
		return of
	}
	return func() Priority { return p }
}

// A direction is what the service's limits, and the pauses that it asks for,
// are of.
type direction int

const (
	up direction = iota
	down
	asking // for tokens
)

func (d direction) String() string {
	return [...]string{"uploads", "downloads", "requests for tokens"}[d]
}

// Bounds of the pauses. The service documents no Retry-After.
const (
	maxPause = 60 * time.Second
	// A longer Retry-After is not believed: the next request asks again.
	maxRetryAfter = 5 * time.Minute
)

// fairTurn is which turn is given to the request that waits longest, whatever
// its priority, so that none waits for ever.
const fairTurn = 8

// A throttle paces all requests of a Client but those for tokens, by one rate
// for all, and holds each direction while the service has asked for a pause.
type throttle struct {
	patience time.Duration // a pause that takes longer fails its requests at once

	mu      sync.Mutex
	pace    pace
	tokens  float64 // requests that may be sent now
	filled  time.Time
	waiting []*waiter // in the order they came
	turns   int
	timer   *time.Timer // of the next turn
	pauses  [asking + 1]pause

	since   time.Time // requests wait; zero: none does
	held    time.Duration
	refused int64
}

// A waiter is a request that waits for its turn.
type waiter struct {
	of       direction
	priority func() Priority
	began    time.Time
	turn     chan struct{} // closed when it may be sent, or err is set
	falls    int
	err      error
}

// A pause is what the service asked for.
type pause struct {
	until time.Time
	asked time.Duration // which may be more than is believed
}

func newThrottle(most float64, patience time.Duration) *throttle {
	if most <= 0 {
		most = math.Inf(1)
	}
	t := &throttle{pace: newPace(most), patience: patience}
	t.tokens = t.burst()
	return t
}

// burst is what may be sent at once: a tenth of a second's requests.
func (t *throttle) burst() float64 { return max(t.pace.rate/10, 1) }

// wait returns when a request may be sent, with what its answer is noted with.
// It fails at once where a pause outlasts the patience: a download's counts
// from when it began.
func (t *throttle) wait(ctx context.Context, d direction, priority func() Priority, began time.Time) (falls int, err error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	w := &waiter{of: d, priority: priority, began: began, turn: make(chan struct{})}
	t.mu.Lock()
	t.enter(ctx, w)
	t.mu.Unlock()
	select {
	case <-w.turn:
		return w.falls, w.err
	case <-ctx.Done():
		t.leave(w)
		return 0, ctx.Err()
	}
}

// enter puts w among those who wait. The caller holds mu.
func (t *throttle) enter(ctx context.Context, w *waiter) {
	now := time.Now()
	end, bounded := ctx.Deadline()
	until := t.pauses[w.of].until
	if t.outlasts(until, w, now) || bounded && until.After(end) {
		w.end(t.paused(w.of))
		return
	}
	if len(t.waiting) == 0 {
		t.since = now
	}
	t.waiting = append(t.waiting, w)
	t.dispatch(now)
}

// leave takes w away, whose caller waits no more.
func (t *throttle) leave(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := len(t.waiting)
	t.remove(w, time.Now())
	if len(t.waiting) == before && w.err == nil && w.of != asking { // its turn came too late
		t.tokens++
	}
	t.dispatch(time.Now())
}

// remove takes w out of the queue. The caller holds mu.
func (t *throttle) remove(w *waiter, now time.Time) {
	t.waiting = slices.DeleteFunc(t.waiting, func(o *waiter) bool { return o == w })
	if len(t.waiting) == 0 && !t.since.IsZero() {
		t.held += now.Sub(t.since)
		t.since = time.Time{}
	}
}

// end gives w its turn, or tells it why it gets none.
func (w *waiter) end(err error) {
	w.err = err
	close(w.turn)
}

// dispatch gives turns while there are some, and sets the timer for the next.
// The caller holds mu.
func (t *throttle) dispatch(now time.Time) {
	t.fill(now)
	for {
		w, wait := t.next(now)
		if w == nil {
			t.wake(wait)
			return
		}
		if w.of != asking {
			t.tokens--
			t.turns++
			w.falls = t.pace.request(now)
		}
		t.remove(w, now)
		w.end(nil)
	}
}

// fill counts what may be sent by now. The caller holds mu.
func (t *throttle) fill(now time.Time) {
	if math.IsInf(t.pace.rate, 1) {
		t.tokens = 1
	} else if !t.filled.IsZero() {
		t.tokens = min(t.tokens+t.pace.rate*now.Sub(t.filled).Seconds(), t.burst())
	}
	t.filled = now
}

// next tells whose turn it is, or how long to wait until it is somebody's; 0
// if nobody waits. The caller holds mu.
func (t *throttle) next(now time.Time) (first *waiter, wait time.Duration) {
	for _, w := range t.waiting {
		after := t.pauses[w.of].until.Sub(now)
		if after <= 0 && w.of != asking && t.tokens < 1 {
			t.pace.wanted = true
			after = time.Duration((1-t.tokens)/t.pace.rate*float64(time.Second)) + 1
		}
		switch {
		case after > 0 && (wait == 0 || after < wait):
			wait = after
		case after > 0:
		case first == nil:
			first = w
		case t.turns%fairTurn != 0 && w.priority() < first.priority():
			first = w
		}
	}
	return first, wait
}

// wake has the turns looked at again. The caller holds mu.
func (t *throttle) wake(after time.Duration) {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	if after > 0 {
		t.timer = time.AfterFunc(after, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.dispatch(time.Now())
		})
	}
}

// worked notes a success.
func (t *throttle) worked(d direction, falls int) {
	if d == asking {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.fill(now) // by the pace until now
	t.pace.accepted(now, falls)
	t.dispatch(now)
}

// slowDown notes a refusal, and the pause that the service asks for; 0 is none.
// It tells the rate, if that falls, and the end of the direction's pause, if
// there is one.
func (t *throttle) slowDown(d direction, falls int, asked time.Duration) (rate float64, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.refused++
	t.fill(now)
	if d != asking && t.pace.refused(now, falls) {
		t.tokens, rate = min(t.tokens, 0), t.pace.rate
	}
	p := &t.pauses[d]
	if end := now.Add(min(asked, maxRetryAfter)); asked > 0 && end.After(p.until) {
		*p = pause{end, asked}
		t.giveUp(d, now)
	}
	t.dispatch(now)
	if !p.until.After(now) {
		return rate, time.Time{}
	}
	return rate, p.until
}

// giveUp fails the requests that a new pause outlasts. The caller holds mu.
func (t *throttle) giveUp(d direction, now time.Time) {
	for _, w := range slices.Clone(t.waiting) {
		if w.of == d && t.outlasts(t.pauses[d].until, w, now) {
			t.remove(w, now)
			w.end(t.paused(d))
		}
	}
}

// outlasts tells whether a pause is too long for w.
func (t *throttle) outlasts(until time.Time, w *waiter, now time.Time) bool {
	if w.of == down {
		now = w.began
	}
	return until.Sub(now) > t.patience
}

// again tells whether a request whose refusals began with first may be sent
// again before its patience ends. failure is the last.
func (t *throttle) again(failure error, first time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := time.Now().Add(time.Duration(float64(time.Second) / t.pace.rate))
	var answer *Error
	if errors.As(failure, &answer) && answer.RetryAt.After(next) {
		next = answer.RetryAt
	}
	return next.Sub(first) <= t.patience
}

// paused is the failure of a request for which a pause is too long. The caller
// holds mu.
func (t *throttle) paused(d direction) error {
	p := t.pauses[d]
	return &Error{Kind: ErrThrottled, RetryAt: p.until, Err: fmt.Errorf("%s pause until %s, as it asked for %s",
		d, p.until.Format(time.TimeOnly), p.asked.Round(time.Second))}
}

// close ends the timer. Who still waits is ended by his context.
func (t *throttle) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wake(0)
}

// Pace tells how fast the service is asked, and why no faster.
type Pace struct {
	Rate    float64       `json:"rate,omitempty"`    // requests a second at most, up and down together; 0 is no limit
	Most    float64       `json:"most,omitempty"`    // what Rate may rise to; 0 is no limit
	Held    time.Duration `json:"held_ns,omitempty"` // how long requests have waited for their turn
	Refused int64         `json:"refused,omitempty"` // requests, as too many
	Pauses  []Pause       `json:"pauses,omitempty"`  // that the service asked for
}

// A Pause is a direction's, which ends by itself.
type Pause struct {
	Of    string        `json:"of"` // uploads, downloads or requests for tokens
	Until time.Time     `json:"until"`
	Asked time.Duration `json:"asked_ns"` // by the service; no more than some minutes are believed
}

// Pace tells of now.
func (c *Client) Pace() Pace {
	t := c.limits
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	p := Pace{Rate: finite(t.pace.rate), Most: finite(t.pace.most), Held: t.held, Refused: t.refused}
	if !t.since.IsZero() {
		p.Held += now.Sub(t.since)
	}
	for d, x := range t.pauses {
		if x.until.After(now) {
			p.Pauses = append(p.Pauses, Pause{direction(d).String(), x.until, x.asked})
		}
	}
	return p
}

// finite is rate, or 0 where that is no limit.
func finite(rate float64) float64 {
	if math.IsInf(rate, 1) {
		return 0
	}
	return rate
}

// backOff is exponential from first on, with jitter between half and all of
// it, and a cap.
func backOff(first time.Duration, try int) time.Duration {
	d := min(first<<min(try-1, 16), maxPause)
	return d/2 + rand.N(d/2+1)
}

// retryAfter reads the header of that name, seconds or a date (RFC 9110,
// 10.2.3); 0 where it says nothing usable.
func retryAfter(header string, now time.Time) time.Duration {
	const most = math.MaxInt64 / int64(time.Second)
	header = strings.TrimSpace(header)
	var d time.Duration
	if seconds, err := strconv.ParseInt(header, 10, 64); err == nil {
		d = time.Duration(min(max(seconds, 0), most)) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		d = at.Sub(now)
	}
	return max(d, 0)
}
