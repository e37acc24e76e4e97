package blob

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"chatfs/internal/entity"
)

// ErrDamaged says that bytes are not those that an entity has.
var ErrDamaged = errors.New("content is damaged")

// A Key names a cached content: an entity, or its thumbnail.
type Key struct {
	UUID  entity.UUID
	Thumb bool
}

const thumbSuffix = ".thumb"

func (k Key) String() string {
	if k.Thumb {
		return k.UUID.String() + thumbSuffix
	}
	return k.UUID.String()
}

func parseKey(name string) (Key, bool) {
	base, thumb := strings.CutSuffix(name, thumbSuffix)
	u, err := entity.ParseUUID(base)
	return Key{u, thumb}, err == nil
}

func (s *Store) cachedPath(k Key) string {
	name := k.String()
	return filepath.Join(s.cache, name[:2], name)
}

// OpenCached opens a cached or pinned content, whole; fs.ErrNotExist where
// there is none.
func (s *Store) OpenCached(k Key) (*os.File, error) {
	f, err := os.Open(s.cachedPath(k))
	if errors.Is(err, fs.ErrNotExist) {
		return os.Open(s.pinnedPath(k))
	}
	if err == nil {
		s.mu.Lock()
		s.used.touch(k)
		s.mu.Unlock()
	}
	return f, err
}

// HasCached tells whether a content is cached or pinned.
func (s *Store) HasCached(k Key) bool {
	_, err := os.Lstat(s.cachedPath(k))
	return err == nil || s.HasPinned(k)
}

// DropCached removes a cached content, if there is one.
func (s *Store) DropCached(k Key) error {
	s.mu.Lock()
	s.used.remove(k)
	s.mu.Unlock()
	if err := os.Remove(s.cachedPath(k)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// added counts a new cached content.
func (s *Store) added(k Key, size int64) {
	s.mu.Lock()
	s.used.add(k, size)
	over := s.used.bytes > s.o.CacheSize
	s.mu.Unlock()
	if over {
		s.Evict()
	}
}

// Adopt makes a staged file the cached copy of an entity as well: by a hard
// link, or by a copy where the cache is on another disk. The staged name
// stays until RemoveStaged.
func (s *Store) Adopt(id uint64, k Key) error {
	path := s.cachedPath(k)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	err := os.Link(s.stagedPath(id), path)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EPERM), errors.Is(err, unix.EMLINK):
		return s.copyStaged(id, k)
	case err != nil:
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	s.added(k, info.Size())
	return nil
}

func (s *Store) copyStaged(id uint64, k Key) error {
	src, err := s.OpenStaged(id)
	if err != nil {
		return err
	}
	defer src.Close()
	d, err := s.NewDownload(k, -1)
	if err != nil {
		return err
	}
	defer d.Close()
	if _, err := io.Copy(d, src); err != nil {
		return err
	}
	return d.Commit(entity.Digest{})
}

// A Download is a content that is arriving: a file without a name, readable
// as far as it has come.
type Download struct {
	s    *Store
	k    Key
	size int64
	file *os.File
	sum  hash.Hash
	n    int64
}

// NewDownload begins a content of size bytes; -1 where that is not known.
func (s *Store) NewDownload(k Key, size int64) (*Download, error) {
	dir := filepath.Dir(s.cachedPath(k))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// Without a name nothing is left behind, whenever the process dies.
	f, err := unnamed(dir)
	if err != nil {
		return nil, err
	}
	return &Download{s: s, k: k, size: size, file: f, sum: sha256.New()}, nil
}

// Write appends bytes as they arrive.
func (d *Download) Write(p []byte) (int, error) {
	n, err := d.file.Write(p)
	d.sum.Write(p[:n])
	d.n += int64(n)
	return n, err
}

// File is the file so far, until Close.
func (d *Download) File() *os.File { return d.file }

// Restart has the next Write begin at the start again. What has arrived
// stays readable.
func (d *Download) Restart() error {
	d.sum.Reset()
	d.n = 0
	_, err := d.file.Seek(0, io.SeekStart)
	return err
}

// Commit gives the content its name, once length and digest are those that
// are known; else it is ErrDamaged and nothing is kept.
func (d *Download) Commit(want entity.Digest) error {
	if d.size >= 0 && d.n != d.size {
		return fmt.Errorf("entity %s: %d bytes came, it has %d: %w", d.k, d.n, d.size, ErrDamaged)
	}
	if got := entity.Digest(d.sum.Sum(nil)); !want.IsZero() && got != want {
		return fmt.Errorf("entity %s: SHA-256 is %s, was %s: %w", d.k, got, want, ErrDamaged)
	}
	if err := d.file.Truncate(d.n); err != nil {
		return err
	}
	err := name(d.file, d.s.cachedPath(d.k))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cache entity %s: %w", d.k, err)
	}
	if err == nil {
		d.s.added(d.k, d.n)
	}
	return nil
}

// Close closes the file; without a Commit before, the content is forgotten.
func (d *Download) Close() error { return d.file.Close() }
