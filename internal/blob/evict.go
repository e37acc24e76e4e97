package blob

import (
	"container/list"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

// lru knows the cached contents, those used last at the front.
type lru struct {
	order *list.List // of cachedFile
	at    map[Key]*list.Element
	bytes int64
}

type cachedFile struct {
	k    Key
	size int64
}

func (l *lru) init() { l.order, l.at = list.New(), make(map[Key]*list.Element) }

func (l *lru) add(k Key, size int64) {
	l.remove(k)
	l.at[k] = l.order.PushFront(cachedFile{k, size})
	l.bytes += size
}

func (l *lru) touch(k Key) {
	if e := l.at[k]; e != nil {
		l.order.MoveToFront(e)
	}
}

func (l *lru) remove(k Key) {
	if e := l.at[k]; e != nil {
		l.bytes -= e.Value.(cachedFile).size
		l.order.Remove(e)
		delete(l.at, k)
	}
}

// addOld adds what an earlier process cached, behind all that is known.
func (l *lru) addOld(f cachedFile) {
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

func (s *Store) keepBounds() {
	s.scan()
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		for s.overBounds() && s.evictOne() {
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
	return err == nil && float64(free) < s.o.MinFree*float64(total)
}

// evictOne removes the content that was used longest ago, and tells whether
// there was one.
func (s *Store) evictOne() bool {
	s.mu.Lock()
	last := s.used.order.Back()
	if last == nil {
		s.mu.Unlock()
		return false
	}
	f := last.Value.(cachedFile)
	s.used.remove(f.k)
	s.mu.Unlock()
	if err := os.Remove(s.cachedPath(f.k)); err != nil {
		s.o.Log.WithError(err).Warnf("cannot evict entity %s", f.k)
	}
	return true
}

// scan finds what an earlier process cached, in the order of its last use as
// far as the disk knows.
func (s *Store) scan() {
	type found struct {
		cachedFile
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
			all = append(all, found{cachedFile{k, st.Size}, time.Unix(max(st.Atim.Sec, st.Mtim.Sec), 0)})
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
