package blob

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// SpareCount is how many files without a name a Store makes ahead and holds
// open.
const SpareCount = 32

// sparePause is how long none are made after the disk refused one.
const sparePause = time.Second

// makeSpares makes files ahead of their use as staged files: to make an inode
// takes the disk most of the time that the write of a small file does. Having
// no name, they need no cleaning up.
func (s *Store) makeSpares() {
	defer s.dropSpares()
	for {
		f, err := unnamed(s.staging)
		if err != nil { // whoever needs a file meets the error
			select {
			case <-time.After(sparePause):
				continue
			case <-s.closed:
				return
			}
		}
		select {
		case s.spares <- f:
		case <-s.closed:
			f.Close()
			return
		}
	}
}

func (s *Store) dropSpares() {
	for {
		select {
		case f := <-s.spares:
			f.Close()
		default:
			return
		}
	}
}

// unnamed makes a file without a name, on the disk that dir is on.
func unnamed(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("new file in %s: %w", dir, err)
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// checkUnnamed refuses a disk that knows no files without a name, before
// anything depends on them.
func checkUnnamed(dir string) error {
	f, err := unnamed(dir)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return &ErrDisk{Dir: dir, Err: err}
	}
	return nil // a full disk, say: whoever needs a file meets the error
}

// ErrDisk says that a directory's disk can't do what a Store needs.
type ErrDisk struct {
	Dir string
	Err error
}

func (e *ErrDisk) Error() string {
	return fmt.Sprintf("the disk of %s can't hold files without a name (O_TMPFILE), as ext4, XFS, Btrfs and tmpfs can: choose a directory there", e.Dir)
}

// Unwrap is the disk's own error.
func (e *ErrDisk) Unwrap() error { return e.Err }

// name gives an unnamed file its name; fs.ErrExist if there is one of it.
func name(f *os.File, path string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
}
