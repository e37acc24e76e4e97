package blob

import (
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

// name gives an unnamed file its name; fs.ErrExist if there is one of it.
func name(f *os.File, path string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
}
