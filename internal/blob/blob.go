package blob

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// Options say where the bytes go and how many there may be.
type Options struct {
	StateDir  string  // staged content, below staging/, and pinned, below pinned/
	CacheDir  string  // cached content, below entities/
	CacheSize int64   // bytes; 0 is DefaultCacheSize
	MinFree   float64 // share of the disk to leave free; 0 is DefaultMinFree
	Log       *logrus.Entry
}

// Defaults of Options.
const (
	DefaultCacheSize = 10 << 30
	DefaultMinFree   = 0.05
)

// A Store is the local disk's part of a profile.
type Store struct {
	o       Options
	staging string
	cache   string
	pinned  string

	mu   sync.Mutex
	used lru

	spares chan *os.File // files without a name, for staged content
	evict  chan struct{}
	closed chan struct{}
	ended  sync.WaitGroup
}

// Open makes the directories, 0700, and begins to count what is cached, in
// the background: mounting does not wait for it.
func Open(o Options) (*Store, error) {
	if o.CacheSize == 0 {
		o.CacheSize = DefaultCacheSize
	}
	if o.MinFree == 0 {
		o.MinFree = DefaultMinFree
	}
	if o.Log == nil {
		o.Log = logrus.NewEntry(logrus.StandardLogger())
	}
	s := &Store{o: o, staging: filepath.Join(o.StateDir, "staging"), cache: filepath.Join(o.CacheDir, "entities"),
		pinned: filepath.Join(o.StateDir, PinnedDir), spares: make(chan *os.File, spareCount),
		evict: make(chan struct{}, 1), closed: make(chan struct{})}
	s.used.init()
	for _, dir := range []string{s.staging, s.cache, s.pinned} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("local disk: %w", err)
		}
	}
	s.ended.Go(s.keepBounds)
	s.ended.Go(s.makeSpares)
	return s, nil
}

// Close ends the eviction and waits for it.
func (s *Store) Close() error {
	close(s.closed)
	s.ended.Wait()
	return nil
}

// Space is what a file system has, in bytes.
type Space struct{ Total, Avail int64 }

// Free tells what staging can still take: what is free, but for the share
// that stays free, and what eviction can give.
func (s *Store) Free() (Space, error) {
	total, free, err := diskSpace(s.staging)
	if err != nil {
		return Space{}, err
	}
	s.mu.Lock()
	free += s.used.bytes
	s.mu.Unlock()
	return Space{total, max(free-int64(s.o.MinFree*float64(total)), 0)}, nil
}

func diskSpace(dir string) (total, free int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize, nil
}
