package transfer

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"chatfs/internal/blob"
	"chatfs/internal/entity"
	"chatfs/internal/picture"
	"chatfs/remote"
)

// ErrNoThumb says that the service gives no thumbnail of a picture, or none
// that is a picture. It is asked again later.
var ErrNoThumb = errors.New("the service gives no thumbnail of it")

// Bounds of what is asked for in the background.
const (
	thumbRequests = 2       // at once: what people wait for comes first
	maxThumbAsks  = 100_000 // that wait; one beyond is asked for when it is listed again
	refusedMost   = 6 * time.Hour
	awayMost      = time.Minute // pause of all while the service is away
)

// thumbs are the thumbnails to be asked for: those of pictures that were
// uploaded, or listed, and whose thumbnail is not known. One that the service
// did not give waits, longer each time; while it is away all wait.
type thumbs struct {
	first time.Duration // pause after the first refusal

	mu    sync.Mutex
	asks  map[entity.UUID]*thumbAsk
	queue askQueue // of those in asks that are not under way
	count int      // of all asks ever: their order
	away  int      // failures in a row that any thumbnail would have met
	until time.Time
	wake  chan struct{} // has room for one: there is something new
}

// A thumbAsk is one thumbnail that is not here.
type thumbAsk struct {
	u       entity.UUID
	order   int
	at      time.Time // not before
	tries   int
	refused error // by which the last try ended, or nil
	place   int   // in the queue, or -1
}

func (s *thumbs) init(first time.Duration) {
	s.first = first
	s.asks = make(map[entity.UUID]*thumbAsk)
	s.wake = make(chan struct{}, 1)
}

// WantThumb has the thumbnail of a picture's entity asked for, when there is
// time, unless it is known or is waited for already. Config.Changed is told
// once it is here. It never waits.
func (t *Transfer) WantThumb(u entity.UUID) {
	if _, known := t.Index.ThumbSize(u); known || !t.Thumbs {
		return
	}
	s := &t.thumbs
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asks[u] != nil || len(s.asks) >= maxThumbAsks {
		return
	}
	s.add(u)
	s.tell()
}

// add makes an ask. The caller holds mu.
func (s *thumbs) add(u entity.UUID) *thumbAsk {
	s.count++
	a := &thumbAsk{u: u, order: s.count}
	s.asks[u] = a
	heap.Push(&s.queue, a)
	return a
}

func (s *thumbs) tell() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// askThumbs asks for thumbnails, one after the other, until Close.
func (t *Transfer) askThumbs() {
	for {
		a, pause := t.thumbs.next(time.Now())
		if a == nil {
			if !t.thumbs.rest(t.ctx, pause) {
				return
			}
			continue
		}
		t.thumbs.tell() // the others look too
		r, err := t.thumb(forNobody(t.ctx), a.u)
		if err == nil {
			r.Close()
		}
		if t.ctx.Err() != nil {
			return
		}
	}
}

// next takes what is due from the queue, or tells how long nothing is.
func (s *thumbs) next(now time.Time) (*thumbAsk, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil, time.Hour
	}
	if at := later(s.queue[0].at, s.until); at.After(now) {
		return nil, at.Sub(now)
	}
	return heap.Pop(&s.queue).(*thumbAsk), 0
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// rest waits for something new, or for a time. It is false at the end.
func (s *thumbs) rest(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.wake:
	case <-ctx.Done():
		return false
	}
	return true
}

// OpenThumb gives a reader of e's thumbnail, whole, and records its size. It is
// ErrNoThumb where the service gave none a while ago.
func (t *Transfer) OpenThumb(ctx context.Context, e entity.Entity) (*Reader, error) {
	if err := t.thumbs.refusal(e.UUID, time.Now()); err != nil {
		return nil, err
	}
	return t.thumb(ctx, e.UUID)
}

// refusal is how the last try ended, as long as there is to be no next.
func (s *thumbs) refusal(u entity.UUID, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.asks[u]; a != nil && a.refused != nil && now.Before(a.at) {
		return a.refused
	}
	return nil
}

// thumb gets a thumbnail and takes note of how that ended.
func (t *Transfer) thumb(ctx context.Context, u entity.UUID) (*Reader, error) {
	e, err := t.Index.Entity(u)
	if err != nil {
		t.thumbs.done(u)
		return nil, err
	}
	before, known := t.Index.ThumbSize(u)
	r, err := t.openThumb(ctx, e, known)
	if err != nil {
		return nil, t.thumbFailed(ctx, u, err)
	}
	size, err := r.Size(ctx)
	if err == nil && (!known || size != before) {
		err = t.Index.SetThumbSize(u, size)
	}
	if err != nil {
		r.Close()
		return nil, t.thumbFailed(ctx, u, err)
	}
	t.thumbs.done(u)
	if !known {
		t.thumbCame(u)
	}
	return r, nil
}

