package fs

import (
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"chatfs/index"
)

// TestAttributesAreNotOfAnOldLook reads an inode, has a commit give to the
// index what an open file knew, and fills in attributes then: the kernel keeps
// them for an hour.
func TestAttributesAreNotOfAnOldLook(t *testing.T) {
	x, err := index.Open(t.TempDir(), index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	looked, err := x.Create(index.Root, "f", index.NewInode{Mode: syscall.S_IFREG | 0o644})
	if err != nil {
		t.Fatal(err)
	}
	f := &filesystem{Config: Config{Index: x}, files: openTable{open: make(map[index.Ino]*openFile)}}
	of := &openFile{fs: f, ino: looked.Ino, turn: make(chan struct{}, 1)}
	f.files.open[looked.Ino] = of
	size := func() uint64 {
		var a fuse.Attr
		f.attr(looked, &a)
		return a.Size
	}
	of.changed(100)
	if got := size(); got != 100 {
		t.Errorf("written: %d bytes", got)
	}
	before := of.commitCount()
	if _, err := x.SetContent(looked.Ino, index.Content{Staged: x.NextStaged(), Size: 100}); err != nil {
		t.Fatal(err)
	}
	of.settle(false)
	if got := size(); got != 100 {
		t.Errorf("committed: %d bytes", got)
	}
	in := looked
	if of.overlaySince(before, &in) || of.cleanSince(before) {
		t.Error("a look from before the commit counts as one from after it")
	}
	delete(f.files.open, looked.Ino)
	if got := size(); got != 100 {
		t.Errorf("closed: %d bytes", got)
	}
}
