package index

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestTornTail cuts the journal at every byte of its last record: all before it
// is there, and it alone is missing.
func TestTornTail(t *testing.T) {
	dir := t.TempDir() + "/ix"
	ix := open(t, dir, byHand)
	touch(t, ix, Root, "first")
	path := lastSegment(t, dir)
	whole := must[os.FileInfo](t)(os.Stat(path)).Size()
	touch(t, ix, Root, "second")
	full := must[[]byte](t)(os.ReadFile(path))
	for size := whole; size <= int64(len(full)); size++ {
		crashed := copyDir(t, dir)
		noError(t, os.Truncate(strings.Replace(path, dir, crashed, 1), size))
		again := open(t, crashed, byHand)
		want := "first"
		if size == int64(len(full)) {
			want = "first second"
		}
		if got := tree(t, again); got != want {
			t.Fatalf("cut at %d: tree %q, want %q", size, got, want)
		}
		r := again.Recovery()
		if torn := want == "first" && size > whole; r.PowerLoss || (r.TornBytes != 0) != torn || torn && r.TornBytes != size-whole {
			t.Fatalf("cut at %d of %d: %+v", size, len(full), r)
		}
		noError(t, again.Close())
	}
}

// TestTornHeader cuts a segment that was just begun.
func TestTornHeader(t *testing.T) {
	for size := int64(0); size <= headerSize; size += 16 {
		dir := t.TempDir() + "/ix"
		ix := open(t, dir, byHand)
		crashed := copyDir(t, dir)
		noError(t, os.Truncate(strings.Replace(lastSegment(t, dir), dir, crashed, 1), size))
		again := open(t, crashed, byHand)
		touch(t, again, Root, "f")
		noError(t, again.Close())
		noError(t, ix.Close())
	}
}

// TestDamage turns one byte after another of a journal whose last record is
// whole: it is never taken for a torn tail.
func TestDamage(t *testing.T) {
	dir := t.TempDir() + "/ix"
	ix := open(t, dir, byHand)
	path := lastSegment(t, dir)
	touch(t, ix, Root, "first")
	end := must[os.FileInfo](t)(os.Stat(path)).Size()
	touch(t, ix, Root, "second")
	for at := int64(0); at < end; at += 3 {
		crashed := copyDir(t, dir)
		flip(t, strings.Replace(path, dir, crashed, 1), at)
		_, err := Open(crashed, byHand)
		var damaged *ErrDamaged
		if !errors.As(err, &damaged) || !strings.Contains(err.Error(), "chatfs check") {
			t.Fatalf("byte %d: %v", at, err)
		}
		o := byHand
		o.Salvage = true
		again := open(t, crashed, o)
		if r := again.Recovery(); len(r.SetAside) != 1 {
			t.Fatalf("byte %d: %v", at, r)
		}
		touch(t, again, Root, "new")
		noError(t, again.Close())
		noError(t, open(t, crashed, byHand).Close())
	}
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	b := must[[]byte](t)(os.ReadFile(path))
	b[at] ^= 0xff
	noError(t, os.WriteFile(path, b, 0o600))
}

func TestMissingSegmentIsDamage(t *testing.T) {
	dir := t.TempDir() + "/ix"
	o := byHand
	var full error
	o.hooks.commit = func() error { return full }
	ix := open(t, dir, o)
	touch(t, ix, Root, "first")
	full = syscall.ENOSPC
	if err := ix.store.commit(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("commit: %v", err)
	}
	touch(t, ix, Root, "second") // in a segment of its own
	crashed := copyDir(t, dir)
	if got := tree(t, open(t, crashed, byHand)); got != "first second" {
		t.Errorf("tree %q", got)
	}
	crashed = copyDir(t, dir)
	paths := must[[]string](t)(listSegments(crashed))
	noError(t, os.Remove(paths[0]))
	var damaged *ErrDamaged
	if _, err := Open(crashed, byHand); !errors.As(err, &damaged) {
		t.Errorf("a segment is missing: %v", err)
	}
	full = nil
	noError(t, ix.store.commit())
	if got := tree(t, ix); got != "first second" {
		t.Errorf("tree %q", got)
	}
	if left := must[[]string](t)(listSegments(dir)); len(left) != 1 {
		t.Errorf("segments left: %v", left)
	}
	clean(t, ix)
}

