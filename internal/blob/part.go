package blob

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Unnamed makes an empty file without a name, where cached content is.
func (s *Store) Unnamed() (*os.File, error) { return unnamed(s.cache) }

// OneDisk tells whether staged and cached content can be the same file.
func (s *Store) OneDisk() bool { return s.oneDisk }

// Held tells whether the file keeps its name until Close. A pinned one may be
// unpinned before.
func (f *CachedFile) Held() bool { return f.used != nil }

// Restage gives an open file, that has a name still, the name of a staged one.
func (s *Store) Restage(f *os.File, id uint64) error {
	if err := name(f, s.stagedPath(id)); err != nil {
		return fmt.Errorf("staged file: %w", err)
	}
	return nil
}

// Part has the names of f that others rely on lead to a copy of it from now
// on, so that f can be changed: the cached copy of k, the pinned one, and the
// staged file old, if that is not 0. f keeps one name. If it has more, or
// somebody else has it open, that is EBUSY. The copy is durable, as f may have
// been.
func (s *Store) Part(f *CachedFile, k Key, old uint64) error {
	paths := []string{s.cachedPath(k), s.pinnedPath(k)}
	if old != 0 {
		paths = append(paths, s.stagedPath(old))
	}
	cached := false
	for i, path := range paths {
		parted, err := s.part(f.File, path)
		if err != nil {
			return fmt.Errorf("copy %s before it is changed: %w", k, err)
		}
		cached = cached || parted && i == 0
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	users := s.users(f, k, cached)
	if st.Nlink != 1 || users != 1 {
		return fmt.Errorf("the local copy of %s has %d names and %d users: %w", k, st.Nlink, users, unix.EBUSY)
	}
	return nil
}

// users is how often f is open: under the name that it had when it was opened,
// and under k's, if it was cached as that meanwhile.
func (s *Store) users(f *CachedFile, k Key, cached bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := f.used.open
	if e := s.used.at[k]; cached && e != nil && e.Value.(*cachedFile) != f.used {
		n += e.Value.(*cachedFile).open
	}
	return n
}

// NextSuffix marks a copy that is about to take a file's place.
const NextSuffix = ".next"

// part puts a copy of f in path's place, if path leads to f.
func (s *Store) part(f *os.File, path string) (parted bool, err error) {
	here, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	info, ferr := f.Stat()
	if err = errors.Join(err, ferr); err != nil || !os.SameFile(here, info) {
		return false, err
	}
	c, err := unnamed(filepath.Dir(path))
	if err != nil {
		return false, err
	}
	defer c.Close()
	if _, err = io.Copy(c, io.NewSectionReader(f, 0, info.Size())); err != nil {
		return false, err
	}
	if err = unix.Fdatasync(int(c.Fd())); err != nil {
		return false, err
	}
	// What a crash leaves of this name is in nobody's way.
	next := path + NextSuffix
	if err = os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err = name(c, next); err != nil {
		return false, err
	}
	if err = os.Rename(next, path); err != nil {
		return false, err
	}
	// Or the name may lead to f again after a loss of power, as it is then.
	return true, syncDir(filepath.Dir(path))
}
