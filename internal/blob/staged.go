package blob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"unicode/utf8"

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

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Rescue links a staged file into StateDir/rescued, under a name that a person
// knows it by, and tells the path.
func (s *Store) Rescue(id uint64, name string) (path string, err error) {
	dir := filepath.Join(s.o.StateDir, "rescued")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	suffix := fmt.Sprintf("-%x", id) // makes it the only one
	path = filepath.Join(dir, cutName(name, maxName-len(suffix))+suffix)
	if err := os.Link(s.stagedPath(id), path); err != nil {
		return "", err
	}
	return path, syncDir(dir)
}

// maxName is the longest name that disks take, in bytes: NAME_MAX.
const maxName = 255

// cutName cuts a name to at most n bytes, between two characters.
func cutName(name string, n int) string {
	if len(name) <= n {
		return name
	}
	for back := range min(utf8.UTFMax, n) {
		if utf8.RuneStart(name[n-back]) {
			return name[:n-back]
		}
	}
	return name[:n] // no text
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
