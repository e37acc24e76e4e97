package blob

import (
	"container/list"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

// lru knows the cached contents, those used last at the front.
type lru struct {
	order *list.List // of *cachedFile
	at    map[Key]*list.Element
	bytes int64
	inUse int64 // bytes of those that are open
}

type cachedFile struct {
	k    Key
	size int64
	open int // times
}

func (l *lru) init() { l.order, l.at = list.New(), make(map[Key]*list.Element) }

func (l *lru) add(k Key, size int64) *cachedFile {
	if e := l.at[k]; e != nil {
		l.order.MoveToFront(e)
		return e.Value.(*cachedFile)
	}
	f := &cachedFile{k: k, size: size}
	l.at[k] = l.order.PushFront(f)
	l.bytes += size
	return f
}

func (l *lru) remove(k Key) {
	if e := l.at[k]; e != nil {
		f := e.Value.(*cachedFile)
		l.bytes -= f.size
		if f.open > 0 {
			l.inUse -= f.size
		}
		l.order.Remove(e)
		delete(l.at, k)
	}
}

// opened notes a use; it is over with closed.
func (l *lru) opened(k Key, size int64) *cachedFile {
	f := l.add(k, size)
	if f.open++; f.open == 1 {
		l.inUse += f.size
	}
	return f
}

func (l *lru) closed(f *cachedFile) {
	f.open--
	if e := l.at[f.k]; f.open == 0 && e != nil && e.Value.(*cachedFile) == f {
		l.inUse -= f.size
	}
}

// oldest is the content used longest ago, of those that are not open.
func (l *lru) oldest() *cachedFile {
	for e := l.order.Back(); e != nil; e = e.Prev() {
		if f := e.Value.(*cachedFile); f.open == 0 {
			return f
		}
	}
	return nil
}

// addOld adds what an earlier process cached, behind all that is known.
func (l *lru) addOld(f *cachedFile) {
	if l.at[f.k] == nil {
		l.at[f.k] = l.order.PushBack(f)
		l.bytes += f.size
	}
}

// Evict has the bounds checked soon.
func (s *Store) Evict() {
	select {
	case s.evict <- struct{}{}:
	default:
	}
}

// checkEvery is how often the free space is looked at when nothing asks for
// it: other programs fill the disk too.
const checkEvery = 10 * time.Second

// EvictUnless begins the eviction: until then nothing is evicted. What last
// tells of, the last copies, stays; it then counts as cached no more, and is
// for last's owner to pin or to drop. last is called with no lock of the
// cache's held, and may be told of a content again.
func (s *Store) EvictUnless(last func(Key) bool) {
	s.mu.Lock()
	s.last = last
	s.mu.Unlock()
	s.Evict()
}

func (s *Store) keepBounds() {
	s.scan()
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		for more := true; more && s.overBounds(); {
			_, more = s.evictOne()
		}
		select {
		case <-s.closed:
			return
		case <-s.evict:
		case <-tick.C:
		}
	}
}

func (s *Store) overBounds() bool {
	s.mu.Lock()
	over := s.used.bytes > s.o.CacheSize
	s.mu.Unlock()
	if over {
		return true
	}
	total, free, err := diskSpace(s.cache)
	return err == nil && free < s.reserve(total)
}

// evictOne removes the content that was used longest ago and is not open,
// unless it is a last copy. It tells how much room that made, in bytes, and
// whether there was one.
func (s *Store) evictOne() (size int64, ok bool) {
	f, last := s.nextToEvict()
	if f == nil {
		return 0, false
	}
	if last(f.k) {
		return 0, true
	}
	if err := os.Remove(s.cachedPath(f.k)); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.o.Log.WithError(err).Warnf("cannot evict entity %s", f.k)
		}
		return 0, true
	}
	return f.size, true
}

// nextToEvict takes the content that was used longest ago out of the order.
func (s *Store) nextToEvict() (*cachedFile, func(Key) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return nil, nil
	}
	f := s.used.oldest()
	if f != nil {
		s.used.remove(f.k)
	}
	return f, s.last
}

// scan finds what an earlier process cached, in the order of its last use as
// far as the disk knows.
func (s *Store) scan() {
	type found struct {
		*cachedFile
		used time.Time
	}
	var all []found
	err := filepath.WalkDir(s.cache, func(path string, e fs.DirEntry, err error) error {
		select {
		case <-s.closed:
			return filepath.SkipAll
		default:
		}
		k, ok := parseKey(filepath.Base(path))
		if err != nil || !ok || e.IsDir() {
			return nil
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			all = append(all, found{&cachedFile{k: k, size: st.Size}, time.Unix(max(st.Atim.Sec, st.Mtim.Sec), 0)})
		}
		return nil
	})
	if err != nil {
		s.o.Log.WithError(err).Warn("cannot read the cache's directory")
	}
	sort.Slice(all, func(i, j int) bool { return all[i].used.After(all[j].used) })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range all {
		s.used.addOld(f.cachedFile)
	}
}
