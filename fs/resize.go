package fs

import (
	"context"
	"errors"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"golang.org/x/sys/unix"

	"chatfs/index"
)

// truncate sets the size. With a handle open for writing the change is
// committed at its close, else at once.
func (n *node) truncate(ctx context.Context, fh gofs.FileHandle, size int64, kill bool) error {
	h, ok := handleOf(fh)
	if !ok || !h.write {
		h = n.fs.acquire(n.ino, true)
		defer h.close()
	}
	if size > n.fs.MaxSize { // nothing is lost: no write was cut short
		return syscall.EFBIG
	}
	if err := h.begin(ctx, size); err != nil {
		return err
	}
	err := h.resize(ctx, size)
	if kill && err == nil {
		err = h.of.dropSetIDs(ctx)
	}
	h.of.give()
	return err
}

// resize sets the size of the content. The caller has the turn.
func (h *handle) resize(ctx context.Context, size int64) error {
	of := h.of
	in, err := of.fs.Index.Get(of.ino)
	if err != nil {
		return err
	}
	of.setMode(in.Mode)
	if err := of.load(in); err != nil {
		return err
	}
	of.overlay(&in)
	if size == in.Size && !of.hasFailed() {
		return h.touch(in)
	}
	file, err := of.writable(ctx, size)
	if err != nil {
		return err
	}
	if err := file.Truncate(size); err != nil {
		return err
	}
	of.mu.Lock()
	of.failed = ""
	of.mu.Unlock()
	of.changed(size)
	return of.note()
}

// touch gives the content new times, as truncate(2) to the same size does.
func (h *handle) touch(in index.Inode) error {
	if h.of.isDirty() {
		h.of.changed(in.Size)
		h.of.mu.Lock()
		defer h.of.mu.Unlock()
		h.of.setModified()
		return nil
	}
	now := index.Now()
	_, err := h.of.fs.Index.SetAttr(in.Ino, func(i *index.Inode) error {
		i.Mtime, i.Ctime = now, now
		return nil
	})
	h.of.mu.Lock()
	h.of.mtime, h.of.ctime = now, now
	h.of.mu.Unlock()
	return err
}

func (of *openFile) hasFailed() bool {
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.failed != ""
}

// Allocate answers fallocate(2) on the staged file.
func (n *node) Allocate(ctx context.Context, fh gofs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	h, ok := handleOf(fh)
	if !ok || !h.write {
		return syscall.EBADF
	}
	return n.fs.errno("fallocate", uint64(n.ino), h.allocate(ctx, int64(off), int64(size), mode))
}

func (h *handle) allocate(ctx context.Context, off, size int64, mode uint32) error {
	if mode&^(unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0 {
		return syscall.EOPNOTSUPP
	}
	of := h.of
	end := off + size
	if mode&unix.FALLOC_FL_PUNCH_HOLE != 0 {
		end = 0
	}
	if end > of.fs.MaxSize { // as in truncate
		return syscall.EFBIG
	}
	if err := h.begin(ctx, end); err != nil {
		return err
	}
	defer of.give()
	file, err := of.writable(ctx, of.fs.MaxSize)
	if err != nil {
		return err
	}
	if mode&unix.FALLOC_FL_PUNCH_HOLE == 0 {
		if err := of.fs.admit(ctx, size); err != nil {
			return err
		}
	}
	if err := unix.Fallocate(int(file.Fd()), mode, off, size); err != nil {
		// What it got may make the file longer, with nothing in it.
		return errors.Join(err, file.Truncate(of.size))
	}
	if mode&unix.FALLOC_FL_KEEP_SIZE != 0 {
		end = 0
	}
	of.changed(max(of.size, end))
	return nil
}
