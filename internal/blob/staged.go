package blob

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

func (s *Store) stagedPath(id uint64) string {
	return filepath.Join(s.staging, fmt.Sprintf("%016x", id))
}

// CreateStaged makes an empty staged file. An id is used once; a second time
// is fs.ErrExist.
func (s *Store) CreateStaged(id uint64) (*os.File, error) {
	select {
	case f := <-s.spares:
		if err := name(f, s.stagedPath(id)); err != nil {
			f.Close()
			return nil, fmt.Errorf("staged file: %w", err)
		}
		return f, nil
	default:
		return os.OpenFile(s.stagedPath(id), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
}

// NewStaged gives an empty file that becomes a staged one by Restage. Before
// that it has no name, and a process that is killed leaves nothing of it.
func (s *Store) NewStaged() (*os.File, error) {
	select {
	case f := <-s.spares:
		return f, nil
	default:
		return unnamed(s.staging)
	}
}

// OpenStaged opens a staged file for reading and writing.
func (s *Store) OpenStaged(id uint64) (*os.File, error) {
	return os.OpenFile(s.stagedPath(id), os.O_RDWR, 0)
}

// RemoveStaged removes a staged file.
func (s *Store) RemoveStaged(id uint64) error { return os.Remove(s.stagedPath(id)) }

// syncers is how many fdatasync calls run at once: more gain nothing on one
// disk.
const syncers = 8

// SyncStaged makes staged files outlive power loss, names and bytes. Those
// that are gone meanwhile were discarded or adopted.
func (s *Store) SyncStaged(ids []uint64) error {
	if len(ids) == 0 {
		return nil
	}
	var g errgroup.Group
	g.SetLimit(syncers)
	for _, id := range ids {
		g.Go(func() error {
			f, err := os.Open(s.stagedPath(id))
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			defer f.Close()
			return unix.Fdatasync(int(f.Fd()))
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return syncDir(s.staging)
}

// A StagedInfo tells of a staged file.
type StagedInfo struct {
	Size     int64 // bytes
	Modified time.Time
	Touched  bool   // changed since MarkUntouched, if that was called
	Dev, Ino uint64 // the same for all names of one file
}

// StatStaged looks at a staged file.
func (s *Store) StatStaged(id uint64) (i StagedInfo, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(s.stagedPath(id), &st); err != nil {
		return i, &os.PathError{Op: "stat", Path: s.stagedPath(id), Err: err}
	}
	return StagedInfo{st.Size, time.Unix(st.Mtim.Unix()), st.Mtim != Untouched, st.Dev, st.Ino}, nil
}

// Untouched is the time of modification of a file that nothing was written
// into since MarkUntouched. No clock tells it.
var Untouched = unix.Timespec{Sec: 1}

// MarkUntouched makes it be seen whether a file is written into from now on,
// by whomever, also by way of a mapping, and also after a crash.
func MarkUntouched(file *os.File) error { return SetModified(file, Untouched) }

// SetModified sets a file's time of modification.
func SetModified(file *os.File, at unix.Timespec) error {
	return unix.UtimesNanoAt(int(file.Fd()), "", []unix.Timespec{{Nsec: unix.UTIME_OMIT}, at}, unix.AT_EMPTY_PATH)
}

// castagnoli is the polynomial that processors have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SumStaged is the CRC-32C of a staged file's first size bytes; io.ErrUnexpectedEOF
// if there are less.
func (s *Store) SumStaged(id uint64, size int64) (uint32, error) {
	f, err := os.Open(s.stagedPath(id))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := sumBuffers.Get().(*[sumBuffer]byte)
	defer sumBuffers.Put(buf)
	var sum uint32
	for size > 0 {
		n, err := io.ReadFull(f, buf[:min(size, sumBuffer)])
		if err != nil {
			return 0, errors.Join(err, io.ErrUnexpectedEOF)
		}
		sum = crc32.Update(sum, castagnoli, buf[:n])
		size -= int64(n)
	}
	return sum, nil
}

// sumBuffer bytes are read at once for a sum.
const sumBuffer = 128 << 10

var sumBuffers = sync.Pool{New: func() any { return new([sumBuffer]byte) }}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// ListStaged lists the ids of all staged files.
func (s *Store) ListStaged() ([]uint64, error) {
	entries, err := os.ReadDir(s.staging)
	if err != nil {
		return nil, err
	}
	var ids []uint64
	for _, e := range entries {
		if id, ok := parseStaged(e.Name()); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func parseStaged(name string) (id uint64, ok bool) {
	id, err := strconv.ParseUint(name, 16, 64)
	return id, err == nil && len(name) == 16
}
