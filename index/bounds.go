package index

import (
	"fmt"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// Bounds of what one operation changes, in bytes. A key or a value that bbolt
// does not take would have every later commit fail; so it is refused before the
// journal has it.
const (
	valueMax  = 32 << 20
	recordMax = 64 << 20 // a record's length is a number of 32 bits in the journal
	keyMax    = bolt.MaxKeySize
)

// checkBounds tells whether the database takes a change.
func checkBounds(c change) error {
	switch key := len(c.key) - 1; {
	case key < 1 || key > keyMax:
		return fmt.Errorf("the index takes keys of %d bytes at most, and this has %d: %w", keyMax, key, syscall.ENAMETOOLONG)
	case len(c.value) > valueMax:
		return fmt.Errorf("the index takes values of %d bytes at most, and this has %d: %w", valueMax, len(c.value), syscall.E2BIG)
	}
	return nil
}

// checkBounds tells whether journal and database take what t changes.
func (t *tx) checkBounds() error {
	size := 0
	for _, c := range t.changes {
		if err := checkBounds(c); err != nil {
			return err
		}
		size += len(c.key) + len(c.value) + 16 // and their lengths
	}
	if size > recordMax {
		return fmt.Errorf("the index takes operations of %d bytes at most, and this has %d: %w", recordMax, size, syscall.E2BIG)
	}
	return nil
}
