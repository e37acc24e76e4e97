package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/entity"
	"chatfs/remote"
)

// A sweep is one look at all entities.
type sweep struct {
	t       *Transfer
	ctx     context.Context
	offline error // the service can't be asked: what is here goes on
	strikes int   // failures in a row that say so
	first   error // of the files that could not be kept
	due     []index.Known
	unused  []index.Known // last copies of what is no file's content
}

func (w *sweep) run() error {
	err := eachEntity(w.t.Index, func(k index.Known) error {
		return errors.Join(w.look(k), w.ctx.Err())
	})
	w.renew()
	return errors.Join(err, w.keepOld(), w.first)
}

// look does what has to be done for one entity, or puts it on a list.
func (w *sweep) look(k index.Known) error {
	t := w.t
	if w.isSafe(k) {
		return nil
	}
	used, err := t.Index.References(k.UUID)
	if err != nil {
		return err
	}
	if used && k.Expired {
		w.note(k, w.askAgain(&k))
	}
	here := t.Blobs.HasCached(blob.Key{UUID: k.UUID})
	switch {
	case w.isSafe(k): // by what the service has just said
	case !used && t.doubtful(k):
		w.unused = append(w.unused, k)
	case !used:
	case k.Expired && !here:
		w.note(k, w.pinThumb(k))
	case t.Keep == KeepRenew:
		if w.due = append(w.due, k); len(w.due) == remote.MaxLifetimes {
			w.renew()
		}
	default:
		w.note(k, w.pin(k))
	}
	return nil
}

// isSafe tells whether nothing needs to be done for an entity yet.
func (w *sweep) isSafe(k index.Known) bool {
	return !w.t.doubtful(k) && (w.t.Keep == KeepNone || w.t.lasts(k))
}

// keepOld pins last copies of what the history alone leads to, and drops those
// that nothing does.
func (w *sweep) keepOld() error {
	set := make(map[entity.UUID]bool)
	for _, k := range w.unused {
		for _, key := range []blob.Key{{UUID: k.UUID}, {UUID: k.UUID, Thumb: true}} {
			if w.t.Blobs.HasCached(key) && !w.t.Blobs.HasPinned(key) {
				set[k.UUID] = true
			}
		}
	}
	if len(set) == 0 {
		return nil
	}
	old, err := w.t.Index.InHistory(set)
	if err != nil {
		return err
	}
	for _, k := range w.unused {
		switch key := (blob.Key{UUID: k.UUID}); {
		case !set[k.UUID]:
		case old[k.UUID] && w.t.Blobs.HasCached(key) && !w.isElsewhere(k):
			w.note(k, w.pin(k))
		case !old[k.UUID], w.isElsewhere(k):
			err = errors.Join(err, w.t.Blobs.DropCached(key), w.t.Blobs.DropCached(blob.Key{UUID: k.UUID, Thumb: true}))
		}
	}
	return err
}

// isElsewhere tells whether the service has another entity of the content, as
// that which was sent again has.
func (w *sweep) isElsewhere(k index.Known) bool {
	other, ok, err := w.t.Index.ByDigest(k.Digest, k.Restricted())
	return !k.Digest.IsZero() && err == nil && ok && other.UUID != k.UUID && !w.t.doubtful(other)
}

// How soon the service is asked again for what it said it had forgotten, and
// at least how often, while it should have it.
const (
	askFirst = time.Hour
	askMost  = 24 * time.Hour
)

