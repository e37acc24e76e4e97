package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// Keys of the meta bucket. Numbers are 8 bytes, big-endian.
const (
	metaSchema  = "schema"  // the version of all this
	metaApplied = "applied" // the last record of the journal that bbolt has
	metaIno     = "ino"     // inode numbers below may have been given
	metaStaged  = "staged"  // staged ids below may have been given, and no others
	metaCounts  = "counts"  // Stats
	metaClock   = "clock"   // a time that has been, in Unix nanoseconds
)

// idBlock numbers are noted as given at once.
const idBlock = 1024

// A migration turns an index of one schema version into the next.
type migration func(*bolt.Tx) error

// migrations[i] leads from version i+1 to i+2.
var migrations = []migration{}

// prepare makes a new database ours, or brings an older one up to date after a
// copy of it was put beside.
func prepare(db *bolt.DB, path string, steps []migration) error {
	known := uint64(len(steps)) + 1
	found, err := schemaOf(db)
	switch {
	case err != nil:
		return err
	case found == known:
		return nil
	case found > known:
		return fmt.Errorf("%s: %w", path, ErrNewerSchema{Found: found, Known: known})
	case found == 0:
		err = db.Update(func(b *bolt.Tx) error { return initialise(b, known) })
	default:
		err = migrate(db, path, found, steps)
	}
	if err != nil {
		return fmt.Errorf("prepare the index: %w", err)
	}
	return nil
}

// schemaOf is the version, 0 for an empty database.
func schemaOf(db *bolt.DB) (v uint64, err error) {
	err = db.View(func(b *bolt.Tx) error {
		meta := b.Bucket(bucketNames[bucketMeta])
		if meta == nil {
			return nil
		}
		s := meta.Get([]byte(metaSchema))
		if len(s) != 8 {
			return &ErrDamaged{File: db.Path(), What: "it has no schema version"}
		}
		v = binary.BigEndian.Uint64(s)
		return nil
	})
	return v, err
}

// initialise makes the tables and the root directory.
func initialise(b *bolt.Tx, version uint64) error {
	for _, name := range bucketNames {
		if _, err := b.CreateBucket(name); err != nil {
			return err
		}
	}
	now := Now()
	root := Inode{Ino: Root, Mode: syscall.S_IFDIR | 0o755, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Nlink: 2,
		Size: dirSize, Atime: now, Mtime: now, Ctime: now, Btime: now, Version: 1}
	meta := b.Bucket(bucketNames[bucketMeta])
	return errors.Join(
		b.Bucket(bucketNames[bucketInodes]).Put(inoKey(Root), encodeInode(&root)),
		meta.Put([]byte(metaCounts), encodeStats(Stats{Inodes: 1})),
		meta.Put([]byte(metaSchema), be64(nil, version)))
}

// migrate copies the database to <path>.v<N>, then takes all steps in one
// transaction.
func migrate(db *bolt.DB, path string, from uint64, steps []migration) error {
	backup := fmt.Sprintf("%s.v%d", path, from)
	if err := db.View(func(b *bolt.Tx) error { return b.CopyFile(backup, 0o600) }); err != nil {
		return fmt.Errorf("copy version %d first: %w", from, err)
	}
	return db.Update(func(b *bolt.Tx) error {
		for v := from; v <= uint64(len(steps)); v++ {
			if err := steps[v-1](b); err != nil {
				return fmt.Errorf("from version %d: %w", v, err)
			}
		}
		return b.Bucket(bucketNames[bucketMeta]).Put([]byte(metaSchema), be64(nil, uint64(len(steps))+1))
	})
}

func encodeStats(st Stats) []byte {
	b := make([]byte, 0, 48)
	for _, v := range [...]int64{st.Inodes, st.Queued, st.QueuedBytes, st.FailedCount, st.FailedBytes} {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func (t *tx) stats() Stats {
	d := decoder{b: t.get(bucketMeta, []byte(metaCounts))}
	return Stats{d.int(), d.int(), d.int(), d.int(), d.int()}
}

func (t *tx) addStats(change func(*Stats)) {
	st := t.stats()
	change(&st)
	t.put(bucketMeta, []byte(metaCounts), encodeStats(st))
}

// allocIno gives the next number. Its mark goes into the same record as its use.
func (t *tx) allocIno() Ino {
	s := t.s
	ino := s.nextIno
	s.nextIno++
	if ino >= s.inoLimit {
		limit := ino + idBlock
		t.putMetaUint(metaIno, uint64(limit))
		t.after = append(t.after, func() { s.inoLimit = limit })
	}
	return ino
}

// Stats counts what the index holds, at a constant cost.
func (ix *Index) Stats() (Stats, error) {
	var st Stats
	err := ix.store.view(func(t *tx) error { st = t.stats(); return nil })
	return st, err
}
