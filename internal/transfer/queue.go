package transfer

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	"chatfs/index"
	"chatfs/internal/entity"
)

// A job is what the uploader knows of one file beyond the index's queue.
type job struct {
	ino      index.Ino
	due      time.Time
	at       int  // in the heap; -1: not there
	holds    int  // writers that keep it from being sent
	attempts int  // since the last success
	failures int  // ever
	urgent   bool // somebody waits for it
	local    bool
	err      error // of the last attempt

	running bool
	version uint64 // of the content that is being sent
	again   bool   // it changed meanwhile
	cancel  context.CancelFunc
}

// uploader orders the jobs by when they are due.
type uploader struct {
	mu       sync.Mutex
	jobs     map[index.Ino]*job
	due      dueHeap
	running  int           // jobs
	draining int           // Drains that wait
	news     chan struct{} // closed and replaced whenever a job changes
	early    early
	same     flights
	out      outage
}

func (u *uploader) init() {
	u.jobs = make(map[index.Ino]*job)
	u.news = make(chan struct{})
	u.same.all = make(map[entity.Digest]*flight)
}

// tell wakes whoever waits for a job, or for a job's end. The caller holds mu.
func (u *uploader) tell() {
	close(u.news)
	u.news = make(chan struct{})
}

// stays has j looked at again once its name keeps it here no more. It is false,
// and j due as it was, where j was woken since the attempt began: its name may
// be another by now.
func (u *uploader) stays(j *job, left time.Duration) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if j.again {
		return false
	}
	j.due = time.Time{}
	if left != Forever {
		j.due = time.Now().Add(left)
	}
	return true
}

// idle tells whether nothing is being sent or about to be; news is closed once
// that may have changed.
func (u *uploader) idle() (news <-chan struct{}, idle bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.news, u.running == 0 && len(u.due) == 0
}

// job gives ino's job, made if need be. The caller holds mu.
func (u *uploader) job(ino index.Ino) *job {
	j := u.jobs[ino]
	if j == nil {
		j = &job{ino: ino, at: -1}
		u.jobs[ino] = j
	}
	return j
}

// schedule has j sent at due, unless it is held or running. The caller holds
// mu.
func (u *uploader) schedule(j *job, due time.Time) {
	j.due = due
	switch {
	case j.running:
		j.again = true
	case j.holds > 0:
	case j.at >= 0:
		heap.Fix(&u.due, j.at)
	default:
		heap.Push(&u.due, j)
	}
	u.tell()
}

// rest takes j out of the order. The caller holds mu.
func (u *uploader) rest(j *job) {
	if j.at >= 0 {
		heap.Remove(&u.due, j.at)
	}
	if j.holds == 0 && !j.running && !j.local && j.err == nil {
		delete(u.jobs, j.ino)
	}
	u.tell()
}

// lead is how much later a content is due than a small one, so that many small
// files of a folder finish soon and a large one waits at most a second for
// them: 100 ms for each MiB.
func lead(size int64) time.Duration {
	return min(time.Duration(size)*100*time.Millisecond/(1<<20), time.Second)
}

func (u *uploader) add(ino index.Ino, due time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.schedule(u.job(ino), due)
}

// next waits for the first job to be due and marks it as running; nil once
// ctx has ended.
func (u *uploader) next(ctx context.Context) *job {
	u.mu.Lock()
	defer u.mu.Unlock()
	for ctx.Err() == nil {
		var wait time.Duration = time.Hour
		if len(u.due) > 0 {
			j := u.first(time.Now())
			if wait = u.rests(j, time.Now()); wait <= 0 {
				ok := false
				if ok, wait = u.out.admits(j, time.Now()); ok {
					return u.take(j)
				}
			}
		}
		u.wait(ctx, wait)
	}
	return nil
}

// first is the job that is sent next. The caller holds mu.
func (u *uploader) first(now time.Time) *job {
	first := u.due[0]
	if !u.out.mayProbe(now) {
		return first
	}
	for _, j := range u.due {
		if u.out.prefers(j, first) && u.rests(j, now) <= 0 {
			return j
		}
	}
	return first
}

// rests tells for how long j, the first, is not sent yet. The caller holds mu.
func (u *uploader) rests(j *job, now time.Time) time.Duration {
	rest := j.due.Sub(now)
	switch {
	case rest <= 0 || j.attempts > 0 || j.local:
		return rest
	case u.draining > 0:
		return 0
	case !u.crowded():
		return rest
	case rest > mostEarly:
		return rest - mostEarly
	}
	return min(rest, u.early.take(now))
}

