package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/entity"
	"chatfs/remote"
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
	one       sync.Mutex // one sweep at a time
	pace      *rate.Limiter
	noRefresh bool // the service refuses to count days anew; guarded by one
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
		if since := now.Sub(last); since >= every || since < 0 {
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
// and purges the history. It goes on after a file's failure; the first one is
// its error.
func (t *Transfer) Sweep(ctx context.Context) error {
	t.keeps.one.Lock()
	defer t.keeps.one.Unlock()
	var errs []error
	if t.Retention > 0 && t.Keep != KeepNone {
		w := &sweep{t: t, ctx: ctx}
		errs = append(errs, w.run())
	}
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

// lasts tells whether the service keeps an entity for half its time yet: only
// then is it taken for a new file, which would lose its content soon.
func (t *Transfer) lasts(k index.Known) bool {
	return t.Retention == 0 || t.Now().Sub(k.Since) < t.Retention/2
}

// Lost lists the files whose content is neither at the service nor here.
func Lost(x *index.Index, blobs *blob.Store) (inos []index.Ino, err error) {
	err = eachEntity(x, func(k index.Known) error {
		if !k.Expired || blobs.HasCached(blob.Key{UUID: k.UUID}) {
			return nil
		}
		users, err := x.Users(k.UUID)
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

// A sweep is one look at all entities.
type sweep struct {
	t       *Transfer
	ctx     context.Context
	offline error // the service can't be asked: what is here goes on
	strikes int   // failures in a row that say so
	first   error // of the files that could not be kept
	due     []index.Known
}

func (w *sweep) run() error {
	err := eachEntity(w.t.Index, func(k index.Known) error {
		if k.Expired || w.t.lasts(k) {
			return w.ctx.Err()
		}
		if used, err := w.t.Index.References(k.UUID); err != nil || !used {
			return err
		}
		if w.t.Keep == KeepLocal {
			w.note(k, w.pin(k))
			return w.ctx.Err()
		}
		if w.due = append(w.due, k); len(w.due) == remote.MaxLifetimes {
			w.renew()
		}
		return w.ctx.Err()
	})
	w.renew()
	return errors.Join(err, w.first)
}

// maxStrikes failures in a row mean that the service is not there, rather than
// that something is wrong with a file.
const maxStrikes = 3

// note tells of a file that was kept, or could not be.
func (w *sweep) note(k index.Known, err error) {
	if err == nil || w.ctx.Err() != nil {
		w.strikes = 0
		return
	}
	if w.strikes++; w.strikes >= maxStrikes && remote.Temporary(err) {
		w.offline = err
	}
	if w.first == nil {
		w.first = err
	}
	w.t.Log.WithError(err).Debugf("entity %s could not be kept", k.UUID)
}

// content gives an entity's content, whole and checked: fetched if need be,
// within the pace. A damaged copy is fetched anew.
func (w *sweep) content(k blob.Key, e entity.Entity) (*Reader, *os.File, error) {
	t := w.t
	for again := false; ; again = true {
		cached := t.Blobs.HasCached(k)
		if !cached && w.offline != nil {
			return nil, nil, w.offline
		}
		if !cached {
			if err := t.keeps.pace.Wait(w.ctx); err != nil {
				return nil, nil, err
			}
		}
		r, err := t.open(k, e)
		if err != nil {
			return nil, nil, err
		}
		err = r.WaitWhole(w.ctx)
		if err == nil && cached && !k.Thumb {
			err = blob.CheckDigest(k, e.Digest, r.content())
		}
		if err == nil {
			return r, r.content(), nil
		}
		r.Close()
		if again || !errors.Is(err, blob.ErrDamaged) || t.Blobs.HasPinned(k) {
			return nil, nil, err
		}
		if err := t.Blobs.DropCached(k); err != nil {
			return nil, nil, err
		}
	}
}

// pin pins an entity's content, and a picture's thumbnail.
func (w *sweep) pin(k index.Known) error {
	key := blob.Key{UUID: k.UUID}
	if !w.t.Blobs.HasPinned(key) {
		r, file, err := w.content(key, k.Entity)
		if err != nil {
			return err
		}
		defer r.Close()
		if err := w.t.Blobs.Pin(key, file); err != nil {
			return err
		}
	}
	if key.Thumb = true; !k.Image || w.t.Blobs.HasPinned(key) {
		return nil
	}
	r, file, err := w.content(key, k.Entity)
	if err != nil {
		return err
	}
	defer r.Close()
	return w.t.Blobs.Pin(key, file)
}

// renew has the service keep what is due: by counting its days anew, where
// that is allowed, else as new entities. What it takes in neither way is
// pinned here.
func (w *sweep) renew() {
	for _, k := range w.refresh(w.due) {
		err := w.reupload(k)
		if err != nil && permanent(err) {
			err = errors.Join(err, w.pin(k))
		}
		w.note(k, err)
	}
	w.due = nil
}

// refresh asks the service to count days anew and answers those that it did
// not do so for.
func (w *sweep) refresh(list []index.Known) (rest []index.Known) {
	t := w.t
	if len(list) == 0 || t.keeps.noRefresh {
		return list
	}
	ids := make([]entity.UUID, len(list))
	for i, k := range list {
		ids[i] = k.UUID
	}
	done, err := t.Remote.Refresh(w.ctx, ids)
	if err != nil {
		t.keeps.noRefresh = errors.Is(err, remote.ErrForbidden) || errors.Is(err, remote.ErrNotFound)
		if !t.keeps.noRefresh {
			w.note(list[0], err)
		}
		return list
	}
	renewed := make(map[entity.UUID]bool)
	for _, u := range done {
		if renewed[u] = true; t.Index.SetRenewed(u, t.Now()) != nil {
			renewed[u] = false
		}
	}
	for _, k := range list {
		if !renewed[k.UUID] {
			rest = append(rest, k)
		}
	}
	return rest
}

// reupload makes a new entity of an old one's content, and moves the files to
// it.
func (w *sweep) reupload(k index.Known) error {
	t := w.t
	if w.offline != nil {
		return w.offline
	}
	users, err := t.Index.Users(k.UUID)
	if err != nil || len(users) == 0 {
		return err
	}
	name, err := t.nameOf(users[0])
	if err != nil {
		return err
	}
	r, file, err := w.content(blob.Key{UUID: k.UUID}, k.Entity)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := t.keeps.pace.Wait(w.ctx); err != nil {
		return err
	}
	e, err := t.Remote.Upload(w.ctx, remote.UploadRequest{Name: name, Size: k.Size, Restricted: k.Restricted(),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(file, 0, k.Size)), nil }})
	if err != nil {
		return fmt.Errorf("renew %s: %w", t.describe(users[0]), err)
	}
	e.Size, e.Digest, e.Sums = k.Size, k.Digest, k.Sums
	if err := t.Index.Replace(k.UUID, e); err != nil {
		return err
	}
	if err := t.Blobs.CopyCached(blob.Key{UUID: k.UUID}, blob.Key{UUID: e.UUID}); err != nil {
		t.Log.WithError(err).Debug("the renewed entity is not cached; it is fetched when it is read")
	}
	return nil
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
