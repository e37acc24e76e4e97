package transfer

import (
	"slices"
	"sync"
	"sync/atomic"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/entity"
)

// Bounds of the prefetch, besides Config.Prefetch.
const (
	maxAhead    = 32       // files of a directory ahead of its reader
	maxStreams  = 64       // directories that are watched
	maxRequests = 16       // at once
	thumbBytes  = 16 << 10 // that a thumbnail is taken for, its size not being known
	lookAhead   = 2 * maxAhead
)

// A place is where a file was opened: what is read next there is foreseen.
// Pictures and thumbnails are different rows of files.
type place struct {
	dir   index.Ino
	thumb bool
}

// An opening is a file's, at its place.
type opening struct {
	place
	name string
}

// prefetcher fetches what a reader of a directory is about to open. Its
// goroutine alone knows the streams.
type prefetcher struct {
	opened  chan opening
	slots   chan struct{}
	streams map[place]*stream
	order   []place      // the streams, used longest ago first
	bytes   atomic.Int64 // fetched, or about to be, and not opened yet

	fetched, hits, wasted atomic.Int64
}

// A stream is a reader that goes through a directory in its order.
type stream struct {
	place
	next   []*foreseen // files after the one opened last, in order
	last   string      // the last name of next, or what was opened last
	end    bool        // the directory has no more
	window int         // files to have fetched ahead
	now    string      // opened last
}

// foreseen is a file that comes next.
type foreseen struct {
	name    string
	e       entity.Entity
	fetch   *fetch // nil: not begun, or nothing to do
	settled bool   // looked at
}

// A fetch is a prefetch under way or done.
type fetch struct {
	size   int64
	cancel sync.Once
	stop   chan struct{} // closed when it is not wanted any more
}

// PrefetchStats count what was fetched ahead of its use.
type PrefetchStats struct {
	Fetched int64 `json:"fetched"` // files and thumbnails
	Hits    int64 `json:"hits"`    // of them, those that were opened
	Wasted  int64 `json:"wasted"`  // and those that were passed over
}

// PrefetchStats tells how well the prefetch foresaw since the start.
func (t *Transfer) PrefetchStats() PrefetchStats {
	p := &t.ahead
	return PrefetchStats{p.fetched.Load(), p.hits.Load(), p.wasted.Load()}
}

func (p *prefetcher) init() {
	p.opened = make(chan opening, 256)
	p.slots = make(chan struct{}, maxRequests)
	p.streams = make(map[place]*stream)
}

// Opened tells that the file name of directory dir, or its thumbnail, is
// being read: if its neighbours were before, those that follow are fetched.
// It never waits.
func (t *Transfer) Opened(dir index.Ino, name string, thumb bool) {
	if t.Prefetch <= 0 {
		return
	}
	select {
	case t.ahead.opened <- opening{place{dir, thumb}, name}:
	default: // a burst: the next one tells enough
	}
}

// foresee works off what was opened, until Close.
func (t *Transfer) foresee() {
	p := &t.ahead
	for {
		select {
		case o := <-p.opened:
			s := p.stream(o.place)
			p.advance(s, o.name)
			t.refill(s)
			t.fetchAhead(s)
		case <-t.ctx.Done():
			return
		}
	}
}

// stream gives a place's stream; the one used longest ago goes if there are
// too many.
func (p *prefetcher) stream(at place) *stream {
	s := p.streams[at]
	switch {
	case s != nil:
		p.order = slices.DeleteFunc(p.order, func(o place) bool { return o == at })
	case len(p.order) >= maxStreams:
		p.drop(p.order[0])
	}
	if s == nil {
		s = &stream{place: at}
		p.streams[at] = s
	}
	p.order = append(p.order, at)
	return s
}

func (p *prefetcher) drop(at place) {
	p.passOver(p.streams[at].next)
	delete(p.streams, at)
	p.order = slices.DeleteFunc(p.order, func(o place) bool { return o == at })
}

