package index

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"
)

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, byHand)
	if _, err := Open(dir, byHand); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	noError(t, open(t, dir, byHand).Close())
	db := must[*bolt.DB](t)(bolt.Open(filepath.Join(dir, FileName), 0o600, nil))
	noError(t, db.Update(func(b *bolt.Tx) error {
		return b.Bucket(bucketNames[bucketMeta]).Put([]byte(metaSchema), be64(nil, 99))
	}))
	noError(t, db.Close())
	_, err := Open(dir, byHand)
	var newer ErrNewerSchema
	if !errors.As(err, &newer) || newer.Found != 99 || !strings.Contains(err.Error(), "version 99") {
		t.Errorf("opened: %v", err)
	}
}

func TestOlderSchemaIsMigratedAfterABackup(t *testing.T) {
	dir := t.TempDir()
	ix := open(t, dir, byHand)
	touch(t, ix, Root, "f")
	noError(t, ix.Close())
	o := byHand
	ran := 0
	o.migrations = []migration{func(*bolt.Tx) error { ran++; return nil }}
	ix = open(t, dir, o)
	if ran != 1 || tree(t, ix) != "f" {
		t.Errorf("ran %d, tree %q", ran, tree(t, ix))
	}
	noError(t, ix.Close())
	backup := t.TempDir()
	b := must[[]byte](t)(os.ReadFile(filepath.Join(dir, FileName+".v1")))
	noError(t, os.WriteFile(filepath.Join(backup, FileName), b, 0o600))
	if old := open(t, backup, byHand); tree(t, old) != "f" {
		t.Error("the backup lacks a file")
	}
}

func TestGarbageIsDamage(t *testing.T) {
	dir := t.TempDir()
	noError(t, os.WriteFile(filepath.Join(dir, FileName), bytes.Repeat([]byte("garbage "), 4096), 0o600))
	var damaged *ErrDamaged
	if _, err := Open(dir, byHand); !errors.As(err, &damaged) {
		t.Errorf("opened: %v", err)
	}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "deep", "ix")
	ix := open(t, dir, byHand)
	touch(t, ix, Root, "f")
	noError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if fi := must[fs.FileInfo](t)(d.Info()); fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, fi.Mode())
		}
		return nil
	}))
}

func TestCleanCloseLeavesNoJournal(t *testing.T) {
	dir := t.TempDir()
	ix := open(t, dir, byHand)
	f := touch(t, ix, Root, "f")
	id := ix.NextStaged()
	noError(t, ix.Close())
	noError(t, ix.Close())
	if left := must[[]string](t)(listSegments(dir)); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	if _, err := ix.Get(f.Ino); !errors.Is(err, ErrClosed) {
		t.Errorf("used after Close: %v", err)
	}
	ix = open(t, dir, byHand)
	if r := ix.Recovery(); r.Records != 0 || r.String() != "clean" {
		t.Errorf("recovery %v", r)
	}
	if g := touch(t, ix, Root, "g"); g.Ino <= f.Ino {
		t.Errorf("inode %d after %d", g.Ino, f.Ino)
	}
	if next := ix.NextStaged(); next <= id {
		t.Errorf("staged id %d after %d", next, id)
	}
}

func TestNumbersAreNeverUsedTwiceAfterKill(t *testing.T) {
	dir := t.TempDir() + "/ix"
	seen := map[Ino]bool{}
	ids := map[StagedID]bool{}
	for round := range 5 {
		ix := open(t, dir, byHand)
		for i := range 700 {
			f := touch(t, ix, Root, strings.Repeat("x", round+1)+string(rune(i+0x1000)))
			id := ix.NextStaged()
			if seen[f.Ino] || ids[id] || id == 0 {
				t.Fatalf("given again: inode %d or staged %d", f.Ino, id)
			}
			seen[f.Ino], ids[id] = true, true
		}
		dir = copyDir(t, dir)
	}
}

func TestOrphansAreForgottenAtOpen(t *testing.T) {
	dir := t.TempDir() + "/ix"
	ix := open(t, dir, byHand)
	f := touch(t, ix, Root, "f")
	id := ix.NextStaged()
	must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: id, Size: 1}))
	must[Removed](t)(ix.Unlink(Root, "f"))
	again := open(t, copyDir(t, dir), byHand)
	r := again.Recovery()
	if r.Orphans != 1 || len(r.Staged) != 1 || r.Staged[0] != id || !strings.Contains(r.String(), "crash") {
		t.Errorf("recovery %+v: %v", r, r)
	}
	clean(t, again)
}

func TestBackupIsAnIndex(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f := touch(t, ix, Root, "f")
	e := upload(t, ix, f.Ino, 1)
	dir := t.TempDir()
	var b bytes.Buffer
	noError(t, ix.Backup(&b))
	touch(t, ix, Root, "later")
	noError(t, os.WriteFile(filepath.Join(dir, FileName), b.Bytes(), 0o600))
	restored := open(t, dir, byHand)
	if got := tree(t, restored); got != "f" {
		t.Errorf("tree %q", got)
	}
	if r, err := restored.Entity(e.UUID); err != nil || r.Secret != e.Secret {
		t.Error("the secret is not in the backup")
	}
}