// TestStoredBytesNeverPassForARecord puts a whole record into an attribute and
// tears the record that holds it.
func TestStoredBytesNeverPassForARecord(t *testing.T) {
	dir := t.TempDir() + "/ix"
	ix := open(t, dir, byHand)
	path := lastSegment(t, dir)
	touch(t, ix, Root, "f")
	rec := must[[]byte](t)(os.ReadFile(path))[headerSize:]
	noError(t, ix.Close())
	ix = open(t, dir, byHand)
	path = lastSegment(t, dir)
	f := must[Dirent](t)(ix.Lookup(Root, "f"))
	noError(t, ix.SetXattr(f.Inode.Ino, "user.x", bytes.Repeat(rec, 3), 0))
	crashed := copyDir(t, dir)
	noError(t, os.Truncate(strings.Replace(path, dir, crashed, 1), must[os.FileInfo](t)(os.Stat(path)).Size()-1))
	again := open(t, crashed, byHand)
	if r := again.Recovery(); r.TornBytes == 0 || tree(t, again) != "f" {
		t.Errorf("recovery %v", r)
	}
}

// TestFullDiskFailsOneOperation gives the n-th write of the journal ENOSPC
// after half of it, for every n.
func TestFullDiskFailsOneOperation(t *testing.T) {
	for n := range 4 {
		dir := t.TempDir() + "/ix"
		o := byHand
		left := n + 1 // the header is a write, too
		o.hooks.writeAt = func(s *segment, p []byte, off int64) (int, error) {
			if left--; left == -1 {
				half, _ := s.f.WriteAt(p[:len(p)/2], off)
				return half, syscall.ENOSPC
			}
			return s.f.WriteAt(p, off)
		}
		ix := open(t, dir, o)
		var want []string
		for i := range 4 {
			name := fmt.Sprint(i)
			_, err := ix.Create(Root, name, NewInode{Mode: regular})
			if i == n != errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("operation %d of fault %d: %v", i, n, err)
			}
			if err == nil {
				want = append(want, name)
			}
		}
		clean(t, open(t, copyDir(t, dir), byHand))
		for _, x := range []*Index{ix, open(t, copyDir(t, dir), byHand)} {
			if got := tree(t, x); got != strings.Join(want, " ") {
				t.Errorf("fault %d: tree %q, want %v", n, got, want)
			}
		}
	}
}

// TestLostJournalTurnsReadOnly: neither written nor cut back.
func TestLostJournalTurnsReadOnly(t *testing.T) {
	dir := t.TempDir() + "/ix"
	broken := false
	o := byHand
	o.hooks.writeAt = func(s *segment, p []byte, off int64) (int, error) {
		if broken {
			half, _ := s.f.WriteAt(p[:len(p)/2], off)
			return half, syscall.EIO
		}
		return s.f.WriteAt(p, off)
	}
	o.hooks.truncate = func(s *segment, size int64) error {
		if broken {
			return syscall.EIO
		}
		return s.f.Truncate(size)
	}
	ix := open(t, dir, o)
	touch(t, ix, Root, "f")
	broken = true
	for range 2 {
		if _, err := ix.Create(Root, "g", NewInode{Mode: regular}); !errors.Is(err, syscall.EROFS) {
			t.Errorf("create: %v", err)
		}
	}
	broken = false
	if _, err := ix.Create(Root, "g", NewInode{Mode: regular}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("it forgot that it is read-only: %v", err)
	}
	if err := ix.Sync(); err == nil {
		t.Error("Sync promises what it can't")
	}
	if got := tree(t, ix); got != "f" {
		t.Errorf("reading: %q", got)
	}
	if got := tree(t, open(t, copyDir(t, dir), byHand)); got != "f" {
		t.Errorf("opened anew: %q", got)
	}
}
