package blob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// Options say where the bytes go and how many there may be.
type Options struct {
	StateDir  string  // staged content, below staging/, and pinned, below pinned/
	CacheDir  string  // cached content, below entities/
	CacheSize int64   // bytes; 0 is DefaultCacheSize
	MinFree   float64 // share of the disk to leave free; 0 is DefaultMinFree
	// Booted is when the machine started; zero asks the kernel. What was cached
	// before may have lost bytes with the power.
	Booted time.Time
	Log    *logrus.Entry
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
	oneDisk bool      // staging and cache share their free space
	booted  time.Time // what was cached before is doubtful

	budget budget
	mu     sync.Mutex
	used   lru
	last   func(Key) bool // what eviction leaves; nil: all

	spares chan *os.File // files without a name, for staged content
	evict  chan struct{}
	closed chan struct{}
	ended  sync.WaitGroup
}

// Open makes the directories, 0700, and begins to count what is cached, in
// the background: mounting does not wait for it. A disk that can't be used is
// *ErrDisk.
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
		pinned: filepath.Join(o.StateDir, PinnedDir), spares: make(chan *os.File, SpareCount),
		evict: make(chan struct{}, 1), closed: make(chan struct{})}
	s.used.init()
	for _, dir := range []string{s.staging, s.cache, s.pinned} {
		if err := makeDir(dir); err != nil {
			return nil, fmt.Errorf("local disk: %w", err)
		}
		if err := checkUnnamed(dir); err != nil {
			return nil, err
		}
	}
	var err error
	if s.oneDisk, err = sameDisk(s.staging, s.cache); err != nil {
		return nil, fmt.Errorf("local disk: %w", err)
	}
	if s.booted, err = bootTime(o.Booted); err != nil {
		return nil, fmt.Errorf("local disk: %w", err)
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

// makeDir makes a directory, 0700, with those that lead to it. The names of
// the new ones outlive a loss of power, or what is synced in them would not.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) { // which we may write, not read
		return err
	}
	return nil
}