// makeRoom has size bytes free of the most that there may be ahead: readers
// that went away lose what was fetched for them, but not one that the bytes
// are for. It tells whether there is room.
func (p *prefetcher) makeRoom(s *stream, size, most int64) bool {
	for p.bytes.Load()+size > most && p.order[0] != s.place {
		p.drop(p.order[0])
	}
	return p.bytes.Load()+size <= most
}

// advance follows the reader to name. The window doubles when it was the very
// next, stays when it was foreseen, and folds when it was not.
func (p *prefetcher) advance(s *stream, name string) {
	if name == s.now {
		return // once more
	}
	s.now = name
	for i, f := range s.next {
		if f.name != name {
			continue
		}
		p.passOver(s.next[:i])
		if f.fetch != nil {
			p.hits.Add(1)
			p.bytes.Add(-f.fetch.size)
		}
		s.next = s.next[i+1:]
		if i == 0 {
			s.window = min(max(2*s.window, 2), maxAhead)
		}
		return
	}
	p.passOver(s.next)
	s.next, s.last, s.end, s.window = nil, name, false, 0
}

// passOver gives up what was foreseen wrongly.
func (p *prefetcher) passOver(files []*foreseen) {
	for _, f := range files {
		if f.fetch != nil {
			p.wasted.Add(1)
			p.bytes.Add(-f.fetch.size)
			f.fetch.cancel.Do(func() { close(f.fetch.stop) })
		}
	}
}

// refill reads on in the directory while fewer names are foreseen than the
// window has; one is needed in any case, to know the next when it is opened.
func (t *Transfer) refill(s *stream) {
	for !s.end && len(s.next) < max(s.window, 1) {
		entries, err := t.Index.ReadDir(s.dir, s.last, lookAhead)
		if err != nil {
			s.end = true
			return
		}
		s.end = len(entries) < lookAhead
		for _, d := range entries {
			s.last = d.Name
			if f := t.foreseen(s.place, d); f != nil {
				s.next = append(s.next, f)
			}
		}
	}
}

// foreseen is a directory's entry as something to fetch; nil where there is
// nothing to read.
func (t *Transfer) foreseen(at place, d index.Dirent) *foreseen {
	in := d.Inode
	if !in.IsRegular() || in.Size == 0 || at.thumb && (!in.Image || d.ThumbHidden) {
		return nil
	}
	f := &foreseen{name: d.Name}
	if in.Staged != 0 || in.UUID.IsZero() {
		f.settled = true
		return f
	}
	var err error
	f.e, err = t.Index.Entity(in.UUID)
	f.settled = err != nil
	return f
}

// fetchAhead begins what the window asks for and the bound in bytes allows.
func (t *Transfer) fetchAhead(s *stream) {
	for _, f := range s.next[:min(s.window, len(s.next))] {
		if f.settled {
			continue
		}
		k, size := blob.Key{UUID: f.e.UUID, Thumb: s.thumb}, f.e.Size
		if s.thumb {
			size = thumbBytes
		}
		if !t.Blobs.HasCached(k) {
			if !t.ahead.makeRoom(s, size, t.Prefetch) {
				return
			}
			f.fetch = &fetch{size: size, stop: make(chan struct{})}
			t.ahead.bytes.Add(size)
			t.ahead.fetched.Add(1)
			t.ended.Go(func() { t.fetchOne(f.fetch, f.e, s.thumb) })
		}
		f.settled = true
	}
}

// fetchOne fetches one content, once there is a slot and unless it is not
// wanted any more. A failure is the reader's to meet.
func (t *Transfer) fetchOne(f *fetch, e entity.Entity, thumb bool) {
	select {
	case t.ahead.slots <- struct{}{}:
		defer func() { <-t.ahead.slots }()
	case <-f.stop:
		return
	case <-t.ctx.Done():
		return
	}
	open := t.Open
	if thumb {
		open = t.OpenThumb
	}
	r, err := open(forNobody(t.ctx), e)
	if err != nil {
		return
	}
	defer r.Close()
	_ = r.WaitWhole(t.ctx)
}
