package index

import (
	"fmt"
	"io"

	bolt "go.etcd.io/bbolt"
)

// Backup writes a database of its own that has everything up to the call: a
// file to put in the place of index.db. It holds the share-secrets in the
// clear. The index stays in use meanwhile.
func (ix *Index) Backup(w io.Writer) error {
	if err := ix.store.commit(); err != nil {
		return fmt.Errorf("back the index up: %w", err)
	}
	db := ix.store.db
	err := db.guard(func() error {
		return db.View(func(b *bolt.Tx) error {
			_, err := b.WriteTo(w)
			return err
		})
	})
	if err == nil {
		err = db.damage()
	}
	if err != nil {
		return fmt.Errorf("back the index up: %w", err)
	}
	return nil
}

// snapshot runs fn on the index as it is now, and holds nobody up meanwhile.
func (s *store) snapshot(fn func(*tx)) error {
	if err := s.commit(); err != nil {
		return err
	}
	t := &tx{s: s, active: new(overlay), frozen: new(overlay), alone: true}
	defer t.done()
	return t.run(func(t *tx) error { fn(t); return nil })
}