// openThumb opens a thumbnail, once it is whole. A copy from before thumbnails
// were looked at is looked at now, and dropped if it is no picture.
func (t *Transfer) openThumb(ctx context.Context, e entity.Entity, known bool) (*Reader, error) {
	k := blob.Key{UUID: e.UUID, Thumb: true}
	for {
		r, err := t.openFor(ctx, k, e)
		if err != nil {
			return nil, err
		}
		size, err := r.Size(ctx)
		if err == nil && r.file != nil && !known {
			err = checkThumb(ctx, r.content(), size, e)
		}
		if err == nil {
			return r, nil
		}
		kept := r.file != nil
		r.Close()
		if !kept || !errors.Is(err, ErrMalformed) {
			return nil, err
		}
		t.Log.WithError(err).Warnf("%s: what was kept here is dropped", t.whose(k))
		if err := t.Blobs.Drop(k); err != nil {
			return nil, err
		}
	}
}

// checkThumb tells whether the first size bytes of a file are a thumbnail of
// e's picture: the picture itself, or another one. Nothing can tell of which.
func checkThumb(ctx context.Context, file *os.File, size int64, e entity.Entity) error {
	src := io.NewSectionReader(file, 0, size)
	if size == e.Size && !e.Digest.IsZero() {
		h := sha256.New()
		if _, err := io.Copy(h, src); err != nil {
			return err
		}
		if entity.Digest(h.Sum(nil)) == e.Digest {
			return nil
		}
	}
	err := picture.Check(ctx, src)
	if errors.Is(err, picture.ErrNone) || errors.Is(err, picture.ErrTooLarge) {
		err = fmt.Errorf("thumbnail of entity %s, %d bytes: %w: %w", e.UUID, size, ErrMalformed, err)
	}
	return err
}

// checkCame tells whether what has come is a thumbnail.
func (t *Transfer) checkCame(d *download) error {
	e, err := t.Index.Entity(d.k.UUID)
	if err != nil {
		return err
	}
	return checkThumb(t.ctx, d.dst.File(), d.dst.Written(), e)
}

// thumbCame tells of a thumbnail that can be listed now.
func (t *Transfer) thumbCame(u entity.UUID) {
	users, err := t.Index.Users(u, 0)
	if err != nil {
		t.Log.WithError(err).Warnf("entity %s: its thumbnail is here, and is seen after the next change of its directory", u)
	}
	for _, ino := range users {
		t.Changed(ino)
	}
}

// done takes note that a thumbnail is here, or is not wanted any more.
func (s *thumbs) done(u entity.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.asks[u]; a != nil {
		delete(s.asks, u)
		if a.place >= 0 {
			heap.Remove(&s.queue, a.place)
		}
	}
}

// back takes note that the service answers.
func (s *thumbs) back() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away > 0 {
		s.away, s.until = 0, time.Time{}
		s.tell()
	}
}

// thumbFailed takes note of a thumbnail that did not come, and gives the error
// to tell. The end of its caller's patience tells nothing.
func (t *Transfer) thumbFailed(ctx context.Context, u entity.UUID, err error) error {
	if ctx.Err() != nil {
		return err
	}
	answered := !ofAny(err)
	if answered {
		t.Log.WithError(err).Warnf("%s: there is none; it is asked for again later", t.whose(blob.Key{UUID: u, Thumb: true}))
		err = fmt.Errorf("%w: %w", ErrNoThumb, err)
	}
	t.thumbs.failed(u, err, answered, time.Now())
	return err
}

// ofAny tells whether a failure would have met any other thumbnail too.
func ofAny(err error) bool {
	return slices.ContainsFunc([]error{remote.ErrUnavailable, remote.ErrThrottled, remote.ErrUnauthorized, context.DeadlineExceeded},
		func(kind error) bool { return errors.Is(err, kind) })
}

// failed has a thumbnail asked for again later: by itself where the service
// answered for it, else with all others.
func (s *thumbs) failed(u entity.UUID, err error, answered bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.asks[u]
	if a == nil {
		a = s.add(u)
	} else if a.place < 0 {
		heap.Push(&s.queue, a)
	}
	if a.refused = nil; answered {
		a.refused = err
		a.at = now.Add(min(s.first<<min(a.tries, 16), refusedMost))
		a.tries++
		heap.Fix(&s.queue, a.place)
		return
	}
	s.away++
	s.until = now.Add(min(pause(s.away), awayMost))
}

// An askQueue is a heap: what is due first, and of that the oldest.
type askQueue []*thumbAsk

// Len is how many wait.
func (q askQueue) Len() int { return len(q) }

// Less tells whether i comes before j.
func (q askQueue) Less(i, j int) bool {
	if q[i].at.Equal(q[j].at) {
		return q[i].order < q[j].order
	}
	return q[i].at.Before(q[j].at)
}

// Swap exchanges two.
func (q askQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push appends one.
func (q *askQueue) Push(a any) {
	a.(*thumbAsk).place = len(*q)
	*q = append(*q, a.(*thumbAsk))
}

// Pop takes the last one.
func (q *askQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	last.place = -1
	return last
}
