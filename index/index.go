package index

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	// FileName is the database's name in the index's directory.
	FileName = "index.db"
	// mapBytes of address space keep bbolt from waiting for readers when its
	// file grows, up to this size: see bbolt's Options.InitialMmapSize.
	mapBytes = 1 << 30
	// growBytes is how far bbolt's file grows beyond what it needs. bbolt's own
	// 16 MiB would be the size of a small index, with so large a map.
	growBytes = 1 << 20
	// longestPause between two tries of a commit that fails.
	longestPause = 30 * time.Second
	// lockWait bounds the wait for a process that is just ending.
	lockWait = 300 * time.Millisecond
)

// Options of [Open]. The zero Options are good.
type Options struct {
	// SyncStaged makes the bytes of these staged contents durable. It is called,
	// with no index lock held, before anything that names them becomes so. Ids
	// whose files are gone are no error.
	SyncStaged func([]StagedID) error
	// After numbers the changes from here on above this: an index that was put
	// back to an earlier state is then not older, by [Index.Changes], than what
	// was made of it since.
	After uint64
	// SumStaged gives the CRC-32C of the first size bytes of a staged content: it
	// is noted with a content that is queued, and proves after a loss of power
	// that all its bytes are there. Without it none are taken for proven that were
	// not made durable.
	SumStaged func(id StagedID, size int64) (uint32, error)
	// CommitInterval is how long changes wait at most for their commit to the
	// database; they are in the journal meanwhile. Default: one second.
	CommitInterval time.Duration
	// Salvage opens an index whose journal is damaged: what comes before the
	// damage is replayed and the journal's files are kept as damaged-*.
	Salvage bool
	// BootID names the time since the machine started: records of an earlier
	// one may have lost the staged bytes that they name with the power, unless
	// SumStaged proves them. Default: the kernel's.
	BootID string
	Log    *logrus.Entry

	hooks      hooks
	migrations []migration // nil: the program's own
}

// An Index is open and in use by this process alone. Its methods may be called
// from any goroutine.
type Index struct {
	store    *store
	recovery Recovery

	stop chan struct{}
	done chan struct{} // the committer ended

	closeOnce sync.Once
	closeErr  error
}

// Open opens the index in dir, and makes it if there is none (0700, the
// database 0600). It replays what the journal has and tells so in Recovery.
// Errors: ErrLocked, ErrNewerSchema, *ErrDamaged, or the disk's.
func Open(dir string, o Options) (*Index, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("open the index: %w", err)
	}
	db, err := openBolt(filepath.Join(dir, FileName), o)
	if err != nil {
		return nil, err
	}
	ix, err := openOn(db, dir, o)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	go ix.commitLoop(o.CommitInterval)
	return ix, nil
}

func (o Options) withDefaults() (Options, error) {
	if o.CommitInterval <= 0 {
		o.CommitInterval = time.Second
	}
	if o.Log == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		o.Log = logrus.NewEntry(l)
	}
	if o.migrations == nil {
		o.migrations = migrations
	}
	var err error
	if o.BootID == "" {
		o.BootID, err = readBootID()
	}
	return o, err
}

// makeDir makes the index's directory. Where the index is new, the names of
// all directories that lead to it are made durable, since any may be as new.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(dir, FileName)); err == nil {
		return nil
	}
	path, err := filepath.Abs(dir)
	for err == nil && path != filepath.Dir(path) {
		path = filepath.Dir(path)
		err = syncDir(path)
	}
	// What we may not open, or can't be synced, was not made by us.
	for _, foreign := range []error{fs.ErrPermission, syscall.EINVAL, syscall.EROFS} {
		if errors.Is(err, foreign) {
			return nil
		}
	}
	return err
}

