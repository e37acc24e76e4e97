package transfer_test

import (
	"context"
	"testing"
	"time"

	"chatfs/internal/fusetest"
)

// TestHoldWaitsForTheUploadsEnd: a writer changes the staged bytes once Hold
// has returned, so nobody may read them any more.
func TestHoldWaitsForTheUploadsEnd(t *testing.T) {
	fusetest.Guard(t)
	begun, cancelled, end := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := &script{}
	s.become(func(ctx context.Context, _ string) error {
		close(begun)
		<-ctx.Done()
		close(cancelled)
		<-end // it reads yet
		return ctx.Err()
	})
	q := newQueue(t, s)
	ino := q.write("f", "content")
	<-begun
	held := make(chan struct{})
	go func() {
		q.x.Hold(ino)
		close(held)
	}()
	<-cancelled
	select {
	case <-held:
		t.Error("Hold has returned while the upload reads the content")
	case <-time.After(50 * time.Millisecond): // it would have returned long ago
	}
	s.become(nil)
	close(end)
	<-held
	q.x.Unhold(ino)
	q.drain()
	q.wantState(ino, "uploaded")
}
