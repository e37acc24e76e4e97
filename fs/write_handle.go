package fs

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/transfer"
)

// writable gives the staged file, with the first keep bytes of the present
// content in it, to be changed in place. The index knows of it. The caller has
// the turn and a hold.
func (of *openFile) writable(ctx context.Context, keep int64) (*os.File, error) {
	file, err := of.ownFile(ctx, keep)
	if err == nil {
		err = of.note()
	}
	return file, err
}

func (of *openFile) ownFile(ctx context.Context, keep int64) (*os.File, error) {
	of.mu.Lock()
	file, owned := of.file, of.owned
	fresh := !of.named
	of.mu.Unlock()
	// What the index does not name yet, no uploader knows of.
	if file != nil && (fresh || owned && keep >= of.fs.MaxSize) {
		return file.what, nil
	}
	in, err := of.fs.Index.Get(of.ino)
	if err != nil {
		return nil, err
	}
	if err := of.load(in); err != nil {
		return nil, err
	}
	// Bytes that the index names are never cut off: before the next commit
	// nothing but them may be left of the file.
	if in.Staged != 0 && keep >= in.Size {
		return of.own(in)
	}
	return of.stage(ctx, in, keep)
}

// own takes staged content that nothing uploads now.
func (of *openFile) own(in index.Inode) (*os.File, error) {
	of.mu.Lock()
	if of.file != nil && of.staged != in.Staged {
		of.retire()
	}
	of.mu.Unlock()
	if err := of.attach(in); err != nil {
		return nil, err
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	of.owned = true
	return of.file.what, nil
}

// load takes from the index, before the first change, what the changes are
// laid on. The caller has the turn.
func (of *openFile) load(in index.Inode) error {
	of.mu.Lock()
	defer of.mu.Unlock()
	if of.dirty {
		return nil
	}
	of.size, of.mtime, of.ctime, of.failed = in.Size, in.Mtime, in.Ctime, ""
	q, queued, err := of.fs.Index.QueueEntry(of.ino)
	if err == nil && queued && q.Never {
		of.failed = q.Failed // cut content stays cut, whatever changes inside
	}
	return err
}

// stage starts a new staged content and copies the first keep bytes of the
// present one, fetched if need be, into it.
func (of *openFile) stage(ctx context.Context, in index.Inode, keep int64) (*os.File, error) {
	if of.backing != nil {
		return of.privatize(ctx, in)
	}
	file, id, err := of.newStaged(ctx, in, min(keep, in.Size))
	if err != nil {
		return nil, err
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	of.retire()
	of.old, of.file, of.staged, of.owned = in.Staged, lend(file), id, true
	return file, nil
}

// newStaged makes a staged file with the first n bytes of in's content. It has
// a name once these are in it, and the index knows whose it is.
func (of *openFile) newStaged(ctx context.Context, in index.Inode, n int64) (*os.File, index.StagedID, error) {
	if n == 0 {
		id, err := of.noteNew()
		if err != nil {
			return nil, 0, err
		}
		file, err := of.fs.Blobs.CreateStaged(uint64(id))
		return file, id, err
	}
	file, err := of.fs.Blobs.NewStaged()
	if err != nil {
		return nil, 0, err
	}
	id := index.StagedID(0)
	if err = of.copyInto(ctx, file, in, n); err == nil {
		err = blob.MarkUntouched(file)
	}
	if err == nil {
		id, err = of.noteNew()
	}
	if err == nil {
		err = of.fs.Blobs.Restage(file, uint64(id))
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, id, nil
}

func (of *openFile) copyInto(ctx context.Context, dst *os.File, in index.Inode, n int64) error {
	if n == 0 || in.Staged == 0 && in.UUID.IsZero() {
		return nil
	}
	if err := of.fs.admit(ctx, n); err != nil {
		return err
	}
	if in.Staged != 0 {
		return of.copyStaged(dst, in.Staged, n)
	}
	e, err := of.fs.Index.Entity(in.UUID)
	if err != nil {
		return err
	}
	src, err := of.fs.Transfer.Open(ctx, e)
	if err != nil {
		return err
	}
	defer src.Close()
	return of.fs.copyN(ctx, dst, src, n)
}

func (of *openFile) copyStaged(dst *os.File, id index.StagedID, n int64) error {
	src, err := of.fs.Blobs.OpenStaged(uint64(id))
	if err != nil {
		return err
	}
	defer src.Close()
	_, err = io.Copy(dst, io.NewSectionReader(src, 0, n))
	return err
}

func (f *filesystem) copyN(ctx context.Context, dst *os.File, src *transfer.Reader, n int64) error {
	buf := make([]byte, min(n, 1<<20))
	for off := int64(0); off < n; {
		got := 0
		err := f.patiently(ctx, src, func(ctx context.Context) (err error) {
			got, err = src.ReadAt(ctx, buf[:min(int64(len(buf)), n-off)], off)
			return err
		})
		if got == 0 && err != nil {
			return fmt.Errorf("content ends at %d of %d bytes: %w", off, n, err)
		}
		if _, err := dst.WriteAt(buf[:got], off); err != nil {
			return err
		}
		off += int64(got)
	}
	return nil
}

// changed notes that the content was changed and is size bytes long now.
// Whoever is not root gives up setuid and setgid with it.
func (of *openFile) changed(size int64) {
	of.mu.Lock()
	defer of.mu.Unlock()
	of.size, of.dirty = size, true
	of.mtime = index.Now()
	of.ctime = of.mtime
}

// tooLarge records that the content would be larger than the service takes.
// The caller has the turn and a hold.
func (of *openFile) tooLarge(ctx context.Context) error {
	if _, err := of.writable(ctx, of.fs.MaxSize); err != nil {
		return err
	}
	of.mu.Lock()
	of.failed = fmt.Sprintf("too large: the service takes at most %d bytes a file", of.fs.MaxSize)
	of.dirty = true
	of.mu.Unlock()
	return firstError(of.note(), syscall.EFBIG)
}

// begin takes the turn and, once a handle, a hold, for a change that makes
// the content reach to end; the caller gives the turn back. Over the limit,
// what the last close left whole and nobody changed since stays as it is,
// its upload undisturbed.
func (h *handle) begin(ctx context.Context, end int64) error {
	of := h.of
	if err := of.take(ctx); err != nil {
		return err
	}
	if end > of.fs.MaxSize && !of.isDirty() {
		in, err := of.fs.Index.Get(of.ino)
		if err == nil && in.Size > 0 {
			err = syscall.EFBIG
		}
		if err != nil {
			of.give()
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.held {
		of.hold()
	}
	h.held, h.wrote = true, true
	return nil
}

// Write writes into the staged content. Over the limit it is EFBIG at once.
func (h *handle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	n, err := h.writeAt(ctx, data, off)
	return uint32(n), h.of.fs.errno("write", uint64(h.of.ino), err)
}

func (h *handle) writeAt(ctx context.Context, data []byte, off int64) (int, error) {
	of := h.of
	end := off + int64(len(data))
	if err := h.begin(ctx, end); err != nil {
		return 0, err
	}
	defer of.give()
	if end > of.fs.MaxSize {
		return 0, of.tooLarge(ctx)
	}
	file, err := of.writable(ctx, of.fs.MaxSize)
	if err != nil {
		return 0, err
	}
	if err := of.fs.admit(ctx, int64(len(data))); err != nil {
		return 0, err
	}
	n, err := file.WriteAt(data, off)
	if n > 0 {
		of.changed(max(of.size, off+int64(n)))
		err = firstError(err, of.writtenBy(ctx))
	}
	return n, err
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// Flush answers close(2): what was written becomes the file's content, as
// far as the mount's close mode promises.
func (n *node) Flush(ctx context.Context, fh gofs.FileHandle) syscall.Errno {
	h, ok := handleOf(fh)
	if !ok || !h.write {
		return 0
	}
	return n.fs.errno("close", uint64(n.ino), h.flush(ctx))
}

func (h *handle) flush(ctx context.Context) error {
	if err := h.commit(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	wrote := h.wrote
	h.wrote = false
	h.mu.Unlock()
	switch mode := h.of.fs.Close; {
	case mode == CloseDurable: // the name of a file that stayed empty too
		return h.of.fs.Index.Sync()
	case mode == CloseUploaded && wrote:
		h.unhold()
		ctx, cancel := whileWanted(ctx, 0)
		defer cancel()
		return h.of.fs.Transfer.Wait(ctx, h.of.ino)
	}
	return nil
}

func (h *handle) commit(ctx context.Context) error {
	if err := h.of.take(ctx); err != nil {
		return err
	}
	defer h.of.give()
	return h.of.commit()
}

// Fsync makes content and index outlive a power loss. A stored upload error
// is told once.
func (n *node) Fsync(ctx context.Context, fh gofs.FileHandle, _ uint32) syscall.Errno {
	h, ok := handleOf(fh)
	if !ok {
		return n.fs.errno("fsync", uint64(n.ino), n.fs.Index.Sync())
	}
	err := h.commit(ctx)
	if err == nil {
		err = n.fs.Index.Sync()
	}
	if err == nil && h.write {
		err = h.uploadError()
	}
	return n.fs.errno("fsync", uint64(n.ino), err)
}

// uploadError is the permanent failure of the file's upload, once a handle.
func (h *handle) uploadError() error {
	h.mu.Lock()
	told := h.told
	h.told = true
	h.mu.Unlock()
	if told || h.of.fs.Transfer.State(h.of.ino) != transfer.StateFailed {
		return nil
	}
	if h.of.hasFailed() {
		return syscall.EFBIG
	}
	return fmt.Errorf("upload: %s: %w", h.of.fs.Transfer.ErrorOf(h.of.ino), syscall.EIO)
}

func (h *handle) unhold() {
	h.mu.Lock()
	held := h.held
	h.held = false
	h.mu.Unlock()
	if held {
		h.of.unhold()
	}
}

// Release queues what was written after the last close, by way of a mapping
// say, and gives the handle up. No error can reach a program any more.
func (n *node) Release(_ context.Context, fh gofs.FileHandle) syscall.Errno {
	h, ok := handleOf(fh)
	switch {
	case ok && h.write && h.of.backing != nil:
		n.fs.closeMapped(h)
	case ok:
		h.close()
	}
	return 0
}

func (h *handle) close() {
	if h.write {
		if err := h.commit(context.Background()); err != nil {
			h.of.fs.commitLater(h, err)
			return
		}
	}
	h.finish()
}

// finish gives the handle up for good.
func (h *handle) finish() {
	if h.write {
		h.unhold()
	}
	h.mu.Lock()
	if h.reader != nil {
		h.reader.put()
		h.reader = nil
	}
	h.mu.Unlock()
	h.of.release(h)
}
