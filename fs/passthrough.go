package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"chatfs/index"
	"chatfs/internal/blob"
)

// Passthrough lets the kernel read a file by itself, at the speed of the disk.
// The kernel wants one such file, the backing, for all handles of an inode
// that are open at a time, and either all of them or none to be of that kind.
// So the first open decides, and while a backing is in use it is the file's
// content, whatever happens: who writes changes it in place, after all else
// that leads to it was given a copy. Their handles still write by way of us.

// A backing is the file that the kernel reads by itself.
type backing struct {
	file *blob.CachedFile

	// lease is a staged name of it that nothing else knows, so that it can be
	// named again whatever becomes of the others; 0 before the first writer.
	// The turn guards it.
	lease index.StagedID
}

// fileID tells files of the disk apart.
type fileID struct{ dev, ino uint64 }

// probe finds out whether the kernel takes backings of this process and disk.
// go-fuse turns passthrough off for good, and silently, at the first refusal.
func (f *filesystem) probe(server *fuse.Server) {
	// With CloseUploaded a content is sent while its writers have it open.
	if !f.Passthrough || !f.Blobs.OneDisk() || f.Close == CloseUploaded {
		return
	}
	file, err := f.Blobs.Unnamed()
	if err != nil {
		return
	}
	defer file.Close()
	id, errno := server.RegisterBackingFd(&fuse.BackingMap{Fd: int32(file.Fd())})
	if errno != 0 {
		f.Log.WithField("errno", errno.Error()).Debug("the kernel reads no file by itself: that takes root, and a disk such as ext4")
		return
	}
	server.UnregisterBackingFd(id)
	f.passes.Store(f.leases())
}

// leases tells whether the disk grants leases, by which a writer's mapping is
// found out.
func (f *filesystem) leases() bool {
	dir, err := f.Blobs.Unnamed()
	if err != nil {
		return false
	}
	defer dir.Close()
	file, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
	if err != nil {
		return false
	}
	defer file.Close()
	busy := lease(file)
	dir.Close() // its writer
	return errors.Is(busy, unix.EAGAIN) && lease(file) == nil
}

// decide settles, at the first open of a file, whether the kernel reads it by
// itself, and tells so for later ones.
func (n *node) decide(h *handle, in index.Inode) *backing {
	of := h.of
	b := n.candidate(h, in)
	t := &n.fs.files
	t.mu.Lock()
	if !of.decided && b != nil {
		of.backing, b = b, nil
	}
	of.decided = true
	t.mu.Unlock()
	if b != nil {
		b.file.Close()
	}
	return of.backing
}

// candidate is the cached copy of in's content, if the kernel may read that
// by itself: it is whole, its size is in's, and it is the file that the kernel
// had for this node before, if it had one. go-fuse gives a backing up a little
// after we have, and could mistake it for the next.
func (n *node) candidate(h *handle, in index.Inode) *backing {
	if h.write || !n.fs.passes.Load() || in.Staged != 0 || in.UUID.IsZero() || h.of.isDecided() {
		return nil
	}
	// What several files share can't be changed in place for one of them.
	users, err := n.fs.Index.Users(in.UUID, 2)
	if err != nil || len(users) != 1 {
		return nil
	}
	e, err := n.fs.Index.Entity(in.UUID)
	if err != nil {
		return nil
	}
	file, err := n.fs.Blobs.OpenCached(blob.Key{UUID: e.UUID}, e.Digest)
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	err = unix.Fstat(int(file.Fd()), &st)
	if err != nil || !file.Held() || st.Size != in.Size || !n.claim(fileID{st.Dev, st.Ino}) {
		file.Close()
		return nil
	}
	return &backing{file: file}
}

// claim makes id the one backing of the node.
func (n *node) claim(id fileID) bool {
	return n.backed.CompareAndSwap(nil, &id) || *n.backed.Load() == id
}

func (of *openFile) isDecided() bool {
	of.fs.files.mu.Lock()
	defer of.fs.files.mu.Unlock()
	return of.decided
}

