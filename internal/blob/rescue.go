package blob

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// RescuedDir is where bytes lie, below the state directory, that no record
// names any more. Nothing here ever removes one of them.
const RescuedDir = "rescued"

// rescuedList, in RescuedDir, has a line for each of them.
const rescuedList = "list.txt"

// A Lost is what is known of bytes that are rescued.
type Lost struct {
	Path string // that they had, or were to have, in the tree; "" if that is not known
	Why  string
}

// StagedPath is where a staged content lies.
func (s *Store) StagedPath(id uint64) string { return s.stagedPath(id) }

// Rescue moves a file of the store to RescuedDir, under a name that tells the
// time and what it was called, and adds a line to the list there. It gives the
// new path; SyncRescued makes it durable.
func (s *Store) Rescue(file string, l Lost) (to string, err error) {
	return s.rescue(file, l, func(to string) error {
		err := unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		switch {
		case errors.Is(err, unix.EINVAL): // the disk knows no such flag
			if err = os.Link(file, to); err == nil {
				err = os.Remove(file)
			}
		case errors.Is(err, unix.EXDEV): // the cache is on another disk
			if err = copyFile(file, to); err == nil {
				err = os.Remove(file)
			}
		}
		return err
	})
}

// RescueCopy is Rescue of a file that stays in its place.
func (s *Store) RescueCopy(file string, l Lost) (to string, err error) {
	return s.rescue(file, l, func(to string) error { return copyFile(file, to) })
}

func (s *Store) rescue(file string, l Lost, put func(to string) error) (to string, err error) {
	info, err := os.Lstat(file)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.o.StateDir, RescuedDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	now := time.Now().UTC().Format("20060102T150405Z")
	for n := 0; n == 0 || errors.Is(err, fs.ErrExist); n++ {
		to = filepath.Join(dir, rescuedName(now, n, filepath.Base(file), path.Base(l.Path)))
		err = put(to)
	}
	if err != nil {
		return "", fmt.Errorf("rescue %s: %w", file, err)
	}
	return to, noteRescued(dir, to, info, l)
}

// rescuedNameMost bounds the parts of a rescued file's name, in bytes, so that
// the whole has at most 255.
const rescuedNameMost = 100

// rescuedName is, for a staged content of report.doc, something like
// 20261128T150405Z-000000000000002a-report.doc.
func rescuedName(now string, n int, was, called string) string {
	name := now
	if n > 0 {
		name += fmt.Sprint("-", n)
	}
	name += "-" + shortened(was)
	if called != "." {
		name += "-" + shortened(called)
	}
	return name
}

// shortened is a name's end, whole characters of it: that has the extension.
func shortened(name string) string {
	if len(name) <= rescuedNameMost {
		return name
	}
	name = name[len(name)-rescuedNameMost:]
	for len(name) > rescuedNameMost-utf8.UTFMax && !utf8.RuneStart(name[0]) {
		name = name[1:]
	}
	return name
}

// noteRescued adds a line to the list.
func noteRescued(dir, to string, info os.FileInfo, l Lost) error {
	list, err := os.OpenFile(filepath.Join(dir, rescuedList), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer list.Close()
	_, err = fmt.Fprintf(list, "%q path=%q size=%d changed=%s: %s\n",
		filepath.Base(to), l.Path, info.Size(), info.ModTime().Format(time.RFC3339), l.Why)
	return err
}

// copyFile copies a file, durable, to a path that is free: fs.ErrExist if it
// is not.
func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := unnamed(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer dst.Close()
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	if err := dst.Sync(); err != nil {
		return err
	}
	return name(dst, to)
}

// SyncRescued makes what was rescued durable, names and bytes.
func (s *Store) SyncRescued() error {
	dir := filepath.Join(s.o.StateDir, RescuedDir)
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return &os.PathError{Op: "sync", Path: dir, Err: err}
	}
	return nil
}

// Rescued tells how many rescued files there are, and where.
func (s *Store) Rescued() (n int, dir string, err error) {
	dir = filepath.Join(s.o.StateDir, RescuedDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, dir, nil
	}
	for _, e := range entries {
		if e.Name() != rescuedList {
			n++
		}
	}
	return n, dir, err
}
