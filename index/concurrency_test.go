package index

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestManyAtOnce writes, reads, syncs and commits from all sides.
func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir() + "/ix"
	var syncs atomic.Int64
	o := Options{CommitInterval: time.Millisecond, SyncStaged: func([]StagedID) error { syncs.Add(1); return nil }}
	ix := open(t, dir, o)
	var wg sync.WaitGroup
	for w := range 4 {
		d := mkdir(t, ix, Root, fmt.Sprint("d", w))
		wg.Go(func() { work(t, ix, d.Ino) })
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				look(t, ix)
			}
		}
	})
	wg.Wait()
	close(stop)
	readers.Wait()
	clean(t, ix)
	want := tree(t, ix)
	noError(t, ix.Close())
	if got := tree(t, open(t, dir, byHand)); got != want {
		t.Error("the tree is another after Close")
	}
	if syncs.Load() == 0 {
		t.Error("staged contents were never made durable")
	}
}

func work(t *testing.T, ix *Index, dir Ino) {
	for i := range 150 {
		name := fmt.Sprint(i)
		f, err := ix.Create(dir, name, NewInode{Mode: regular})
		if err == nil {
			_, err = ix.SetContent(f.Ino, Content{Staged: ix.NextStaged(), Size: 1})
		}
		if err == nil && i%3 == 0 {
			_, err = ix.Rename(dir, name, dir, "r"+name, 0)
		}
		if err == nil && i%10 == 0 {
			err = ix.Sync()
		}
		if err == nil && i%5 == 1 && i%3 != 0 {
			_, err = ix.Unlink(dir, name)
		}
		if err == nil && i == 75 {
			err = ix.Backup(io.Discard)
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

func look(t *testing.T, ix *Index) {
	list, err := ix.ReadDir(Root, "", 0)
	for _, d := range list {
		sub, err := ix.ReadDir(d.Inode.Ino, "", 50)
		if err != nil {
			t.Error(err)
		}
		for _, f := range sub {
			if p, err := ix.Paths(f.Inode.Ino); err != nil && !errors.Is(err, syscall.ENOENT) {
				t.Error(p, err)
			}
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// TestNobodyWaitsForACommit holds a commit up and reads, writes and syncs.
func TestNobodyWaitsForACommit(t *testing.T) {
	dir := t.TempDir() + "/ix"
	o := byHand
	entered, goOn := make(chan struct{}), make(chan struct{})
	var hold atomic.Bool
	o.hooks.commit = func() error {
		if hold.Swap(false) {
			close(entered)
			<-goOn
		}
		return nil
	}
	ix := open(t, dir, o)
	touch(t, ix, Root, "before")
	hold.Store(true)
	done := make(chan error, 1)
	go func() { done <- ix.store.commit() }()
	<-entered
	touch(t, ix, Root, "during")
	noError(t, ix.Sync())
	if got := tree(t, ix); got != "before during" {
		t.Errorf("tree %q", got)
	}
	if got := tree(t, open(t, copyDir(t, dir), byHand)); got != "before during" {
		t.Errorf("after kill -9 within a commit: %q", got)
	}
	close(goOn)
	noError(t, <-done)
	clean(t, ix)
}

// TestBacklogIsBounded fails every commit: writers get its error once the
// journal holds as much as memory should.
func TestBacklogIsBounded(t *testing.T) {
	o := byHand
	o.hooks.commit = func() error { return syscall.ENOSPC }
	ix := open(t, t.TempDir(), o)
	f := touch(t, ix, Root, "f")
	value := bytes.Repeat([]byte("v"), 60<<10)
	var err error
	wrote := 0
	for ; err == nil && wrote < 2*backlogBytes; wrote += len(value) {
		if wrote%(8<<20) < len(value) {
			_ = ix.store.commit() // fails, as it is told to
		}
		err = ix.SetXattr(f.Ino, strings.Repeat("n", 1+wrote%200), value, 0)
	}
	if !errors.Is(err, syscall.ENOSPC) || wrote < backlogBytes/2 {
		t.Errorf("after %d bytes: %v", wrote, err)
	}
	ix.store.hooks.commit = nil
	noError(t, ix.store.commit())
	noError(t, ix.SetXattr(f.Ino, "n", nil, 0))
}