// privatize makes the backing a staged file of its own, to be changed in
// place. The caller has the turn and a hold.
func (of *openFile) privatize(ctx context.Context, in index.Inode) (*os.File, error) {
	if err := of.fs.admit(ctx, in.Size); err != nil {
		return nil, err
	}
	b, blobs := of.backing, of.fs.Blobs
	if b.lease == 0 {
		lease := of.fs.Index.NextStaged()
		if err := blobs.Restage(b.file.File, uint64(lease)); err != nil {
			return nil, err
		}
		b.lease = lease
	}
	of.mu.Lock()
	old := of.staged // its name may be there still
	of.mu.Unlock()
	if err := of.part(ctx, blob.Key{UUID: in.UUID}, uint64(old)); err != nil {
		return nil, err
	}
	if err := blob.MarkUntouched(b.file.File); err != nil {
		return nil, err
	}
	id, err := of.noteNew()
	if err != nil {
		return nil, err
	}
	if err := blobs.Restage(b.file.File, uint64(id)); err != nil {
		return nil, err
	}
	if old != 0 && old != in.Staged {
		of.fs.discard(old) // its name leads to a copy now
	}
	file, err := blobs.OpenStaged(uint64(id))
	if err != nil {
		return nil, err
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	of.retire()
	of.old, of.file, of.staged, of.owned = in.Staged, lend(file), id, true
	return file, nil
}

// How long a writer waits for others that read the same copy by way of
// another inode, and how often it looks.
const (
	partPatience = 2 * time.Second
	partLook     = 10 * time.Millisecond
)

// part leaves the backing with nobody but of.
func (of *openFile) part(ctx context.Context, k blob.Key, old uint64) error {
	for end := time.Now().Add(partPatience); ; {
		err := of.fs.Blobs.Part(of.backing.file, k, old)
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(end) {
			return err
		}
		if err := rest(ctx, partLook); err != nil {
			return err
		}
	}
}

// begin readies a backing for a handle that may write by way of a mapping, of
// which the kernel does not tell: before that handle is there.
func (b *backing) begin(ctx context.Context, h *handle) error {
	if err := h.begin(ctx, 0); err != nil {
		return err
	}
	defer h.of.give()
	_, err := h.of.writable(ctx, h.of.fs.MaxSize)
	return err
}

// noticeMapped finds out whether the backing was written into by way of a
// mapping. The caller has the turn.
func (of *openFile) noticeMapped() error {
	of.mu.Lock()
	dirty, staged := of.dirty, of.staged
	of.mu.Unlock()
	if of.backing == nil || staged == 0 {
		return nil
	}
	file := of.backing.file.File
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil || st.Mtim == blob.Untouched {
		return err
	}
	// In this order: what is stored after the sync makes a new fault, and
	// with it a new time; what was stored before is in what is committed.
	if err := blob.MarkUntouched(file); err != nil {
		return err
	}
	if err := unix.Fdatasync(int(file.Fd())); err != nil || dirty {
		return err
	}
	in, err := of.fs.Index.Get(of.ino)
	if err == nil {
		err = of.load(in)
	}
	if err == nil {
		of.changed(st.Size)
	}
	return err
}

// How often, after a writer is gone, it is looked whether its mapping is too.
const (
	mappedFirst = 5 * time.Millisecond
	mappedMost  = time.Second
)

// closeMapped closes the handle of a writer of a backing once no mapping of
// its is left: such a mapping holds the backing and not the handle, so its
// RELEASE comes before, and what is stored later still is the file's.
func (f *filesystem) closeMapped(h *handle) {
	f.files.mu.Lock()
	h.gone = true
	f.files.mu.Unlock()
	if h.of.unmapped() {
		h.close()
		return
	}
	f.late.tries.Go(func() {
		defer h.close()
		for pause := mappedFirst; !h.of.unmapped(); pause = min(2*pause, mappedMost) {
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-f.late.ending:
				timer.Stop()
				return
			}
		}
	})
}

// unmapped tells whether nobody has the backing open for writing, or mapped.
// The kernel grants a read lease on such a file alone: see fcntl(2).
func (of *openFile) unmapped() bool {
	if of.take(context.Background()) != nil {
		return false
	}
	defer of.give()
	if of.hasWriter() {
		return false
	}
	of.mu.Lock()
	if of.file != nil {
		of.file.put()
	}
	of.file = nil
	of.mu.Unlock()
	return lease(of.backing.file.File) == nil
}

// hasWriter tells whether a writer's handle is open still.
func (of *openFile) hasWriter() bool {
	of.fs.files.mu.Lock()
	defer of.fs.files.mu.Unlock()
	return slices.ContainsFunc(of.handles, func(h *handle) bool { return h.write && !h.gone })
}

// lease takes a read lease on a file and gives it back.
func lease(file *os.File) error {
	if _, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return err
	}
	_, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	return err
}

// drop gives the backing up, after the last handle.
func (b *backing) drop(f *filesystem) {
	b.file.Close()
	if b.lease == 0 {
		return
	}
	if err := f.Blobs.RemoveStaged(uint64(b.lease)); err != nil {
		f.Log.WithError(err).Warnf("staged content %d: cannot remove it; the next mount will", b.lease)
	}
}

// A passHandle is a handle of a file that has a backing.
type passHandle struct{ *handle }

// PassthroughFd gives the backing to the kernel.
func (h passHandle) PassthroughFd() (int, bool) { return int(h.of.backing.file.Fd()), true }

// given is a handle as go-fuse and the kernel get it. The close of a reader has
// nothing to tell, so the kernel need not ask. A writer's reads and writes of a
// backing still come to us, as it is direct.
func (n *node) given(h *handle) (gofs.FileHandle, uint32) {
	how := uint32(0)
	if !h.write {
		how = fuse.FOPEN_NOFLUSH
	}
	switch {
	case h.of.backing == nil && n.stale.Swap(false):
		return h, how
	case h.of.backing == nil:
		return h, how | fuse.FOPEN_KEEP_CACHE
	case h.write:
		n.stale.Store(true) // pages from before that the kernel has
		return passHandle{h}, how | fuse.FOPEN_DIRECT_IO
	}
	return passHandle{h}, how
}

// handleOf is the handle behind what go-fuse gives back.
func handleOf(fh gofs.FileHandle) (*handle, bool) {
	if p, ok := fh.(passHandle); ok {
		return p.handle, true
	}
	h, ok := fh.(*handle)
	return h, ok
}

// nodePass is a node's part of passthrough.
type nodePass struct {
	backed atomic.Pointer[fileID] // the one backing that the kernel may have of it
	stale  atomic.Bool            // the kernel may have pages that are out of date
}

var _ gofs.FilePassthroughFder = passHandle{}
