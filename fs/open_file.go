package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"chatfs/index"
)

// An openFile is what the open handles of one regular file share: its staged
// content, and what of it the index does not know yet.
type openFile struct {
	fs  *filesystem
	ino index.Ino

	handles  []*handle // that are open; guarded by openTable.mu
	decided  bool      // whether there is a backing; guarded by openTable.mu
	unlinked bool      // its last name is gone; guarded by openTable.mu

	// backing is what the kernel reads by itself, or nil: decided at the first
	// open, and before any writer.
	backing *backing

	// turn is held by whoever changes the content. It may be held over a
	// fetch from the service; waiting for it gives way to the context.
	turn chan struct{}

	mu      sync.Mutex
	file    *lent[*os.File] // staged content, or nil
	staged  index.StagedID  // its name
	named   bool            // the index's present content is this staged file
	owned   bool            // nothing uploads it: it may be changed in place
	old     index.StagedID  // named staged content that the next commit replaces
	holds   int             // writers that keep the uploader away
	noted   noted           // what the index knows of the writing
	version uint64          // changes when another source holds the content
	commits uint64          // how often the index came to know what is below
	late    bool            // a commit is tried again after the last close
	dirty   bool            // size and times below are not in the index yet
	size    int64
	mtime   index.Time
	ctime   index.Time
	failed  string // why the content must never be uploaded
	mode    uint32 // for setuid and setgid alone
}

// openTable knows the open files of a mount.
type openTable struct {
	mu   sync.Mutex
	open map[index.Ino]*openFile
	// nameless are the inodes without a name that the kernel still knows: as
	// some process's directory, an open FIFO, or a descriptor of O_PATH.
	nameless map[index.Ino]struct{}
}

// get gives ino's open file, or nil. It opens no handle: good for a look.
func (t *openTable) get(ino index.Ino) *openFile {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open[ino]
}

// acquire gives a new handle on ino, to be closed.
func (f *filesystem) acquire(ino index.Ino, write bool) *handle {
	t := &f.files
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.open[ino]
	if of == nil {
		of = &openFile{fs: f, ino: ino, turn: make(chan struct{}, 1)}
		t.open[ino] = of
	}
	h := &handle{of: of, write: write}
	of.decided = of.decided || write
	of.handles = append(of.handles, h)
	return h
}

// closeAll closes the handles whose RELEASE the kernel dropped: it sends
// these in the background, and none any more once the mount has ended.
func (t *openTable) closeAll() {
	t.mu.Lock()
	var left []*handle
	for _, of := range t.open {
		left = append(left, of.handles...)
	}
	t.mu.Unlock()
	for _, h := range left {
		h.close()
	}
}

// release takes a handle out. With the last, files are closed, and an inode
// without a name is dropped for good.
func (of *openFile) release(h *handle) {
	t := &of.fs.files
	t.mu.Lock()
	of.handles = slices.DeleteFunc(of.handles, func(x *handle) bool { return x == h })
	last := len(of.handles) == 0
	if last {
		delete(t.open, of.ino)
	}
	unlinked := of.unlinked
	_, known := t.nameless[of.ino]
	t.mu.Unlock()
	if !last {
		return
	}
	of.dropStaged(unlinked)
	of.unnote()
	if unlinked && !known {
		of.fs.forget(of.ino)
	}
	of.mu.Lock()
	if of.file != nil {
		of.file.put()
		of.file = nil
	}
	of.mu.Unlock()
	if of.backing != nil {
		of.backing.drop(of.fs)
	}
}

