package fs

import (
	"context"
	"sync"
	"time"

	"chatfs/index"
)

// Pauses between the tries of a late commit.
const (
	lateFirst = 100 * time.Millisecond
	lateMost  = 30 * time.Second
)

// A lateCommits tries again, until it succeeds or the mount ends, what the
// disk refused when a last handle was released: no program can be told of the
// error any more, and the bytes exist in the staged file alone.
type lateCommits struct {
	ending chan struct{} // closed at the end of the mount
	tries  sync.WaitGroup
}

// close has what is left tried once more, and waits for that.
func (l *lateCommits) close() {
	close(l.ending)
	l.tries.Wait()
}

// commitLater keeps h open, and with it what was written, until a commit
// succeeds.
func (f *filesystem) commitLater(h *handle, cause error) {
	if !h.of.setLate(true) { // another handle sees to it
		h.finish()
		return
	}
	name := f.describe(uint64(h.of.ino))
	f.Log.WithError(cause).Errorf("%s: what was written last can't be recorded; it is tried again", name)
	f.late.tries.Go(func() {
		f.retryCommit(h, name)
		h.of.setLate(false)
		h.finish()
	})
}

// setLate tells whether that is news.
func (of *openFile) setLate(late bool) bool {
	of.mu.Lock()
	defer of.mu.Unlock()
	news := of.late != late
	of.late = late
	return news
}

func (f *filesystem) retryCommit(h *handle, name string) {
	for pause := lateFirst; ; pause = min(2*pause, lateMost) {
		ending := false
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-f.late.ending:
			ending = true
		}
		timer.Stop()
		err := h.commit(context.Background())
		if err == nil {
			f.Log.Infof("%s: what was written last is recorded now", name)
			return
		}
		if ending {
			// The index knows whose they are: see noted.go.
			f.Log.WithError(err).Errorf("%s: what was written last can't be recorded; the next mount takes it from %s",
				name, f.Blobs.StagedPath(uint64(h.of.stagedID())))
			return
		}
	}
}

func (of *openFile) stagedID() index.StagedID {
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.staged
}
