package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"
)

const (
	// commitBytes of journal make a commit due before its interval is over.
	commitBytes = 8 << 20
	// backlogBytes of journal that bbolt does not have yet make writers wait:
	// it bounds the memory that the overlays take.
	backlogBytes = 64 << 20
)

// A store is the overlay, the journal and bbolt as one table of tables.
type store struct {
	db         *database
	log        *logrus.Entry
	syncStaged func([]StagedID) error
	sumStaged  func(StagedID, int64) (uint32, error)
	hooks      hooks
	dir        string
	bootID     string

	idle       snapshots     // guards itself
	clock      clock         // guards itself
	nextStaged atomic.Uint64 // the staged id to be given next

	commitMu    sync.Mutex // one commit at a time
	frozenNamed []StagedID // that frozen names and that may not be durable; guarded by commitMu

	syncMu   sync.Mutex // guards the group of Syncs below
	syncing  bool
	syncDone *sync.Cond // on syncMu
	rounds   uint64     // Syncs that a leader has finished

	mu             sync.RWMutex // guards all below
	room           *sync.Cond   // on mu: a commit ended
	active, frozen *overlay
	frozenBytes    int64
	activeBytes    int64
	frozenSeq      uint64              // the last record in frozen
	seq            uint64              // the last record written
	changed        uint64              // the last record of changes, not a marker
	synced         uint64              // the last record that is known durable
	committed      uint64              // the last record that bbolt has
	named          map[StagedID]uint64 // contents not known durable, and the record that names them
	segments       []*segment          // oldest first; the last is written to
	waiting        []deferred          // for their record to be durable, oldest first
	nextIno        Ino                 // to be given next
	inoLimit       Ino                 // the index notes that numbers below are given
	recordBuf      []byte
	failed         error // set once: the journal is lost, all is read-only
	commitErr      error // of the last commit, nil if it went well
	closed         bool

	dirty chan struct{} // wakes the committer: there is something to commit
	full  chan struct{} // and at once, please
}

// hooks let tests stand between the store and the disk, and lose power.
type hooks struct {
	writeAt  func(s *segment, p []byte, off int64) (int, error)
	truncate func(s *segment, size int64) error
	synced   func(path string, size int64)
	commit   func() error
	noSync   bool // of the database: for tests that open it a thousand times
	clock    func() (wall time.Time, passed time.Duration)
}

var txPool = sync.Pool{New: func() any { return new(tx) }}

// begin makes a tx; s.mu must be held until its end.
func (s *store) begin() *tx {
	t := txPool.Get().(*tx)
	t.s, t.active, t.frozen = s, s.active, s.frozen
	return t
}

func (t *tx) release() {
	t.done()
	*t = tx{keyBuf: t.keyBuf, changes: t.changes[:0]}
	clear(t.changes[:cap(t.changes)])
	txPool.Put(t)
}

// view runs fn on a consistent state. It waits for no commit.
func (s *store) view(fn func(*tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return ErrClosed
	}
	t := s.begin()
	defer t.release()
	return t.run(fn)
}

// run has fn read what it needs.
func (t *tx) run(fn func(*tx) error) error {
	err := t.s.db.guard(func() error { return fn(t) })
	if t.err != nil {
		return fmt.Errorf("read the index: %w", t.err)
	}
	return err
}