// commitCount is for overlaySince; that of no open file is 0.
func (of *openFile) commitCount() uint64 {
	if of == nil {
		return 0
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.commits
}

// overlaySince is overlay for an in that was read after commitCount. It is
// false if a commit came between: in may be from before it.
func (of *openFile) overlaySince(commits uint64, in *index.Inode) bool {
	of.mu.Lock()
	defer of.mu.Unlock()
	of.lay(in)
	return of.commits == commits
}

// cleanSince tells whether an inode that was read after commitCount had all
// that was written until then.
func (of *openFile) cleanSince(commits uint64) bool {
	of.mu.Lock()
	defer of.mu.Unlock()
	return !of.dirty && of.commits == commits
}

// overlay puts what the index does not know yet into in. The caller has the
// turn, or there may be a commit between reading in and this.
func (of *openFile) overlay(in *index.Inode) {
	of.mu.Lock()
	defer of.mu.Unlock()
	of.lay(in)
}

// lay is overlay for who holds mu.
func (of *openFile) lay(in *index.Inode) {
	if !of.dirty {
		return
	}
	in.Size, in.Mtime = of.size, of.mtime
	if in.Ctime.Before(of.ctime) { // else a link or rename came later
		in.Ctime = of.ctime
	}
}

// setTimes takes over what a SETATTR changes, before the index has it, so
// that no commit undoes it. It tells whether the time of modification is that
// of content that the index does not have yet: it comes there with that.
func (of *openFile) setTimes(in *fuse.SetAttrIn, now index.Time) (waits bool) {
	of.mu.Lock()
	defer of.mu.Unlock()
	of.ctime = now
	if in.Valid&fuse.FATTR_MTIME == 0 {
		return false
	}
	of.mtime = timeOf(in.Valid&fuse.FATTR_MTIME_NOW != 0, in.Mtime, in.Mtimensec, now)
	if of.dirty {
		of.setModified()
	}
	return of.dirty
}

// take waits for the turn to change the content.
func (of *openFile) take(ctx context.Context) error {
	select {
	case of.turn <- struct{}{}:
		return nil
	default:
	}
	ctx, cancel := whileWanted(ctx, 0)
	defer cancel()
	select {
	case of.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (of *openFile) give() { <-of.turn }

// hold keeps the uploader away until unhold.
func (of *openFile) hold() {
	of.mu.Lock()
	defer of.mu.Unlock()
	if of.holds++; of.holds == 1 {
		of.fs.Transfer.Hold(of.ino)
	}
}

func (of *openFile) unhold() {
	of.mu.Lock()
	defer of.mu.Unlock()
	if of.holds--; of.holds == 0 {
		of.owned = false
		of.fs.Transfer.Unhold(of.ino)
	}
}

// attach opens the staged content that in has, for reading.
func (of *openFile) attach(in index.Inode) error {
	of.mu.Lock()
	defer of.mu.Unlock()
	of.mode = in.Mode
	for of.file == nil && in.Staged != 0 {
		file, err := of.fs.Blobs.OpenStaged(uint64(in.Staged))
		if err == nil {
			of.file, of.staged, of.named = lend(file), in.Staged, true
			return nil
		}
		if !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
		// Its upload may just have ended: then the index says so.
		now, gerr := of.fs.Index.Get(of.ino)
		if gerr != nil {
			return gerr
		}
		if now.Staged == in.Staged {
			return fmt.Errorf("staged content %d is missing: %w", in.Staged, syscall.EIO)
		}
		in = now
	}
	return nil
}

// commit makes what was written the file's content, in one index operation.
// The caller has the turn.
func (of *openFile) commit() error {
	if err := of.noticeMapped(); err != nil {
		return err
	}
	for !of.isUnlinked() {
		of.mu.Lock()
		c := index.Content{Staged: of.staged, Size: of.size, Failed: of.failed}
		if of.backing != nil { // a mapping may be written to at any moment
			c.Writing = of.staged
		}
		mtime, ctime := of.mtime, of.ctime
		dirty := of.dirty
		of.mu.Unlock()
		if !dirty {
			break
		}
		c.Mtime, c.Ctime = &mtime, &ctime
		empty := c.Size == 0 && c.Failed == ""
		if empty {
			c.Staged = 0
		}
		if _, err := of.fs.Index.SetContent(of.ino, c); err != nil {
			return err
		}
		if of.committed(mtime, empty) {
			of.fs.Transfer.Wake(of.ino)
			break
		}
	}
	return nil
}

// committed follows the index. It is false if a SETATTR changed the time of
// modification meanwhile.
func (of *openFile) committed(mtime index.Time, empty bool) bool {
	of.mu.Lock()
	current := of.mtime == mtime
	of.mu.Unlock()
	if current {
		of.settle(empty)
	}
	return current
}

// settle discards what the index names no longer.
func (of *openFile) settle(empty bool) {
	of.mu.Lock()
	drop := []index.StagedID{of.old}
	of.dirty, of.old, of.named = false, 0, true
	if of.backing == nil {
		of.noted = noted{}
	}
	of.commits++
	if empty && of.backing != nil {
		of.named = false // it stays the content's file
	} else if empty {
		drop = append(drop, of.staged)
		of.retire()
	}
	of.mu.Unlock()
	for _, id := range drop {
		if id != 0 {
			of.fs.discard(id)
		}
	}
}

// retire puts the staged file away. The caller holds mu, and has the turn: who
// writes into the file does.
func (of *openFile) retire() {
	if of.file != nil {
		of.file.put()
	}
	of.file, of.staged, of.named = nil, 0, false
	of.version++
}

func (of *openFile) isUnlinked() bool {
	of.fs.files.mu.Lock()
	defer of.fs.files.mu.Unlock()
	return of.unlinked
}
