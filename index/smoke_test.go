package index

import (
	"syscall"
	"testing"
)

func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	ix, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := ix.Create(Root, "d", NewInode{Mode: syscall.S_IFDIR | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	f, err := ix.Create(d.Ino, "f", NewInode{Mode: syscall.S_IFREG | 0o644})
	if err != nil {
		t.Fatal(err)
	}
	id := ix.NextStaged()
	if _, err := ix.SetContent(f.Ino, Content{Staged: id, Size: 3}); err != nil {
		t.Fatal(err)
	}
	if err := ix.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
	ix, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	e, err := ix.Resolve("/d/f")
	if err != nil || e.Inode.Staged != id {
		t.Fatal(e, err)
	}
	q, err := ix.Queue()
	t.Log(q, err, ix.Recovery())
	st, _ := ix.Stats()
	t.Log(st)
}
