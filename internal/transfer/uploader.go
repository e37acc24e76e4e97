package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"time"

	"github.com/gabriel-vasile/mimetype"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/entity"
	"chatfs/remote"
)

// work is one of the pool: it sends what is due until Close.
func (t *Transfer) work() {
	for {
		j := t.uploads.next(t.ctx)
		if j == nil {
			return
		}
		what, err := t.attempt(j)
		t.finish(j, what, err)
	}
}

// outcome is what became of one attempt.
type outcome int

const (
	sent    outcome = iota // or nothing to send any more
	stays                  // its names keep it local
	stopped                // held, changed or closing: not the attempt's fault
	retry                  // it failed in a way that may pass
	refused                // it failed for good
)

// attempt sends j's content and records what became of it.
func (t *Transfer) attempt(j *job) (outcome, error) {
	e, queued, err := t.Index.QueueEntry(j.ino)
	switch {
	case err != nil:
		return retry, err
	case !queued || e.Failed != "":
		return sent, nil
	}
	name, err := t.nameOf(j.ino)
	switch left := t.staysFor(e, name); {
	case err != nil:
		return retry, err
	case name == "":
		return sent, nil
	case left > 0 && t.uploads.stays(j, left):
		return stays, nil
	case left > 0:
		return stopped, nil
	}
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	if !t.started(j, e.Version, cancel) {
		return stopped, nil
	}
	err = t.send(ctx, e, name)
	switch {
	case err == nil:
		return sent, nil
	case ctx.Err() != nil:
		return stopped, nil
	case permanent(err), errors.Is(err, remote.ErrRejected) && j.attempts+1 >= rejections:
		return refused, errors.Join(err, t.Index.Failed(e.Ino, e.Version, err.Error()))
	}
	return retry, errors.Join(err, t.Index.Attempted(e.Ino, e.Version, err.Error()))
}

// started notes what is being sent, unless a writer came first.
func (t *Transfer) started(j *job, version uint64, cancel context.CancelFunc) bool {
	u := &t.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	j.version, j.cancel = version, cancel
	return j.holds == 0
}

// maxPause caps the pause between attempts.
const maxPause = time.Minute

// finish ends an attempt: j rests, or is due again.
func (t *Transfer) finish(j *job, what outcome, err error) {
	u := &t.uploads
	u.mu.Lock()
	u.running--
	j.running, j.cancel, j.err = false, nil, err
	again := j.again
	j.local = what == stays && !again
	switch what {
	case sent, refused:
		j.attempts = 0
	case retry:
		j.attempts++
		j.failures++
		again = true
		j.due = time.Now().Add(pause(j.attempts))
		u.out.failed(j, err, time.Now())
	case stays:
		again = again || !j.due.IsZero()
	case stopped:
		again = true
	}
	u.out.ended(j)
	if what == refused { // by a service that answers
		u.revive()
	}
	if again && j.holds == 0 {
		u.schedule(j, j.due)
	} else {
		u.rest(j)
	}
	u.mu.Unlock()
	if what == retry {
		t.Log.WithError(err).Warnf("%s: upload failed; it is tried again", t.describe(j.ino))
	}
	if what == refused {
		t.Log.WithError(err).Errorf("%s: upload failed for good; the file stays here", t.describe(j.ino))
	}
	if what == sent || what == refused {
		t.Changed(j.ino)
	}
}

// pause is exponential with full jitter, from half a second on.
func pause(attempts int) time.Duration {
	most := min(time.Second<<min(attempts-1, 10), maxPause)
	return most/2 + rand.N(most/2)
}

// permanent tells whether trying again cannot help.
func permanent(err error) bool {
	return errors.Is(err, remote.ErrTooLarge) || errors.Is(err, remote.ErrPlanLimit) || errors.Is(err, remote.ErrForbidden)
}

// rejections are how often the service may call a request wrong before it is
// believed: what stands between may have spoilt one.
const rejections = 3

func (t *Transfer) describe(ino index.Ino) string { return pathOf(t.Index, ino) }

// nameOf gives the name that an upload bears: one that may be sent, if there
// is such; "" without any.
func (t *Transfer) nameOf(ino index.Ino) (name string, err error) {
	paths, err := t.Index.Paths(ino)
	for _, p := range paths {
		if name = path.Base(p); t.LocalOnly(name) == 0 {
			break
		}
	}
	return name, err
}

