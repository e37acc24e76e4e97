package service

import "go.etcd.io/bbolt"

// RemoveStrays is what a start does.
func (s *Service) RemoveStrays() error { return s.removeStrays() }

// Records counts those of each bucket.
func (s *Service) Records() (n map[string]int, err error) {
	n = make(map[string]int)
	err = s.store.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			n[string(name)] = b.Stats().KeyN
			return nil
		})
	})
	return n, err
}
