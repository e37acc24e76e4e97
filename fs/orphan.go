package fs

import (
	"errors"
	iofs "io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"chatfs/index"
)

// dropStaged removes staged content that the index never came to name, as
// nothing was written into it or nobody can reach it.
func (of *openFile) dropStaged(unlinked bool) {
	if of.staged != 0 && !of.named && (unlinked || !of.dirty) {
		of.fs.discard(of.staged)
	}
}

// removed takes note that an inode lost its last name: it stays while a
// handle is open or the kernel knows it.
func (f *filesystem) removed(r index.Removed) {
	if !r.Gone {
		return
	}
	f.files.mu.Lock()
	of := f.files.open[r.Inode.Ino]
	if of != nil {
		of.unlinked = true
	}
	f.files.nameless[r.Inode.Ino] = struct{}{}
	f.files.mu.Unlock()
	if r.Inode.Staged != 0 { // else nothing of it is queued
		f.Transfer.Wake(r.Inode.Ino)
	}
}

// unknown takes note that the kernel forgot an inode's node. One without a
// name is dropped for good, unless a handle's RELEASE is still on its way.
func (f *filesystem) unknown(ino index.Ino) {
	f.files.mu.Lock()
	_, nameless := f.files.nameless[ino]
	delete(f.files.nameless, ino)
	of := f.files.open[ino]
	f.files.mu.Unlock()
	if nameless && of == nil {
		f.forget(ino)
	}
}

// forgetNameless drops what is left of these when the mount has ended, and what
// is to be dropped.
func (f *filesystem) forgetNameless() {
	f.files.mu.Lock()
	left := slices.Collect(maps.Keys(f.files.nameless))
	f.files.mu.Unlock()
	for _, ino := range left {
		f.unknown(ino)
	}
	f.drop()
}

// A dropper drops inodes for good, many in one operation of the index. The
// kernel forgets each by a request of its own; the thread that takes it is
// wanted for the next.
type dropper struct {
	one sync.Mutex // held over a drop; before mu

	mu   sync.Mutex
	inos []index.Ino
}

// dropDelay is how long an inode waits for company.
const dropDelay = 10 * time.Millisecond

// forget drops an inode soon.
func (f *filesystem) forget(ino index.Ino) {
	d := &f.drops
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inos = append(d.inos, ino); len(d.inos) == 1 {
		time.AfterFunc(dropDelay, f.drop)
	}
}

// drop drops what has come together.
func (f *filesystem) drop() {
	d := &f.drops
	d.one.Lock()
	defer d.one.Unlock()
	d.mu.Lock()
	inos := d.inos
	d.inos = nil
	d.mu.Unlock()
	if len(inos) == 0 {
		return // the end of the mount was first
	}
	ids, err := f.Index.Forget(inos...)
	if err != nil {
		f.Log.WithError(err).Warnf("%d deleted files: cannot drop them; the next mount will", len(inos))
	}
	for _, id := range ids {
		f.discard(id)
	}
}

// discard removes staged bytes once the index's word that they are not
// needed has outlived a power loss.
func (f *filesystem) discard(id index.StagedID) {
	f.Index.OnDurable(func() {
		if err := f.Blobs.RemoveStaged(uint64(id)); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			f.Log.WithError(err).Warnf("staged content %d: cannot remove it; the next mount will", id)
		}
	})
}