// StaysFor tells how long the names of e's file keep it here from now on:
// Forever, or 0 if one of them does not.
func (t *Transfer) StaysFor(e index.QueueEntry) time.Duration {
	name, err := t.nameOf(e.Ino)
	if err != nil {
		return 0
	}
	return t.staysFor(e, name)
}

// staysFor is StaysFor of a file whose name nameOf gave.
func (t *Transfer) staysFor(e index.QueueEntry, name string) time.Duration {
	if name == "" {
		return 0
	}
	switch stays := t.LocalOnly(name); stays {
	case 0, Forever:
		return stays
	default:
		age := time.Since(e.Queued)
		if age < 0 { // the clock was set back: nobody knows its age
			return 0
		}
		return max(0, stays-age)
	}
}

// send uploads a staged content, or finds the entity of an equal one, and
// commits it.
func (t *Transfer) send(ctx context.Context, e index.QueueEntry, name string) error {
	c, err := t.examine(e)
	if err != nil {
		return err
	}
	committed := false
	ent, led, err := t.uploads.same.do(ctx, c.digest, func() (entity.Entity, error) {
		ent, err := t.entityFor(ctx, c, name)
		if err == nil { // before the next equal content looks for it
			committed, err = t.Index.Uploaded(e.Ino, e.Version, ent, c.image)
		}
		return ent, err
	})
	if err == nil && !led {
		committed, err = t.Index.Uploaded(e.Ino, e.Version, ent, c.image)
	}
	if err != nil || !committed {
		return err
	}
	if err := t.Blobs.Adopt(uint64(e.Staged), blob.Key{UUID: ent.UUID}, c.digest); err != nil {
		t.Log.WithError(err).Warnf("%s: the cache could not take it; it will be fetched when it is read", t.describe(e.Ino))
	}
	if c.image {
		t.WantThumb(ent.UUID)
	}
	t.Index.OnDurable(func() {
		if err := t.Blobs.RemoveStaged(uint64(e.Staged)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Log.WithError(err).Warn("cannot remove a staged file; the next mount will")
		}
	})
	return nil
}

// entityFor finds or makes the entity that has the content.
func (t *Transfer) entityFor(ctx context.Context, c *examined, name string) (entity.Entity, error) {
	known, found, err := t.Index.ByDigest(c.digest, !t.Unrestricted)
	if err != nil || found && t.lasts(known) {
		known.Sums = c.sums // an old record may lack them
		return known.Entity, err
	}
	ent, err := t.Remote.Upload(ctx, remote.UploadRequest{Name: name, Size: c.Size, Restricted: !t.Unrestricted,
		Open: func() (io.ReadCloser, error) {
			if c.small != nil {
				return io.NopCloser(bytes.NewReader(c.small)), nil
			}
			file, err := t.Blobs.OpenStaged(uint64(c.Staged))
			if err != nil {
				return nil, err
			}
			return newCompared(file, c.sums), nil
		}})
	if err == nil {
		t.uploaded()
	}
	ent.Size, ent.Digest, ent.Sums = c.Size, c.digest, c.sums
	return ent, err
}

// pictures are the forms that the service makes thumbnails of.
var pictures = []string{"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/tiff"}

// An examined content is a staged one that was read once. The digest has to be
// known before it is sent, since an entity of the same is not sent again.
type examined struct {
	index.QueueEntry
	digest entity.Digest
	sums   entity.Sums
	image  bool
	small  []byte // all of it, if it is small; else it is read again
}

// smallSize is up to what size, in bytes, a content is sent from memory: one
// without sums, that is, which could not be compared when it is read again.
const smallSize = entity.BlockSize

