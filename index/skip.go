package index

// Numbers are the inode number and the staged id that are given next.
func (ix *Index) Numbers() (Ino, StagedID) {
	ix.store.mu.RLock()
	defer ix.store.mu.RUnlock()
	return ix.store.nextIno, StagedID(ix.store.nextStaged.Load())
}

// Skip gives only numbers from these on, or from those that are given next if
// they are higher. An index that was put back to an earlier state does not know
// which ones were given since, nor for what: see GivenUp.
func (ix *Index) Skip(ino Ino, staged StagedID) error {
	return ix.store.update(func(t *tx) error {
		t.s.nextIno = max(ino, t.s.nextIno)
		limit := max(t.s.nextIno, t.s.inoLimit)
		t.putMetaUint(metaIno, uint64(limit))
		next := max(uint64(staged), t.s.nextStaged.Load())
		t.s.nextStaged.Store(next)
		t.putMetaUint(metaStaged, next)
		t.del(bucketMeta, []byte(metaSettled))
		t.after = append(t.after, func() { t.s.inoLimit = limit })
		return nil
	})
}
