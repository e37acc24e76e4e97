package blob

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// A File is what lies in one of the store's directories, ours or not.
type File struct {
	Path   string
	Key    Key
	Known  bool // the name is a Key's
	Pinned bool
	Size   int64 // bytes
}

// damagedSuffix marks pinned content that is not what it was, kept for a
// person to look at.
const damagedSuffix = ".damaged"

// Files calls fn for all that is cached and pinned, until it fails.
func (s *Store) Files(fn func(File) error) error {
	for _, dir := range []string{s.cache, s.pinned} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || dir == s.pinned && filepath.Ext(path) == damagedSuffix {
				return err
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			} else if err != nil {
				return err
			}
			k, known := parseKey(e.Name())
			return fn(File{Path: path, Key: k, Known: known, Pinned: dir == s.pinned, Size: info.Size()})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Discard removes a file that Files told of. A pinned one is put aside
// instead, beside its place: there may be no other copy.
func (s *Store) Discard(f File) error {
	if f.Pinned {
		return os.Rename(f.Path, f.Path+damagedSuffix)
	}
	if f.Known {
		return s.DropCached(f.Key)
	}
	return os.Remove(f.Path)
}

// Drop discards the copies of a content that are not what they should be.
func (s *Store) Drop(k Key) error {
	if err := s.DropCached(k); err != nil {
		return err
	}
	err := s.Discard(File{Path: s.pinnedPath(k), Pinned: true})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// StagedSize is the size of a staged file in bytes.
func (s *Store) StagedSize(id uint64) (int64, error) {
	info, err := os.Lstat(s.stagedPath(id))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// CutStaged cuts a staged file to a size in bytes.
func (s *Store) CutStaged(id uint64, size int64) error {
	return os.Truncate(s.stagedPath(id), size)
}

// StrayStaged lists what lies among the staged files and is none.
func (s *Store) StrayStaged() (paths []string, err error) {
	entries, err := os.ReadDir(s.staging)
	for _, e := range entries {
		if _, ok := parseStaged(e.Name()); !ok {
			paths = append(paths, filepath.Join(s.staging, e.Name()))
		}
	}
	return paths, err
}
