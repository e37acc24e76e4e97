package fs

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// How long a write waits, at most, for uploads to make room on a full disk,
// and how often it looks.
const (
	roomPatience = 10 * time.Second
	roomLook     = 100 * time.Millisecond
)

// admit waits for room for n bytes of staged content: a little where room is
// scarce, so that uploads keep up with the writer, and for long where there is
// none. ENOSPC if none comes; EINTR if the writer is to end.
func (f *filesystem) admit(ctx context.Context, n int64) error {
	for end := time.Now().Add(roomPatience); ; {
		pause, err := f.Blobs.Admit(n)
		if err == nil && pause == 0 {
			return nil
		}
		switch sending := f.Transfer.Sending(); {
		case err == nil && sending && pause > 0:
			return rest(ctx, pause)
		case !errors.Is(err, syscall.ENOSPC):
			return err
		case !sending || time.Now().After(end):
			return f.lastRoom(n)
		}
		if err := f.lastRoom(n); !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		if err := rest(ctx, roomLook); err != nil {
			return err
		}
	}
}

// lastRoom has the staged files discarded that only wait for the index to be
// durable, and asks once more.
func (f *filesystem) lastRoom(n int64) error {
	if err := f.Index.Sync(); err != nil {
		return err
	}
	_, err := f.Blobs.Admit(n)
	return err
}

// rest sleeps, unless the caller ends.
func rest(ctx context.Context, d time.Duration) error {
	ctx, cancel := whileWanted(ctx, 0)
	defer cancel()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
