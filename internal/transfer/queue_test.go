package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chatfs/index"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
	"chatfs/remote"
)

// TestRewrittenWhileItIsSent: the upload of the old content is given up, and
// the file ends with the entity of the new one.
func TestRewrittenWhileItIsSent(t *testing.T) {
	fusetest.Guard(t)
	begun := make(chan struct{})
	s := &script{}
	s.become(func(ctx context.Context, content string) error {
		if content != "old" {
			return nil
		}
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	})
	q := newQueue(t, s)
	ino := q.write("f", "old")
	<-begun
	q.write("f", "new")
	q.drain()
	q.wantState(ino, transfer.StateUploaded)
	if sent := s.sent(); !slices.Equal(sent, []string{"old", "new"}) {
		t.Errorf("sent %q", sent)
	}
	in, err := q.ix.Get(ino)
	must(t, err)
	e, err := q.ix.Entity(in.UUID)
	must(t, err)
	if e.Size != 3 || e.Secret.IsZero() {
		t.Errorf("the file has entity %v", e)
	}
}

func TestDeletedBeforeItsUploadIsNeverSent(t *testing.T) {
	fusetest.Guard(t)
	s := &script{}
	q := newQueue(t, s, func(c *transfer.Config) { c.Settle = 50 * time.Millisecond })
	gone := q.write("gone", "never seen")
	removed, err := q.ix.Unlink(index.Root, "gone")
	must(t, err)
	q.x.Wake(gone)
	_, err = q.ix.Forget(removed.Inode.Ino)
	must(t, err)
	q.write("stays", "seen")
	q.drain()
	if sent := s.sent(); !slices.Equal(sent, []string{"seen"}) {
		t.Errorf("sent %q", sent)
	}
}

// TestEqualContentIsSentOnce: one after the other, and at the same time; a
// writer who comes does not wait for the upload of another file.
func TestEqualContentIsSentOnce(t *testing.T) {
	fusetest.Guard(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := &script{}
	s.become(func(context.Context, string) error {
		close(begun)
		<-goOn
		return nil
	})
	q := newQueue(t, s)
	inos := []index.Ino{q.write("a", "same")}
	<-begun
	inos = append(inos, q.write("b", "same"), q.write("c", "same"))
	fusetest.Eventually(t, "the others", func() error {
		if q.x.State(inos[1]) != transfer.StateUploading || q.x.State(inos[2]) != transfer.StateUploading {
			return errors.New("they do not wait for the first")
		}
		return nil
	})
	q.x.Hold(inos[1])
	q.x.Unhold(inos[1])
	close(goOn)
	q.drain()
	inos = append(inos, q.write("later", "same"))
	q.drain()
	for _, ino := range inos {
		q.wantState(ino, transfer.StateUploaded)
	}
	if sent := s.sent(); len(sent) != 1 {
		t.Errorf("sent %d times", len(sent))
	}
}

// TestWaitTellsTheFirstFailure: who waits for an upload hears of its failure
// at once, even in an outage, and the upload is tried on.
func TestWaitTellsTheFirstFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		s.become(unreachable)
		q := newQueue(t, s, func(c *transfer.Config) { c.Settle = time.Minute })
		for i := range 3 {
			begin := time.Now()
			ino := q.write("f", fmt.Sprint("content ", i))
			if err := q.x.Wait(t.Context(), ino); !errors.Is(err, remote.ErrUnavailable) {
				t.Errorf("Wait: %v", err)
			}
			if took := time.Since(begin); took > time.Millisecond {
				t.Errorf("it took %v", took)
			}
			q.wantState(ino, transfer.StateStaged)
		}
		s.become(nil)
		ino := q.write("g", "content")
		must(t, q.x.Wait(t.Context(), ino))
		q.drain()
	})
}

