package index

import "encoding/binary"

// sync makes everything so far durable. Callers that come while one sync is
// under way share the next: one fdatasync serves them all.
func (s *store) sync() error {
	s.mu.RLock()
	target, err := s.changed, s.failed
	if s.closed {
		err = ErrClosed
	}
	s.mu.RUnlock()
	if err != nil {
		return err
	}
	for {
		lead, done := s.joinSync(target)
		if done {
			return nil
		}
		if lead {
			err := s.syncRound()
			s.leaveSync()
			if err != nil {
				return err
			}
		}
	}
}

// joinSync tells whether target is durable already, or the caller is to lead a
// round; else it waits for the round under way.
func (s *store) joinSync(target uint64) (lead, done bool) {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	s.mu.RLock()
	done = s.synced >= target
	s.mu.RUnlock()
	if done {
		return false, true
	}
	if !s.syncing {
		s.syncing = true
		return true, false
	}
	for round := s.rounds; round == s.rounds; {
		s.syncDone.Wait()
	}
	return false, false
}

func (s *store) leaveSync() {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	s.syncing = false
	s.rounds++
	s.syncDone.Broadcast()
}

// syncRound makes durable, in this order: the staged contents that the journal
// names, then the journal with a marker that says so.
func (s *store) syncRound() error {
	s.mu.Lock()
	target := s.seq
	ids := s.namedUpTo(target)
	s.mu.Unlock()
	if err := s.makeDurable(ids); err != nil {
		return err
	}
	segments, err := s.writeMarker(ids, target)
	if err != nil {
		return err
	}
	for _, g := range segments {
		if err := g.sync(s.hooks.synced); err != nil {
			// What the kernel has dropped can't be known: see fsync(2).
			s.mu.Lock()
			defer s.mu.Unlock()
			s.fail(err)
			return err
		}
	}
	s.mu.Lock()
	s.synced = max(s.synced, target)
	due := s.takeDue()
	s.mu.Unlock()
	due.run()
	return nil
}

// A deferred waits for a record to be durable.
type deferred struct {
	seq uint64
	f   func()
}

type deferreds []deferred

func (d deferreds) run() {
	for _, w := range d {
		w.f()
	}
}

// takeDue takes out what waited for records that are durable now. s.mu is
// held.
func (s *store) takeDue() deferreds {
	n := 0
	for n < len(s.waiting) && s.waiting[n].seq <= s.synced {
		n++
	}
	due := s.waiting[:n:n]
	s.waiting = s.waiting[n:]
	return due
}

// OnDurable runs f once all changes so far are durable, which takes as long as
// the next Sync or commit: f may destroy what an older state of the index
// needs. f runs with no lock held, and not at all if the process ends before.
func (ix *Index) OnDurable(f func()) {
	s := ix.store
	s.mu.Lock()
	if wait := s.changed; s.synced < wait && !s.closed {
		s.waiting = append(s.waiting, deferred{wait, f})
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	f()
}

func (s *store) writeMarker(ids []StagedID, target uint64) ([]*segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.forgetNamed(ids, target)
	s.recordBuf = append(startRecord(s.recordBuf), kindMarker)
	s.recordBuf = binary.AppendUvarint(s.recordBuf, target)
	s.recordBuf = binary.AppendUvarint(s.recordBuf, s.synced)
	if _, err := s.appendRecord(s.recordBuf); err != nil {
		return nil, err
	}
	return append([]*segment(nil), s.segments...), nil
}
