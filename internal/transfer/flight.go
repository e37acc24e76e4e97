package transfer

import (
	"context"
	"errors"
	"sync"

	"chatfs/internal/entity"
)

// flights are the contents that are being sent, by digest, so that equal ones
// are sent once.
type flights struct {
	mu  sync.Mutex
	all map[entity.Digest]*flight
}

type flight struct {
	over chan struct{}
	e    entity.Entity
	err  error
}

// do calls send for the first of those who come with a digest; the others
// wait for what it gives. Whoever comes after a flight that was cancelled sends
// by itself.
func (f *flights) do(ctx context.Context, d entity.Digest, send func() (entity.Entity, error)) (e entity.Entity, led bool, err error) {
	for {
		f.mu.Lock()
		fl := f.all[d]
		if fl == nil {
			fl = &flight{over: make(chan struct{})}
			f.all[d] = fl
			f.mu.Unlock()
			f.lead(fl, d, send)
			return fl.e, true, fl.err
		}
		f.mu.Unlock()
		select {
		case <-fl.over:
		case <-ctx.Done():
			return e, false, ctx.Err()
		}
		if !errors.Is(fl.err, context.Canceled) {
			return fl.e, false, fl.err
		}
	}
}

func (f *flights) lead(fl *flight, d entity.Digest, send func() (entity.Entity, error)) {
	fl.e, fl.err = send()
	f.mu.Lock()
	delete(f.all, d)
	f.mu.Unlock()
	close(fl.over)
}