// TestWaitTellsTheKind of a failure for good, also who comes later; and who is
// not the last writer waits for nothing.
func TestWaitTellsTheKind(t *testing.T) {
	for _, kind := range []error{remote.ErrTooLarge, remote.ErrPlanLimit, remote.ErrForbidden} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{}
			s.become(func(context.Context, string) error { return &remote.Error{Kind: kind, Status: 400} })
			q := newQueue(t, s, func(c *transfer.Config) { c.Settle = time.Hour })
			ino := q.write("f", "content")
			for range 2 {
				if err := q.x.Wait(t.Context(), ino); !errors.Is(err, kind) {
					t.Errorf("%v: Wait: %v", kind, err)
				}
			}
			held := q.write("g", "other")
			q.x.Hold(held)
			must(t, q.x.Wait(t.Context(), held))
			q.x.Unhold(held)
			if err := q.x.Wait(t.Context(), held); !errors.Is(err, kind) {
				t.Errorf("%v: the last writer's Wait: %v", kind, err)
			}
		})
	}
}

// TestSmallFilesGoFirst has one upload at a time, of files that were written
// in the other order.
func TestSmallFilesGoFirst(t *testing.T) {
	fusetest.Guard(t)
	s := &script{}
	q := newQueue(t, s, func(c *transfer.Config) { c.Uploads, c.Settle = 1, time.Hour })
	large, middle := strings.Repeat("l", 9<<20), strings.Repeat("m", 3<<20)
	q.write("large", large)
	q.write("middle", middle)
	q.write("small", "s")
	q.drain()
	var order []string
	for _, content := range s.sent() {
		order = append(order, content[:1])
	}
	if want := []string{"s", "m", "l"}; !slices.Equal(order, want) {
		t.Errorf("sent %q, want %q", order, want)
	}
}

// TestCrowdRestsLess: of many files all but the latest 64 are sent before the
// settling delay is over, the oldest first and a few at a time, but not more
// than a second before.
func TestCrowdRestsLess(t *testing.T) {
	for _, settle := range []time.Duration{time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{}
			q := newQueue(t, s, func(c *transfer.Config) { c.Settle = settle })
			for i := range 264 {
				q.write(fmt.Sprintf("%03d.txt", i), fmt.Sprintf("%03d", i))
				time.Sleep(time.Millisecond)
			}
			if n := len(s.sent()); n > 160 || n < 80 && settle == time.Second {
				t.Errorf("%d were sent as the last was written", n)
			}
			time.Sleep(settle - 264*time.Millisecond - 200*time.Millisecond)
			sent := s.sent()
			slices.Sort(sent)
			if len(sent) != 200 || sent[0] != "000" || sent[199] != "199" {
				t.Errorf("%d were sent early, %q", len(sent), sent)
			}
			time.Sleep(time.Second)
			if n := len(s.sent()); n != 264 {
				t.Errorf("%d were sent", n)
			}
		})
	}
}

// TestWhatFailedIsNoCrowd: a file rests as long as any where many wait for
// their next try.
func TestWhatFailedIsNoCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		s.become(func(_ context.Context, content string) error {
			if content == "new" {
				return nil
			}
			return refusesOne()
		})
		q := newQueue(t, s, func(c *transfer.Config) { c.Settle = time.Second })
		for i := range 100 {
			q.write(fmt.Sprintf("%d.txt", i), fmt.Sprint(i))
		}
		time.Sleep(10 * time.Minute) // each has failed, and one after the other is tried again
		ino := q.write("new.txt", "new")
		time.Sleep(900 * time.Millisecond)
		q.wantState(ino, transfer.StateStaged)
		time.Sleep(time.Minute)
		q.wantState(ino, transfer.StateUploaded)
	})
}

// refusesOne is what a service says that can't take this one now.
func refusesOne() error {
	return &remote.Error{Kind: remote.ErrUnavailable, Status: 500, Method: "POST", Path: "/org/app/chatfiles"}
}

