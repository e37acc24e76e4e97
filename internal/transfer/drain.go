package transfer

import (
	"context"
	"time"

	"chatfs/index"
)

// Progress is what is left to upload.
type Progress struct {
	Files  int
	Bytes  int64
	Failed int // files that failed for good, not among the others
	Held   int // of Files, those that somebody writes
}

// progressEvery is how often Drain tells its progress, at most.
const progressEvery = 200 * time.Millisecond

// Drain returns once the queue is at rest, but for what failed for good or
// stays local; or with ctx's error. It skips settling delays. progress may be
// nil.
func (t *Transfer) Drain(ctx context.Context, progress func(Progress)) error {
	t.drains(1)
	defer t.drains(-1)
	for {
		left, err := t.left()
		if err != nil {
			return err
		}
		if progress != nil {
			progress(left)
		}
		if left.Files == 0 {
			return nil
		}
		if err := t.pauseFor(ctx); err != nil {
			return err
		}
	}
}

// DrainClosed is Drain, but waits at most patience for files that somebody has
// open and has written to, which are not sent before they are closed. It lists
// those that are left; what they had at the last fsync may be in the queue.
func (t *Transfer) DrainClosed(ctx context.Context, patience time.Duration, progress func(Progress)) (open []index.Ino, err error) {
	t.drains(1)
	defer t.drains(-1)
	for since := time.Now(); ; {
		left, err := t.left()
		if err != nil {
			return nil, err
		}
		progress(left)
		open = t.HeldFiles()
		switch {
		case left.Files == 0 && len(open) == 0:
			return nil, nil
		case left.Files > left.Held:
			since = time.Now()
		case time.Since(since) > patience:
			return open, nil
		}
		if err := t.pauseFor(ctx); err != nil {
			return nil, err
		}
	}
}

// pauseFor waits until it is time to tell progress, or nothing is under way.
// To look through the queue whenever a job changes would cost more than a
// small file's upload.
func (t *Transfer) pauseFor(ctx context.Context) error {
	timer := time.NewTimer(progressEvery)
	defer timer.Stop()
	news, _ := t.uploads.idle()
	for idle := false; !idle; news, idle = t.uploads.idle() {
		select {
		case <-timer.C:
			return nil
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (t *Transfer) drains(more int) {
	t.uploads.mu.Lock()
	defer t.uploads.mu.Unlock()
	t.uploads.draining += more
	t.uploads.tell()
}

func (t *Transfer) left() (Progress, error) {
	queue, err := t.Index.Queue()
	if err != nil {
		return Progress{}, err
	}
	var p Progress
	for _, e := range queue {
		if e.Failed != "" {
			p.Failed++
			continue
		}
		if t.StaysFor(e) > 0 {
			continue
		}
		p.Files++
		p.Bytes += e.Size
		if t.Held(e.Ino) {
			p.Held++
		}
	}
	return p, nil
}