// examine reads a staged content: its digest and sums, and whether it is a
// picture.
func (t *Transfer) examine(e index.QueueEntry) (*examined, error) {
	file, err := t.Blobs.OpenStaged(uint64(e.Staged))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	c := &examined{QueueEntry: e}
	if e.Size <= smallSize {
		c.small = make([]byte, e.Size)
		if _, err = io.ReadFull(file, c.small); err != nil {
			return nil, c.failed(err)
		}
		c.digest, c.image = sha256.Sum256(c.small), isPicture(c.small)
		return c, nil
	}
	piece := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(piece)
	var h entity.Hasher
	for left := e.Size; left > 0; {
		part := piece[:min(left, pieceSize)]
		if _, err = io.ReadFull(file, part); err != nil {
			return nil, c.failed(err)
		}
		if left == e.Size {
			c.image = isPicture(part)
		}
		h.Write(part)
		left -= int64(len(part))
	}
	c.digest, c.sums = h.Digest(), h.Sums()
	return c, nil
}

func (c *examined) failed(err error) error {
	return fmt.Errorf("read the %d bytes of staged content %d: %w", c.Size, c.Staged, err)
}

// isPicture tells by the beginning of a content.
func isPicture(head []byte) bool {
	return slices.ContainsFunc(pictures, mimetype.Detect(head[:min(len(head), 3<<10)]).Is)
}

// State tells where ino's content is.
func (t *Transfer) State(ino index.Ino) State {
	e, queued, err := t.Index.QueueEntry(ino)
	if err == nil && !queued {
		in, err := t.Index.Get(ino)
		if err == nil && !in.UUID.IsZero() {
			return t.stateOfEntity(in.UUID)
		}
		return StateEmpty
	}
	if e.Failed != "" {
		return StateFailed
	}
	if t.StaysFor(e) > 0 {
		return StateLocal
	}
	t.uploads.mu.Lock()
	defer t.uploads.mu.Unlock()
	if j := t.uploads.jobs[ino]; j != nil && j.running {
		return StateUploading
	}
	return StateStaged
}

func (t *Transfer) stateOfEntity(u entity.UUID) State {
	if k, err := t.Index.Known(u); err == nil && k.Expired && !t.Blobs.HasCached(blob.Key{UUID: u}) {
		return StateExpired
	}
	return StateUploaded
}

// ErrorOf tells why ino's upload failed, for good or last; "" if it did not.
func (t *Transfer) ErrorOf(ino index.Ino) string {
	e, queued, err := t.Index.QueueEntry(ino)
	if err != nil || !queued {
		return ""
	}
	if e.Failed != "" {
		return e.Failed
	}
	t.uploads.mu.Lock()
	defer t.uploads.mu.Unlock()
	if j := t.uploads.jobs[ino]; j != nil && j.err != nil {
		return j.err.Error()
	}
	return ""
}

// Wait returns once ino's content is at the service (nil), stays local (nil)
// or an attempt to send it failed (the error; it is tried again where that can
// help), or ctx ends. It skips the settling delay and the pauses of an outage.
// Content that another writer may still change is his to wait for (nil).
func (t *Transfer) Wait(ctx context.Context, ino index.Ino) error {
	news, before, _ := t.urge(ino, -1)
	for {
		switch t.State(ino) {
		case StateEmpty, StateUploaded, StateExpired, StateLocal:
			return nil
		case StateFailed:
			return t.whyFailed(ino)
		}
		if t.Held(ino) {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		case <-t.ctx.Done():
			return fmt.Errorf("unmounting: %w", ErrUnavailable)
		}
		var err error
		if news, before, err = t.urge(ino, before); err != nil {
			return err
		}
	}
}

// whyFailed is the error that ino's upload failed with for good. Of one that
// another process met, the text is left.
func (t *Transfer) whyFailed(ino index.Ino) error {
	t.uploads.mu.Lock()
	defer t.uploads.mu.Unlock()
	if j := t.uploads.jobs[ino]; j != nil && j.err != nil {
		return j.err
	}
	e, _, err := t.Index.QueueEntry(ino)
	return errors.Join(fmt.Errorf("upload: %s: %w", e.Failed, ErrForbidden), err)
}

// urge has ino's content sent before others that are due. It tells how often
// that has failed by now, and the last error if that is more than before,
// unless before is negative; news is closed once something changes.
func (t *Transfer) urge(ino index.Ino, before int) (news <-chan struct{}, failures int, err error) {
	u := &t.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	j := u.job(ino)
	if before >= 0 && j.failures > before {
		return u.news, j.failures, j.err
	}
	if j.at >= 0 && !j.urgent {
		j.urgent = true
		u.schedule(j, time.Now())
	}
	return u.news, j.failures, nil
}
