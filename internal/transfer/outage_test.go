package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chatfs/index"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
	"chatfs/remote"
)

// TestOutageIsProbedByOne: while the service can't be reached, a long queue
// asks as often as a short one, for ever; once it is back, all goes at once.
func TestOutageIsProbedByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		s.become(unreachable)
		q := newQueue(t, s, func(c *transfer.Config) { c.Settle = time.Second })
		for i := range 200 {
			q.write(fmt.Sprint(i), fmt.Sprint("content ", i))
		}
		time.Sleep(time.Minute)
		if n := len(s.sent()); n > 50 {
			t.Errorf("asked %d times in the first minute", n)
		}
		begin := len(s.sent())
		time.Sleep(time.Hour)
		if n := len(s.sent()) - begin; n < 3600/5 || n > 3600*2/5+10 {
			t.Errorf("asked %d times in an hour", n)
		}
		if since, why, ok := q.x.Outage(); !ok || time.Since(since) < time.Hour || !errors.Is(why, remote.ErrUnavailable) {
			t.Errorf("outage: %v, since %v: %v", ok, since, why)
		}
		s.become(nil)
		time.Sleep(6 * time.Second)
		if left, err := q.ix.Queue(); err != nil || len(left) > 0 {
			t.Errorf("%d files are left 6 seconds after the service returned: %v", len(left), err)
		}
		if _, _, ok := q.x.Outage(); ok {
			t.Error("the outage did not end")
		}
	})
}

// TestRefusedCredentialsAreTriedSlowly: asking too often gets an account
// blocked.
func TestRefusedCredentialsAreTriedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		s.become(func(context.Context, string) error { return &remote.Error{Kind: remote.ErrUnauthorized, Status: 401} })
		q := newQueue(t, s)
		var inos []index.Ino
		for i := range 20 {
			inos = append(inos, q.write(fmt.Sprint(i), fmt.Sprint(i)))
		}
		time.Sleep(10 * time.Minute)
		begin := len(s.sent())
		time.Sleep(time.Hour)
		if n := len(s.sent()) - begin; n < 50 || n > 130 {
			t.Errorf("asked %d times in an hour", n)
		}
		for _, ino := range inos {
			q.wantState(ino, transfer.StateStaged)
		}
		s.become(nil)
		q.drain()
	})
}

// TestOneFileThatFailsHoldsNobodyUp: the service answers 500 for one file.
func TestOneFileThatFailsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		s.become(func(_ context.Context, content string) error {
			if content == "poison" {
				return &remote.Error{Kind: remote.ErrUnavailable, Status: 500}
			}
			return nil
		})
		q := newQueue(t, s, func(c *transfer.Config) { c.Uploads = 2 })
		bad := q.write("bad", "poison")
		for i := range 50 {
			q.write(fmt.Sprint(i), fmt.Sprint(i))
		}
		time.Sleep(time.Millisecond)
		if left, err := q.ix.Queue(); err != nil || len(left) != 1 || left[0].Ino != bad {
			t.Errorf("left are %v (%v)", left, err)
		}
		time.Sleep(4 * time.Hour)
		tries := 0
		for _, content := range s.sent() {
			if content == "poison" {
				tries++
			}
		}
		if tries < 4*60 || tries > 4*60*3 {
			t.Errorf("it was tried %d times in four hours", tries)
		}
		q.wantState(bad, transfer.StateStaged)
		s.become(nil)
		q.write("bad", "good")
		q.drain()
		q.wantState(bad, transfer.StateUploaded)
	})
}

// TestRefusalsStandUntilSomethingChanges: what can't be helped is failed, with
// its reason, and starts again when it is told to or changes.
func TestRefusalsStandUntilSomethingChanges(t *testing.T) {
	fusetest.Guard(t)
	for kind, err := range map[string]error{"larger than the service takes": remote.ErrTooLarge,
		"plan's limit": remote.ErrPlanLimit, "service refuses": remote.ErrForbidden} {
		s := &script{}
		s.become(func(context.Context, string) error { return &remote.Error{Kind: err, Status: 400} })
		q := newQueue(t, s)
		told, changed := q.write("told", "told"), q.write("changed", "old")
		q.drain()
		for _, ino := range []index.Ino{told, changed} {
			q.wantState(ino, transfer.StateFailed)
			if why := q.x.ErrorOf(ino); !strings.Contains(why, kind) {
				t.Errorf("the reason is %q, want something of %q", why, kind)
			}
		}
		q.drain() // which tries nothing again
		if n := len(s.sent()); n != 2 {
			t.Errorf("%v: tried %d times", kind, n)
		}
		s.become(nil)
		q.write("changed", "new")
		q.drain()
		q.wantState(changed, transfer.StateUploaded)
		q.wantState(told, transfer.StateFailed)
		if n, err := q.ix.RetryFailed(); n != 1 || err != nil {
			t.Errorf("RetryFailed: %d, %v", n, err)
		}
		q.x.Wake(told)
		q.drain()
		q.wantState(told, transfer.StateUploaded)
	}
}

