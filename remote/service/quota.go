package service

import (
	"encoding/json"
	"sync"

	"go.etcd.io/bbolt"
)

// A quota bounds what the files that a service keeps take together, in bytes.
type quota struct {
	most int64 // 0 is no bound

	mu   sync.Mutex
	used int64
}

// take counts a file of n bytes, if there is room for it.
func (q *quota) take(n int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.most > 0 && q.used+n > q.most {
		return false
	}
	q.used += n
	return true
}

// give counts n bytes less.
func (q *quota) give(n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used -= n
}

// countQuota counts what is there, where that is bounded.
func (s *Service) countQuota() (err error) {
	if s.quota.most = s.Quota; s.Quota > 0 {
		s.quota.used, err = s.store.sizes()
		s.store.freed = s.quota.give
	}
	return err
}

// sizes are the bytes of all files that have a record.
func (s *store) sizes() (sum int64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketFiles).ForEach(func(_, v []byte) error { sum += sizeIn(v); return nil })
	})
	return sum, err
}

// sizeIn is a file's size as its record tells; 0 where that can't be read.
func sizeIn(v []byte) int64 {
	var record fileRecord
	if json.Unmarshal(v, &record) != nil {
		return 0
	}
	return record.Size
}