// openOn recovers and starts on a database that is open and of our schema.
func openOn(db *database, dir string, o Options) (_ *Index, err error) {
	s := &store{
		db: db, log: o.Log, syncStaged: o.SyncStaged, sumStaged: o.SumStaged, hooks: o.hooks, bootID: o.BootID, dir: dir,
		active: new(overlay), frozen: new(overlay), named: map[StagedID]uint64{},
		dirty: make(chan struct{}, 1), full: make(chan struct{}, 1),
	}
	s.clock.read = readClocks
	if s.hooks.clock != nil {
		s.clock.read = s.hooks.clock
	}
	s.room, s.syncDone = sync.NewCond(&s.mu), sync.NewCond(&s.syncMu)
	defer func() {
		if err != nil {
			s.idle.drop() // closing the database would wait for them
		}
	}()
	ix := &Index{store: s, stop: make(chan struct{}), done: make(chan struct{})}
	if err := ix.recover(o); err != nil {
		return nil, fmt.Errorf("open the index: %w", err)
	}
	if err := ix.loadCounters(); err != nil {
		return nil, errors.Join(err, s.closeSegments())
	}
	if err := ix.forgetOrphans(); err != nil {
		return nil, errors.Join(err, s.closeSegments())
	}
	if r := ix.recovery; len(r.SetAside) > 0 || r.HalfHead || r.Impossible > 0 {
		if err := ix.doubt(); err != nil {
			return nil, errors.Join(err, s.closeSegments())
		}
	}
	return ix, nil
}

func (ix *Index) loadCounters() error {
	return ix.store.view(func(t *tx) error {
		ix.store.nextIno = max(Ino(t.metaUint(metaIno)), Root+1)
		ix.store.inoLimit = ix.store.nextIno
		ix.store.nextStaged.Store(max(t.metaUint(metaStaged), 1))
		ix.store.clock.start(t.metaUint(metaClock))
		return nil
	})
}

// forgetOrphans drops the inodes that were unlinked and open when the last
// process ended: nobody can reach them any more.
func (ix *Index) forgetOrphans() error {
	var orphans []Ino
	err := ix.store.view(func(t *tx) error {
		for _, k := range t.keys(bucketOrphans, nil) {
			orphans = append(orphans, keyIno([]byte(k)))
		}
		return nil
	})
	if err == nil {
		ix.recovery.Staged, err = ix.Forget(orphans...)
	}
	if err != nil {
		return fmt.Errorf("forget unlinked inodes: %w", err)
	}
	ix.recovery.Orphans = len(orphans)
	return nil
}

// Recovery tells what Open found.
func (ix *Index) Recovery() Recovery { return ix.recovery }

// commitLoop commits once changes are an interval old, or many.
func (ix *Index) commitLoop(interval time.Duration) {
	defer close(ix.done)
	s := ix.store
	trims := time.NewTicker(trimEvery)
	defer trims.Stop()
	pause, full, failures := interval, s.full, 0
	for {
		select {
		case <-s.dirty:
		case <-trims.C:
			s.trim(trimFrom)
			continue
		case <-ix.stop:
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-full:
			timer.Stop()
		case <-ix.stop:
			timer.Stop()
			return
		}
		pause, full = interval, s.full
		if s.commit() != nil { // it has told the log
			failures++
			pause, full = min(interval<<failures, longestPause), nil
			notify(s.dirty)
		} else {
			failures = 0
		}
	}
}

// Sync returns when everything before it is durable: it outlives the loss of
// power. Many callers at once share one fdatasync.
func (ix *Index) Sync() error { return ix.store.sync() }

// Close commits everything and lets go of the files. Later calls of any method
// answer ErrClosed. Nothing is lost if it fails: the journal has it.
func (ix *Index) Close() error {
	ix.closeOnce.Do(func() {
		close(ix.stop)
		<-ix.done
		ix.closeErr = ix.store.close()
	})
	return ix.closeErr
}

func (s *store) close() error {
	err := s.commit()
	s.mu.Lock()
	s.closed = true
	s.room.Broadcast()
	clean := err == nil && s.active.Len() == 0 && s.frozen.Len() == 0
	s.mu.Unlock()
	if clean {
		err = s.segments[len(s.segments)-1].discard()
	}
	s.idle.drop()
	return errors.Join(err, s.closeSegments(), s.db.Close())
}

func (s *store) closeSegments() (err error) {
	for _, g := range s.segments {
		err = errors.Join(err, g.close())
	}
	return err
}