// askAgain asks for an entity that the service said it had forgotten before
// its days were over: that may have been another host's word, or an outage's.
// It changes what is known of it.
func (w *sweep) askAgain(k *index.Known) error {
	t := w.t
	r, now := t.keeps.asked[k.UUID], t.Now()
	if t.outlived(*k) {
		delete(t.keeps.asked, k.UUID)
		return nil
	}
	if w.offline != nil || now.Before(r.at) {
		return nil
	}
	if err := t.keeps.pace.Wait(w.ctx); err != nil {
		return err
	}
	has, err := t.asks(w.ctx, *k)
	if err != nil {
		return err
	}
	if has {
		k.Expired = false
		delete(t.keeps.asked, k.UUID)
		return t.Index.SetExpired(k.UUID, false)
	}
	pause := min(max(2*r.pause, askFirst), askMost)
	t.keeps.asked[k.UUID] = asked{now.Add(pause), pause}
	return nil
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
	if w.strikes++; w.strikes >= maxStrikes && (remote.Temporary(err) || errors.Is(err, errStranger)) {
		w.offline = err
	}
	if w.first == nil {
		w.first = err
	}
	w.t.Log.WithError(err).Debugf("entity %s could not be kept", k.UUID)
}

// content gives a content of k's, whole and checked: fetched if need be,
// within the pace. A damaged copy is fetched anew, unless it may be the last.
func (w *sweep) content(key blob.Key, k index.Known) (*Reader, *os.File, error) {
	t := w.t
	for again := false; ; again = true {
		cached := t.Blobs.HasCached(key)
		if !cached && w.offline != nil {
			return nil, nil, w.offline
		}
		if !cached {
			if err := t.keeps.pace.Wait(w.ctx); err != nil {
				return nil, nil, err
			}
		}
		r, err := t.open(key, k.Entity)
		if err != nil {
			return nil, nil, err
		}
		err = r.WaitWhole(w.ctx)
		if err == nil && cached && !key.Thumb {
			err = blob.CheckDigest(key, k.Digest, r.content())
		}
		if err == nil {
			return r, r.content(), nil
		}
		r.Close()
		if again || !errors.Is(err, blob.ErrDamaged) || t.Blobs.HasPinned(key) || t.doubtful(k) {
			return nil, nil, err
		}
		if err := t.Blobs.DropCached(key); err != nil {
			return nil, nil, err
		}
	}
}

// pin pins an entity's content, and a picture's thumbnail.
func (w *sweep) pin(k index.Known) error {
	if err := w.pinAs(blob.Key{UUID: k.UUID}, k); err != nil {
		return err
	}
	return w.pinThumb(k)
}

// pinThumb pins a picture's thumbnail, if the service gives one; that of a
// picture which the service has forgotten only if it is here.
func (w *sweep) pinThumb(k index.Known) error {
	key := blob.Key{UUID: k.UUID, Thumb: true}
	cached := w.t.Blobs.HasCached(key)
	if !k.Image || w.t.Blobs.HasPinned(key) || k.Expired && !cached {
		return nil
	}
	if !cached {
		if w.offline != nil {
			return w.offline
		}
		if err := w.t.keeps.pace.Wait(w.ctx); err != nil {
			return err
		}
	}
	r, err := w.t.OpenThumb(w.ctx, k.Entity)
	if errors.Is(err, ErrNoThumb) {
		return nil // the picture itself is kept
	}
	if err != nil {
		return err
	}
	defer r.Close()
	return w.t.Blobs.Pin(key, r.content())
}

func (w *sweep) pinAs(key blob.Key, k index.Known) error {
	if w.t.Blobs.HasPinned(key) {
		return nil
	}
	r, file, err := w.content(key, k)
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
	users, err := t.Index.Users(k.UUID, 1)
	if err != nil || len(users) == 0 {
		return err
	}
	name, err := t.nameOf(users[0])
	if err != nil {
		return err
	}
	r, file, err := w.content(blob.Key{UUID: k.UUID}, k)
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
	if err := t.Blobs.MoveCached(blob.Key{UUID: k.UUID}, blob.Key{UUID: e.UUID}); err != nil {
		t.Log.WithError(err).Debug("the renewed entity is not cached; it is fetched when it is read")
	}
	if k.Image {
		t.WantThumb(e.UUID)
	}
	return nil
}
