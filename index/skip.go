package index

// Numbers are the inode number and the staged id that are given next.
func (ix *Index) Numbers() (Ino, StagedID) {
	ix.stagedMu.Lock()
	defer ix.stagedMu.Unlock()
	ix.store.mu.RLock()
	defer ix.store.mu.RUnlock()
	return ix.store.nextIno, ix.nextStaged
}

// Skip gives only numbers from these on, or from those that are given next if
// they are higher. An index that was put back to an earlier state does not know
// which ones were given since.
func (ix *Index) Skip(ino Ino, staged StagedID) error {
	ix.stagedMu.Lock()
	defer ix.stagedMu.Unlock()
	staged = max(staged, ix.nextStaged)
	err := ix.store.update(func(t *tx) error {
		t.s.nextIno = max(ino, t.s.nextIno)
		limit := max(t.s.nextIno, t.s.inoLimit)
		t.putMetaUint(metaIno, uint64(limit))
		t.putMetaUint(metaStaged, uint64(max(staged, ix.stagedLimit)))
		t.after = append(t.after, func() { t.s.inoLimit = limit })
		return nil
	})
	if err == nil {
		ix.nextStaged, ix.stagedLimit = staged, max(staged, ix.stagedLimit)
	}
	return err
}