// TestRefusedRequestIsGivenUp: an answer that the request itself is wrong is
// asked for a few times, and not for ever.
func TestRefusedRequestIsGivenUp(t *testing.T) {
	for _, status := range []int{400, 405, 411, 415, 422} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{}
			s.become(func(context.Context, string) error { return &remote.Error{Kind: remote.ErrRejected, Status: status} })
			q := newQueue(t, s)
			ino := q.write("f", "content")
			time.Sleep(time.Hour)
			q.wantState(ino, transfer.StateFailed)
			if n := len(s.sent()); n != 3 {
				t.Errorf("%d: tried %d times in an hour, want 3", status, n)
			}
			if why := q.x.ErrorOf(ino); !strings.Contains(why, fmt.Sprint(status)) {
				t.Errorf("%d: the reason is %q", status, why)
			}
			if err := q.x.Wait(t.Context(), ino); !errors.Is(err, remote.ErrRejected) && !errors.Is(err, transfer.ErrForbidden) {
				t.Errorf("%d: Wait: %v", status, err)
			}
			s.become(nil)
			q.write("f", "other")
			q.drain()
			q.wantState(ino, transfer.StateUploaded)
		})
	}
}

// TestAnswersThatAllFilesMeetAreAnOutage: whatever the service answers each
// file with that may pass, one probes it and the others wait; once it works
// again all go at once.
func TestAnswersThatAllFilesMeetAreAnOutage(t *testing.T) {
	for name, failure := range map[string]*remote.Error{
		"500": {Kind: remote.ErrUnavailable, Status: 500}, "507": {Kind: remote.ErrUnavailable, Status: 507},
		"a page": {Kind: remote.ErrMalformed, Status: 200}, "no such app": {Kind: remote.ErrNotFound, Status: 404},
		"503": {Kind: remote.ErrThrottled, Status: 503},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{}
			s.become(func(context.Context, string) error { return failure })
			q := newQueue(t, s)
			for i := range 200 {
				q.write(fmt.Sprint(i), fmt.Sprint("content ", i))
			}
			time.Sleep(90 * time.Second)
			if n := len(s.sent()); n > 70 {
				t.Errorf("%s: asked %d times in 90 seconds", name, n)
			}
			if _, why, ok := q.x.Outage(); !ok || !errors.Is(why, failure.Kind) {
				t.Errorf("%s: outage %v: %v", name, ok, why)
			}
			s.become(nil)
			time.Sleep(time.Minute + time.Second)
			if left, err := q.ix.Queue(); err != nil || len(left) > 0 {
				t.Errorf("%s: %d files are left a minute after the service works again: %v", name, len(left), err)
			}
		})
	}
}

// TestFilesThatFailHoldNobodyUp: the service answers 500 for some files, and
// takes all others.
func TestFilesThatFailHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		s.become(func(_ context.Context, content string) error {
			if strings.HasPrefix(content, "poison") {
				return &remote.Error{Kind: remote.ErrUnavailable, Status: 500}
			}
			return nil
		})
		q := newQueue(t, s)
		for i := range 20 {
			q.write(fmt.Sprint("bad", i), fmt.Sprint("poison", i))
		}
		time.Sleep(3 * time.Minute) // each has failed
		for i := range 50 {
			q.write(fmt.Sprint(i), fmt.Sprint(i))
		}
		time.Sleep(10 * time.Second)
		if left, err := q.ix.Queue(); err != nil || len(left) != 20 {
			t.Errorf("%d are left (%v)", len(left), err)
		}
	})
}

// TestAskedPauseIsKept: who is told when to come back comes then.
func TestAskedPauseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		until := time.Now().Add(5 * time.Minute)
		s.become(func(context.Context, string) error {
			if time.Now().Before(until) {
				return &remote.Error{Kind: remote.ErrThrottled, Status: 429, RetryAt: until}
			}
			return nil
		})
		q := newQueue(t, s)
		for i := range 40 {
			q.write(fmt.Sprint(i), fmt.Sprint(i))
		}
		time.Sleep(4 * time.Minute)
		if n := len(s.sent()); n > 16 {
			t.Errorf("asked %d times before the time", n)
		}
		time.Sleep(time.Minute + time.Second)
		if left, err := q.ix.Queue(); err != nil || len(left) > 0 {
			t.Errorf("%d are left after the time (%v)", len(left), err)
		}
	})
}
