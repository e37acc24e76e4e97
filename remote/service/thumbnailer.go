package service

import (
	"context"
	"runtime"
	"sync"

	"chatfs/internal/entity"
)

// A thumbnailer makes thumbnails, few at once: those first that somebody waits
// for, then those of what was uploaded, in this order.
type thumbnailer struct {
	make func(entity.UUID) error

	mu     sync.Mutex
	wake   *sync.Cond
	jobs   map[entity.UUID]*thumbJob // that have not ended
	urgent []*thumbJob
	queue  []*thumbJob
	closed bool
}

// A thumbJob is one thumbnail to be made.
type thumbJob struct {
	u     entity.UUID
	begun bool
	ended chan struct{} // closed once err stands
	err   error
}

// maxThumbJobs bounds the memory of what waits. A thumbnail beyond it is made
// when it is asked for.
const maxThumbJobs = 100_000

// thumbsAtOnce leaves half of the processors to what people wait for.
func thumbsAtOnce() int { return max(runtime.GOMAXPROCS(0)/2, 1) }

func newThumbnailer(make_ func(entity.UUID) error) *thumbnailer {
	t := &thumbnailer{make: make_, jobs: make(map[entity.UUID]*thumbJob)}
	t.wake = sync.NewCond(&t.mu)
	return t
}

// ask has a thumbnail made when there is time.
func (t *thumbnailer) ask(u entity.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.jobs[u] != nil || len(t.jobs) >= maxThumbJobs {
		return
	}
	t.queue = append(t.queue, t.job(u))
	t.wake.Signal()
}

// job is a new one. The caller holds mu.
func (t *thumbnailer) job(u entity.UUID) *thumbJob {
	j := &thumbJob{u: u, ended: make(chan struct{})}
	t.jobs[u] = j
	return j
}

// wait has a thumbnail made before others, and returns how that ended, or
// ctx's error.
func (t *thumbnailer) wait(ctx context.Context, u entity.UUID) error {
	j := t.hurry(u)
	if j == nil {
		return context.Canceled
	}
	select {
	case <-j.ended:
		return j.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hurry gives the job of a thumbnail that somebody waits for; nil at the end.
func (t *thumbnailer) hurry(u entity.UUID) *thumbJob {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	j := t.jobs[u]
	if j == nil {
		j = t.job(u)
	}
	if !j.begun {
		t.urgent = append(t.urgent, j)
		t.wake.Signal()
	}
	return j
}

// work makes thumbnails until close.
func (t *thumbnailer) work() {
	for j := t.next(); j != nil; j = t.next() {
		j.err = t.make(j.u)
		t.mu.Lock()
		delete(t.jobs, j.u)
		t.mu.Unlock()
		close(j.ended)
	}
}

// next gives what to make; nil at the end.
func (t *thumbnailer) next() *thumbJob {
	t.mu.Lock()
	defer t.mu.Unlock()
	for !t.closed {
		from := &t.urgent
		if len(*from) == 0 {
			from = &t.queue
		}
		if len(*from) == 0 {
			t.wake.Wait()
			continue
		}
		j := (*from)[0]
		if *from = (*from)[1:]; !j.begun { // it may stand in both, or twice
			j.begun = true
			return j
		}
	}
	return nil
}

// close ends the work: nobody waits any more then.
func (t *thumbnailer) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.wake.Broadcast()
}
