package service

import (
	"go.etcd.io/bbolt"
	"golang.org/x/crypto/bcrypt"
)

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

// OnCompare tells of each hash that a password is compared with from now on.
// Call it while nobody asks.
func (s *Service) OnCompare(tell func(hash []byte)) {
	s.compare = func(hash, password []byte) error {
		tell(hash)
		return bcrypt.CompareHashAndPassword(hash, password)
	}
}
