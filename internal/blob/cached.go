package blob

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

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

// A CachedFile is a cached content that is open: it is not evicted until
// Close.
type CachedFile struct {
	*os.File
	s    *Store
	used *cachedFile // nil: pinned
	once sync.Once
}

// Close closes the file.
func (f *CachedFile) Close() error {
	f.once.Do(func() {
		if f.used == nil {
			return
		}
		f.s.mu.Lock()
		f.s.used.closed(f.used)
		over := f.s.used.bytes > f.s.o.CacheSize
		f.s.mu.Unlock()
		if over {
			f.s.Evict()
		}
	})
	return f.File.Close()
}

// OpenCached opens a cached or pinned content, whole; fs.ErrNotExist where
// there is none. What was not compared with the digest since the machine started
// is compared first, as it may have lost bytes with the power, or a bit since.
// A cached copy that is not right, or whose digest is not known, is dropped; a
// pinned one that is not right is put aside, beside its place.
func (s *Store) OpenCached(k Key, want entity.Digest) (*CachedFile, error) {
	for {
		f, err := s.openCached(k, want)
		if errors.Is(err, errParted) {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		break
	}
	f, err := os.Open(s.pinnedPath(k))
	if err == nil {
		err = s.trustPinned(k, f, want)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &CachedFile{File: f}, nil
}

func (s *Store) openCached(k Key, want entity.Digest) (*CachedFile, error) {
	f, err := os.Open(s.cachedPath(k))
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if s.isOld(st) {
		if err := s.trust(k, f, want); err != nil {
			f.Close()
			return nil, err
		}
	}
	s.mu.Lock()
	c := &CachedFile{File: f, s: s, used: s.used.opened(k, st.Size)}
	s.mu.Unlock()
	// Part may just have put a copy in its place, and counted before us.
	var now unix.Stat_t
	if unix.Lstat(s.cachedPath(k), &now) != nil || now.Ino != st.Ino || now.Dev != st.Dev {
		c.Close()
		return nil, errParted
	}
	return c, nil
}

// errParted says that another file bears the name now.
var errParted = errors.New("cached content was replaced")

// isOld tells of a file that was last changed, or compared, before the machine
// started.
func (s *Store) isOld(st unix.Stat_t) bool {
	return !time.Unix(st.Ctim.Sec, st.Ctim.Nsec).After(s.booted)
}

// trust makes sure of content that a loss of power may have damaged.
func (s *Store) trust(k Key, f *os.File, want entity.Digest) error {
	if !want.IsZero() && CheckDigest(k, want, f) == nil {
		return f.Chmod(0o600) // its time of change tells from now on that it is whole
	}
	if err := s.DropCached(k); err != nil {
		return err
	}
	return fmt.Errorf("cached entity %s is doubtful since the machine started: %w", k, fs.ErrNotExist)
}

// trustPinned makes sure of pinned content. It is synced, but lies for years.
// What is not right is no content any more, and may be the last that is left of
// one: it stays for a person to look at.
func (s *Store) trustPinned(k Key, f *os.File, want entity.Digest) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if want.IsZero() || !s.isOld(st) {
		return nil
	}
	err := CheckDigest(k, want, f)
	if err == nil {
		return f.Chmod(0o600)
	}
	if !errors.Is(err, ErrDamaged) {
		return err // the disk does not give it now
	}
	aside := f.Name() + damagedSuffix
	s.o.Log.WithError(err).Errorf("pinned content is damaged; what is left of it is kept as %s", aside)
	return errors.Join(fmt.Errorf("pinned entity %s: %w", k, fs.ErrNotExist), os.Rename(f.Name(), aside))
}

// bootTime is when the machine started, if a test has not said so.
func bootTime(told time.Time) (time.Time, error) {
	if !told.IsZero() {
		return told, nil
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return told, fmt.Errorf("tell when the machine started: %w", err)
	}
	return time.Now().Add(-time.Duration(up.Nano())), nil
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
// stays until RemoveStaged. A copy is compared with the digest.
func (s *Store) Adopt(id uint64, k Key, want entity.Digest) error {
	path := s.cachedPath(k)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	err := os.Link(s.stagedPath(id), path)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EPERM), errors.Is(err, unix.EMLINK):
		return s.copyStaged(id, k, want)
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

func (s *Store) copyStaged(id uint64, k Key, want entity.Digest) error {
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
	return d.Commit(want)
}

// A Download is a content that is arriving: a file without a name, readable
// as far as it has come.
type Download struct {
	s    *Store
	k    Key
	size int64
	file *os.File
	sum  entity.Hasher
	n    int64

	memory bool        // the disk is full
	used   *cachedFile // from Commit on
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
	return &Download{s: s, k: k, size: size, file: f}, nil
}

// Write appends bytes as they arrive. On a full disk it makes room by
// eviction, or else goes on in memory: then Commit gives no name.
func (d *Download) Write(p []byte) (int, error) {
	n, err := d.file.WriteAt(p, d.n)
	if errors.Is(err, unix.ENOSPC) {
		d.s.makeRoom(1 << 20)
		n, err = d.file.WriteAt(p, d.n)
	}
	if errors.Is(err, unix.ENOSPC) && !d.memory {
		if err = d.toMemory(); err == nil {
			n, err = d.file.WriteAt(p, d.n)
		}
	}
	d.sum.Write(p[:n])
	d.n += int64(n)
	return n, err
}

// toMemory puts a file that needs no disk in the place of the file, for those
// who read it already too.
func (d *Download) toMemory() error {
	fd, err := unix.MemfdCreate("chatfs", unix.MFD_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("memfd_create", err)
	}
	memory := os.NewFile(uintptr(fd), d.file.Name())
	defer memory.Close()
	if _, err := io.Copy(memory, io.NewSectionReader(d.file, 0, d.n)); err != nil {
		return err
	}
	if err := unix.Dup3(fd, int(d.file.Fd()), unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("dup3", err)
	}
	d.memory = true
	return nil
}

// File is the file so far, until Close.
func (d *Download) File() *os.File { return d.file }

// Hash is the digest of what has arrived, and its sums.
func (d *Download) Hash() (entity.Digest, entity.Sums) { return d.sum.Digest(), d.sum.Sums() }

// Written is how many bytes have been written since the start.
func (d *Download) Written() int64 { return d.n }

// Restart has the next Write begin at the start again. Nobody may be reading.
func (d *Download) Restart() {
	d.sum.Reset()
	d.n = 0
}

// Commit gives the content its name, once length and digest are those that
// are known; else it is ErrDamaged and nothing is kept.
func (d *Download) Commit(want entity.Digest) error {
	if d.size >= 0 && d.n != d.size {
		return fmt.Errorf("entity %s: %d bytes came, it has %d: %w", d.k, d.n, d.size, ErrDamaged)
	}
	if got := d.sum.Digest(); !want.IsZero() && got != want {
		return fmt.Errorf("entity %s: SHA-256 is %s, was %s: %w", d.k, got, want, ErrDamaged)
	}
	if err := d.file.Truncate(d.n); err != nil || d.memory {
		return err
	}
	err := name(d.file, d.s.cachedPath(d.k))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cache entity %s: %w", d.k, err)
	}
	if err == nil {
		d.s.added(d.k, d.n)
		d.s.mu.Lock()
		d.used = d.s.used.opened(d.k, d.n) // until Close
		d.s.mu.Unlock()
	}
	return nil
}

// Close closes the file; without a Commit before, the content is forgotten.
func (d *Download) Close() error {
	if d.used != nil {
		d.s.mu.Lock()
		d.s.used.closed(d.used)
		d.s.mu.Unlock()
	}
	return d.file.Close()
}
