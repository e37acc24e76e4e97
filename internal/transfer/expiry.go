package transfer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/entity"
)

// A KeepMode is what is done for files before the service forgets them.
type KeepMode string

// The keep modes.
const (
	KeepLocal KeepMode = "local" // their content is pinned on the local disk
	KeepRenew KeepMode = "renew" // the service is made to keep them
	KeepNone  KeepMode = "none"  // nothing
)

const (
	// sweepEvery is the pause between two looks at all entities, at most.
	sweepEvery = time.Hour
	// leastSweep bounds it from below, for services that forget at once.
	leastSweep = 100 * time.Millisecond
	// lookEvery is how often the clock is looked at: timers stand still while
	// the machine sleeps.
	lookEvery = time.Minute
	// sweepBatch entities are read from the index at once.
	sweepBatch = 500
	// keepRate is how many files a second are fetched or sent to be kept, so
	// that a person's own transfers go first.
	keepRate = 20
)

// keeper sees to it that files outlive the service's memory.
type keeper struct {
	one  sync.Mutex // one sweep at a time
	pace *rate.Limiter
	soon atomic.Bool // eviction left a last copy: look at it at the next tick

	// Guarded by one:
	noRefresh bool                  // the service refuses to count days anew
	asked     map[entity.UUID]asked // what it said it had forgotten, and is asked for again
}

// An asked is when the service is asked again, and the pause before that.
type asked struct {
	at    time.Time
	pause time.Duration
}

func (k *keeper) init() {
	k.pace = rate.NewLimiter(keepRate, keepRate)
	k.asked = make(map[entity.UUID]asked)
}

// watchExpiry sweeps now and then, by the wall clock.
func (t *Transfer) watchExpiry() {
	every := sweepEvery
	if t.Retention > 0 {
		every = max(min(every, t.Retention/8), leastSweep)
	}
	tick := time.NewTicker(min(lookEvery, every))
	defer tick.Stop()
	for last := (time.Time{}); ; {
		now := t.Now().Round(0) // without the monotonic clock, which sleeps too
		if since := now.Sub(last); since >= every || since < 0 || t.keeps.soon.Swap(false) {
			last = now
			if err := t.Sweep(t.ctx); err != nil && t.ctx.Err() == nil {
				t.Log.WithError(err).Warn("some files could not be kept from expiring; it is tried again")
			}
		}
		select {
		case <-tick.C:
		case <-t.ctx.Done():
			return
		}
	}
}

// Sweep does once what Keep asks for: it keeps the files of all entities that
// have lived half their time at the service, gives up pins that nothing needs
// and purges the history. Whatever Keep asks for, it pins the last copies, and
// asks again for what the service says it has forgotten. It goes on after a
// file's failure; the first one is its error.
func (t *Transfer) Sweep(ctx context.Context) error {
	t.keeps.one.Lock()
	defer t.keeps.one.Unlock()
	w := &sweep{t: t, ctx: forNobody(ctx)}
	errs := []error{w.run()}
	if t.History > 0 {
		_, err := t.Index.PurgeHistory(t.Now().Add(-t.History))
		errs = append(errs, err)
	}
	return errors.Join(append(errs, t.unpin())...)
}

// Expires tells when the service forgets an entity, if it does.
func (t *Transfer) Expires(u entity.UUID) (at time.Time, ok bool) {
	k, err := t.Index.Known(u)
	if err != nil || t.Retention == 0 {
		return at, false
	}
	return k.Since.Add(t.Retention), true
}

// outlived tells whether the days are over for which the service keeps an
// entity.
func (t *Transfer) outlived(k index.Known) bool {
	return t.Retention > 0 && t.Now().Sub(k.Since) >= t.Retention
}

// doubtful tells whether the service may not have an entity any more, so that a
// copy here may be the last. With KeepNone that is no reason, before it says so.
func (t *Transfer) doubtful(k index.Known) bool {
	return k.Expired || t.Keep != KeepNone && t.outlived(k)
}

// lastCopy tells whether a cached content may be the last copy: eviction
// leaves it to the sweep.
func (t *Transfer) lastCopy(k blob.Key) bool {
	known, err := t.Index.Known(k.UUID)
	if errors.Is(err, syscall.ENOENT) || t.Blobs.HasPinned(k) {
		return false // it is of no entity, or another copy stays
	}
	last := err != nil || t.doubtful(known)
	if last {
		t.keeps.soon.Store(true)
	}
	return last
}

// lasts tells whether the service keeps an entity for half its time yet: only
// then is it taken for a new file, which would lose its content soon. An entity
// from a far time to come says that a clock is wrong: its age is not known.
func (t *Transfer) lasts(k index.Known) bool {
	age := t.Now().Sub(k.Since)
	return t.Retention == 0 || age < t.Retention/2 && age > -t.Retention/2
}

// Lost lists the files whose content is neither at the service nor here.
func Lost(x *index.Index, blobs *blob.Store) (inos []index.Ino, err error) {
	err = eachEntity(x, func(k index.Known) error {
		if !k.Expired || blobs.HasCached(blob.Key{UUID: k.UUID}) {
			return nil
		}
		users, err := x.Users(k.UUID, 0)
		inos = append(inos, users...)
		return err
	})
	return inos, err
}

// eachEntity calls fn for all, with no lock held.
func eachEntity(x *index.Index, fn func(index.Known) error) error {
	for after := (entity.UUID{}); ; {
		batch, err := x.Entities(after, sweepBatch)
		if err != nil {
			return err
		}
		for _, k := range batch {
			if err := fn(k); err != nil {
				return err
			}
			after = k.UUID
		}
		if len(batch) < sweepBatch {
			return nil
		}
	}
}

// unpin makes pinned contents that neither a name nor the history leads to
// cached ones. Those of entities that the index does not know stay: an index
// that was kept beside, at a restore, may.
func (t *Transfer) unpin() error {
	pinned, err := t.Blobs.Pinned()
	if err != nil || len(pinned) == 0 {
		return err
	}
	unused := make(map[entity.UUID]bool)
	for _, k := range pinned {
		used, err := t.Index.References(k.UUID)
		if err != nil {
			return err
		}
		if _, unknown := t.Index.Known(k.UUID); !used && unknown == nil {
			unused[k.UUID] = true
		}
	}
	old, err := t.Index.InHistory(unused)
	for _, k := range pinned {
		if unused[k.UUID] && !old[k.UUID] && err == nil {
			err = t.Blobs.Unpin(k)
		}
	}
	return err
}
