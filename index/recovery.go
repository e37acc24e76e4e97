package index

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Recovery tells what opening the index found in the journal.
type Recovery struct {
	Records    int   // changes replayed
	TornBytes  int64 // of a record that was being written when all stopped
	PowerLoss  bool  // the machine was started anew since the journal was written
	Dropped    int   // changes that are not replayed: doubtful after a loss of power, or behind damage
	DroppedAt  Time  // when the first of them was made, as far as is known
	Doubtful   []Doubt
	Impossible int // keys and values that no database takes, passed over
	Orphans    int // unlinked inodes that were open and are forgotten now
	Staged     []StagedID
	SetAside   []string // damaged journals that Options.Salvage kept
	HalfHead   bool     // one of the database's two heads can't be read
}

// A Doubt is a staged content that a dropped change gave to a file.
type Doubt struct {
	Staged StagedID
	Path   string // that the file would have; "" if none is known
	Size   int64  // bytes that it should have
}

// Lost tells whether something that was acknowledged may not be there any more.
func (r Recovery) Lost() bool {
	return r.Dropped > 0 || r.TornBytes > 0 || r.Impossible > 0 || r.HalfHead || len(r.SetAside) > 0
}

// String is one line for a person.
func (r Recovery) String() string {
	how := "clean"
	switch {
	case r.PowerLoss && r.Records+r.Dropped > 0:
		how = fmt.Sprintf("the machine was started anew: %d changes replayed", r.Records)
	case r.Records > 0:
		how = fmt.Sprintf("crash: %d changes replayed", r.Records)
	}
	if r.Dropped > 0 {
		how += fmt.Sprintf(", %d dropped%s", r.Dropped, r.since())
	}
	if n := len(r.Doubtful); n > 0 {
		how += fmt.Sprintf(", with the contents of %d files", n)
	}
	if r.TornBytes > 0 {
		how += fmt.Sprintf(", %d torn bytes cut", r.TornBytes)
	}
	if r.Impossible > 0 {
		how += fmt.Sprintf(", %d impossible entries passed over", r.Impossible)
	}
	if r.Orphans > 0 {
		how += fmt.Sprintf(", %d unlinked inodes forgotten", r.Orphans)
	}
	if r.HalfHead {
		how += ", one of the database's two heads can't be read: the last changes may be missing"
	}
	if len(r.SetAside) > 0 {
		how += ", damaged journals kept: " + strings.Join(r.SetAside, " ")
	}
	return how
}

func (r Recovery) since() string {
	if r.DroppedAt == (Time{}) {
		return ""
	}
	return ", made since " + r.DroppedAt.Time().Format(time.DateTime)
}

// recover brings bbolt up to the journal's end and starts a new journal.
func (ix *Index) recover(o Options) error {
	s := ix.store
	var applied uint64
	if err := s.view(func(t *tx) error { applied = t.metaUint(metaApplied); return nil }); err != nil {
		return err
	}
	p, err := readJournal(s.dir, s.bootID, applied, o.Salvage, s.proven)
	if err != nil {
		return err
	}
	if p.found.HalfHead = s.db.halfHead && p.lastSeq == applied; p.found.HalfHead && !o.Salvage {
		// Had a commit been cut short, its records were in the journal still.
		return &ErrDamaged{File: s.db.path, What: "one of its two heads can't be read"}
	}
	p.lastSeq = max(p.lastSeq, o.After)
	if err := s.tellDropped(p); err != nil {
		return err
	}
	if err := s.replay(p, applied); err != nil {
		return err
	}
	if err := p.clear(s.dir); err != nil {
		return err
	}
	ix.recovery = p.found
	if p.found.Lost() {
		s.log.Warnf("recovered what can be: %s", p.found)
	}
	g, err := s.createSegment(p.next)
	if err != nil {
		return err
	}
	if err := s.startSegment(g); err != nil {
		return errors.Join(err, g.discard())
	}
	return nil
}

// replay commits the journal's records, and the highest number seen so that
// dropped ones are never taken for new ones.
func (s *store) replay(p *replay, applied uint64) (err error) {
	if s.active, p.found.Impossible, err = overlayOf(p.records); err != nil {
		return err
	}
	s.seq, s.changed, s.frozenSeq, s.committed = p.lastSeq, p.lastSeq, p.lastSeq, p.lastSeq
	s.synced = p.lastSeq
	if p.lastSeq == applied && !s.db.halfHead { // the commit writes the broken head anew
		return nil
	}
	if err := s.makeDurable(stagedIn(s.active)); err != nil {
		return err
	}
	s.frozen, s.active = s.active, new(overlay)
	if err := s.writeFrozen(); err != nil {
		return fmt.Errorf("commit what the journal has: %w", err)
	}
	s.frozen = new(overlay)
	return nil
}

// overlayOf is what records change, together. What no database takes, which
// older versions wrote, is brought into a form that one does, or passed over
// and counted.
func overlayOf(records []record) (o *overlay, impossible int, err error) {
	o = new(overlay)
	for _, r := range records {
		changes, err := r.changes()
		if err != nil {
			return nil, 0, fmt.Errorf("record %d of the journal: %w", r.seq, err)
		}
		for _, c := range changes {
			if c = possibleForm(c); checkBounds(c) != nil {
				impossible++
				continue
			}
			o.Set(c.key, c.value)
		}
	}
	return o, impossible, nil
}

// stagedIn are the staged contents that inodes in o have.
func stagedIn(o *overlay) (ids []StagedID) {
	o.Ascend(string([]byte{byte(bucketInodes)}), func(k string, v []byte) bool {
		if k[0] != byte(bucketInodes) {
			return false
		}
		if n, err := decodeInode(keyIno([]byte(k[1:])), v); v != nil && err == nil && n.Staged != 0 {
			ids = append(ids, n.Staged)
		}
		return true
	})
	return ids
}
