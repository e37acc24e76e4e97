package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// The journal is a row of segment files, journal-<number in 16 hex digits>.
// A segment opens with a header:
//
//	"chatfsJ" version(1) | salt(8) | first record's number(8) | boot id(36) | CRC-32C of these(4)
//
// and goes on with records:
//
//	"cRec"(4) | length of the payload(4) | number(8) | CRC-32C(4) | payload
//
// Integers are big-endian. A record's CRC covers the segment's salt, the
// length, the number and the payload, so bytes that a person stored as an
// attribute never pass for a record. Numbers go up by one from record to record
// and from segment to segment.
//
// A payload is a kind and, for kindChanges, the changes; for kindMarker, two
// numbers: the staged contents named up to the first are durable, and the
// records up to the second were durable when the marker was written.
const (
	segmentPrefix  = "journal-"
	headerSize     = 64
	recordHead     = 20
	journalVersion = 1

	kindChanges = 1
	kindMarker  = 2
)

var (
	headerMagic = []byte("chatfsJ")
	recordMagic = []byte("cRec")
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

// A segment is one file of the journal.
type segment struct {
	number   uint64
	path     string
	salt     uint64
	firstSeq uint64
	lastSeq  uint64 // guarded by store.mu
	size     int64  // guarded by store.mu

	mu     sync.Mutex // guards f's end
	f      *os.File
	closed bool
	atDir  bool // its name is durable
}

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%016x", segmentPrefix, number))
}

// newSegment creates the next file; startSegment makes it the journal's end.
func (s *store) newSegment() (*segment, error) {
	s.mu.RLock()
	number := s.nextSegment()
	s.mu.RUnlock()
	return s.createSegment(number)
}

func (s *store) createSegment(number uint64) (*segment, error) {
	path := segmentPath(s.dir, number)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start a journal: %w", err)
	}
	return &segment{number: number, path: path, f: f, salt: rand.Uint64()}, nil
}

func (s *store) nextSegment() uint64 {
	if n := len(s.segments); n > 0 {
		return s.segments[n-1].number + 1
	}
	return 1
}

// startSegment writes the header and appends to g from now on. s.mu is held.
func (s *store) startSegment(g *segment) error {
	g.firstSeq, g.lastSeq = s.seq+1, s.seq
	h := g.header(s.bootID)
	if err := s.writeAt(g, h, 0); err != nil {
		return fmt.Errorf("start a journal: %w", err)
	}
	g.size = headerSize
	s.segments = append(s.segments, g)
	return nil
}

func (g *segment) header(bootID string) []byte {
	h := append(append(make([]byte, 0, headerSize), headerMagic...), journalVersion)
	h = be64(be64(h, g.salt), g.firstSeq)
	id := make([]byte, 36)
	copy(id, bootID)
	h = append(h, id...)
	return binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
}

// startRecord leaves room for a record's head in buf.
func startRecord(buf []byte) []byte {
	if cap(buf) > 1<<20 { // a rare large one: don't keep it
		buf = nil
	}
	return append(buf[:0], make([]byte, recordHead)...)
}

func appendChanges(b []byte, changes []change) []byte {
	b = append(b, kindChanges)
	for _, c := range changes {
		b = append(b, c.key[0])
		b = putBytes(b, c.key[1:])
		if c.value == nil {
			b = append(b, 0)
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(c.value))+1)
		b = append(b, c.value...)
	}
	return b
}

// appendRecord gives the record its number and head, and writes it. It returns
// the record's size in bytes. s.mu is held.
func (s *store) appendRecord(rec []byte) (int, error) {
	g := s.segments[len(s.segments)-1]
	copy(rec, recordMagic)
	binary.BigEndian.PutUint32(rec[4:], uint32(len(rec)-recordHead))
	binary.BigEndian.PutUint64(rec[8:], s.seq+1)
	binary.BigEndian.PutUint32(rec[16:], recordSum(g.salt, rec))
	if err := s.writeAt(g, rec, g.size); err != nil {
		return 0, s.cutBack(g, err)
	}
	g.size += int64(len(rec))
	s.seq++
	g.lastSeq = s.seq
	return len(rec), nil
}

// recordSum is the CRC of a whole record, its own field left out.
func recordSum(salt uint64, rec []byte) uint32 {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], salt)
	sum := crc32.Update(0, castagnoli, b[:])
	sum = crc32.Update(sum, castagnoli, rec[4:16])
	return crc32.Update(sum, castagnoli, rec[recordHead:])
}

func (s *store) writeAt(g *segment, p []byte, off int64) (err error) {
	if s.hooks.writeAt != nil {
		_, err = s.hooks.writeAt(g, p, off)
	} else {
		_, err = g.f.WriteAt(p, off)
	}
	return err
}

// cutBack removes a record that was written in part. If even that fails, the
// journal's end is unknown and the index turns read-only.
func (s *store) cutBack(g *segment, cause error) error {
	cut := g.f.Truncate
	if s.hooks.truncate != nil {
		cut = func(size int64) error { return s.hooks.truncate(g, size) }
	}
	if err := cut(g.size); err != nil {
		s.fail(errors.Join(cause, err))
		return fmt.Errorf("write the journal: %w: %w", cause, syscall.EROFS)
	}
	return fmt.Errorf("write the journal: %w", cause)
}

// fail turns the index read-only. s.mu is held.
func (s *store) fail(cause error) {
	if s.failed == nil {
		s.failed = cause
		s.log.WithError(cause).Error("the journal can't be written any more: the index is read-only until it is opened anew")
	}
}

// sync makes the segment durable up to what was written when it was called.
// A discarded one is in bbolt already.
func (g *segment) sync(synced func(string, int64)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	size := int64(-1)
	if synced != nil {
		fi, err := g.f.Stat()
		if err != nil {
			return err
		}
		size = fi.Size()
	}
	if err := fdatasync(g.f); err != nil {
		return fmt.Errorf("sync the journal: %w", err)
	}
	if !g.atDir {
		if err := syncDir(filepath.Dir(g.path)); err != nil {
			return err
		}
		g.atDir = true
	}
	if synced != nil {
		synced(g.path, size)
	}
	return nil
}

// discard closes and removes the file.
func (g *segment) discard() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	return errors.Join(g.f.Close(), os.Remove(g.path))
}

// close leaves the file in its place.
func (g *segment) close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	return g.f.Close()
}

func fdatasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readBootID is the kernel's name for the time since the machine started.
func readBootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("tell a crash from a loss of power: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
