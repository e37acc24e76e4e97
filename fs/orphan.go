package fs

import (
	"errors"
	iofs "io/fs"
	"maps"
	"slices"

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

// forgetNameless drops what is left of these when the mount has ended.
func (f *filesystem) forgetNameless() {
	f.files.mu.Lock()
	left := slices.Collect(maps.Keys(f.files.nameless))
	f.files.mu.Unlock()
	for _, ino := range left {
		f.unknown(ino)
	}
}

func (f *filesystem) forget(ino index.Ino) {
	id, err := f.Index.Forget(ino)
	if err != nil {
		f.Log.WithError(err).Warnf("inode %d: cannot drop it; the next mount will", ino)
		return
	}
	if id != 0 {
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
