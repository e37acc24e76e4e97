package blob

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"chatfs/internal/entity"
)

// Pinned content stays on the local disk for ever, since the service forgets
// it. It lies below pinned/ of the state directory, not in the cache, which a
// person may delete.

// PinnedDir is where pinned content lies below the state directory.
const PinnedDir = "pinned"

func (s *Store) pinnedPath(k Key) string {
	name := k.String()
	return filepath.Join(s.pinned, name[:2], name)
}

// HasPinned tells whether a content is pinned.
func (s *Store) HasPinned(k Key) bool {
	_, err := os.Lstat(s.pinnedPath(k))
	return err == nil
}

// Pin keeps a content that is open in src, by whatever name or none, until
// Unpin. It is durable when Pin returns, and does not count as cached any
// more. That the content is the right one is the caller's to check.
func (s *Store) Pin(k Key, src *os.File) error {
	if s.HasPinned(k) {
		return s.DropCached(k)
	}
	path := s.pinnedPath(k)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := s.pinAs(path, k, src); err != nil {
		return fmt.Errorf("pin entity %s: %w", k, err)
	}
	for _, dir := range []string{filepath.Dir(path), s.pinned} {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return s.DropCached(k)
}

// CheckDigest reads a content. Another digest than want's, where that is
// known, is ErrDamaged.
func CheckDigest(k Key, want entity.Digest, src io.ReaderAt) error {
	got, err := DigestOf(src)
	if err != nil {
		return err
	}
	if !want.IsZero() && got != want {
		return fmt.Errorf("entity %s: SHA-256 is %s, was %s: %w", k, got, want, ErrDamaged)
	}
	return nil
}

// DigestOf reads a content for its SHA-256.
func DigestOf(src io.ReaderAt) (entity.Digest, error) {
	sum := sha256.New()
	_, err := io.Copy(sum, io.NewSectionReader(src, 0, 1<<62))
	return entity.Digest(sum.Sum(nil)), err
}

// pinAs links the cached copy that src is, or copies src where that is
// evicted already or the cache is on another disk.
func (s *Store) pinAs(path string, k Key, src *os.File) error {
	if err := unix.Fdatasync(int(src.Fd())); err != nil {
		return err
	}
	err := os.Link(s.cachedPath(k), path)
	switch {
	case err == nil, errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.EXDEV), errors.Is(err, unix.EPERM), errors.Is(err, unix.EMLINK):
		return copyTo(path, src)
	}
	return err
}

// copyTo copies src to path, whole, durable, or not at all.
func copyTo(path string, src io.ReaderAt) error {
	fd, err := unix.Open(filepath.Dir(path), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	dst := os.NewFile(uintptr(fd), path)
	defer dst.Close()
	if _, err := io.Copy(dst, io.NewSectionReader(src, 0, 1<<62)); err != nil {
		return err
	}
	if err := dst.Sync(); err != nil {
		return err
	}
	return giveName(dst, path)
}

// giveName names a file that was made without a name. One that is there
// already stays, and is no error.
func giveName(f *os.File, path string) error {
	err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Unpin makes a pinned content a cached one, which may be evicted, if the
// cache is on the same disk; else it is removed.
func (s *Store) Unpin(k Key) error {
	path := s.cachedPath(k)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	err := os.Rename(s.pinnedPath(k), path)
	if errors.Is(err, unix.EXDEV) {
		return os.Remove(s.pinnedPath(k))
	}
	if err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err == nil {
		s.added(k, info.Size())
	}
	return err
}

// Pinned lists what is pinned, in no order.
func (s *Store) Pinned() (keys []Key, err error) {
	err = walkKeys(s.pinned, func(k Key, _ string) { keys = append(keys, k) })
	return keys, err
}

// walkKeys calls fn for each content of a directory, with its path.
func walkKeys(dir string, fn func(Key, string)) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		if k, ok := parseKey(e.Name()); ok {
			fn(k, path)
		}
		return nil
	})
}

// MoveCached gives the cached copy of a content that has become another entity
// that one's name. It has one name then, as a file that is changed in place must.
func (s *Store) MoveCached(from, to Key) error {
	path := s.cachedPath(to)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	err := os.Link(s.cachedPath(from), path)
	if err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	s.added(to, info.Size())
	return s.DropCached(from)
}
