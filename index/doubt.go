package index

// A loss of power may take bytes that were written and not synced, in any
// order. What the journal has before a marker names durable bytes alone; what
// it has behind the last one is doubtful: its records are whole, by their sums,
// and the staged bytes that they name may not be. But the same is left by a
// process that was killed, and a machine that was shut down in order afterwards,
// and then everything is there. So a queued content has a sum in the journal,
// and the longest row of records is taken after which every content that they
// gave a file proves whole. It is a row, so that no later change is seen without
// an earlier one.

// proven tells how many of the doubtful records can be taken, behind the sure
// ones.
func (s *store) proven(sure, doubtful []record) (n int) {
	before, _, err := overlayOf(sure)
	if err != nil {
		return 0
	}
	d := doubts{store: s, open: map[Ino]bool{}, last: map[Ino]QueueEntry{}}
	t := &tx{s: s, active: before, frozen: new(overlay), alone: true}
	defer t.done()
	err = t.run(func(t *tx) error {
		for i, r := range doubtful {
			changes, err := r.changes()
			if err != nil {
				return err
			}
			for _, c := range changes {
				d.follow(t, c)
			}
			if len(d.open) == 0 {
				n = i + 1
			}
		}
		return nil
	})
	if err != nil {
		return 0
	}
	return n
}

// doubts are the queued contents that are not proven.
type doubts struct {
	store *store
	open  map[Ino]bool
	last  map[Ino]QueueEntry // that was put
}

// follow takes one change in turn. t sees the state before all.
func (d *doubts) follow(t *tx, c change) {
	if bucket(c.key[0]) != bucketQueue {
		return
	}
	ino := keyIno([]byte(c.key[1:]))
	q, err := decodeQueueEntry(ino, c.value)
	if c.value == nil {
		delete(d.open, ino)
		return
	}
	was, ok := d.last[ino]
	if !ok {
		was, ok, _ = t.queued(ino)
	}
	d.last[ino] = q
	switch {
	case err == nil && ok && was.Staged == q.Staged && was.Version == q.Version: // another try of the same
	case err == nil && d.store.proves(&q):
		delete(d.open, ino)
	default:
		d.open[ino] = true
	}
}

// proves tells whether all bytes of a staged content are there.
func (s *store) proves(q *QueueEntry) bool {
	if s.sumStaged == nil || !q.summed {
		return false
	}
	sum, err := s.sumStaged(q.Staged, q.Size)
	return err == nil && sum == q.sum
}

// sum is the sum of a staged content as it is now; ok is false if none is known.
func (s *store) sum(id StagedID, size int64) (sum uint32, ok bool) {
	if s.sumStaged == nil || id == 0 {
		return 0, false
	}
	sum, err := s.sumStaged(id, size)
	if err != nil {
		s.log.WithError(err).Warnf("staged content %d has no sum: it will not be taken after a loss of power, unless it was synced", id)
	}
	return sum, err == nil
}

// tellDropped tells what the dropped records would have done: since when they were
// made, and which staged contents they gave to files.
func (s *store) tellDropped(p *replay) error {
	if len(p.dropped) == 0 {
		return nil
	}
	kept, _, err := overlayOf(p.records)
	if err != nil {
		return err
	}
	all, _, err := overlayOf(append(p.records[:len(p.records):len(p.records)], p.dropped...))
	if err != nil {
		return err
	}
	p.found.DroppedAt = madeAt(p.dropped)
	before := &tx{s: s, active: kept, frozen: new(overlay), alone: true}
	defer before.done()
	after := &tx{s: s, active: all, frozen: new(overlay), alone: true}
	defer after.done()
	return after.run(func(*tx) error {
		list, err := after.queue()
		for _, q := range list {
			if was, ok, err := before.queued(q.Ino); err == nil && ok && was.Staged == q.Staged {
				continue
			}
			path, _ := after.somePath(q.Ino) // behind damage the way up may be missing
			p.found.Doubtful = append(p.found.Doubtful, Doubt{Staged: q.Staged, Path: path, Size: q.Size})
		}
		return err
	})
}

// madeAt is when the first of some records was made: the latest change of an
// inode that it holds.
func madeAt(records []record) (at Time) {
	for _, r := range records {
		changes, err := r.changes()
		for _, c := range changes {
			if bucket(c.key[0]) != bucketInodes || c.value == nil || err != nil {
				continue
			}
			if n, err := decodeInode(0, c.value); err == nil && at.Before(n.Ctime) {
				at = n.Ctime
			}
		}
		if at != (Time{}) {
			return at
		}
	}
	return at
}
