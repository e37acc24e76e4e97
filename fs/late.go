package fs

import (
	"context"
	"fmt"
	"path"
	"sync"
	"time"
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
			h.of.rescue(name, err)
			return
		}
	}
}

// rescue keeps staged bytes that the index can't name where a person finds
// them, and says so.
func (of *openFile) rescue(name string, cause error) {
	of.mu.Lock()
	id := of.staged
	of.mu.Unlock()
	log := of.fs.Log.WithError(cause)
	if id == 0 {
		log.Errorf("%s: what was changed last is lost", name)
		return
	}
	to, err := of.fs.Blobs.Rescue(uint64(id), fmt.Sprintf("%d-%s", of.ino, path.Base(name)))
	if err != nil {
		log.Errorf("%s: what was written last is lost: %v", name, err)
		return
	}
	log.Errorf("%s: what was written last can't be recorded; it is in %s", name, to)
}