// TestQueueOutlivesTheProcess: what waits is sent by the next process, and
// staged files that nothing names are removed.
func TestQueueOutlivesTheProcess(t *testing.T) {
	fusetest.Guard(t)
	s := &script{}
	s.become(unreachable)
	q := newQueue(t, s)
	var inos []index.Ino
	for i := range 20 {
		inos = append(inos, q.write(fmt.Sprint(i), fmt.Sprint(i)))
	}
	stray, err := q.blobs.CreateStaged(uint64(q.ix.NextStaged()))
	must(t, err)
	stray.Close()
	q.close()
	s.become(nil)
	q.conf.Unrestricted, q.conf.Uploads, q.conf.Settle = true, 1, time.Hour
	q.open()
	q.drain()
	for _, ino := range inos {
		q.wantState(ino, transfer.StateUploaded)
	}
	must(t, q.ix.Sync())
	if left, err := filepath.Glob(filepath.Join(q.dir, "staging", "*")); err != nil || len(left) > 0 {
		t.Errorf("staging holds %q (%v)", left, err)
	}
}

// TestServiceGoesAndReturns on the same port, with real requests: nothing is
// lost, nothing is sent twice.
func TestServiceGoesAndReturns(t *testing.T) {
	fusetest.Guard(t)
	dir := t.TempDir()
	served, client := startService(t, dir, "")
	defer client.Close()
	q := newQueue(t, client)
	for i := range 30 {
		q.write(fmt.Sprint("before ", i), fmt.Sprint("before ", i))
	}
	q.drain()
	address := strings.Split(strings.TrimPrefix(served.Base(), "http://"), "/")[0]
	shutDown(t, served)
	for i := range 60 {
		q.write(fmt.Sprint("meanwhile ", i), fmt.Sprint("meanwhile ", i))
	}
	fusetest.Eventually(t, "the outage", func() error {
		if _, _, ok := q.x.Outage(); !ok {
			return errors.New("nobody has noticed it")
		}
		return nil
	})
	back, other := startService(t, dir, address)
	defer other.Close()
	defer shutDown(t, back)
	q.drain()
	if n := back.Counts().Uploads; n != 60 {
		t.Errorf("%d uploads after the return, want 60", n)
	}
}

// TestStagedBytesStayUntilTheIndexIsDurable: until then a loss of power may
// bring back an index that names them.
func TestStagedBytesStayUntilTheIndexIsDurable(t *testing.T) {
	fusetest.Guard(t)
	q := newQueue(t, &script{})
	q.close()
	q.commit = time.Hour
	q.open()
	ino := q.write("f", "content")
	q.drain()
	must(t, q.x.Close()) // all that follows the upload is done
	q.wantState(ino, transfer.StateUploaded)
	staged := func() int {
		t.Helper()
		ids, err := q.blobs.ListStaged()
		must(t, err)
		return len(ids)
	}
	if n := staged(); n != 1 {
		t.Errorf("%d staged files before the index is durable", n)
	}
	must(t, q.ix.Sync())
	if n := staged(); n != 0 {
		t.Errorf("%d staged files after", n)
	}
}

// TestQueueIsTakenUpInItsOrder whatever the clock said when files were queued.
func TestQueueIsTakenUpInItsOrder(t *testing.T) {
	now := time.Now()
	hours := func(list ...int) (q []index.QueueEntry) {
		for _, h := range list {
			q = append(q, index.QueueEntry{Queued: now.Add(time.Duration(h) * time.Hour)})
		}
		return q
	}
	for _, queue := range [][]index.QueueEntry{hours(-2, -1), hours(-1, -2), hours(5, 4, -1, 100_000, -3, 2)} {
		due := transfer.DueTimes(queue, now)
		for i := range due {
			if due[i].After(now) || i > 0 && !due[i].After(due[i-1]) {
				t.Errorf("%v: due %v", queue, due)
			}
		}
	}
}
