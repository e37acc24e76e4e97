package index

import (
	"errors"
	"syscall"
	"testing"
)

func TestRestoreBringsAVersionBack(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	d := mkdir(t, ix, Root, "d")
	f := touch(t, ix, d.Ino, "f")
	first, second := upload(t, ix, f.Ino, 1), upload(t, ix, f.Ino, 2)
	v := must[[]Version](t)(ix.History("/d/f"))[0]
	n := must[Inode](t)(ix.Restore(v))
	if n.Ino != f.Ino || n.UUID != first.UUID || n.Mtime != v.Mtime || n.Size != v.Size {
		t.Errorf("restored: %+v", n)
	}
	if h := must[[]Version](t)(ix.History("/d/f")); len(h) != 2 || h[1].UUID != second.UUID {
		t.Errorf("history: %+v", h)
	}
	if again := must[Inode](t)(ix.Restore(v)); again != n {
		t.Errorf("restored twice: %+v", again)
	}
	clean(t, ix)
}

func TestRestoreMakesWhatWasDeleted(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	d := must[Inode](t)(ix.Create(Root, "d", NewInode{Mode: syscall.S_IFDIR | 0o750, UID: 7, GID: 8}))
	sub := mkdir(t, ix, d.Ino, "sub")
	f := touch(t, ix, sub.Ino, "f")
	e := upload(t, ix, f.Ino, 1)
	must[Removed](t)(ix.Unlink(sub.Ino, "f"))
	must[[]StagedID](t)(ix.Forget(f.Ino))
	must[Removed](t)(ix.Rmdir(d.Ino, "sub"))
	must[[]StagedID](t)(ix.Forget(sub.Ino))
	list := must[[]Version](t)(ix.HistoryBelow("/d"))
	if len(list) != 1 || list[0].Path != "/d/sub/f" {
		t.Fatalf("below /d: %+v", list)
	}
	n := must[Inode](t)(ix.Restore(list[0]))
	up := must[Dirent](t)(ix.Resolve("/d/sub"))
	if n.UUID != e.UUID || n.Mode != regular || n.UID != 7 || up.Inode.Mode != syscall.S_IFDIR|0o750 || up.Inode.GID != 8 {
		t.Errorf("restored %+v in %+v", n, up.Inode)
	}
	clean(t, ix)
}

func TestRestoreRefusesWhatWouldLoseContent(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f := touch(t, ix, Root, "f")
	upload(t, ix, f.Ino, 1)
	must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: ix.NextStaged(), Size: 3}))
	v := must[[]Version](t)(ix.History("/f"))[0]
	if _, err := ix.Restore(v); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("over staged content: %v", err)
	}
	must[Removed](t)(ix.Rename(Root, "f", Root, "g", 0))
	d := mkdir(t, ix, Root, "f")
	if _, err := ix.Restore(v); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("over a directory: %v", err)
	}
	v.Path = "/g/x"
	if _, err := ix.Restore(v); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
	if d2 := must[Inode](t)(ix.Get(d.Ino)); d2 != d {
		t.Error("the directory changed")
	}
	clean(t, ix)
}