// Who copies many files goes on to the next and does not come back to the
// first: so of more than a crowd the oldest are sent up to a second before the
// settling delay is over. They go in groups, which share the commits of the
// index and of an embedded service, and at a pace that leaves the writer most
// of the processor.
const (
	crowd      = 64 // files
	mostEarly  = time.Second
	group      = 16 // files
	groupPause = 32 * time.Millisecond
)

// crowded tells whether more than a crowd rest. What waits for its next try, or
// for another name, is no sign of a writer.
func (u *uploader) crowded() bool {
	resting := 0
	for _, j := range u.due {
		if j.attempts == 0 && !j.local {
			resting++
		}
		if resting > crowd {
			return true
		}
	}
	return false
}

// early is the group that is being sent before its time.
type early struct {
	since time.Time
	left  int
}

// take counts one more in, or tells when there may be.
func (e *early) take(now time.Time) (wait time.Duration) {
	if next := e.since.Add(groupPause); !now.Before(next) {
		e.since, e.left = now, group
	} else if e.left == 0 {
		return next.Sub(now)
	}
	e.left--
	return 0
}

// take marks a job that is due as running. The caller holds mu.
func (u *uploader) take(j *job) *job {
	heap.Remove(&u.due, j.at)
	j.running, j.again, j.urgent = true, false, false
	u.running++
	return j
}

// wait gives mu up until something changes, the time is over or ctx ends.
func (u *uploader) wait(ctx context.Context, d time.Duration) {
	news := u.news
	u.mu.Unlock()
	timer := time.NewTimer(d)
	select {
	case <-news:
	case <-timer.C:
	case <-ctx.Done():
	}
	timer.Stop()
	u.mu.Lock()
}

// Sending tells whether content is being sent or will be within a second, so
// that staged bytes will go soon.
func (t *Transfer) Sending() bool {
	u := &t.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.out.since.IsZero() {
		return false
	}
	return u.running > 0 || len(u.due) > 0 && time.Until(u.due[0].due) < time.Second
}

// Hold keeps ino's content from being sent, as a writer may change it. An
// upload under way is cancelled; when Hold returns it has ended.
func (t *Transfer) Hold(ino index.Ino) {
	u := &t.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	j := u.job(ino)
	j.holds++
	if j.at >= 0 {
		heap.Remove(&u.due, j.at)
	}
	for j.running {
		if j.cancel != nil {
			j.cancel()
		}
		u.wait(context.Background(), time.Hour)
	}
}

// Unhold ends one Hold. With the last, the content is due again after the
// settling delay.
func (t *Transfer) Unhold(ino index.Ino) {
	t.uploads.mu.Lock()
	j := t.uploads.job(ino)
	j.holds--
	t.uploads.mu.Unlock()
	t.Wake(ino)
}

// Held tells whether a writer keeps ino's content from being sent.
func (t *Transfer) Held(ino index.Ino) bool {
	t.uploads.mu.Lock()
	defer t.uploads.mu.Unlock()
	j := t.uploads.jobs[ino]
	return j != nil && j.holds > 0
}

// HeldFiles lists the files that writers keep from being sent, in the order of
// their numbers.
func (t *Transfer) HeldFiles() (held []index.Ino) {
	t.uploads.mu.Lock()
	defer t.uploads.mu.Unlock()
	for ino, j := range t.uploads.jobs {
		if j.holds > 0 {
			held = append(held, ino)
		}
	}
	slices.Sort(held)
	return held
}

// Wake tells that ino's queue entry is new, changed or gone, or that its
// name changed.
func (t *Transfer) Wake(ino index.Ino) {
	u := &t.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	// Under the lock: whoever reads last decides, and has read the newest.
	e, queued, err := t.Index.QueueEntry(ino)
	if err == nil && (!queued || e.Failed != "") {
		j := u.job(ino)
		if j.running && j.cancel != nil {
			j.cancel()
		}
		j.local = false
		if !queued {
			j.err = nil
		}
		u.rest(j)
		return
	}
	j := u.job(ino)
	j.local = false
	if j.running && j.version != e.Version && j.cancel != nil {
		j.cancel()
	}
	u.schedule(j, time.Now().Add(t.Settle+lead(e.Size)))
}

// dueHeap is a heap of jobs by due, after those that somebody waits for.
type dueHeap []*job

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].urgent != h[j].urgent {
		return h[i].urgent
	}
	return h[i].due.Before(h[j].due)
}
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push and Pop are container/heap's.
func (h *dueHeap) Push(x any) {
	j := x.(*job)
	j.at = len(*h)
	*h = append(*h, j)
}

// Pop removes the last job.
func (h *dueHeap) Pop() any {
	old := *h
	j := old[len(old)-1]
	*h = old[:len(old)-1]
	j.at = -1
	return j
}