// update runs fn and applies its changes as one record of the journal, or
// nothing if fn or the journal fails.
func (s *store) update(fn func(*tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.waitForRoom(); err != nil {
		return err
	}
	t := s.begin()
	defer t.release()
	if err := t.run(fn); err != nil || len(t.changes) == 0 {
		return err
	}
	if err := t.checkBounds(); err != nil {
		return err
	}
	return s.apply(t)
}

// waitForRoom holds a writer up while commits are far behind, and tells why it
// can't write. s.mu is held.
func (s *store) waitForRoom() error {
	for {
		switch {
		case s.closed:
			return ErrClosed
		case s.failed != nil:
			return fmt.Errorf("%w, as the index can't be written any more since: %w", syscall.EROFS, s.failed)
		case s.db.damage() != nil:
			return fmt.Errorf("%w, as the index is damaged: %w", syscall.EROFS, s.db.damage())
		case s.activeBytes+s.frozenBytes < backlogBytes:
			return nil
		case s.commitErr != nil:
			return s.commitErr
		}
		s.room.Wait()
	}
}

// apply writes the record, then makes the changes visible.
func (s *store) apply(t *tx) error {
	s.recordBuf = appendChanges(startRecord(s.recordBuf), t.changes)
	n, err := s.appendRecord(s.recordBuf)
	if err != nil {
		return err
	}
	s.changed = s.seq
	wasEmpty := s.active.Len() == 0
	for _, c := range t.changes {
		s.active.Set(c.key, c.value)
	}
	for _, id := range t.named {
		s.named[id] = s.seq
	}
	for _, id := range t.unnamed { // what is made durable from here on does not need them
		delete(s.named, id)
	}
	for _, f := range t.after {
		f()
	}
	s.activeBytes += int64(n)
	s.wake(wasEmpty)
	return nil
}

func (s *store) wake(first bool) {
	if first {
		notify(s.dirty)
	}
	if s.activeBytes >= commitBytes {
		notify(s.full)
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// freeze hands what is active to a commit and opens a new segment for what
// comes. A commit that failed before is tried again as it was, with no segment
// more. It returns the staged contents to make durable before.
func (s *store) freeze() ([]StagedID, error) {
	if s.pending() {
		return s.frozenNamed, nil
	}
	next, err := s.newSegment()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.startSegment(next); err != nil {
		return nil, errors.Join(err, next.discard())
	}
	s.frozen, s.active = s.active, new(overlay)
	s.frozenBytes, s.activeBytes = s.activeBytes, 0
	s.frozenSeq = s.seq
	s.frozenNamed = s.namedUpTo(s.seq)
	return s.frozenNamed, nil
}

// pending tells whether a commit failed before.
func (s *store) pending() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.frozen.Len() > 0
}

func (s *store) namedUpTo(seq uint64) []StagedID {
	ids := make([]StagedID, 0, len(s.named))
	for id, at := range s.named {
		if at <= seq {
			ids = append(ids, id)
		}
	}
	return ids
}

// forgetNamed notes that what was named up to seq is durable. s.mu is held.
func (s *store) forgetNamed(ids []StagedID, seq uint64) {
	for _, id := range ids {
		if s.named[id] <= seq {
			delete(s.named, id)
		}
	}
}

// commit moves everything so far into bbolt, after the staged contents that it
// names are durable.
func (s *store) commit() error {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	again := s.pending()
	err := s.commitLocked()
	if again && err == nil { // and what came since it failed
		err = s.commitLocked()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.commitErr == nil {
		s.log.WithError(err).Error("the index can't be committed; it is tried again, and the journal keeps what is new")
	} else if err == nil && s.commitErr != nil {
		s.log.Info("the index is committed again")
	}
	s.commitErr = err
	s.room.Broadcast()
	return err
}

func (s *store) commitLocked() error {
	if !s.hasWork() {
		return nil
	}
	if err := s.db.damage(); err != nil {
		return err
	}
	ids, err := s.freeze()
	if err != nil {
		return err
	}
	if err := s.makeDurable(ids); err != nil {
		return err
	}
	if err := s.writeFrozen(); err != nil {
		return fmt.Errorf("commit the index: %w", err)
	}
	return s.dropFrozen(ids)
}

func (s *store) hasWork() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.active.Len() > 0 || s.frozen.Len() > 0
}

func (s *store) makeDurable(ids []StagedID) error {
	if len(ids) == 0 || s.syncStaged == nil {
		return nil
	}
	if err := s.syncStaged(ids); err != nil {
		return fmt.Errorf("make staged contents durable: %w", err)
	}
	return nil
}

// writeFrozen is the bbolt transaction. frozen is not changed meanwhile, as
// commitMu is held, so readers and writers go on.
func (s *store) writeFrozen() error {
	s.idle.drop()
	if s.hooks.commit != nil {
		if err := s.hooks.commit(); err != nil {
			return err
		}
	}
	return s.db.guard(func() error { return s.db.Update(s.putFrozen) })
}

func (s *store) putFrozen(b *bolt.Tx) (err error) {
	s.frozen.Scan(func(k string, v []byte) bool {
		err = putBolt(b.Bucket(bucketNames[k[0]]), k[1:], v)
		return err == nil
	})
	if err != nil {
		return err
	}
	return b.Bucket(bucketNames[bucketMeta]).Put([]byte(metaApplied), binary.BigEndian.AppendUint64(nil, s.frozenSeq))
}

func putBolt(b *bolt.Bucket, k string, v []byte) error {
	if v == nil {
		return b.Delete([]byte(k))
	}
	return b.Put([]byte(k), v)
}

// dropFrozen forgets what bbolt has now, and its segments.
func (s *store) dropFrozen(ids []StagedID) error {
	s.mu.Lock()
	s.frozen, s.frozenBytes = new(overlay), 0
	s.committed = s.frozenSeq
	s.synced = max(s.synced, s.committed)
	s.forgetNamed(ids, s.committed)
	n := 0
	for n < len(s.segments)-1 && s.segments[n].lastSeq <= s.committed {
		n++
	}
	old := s.segments[:n:n]
	s.segments = append([]*segment(nil), s.segments[n:]...)
	due := s.takeDue()
	s.mu.Unlock()
	due.run()
	var errs []error
	for _, g := range old { // the oldest first: what is left is always the journal's end
		errs = append(errs, g.discard())
	}
	return errors.Join(errs...)
}
