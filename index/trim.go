package index

import (
	"syscall"
	"time"
	"unsafe"

	bolt "go.etcd.io/bbolt"
)

// The pages of bbolt's file that were read stay mapped, and count as the
// process's memory, until the kernel is short of it. A large database is let
// go now and then: the kernel keeps the pages as any file's, and what is read
// again is mapped again without a disk access.
const (
	trimEvery = 10 * time.Second
	trimFrom  = 64 << 20 // bytes of the database; a smaller one may stay
)

// trim lets go of the mapped pages of a database of at least from bytes.
func (s *store) trim(from int64) {
	err := s.db.View(func(b *bolt.Tx) error { // no other map takes its place meanwhile
		if b.Size() < from {
			return nil
		}
		start := (*byte)(unsafe.Add(nil, s.db.Info().Data))
		return syscall.Madvise(unsafe.Slice(start, b.Size()), syscall.MADV_DONTNEED)
	})
	if err != nil {
		s.log.WithError(err).Debug("the index's pages stay mapped")
	}
}
