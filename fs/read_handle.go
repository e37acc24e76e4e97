package fs

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/transfer"
)

// A handle is one open(2) of a regular file.
type handle struct {
	of    *openFile
	write bool
	gone  bool // released, but a mapping may be left; guarded by openTable.mu

	mu      sync.Mutex
	held    bool                    // keeps the uploader away
	wrote   bool                    // since the last close(2) of a copy of it
	told    bool                    // of a failed upload, by fsync
	reader  *lent[*transfer.Reader] // of the entity, from the first read on
	version uint64                  // of.version when reader was opened
	overdue time.Time               // when a read ran into the bound of its wait
}

// Open opens a regular file. Nothing is fetched before the first read.
func (n *node) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	h := n.fs.acquire(n.ino, flags&syscall.O_ACCMODE != syscall.O_RDONLY)
	if err := n.open(ctx, h, flags); err != nil {
		h.close()
		return nil, 0, n.fs.errno("open", uint64(n.ino), err)
	}
	if !h.write {
		n.opened()
	}
	fh, how := n.given(h)
	return fh, how, 0
}

// opened tells what is read, so that what is read next can be foreseen.
func (n *node) opened() {
	name, dir := n.Parent()
	if dir == nil {
		return // it lost its name
	}
	if parent, ok := dir.Operations().(*node); ok {
		n.fs.Transfer.Opened(parent.ino, name, false)
	}
}

func (n *node) open(ctx context.Context, h *handle, flags uint32) error {
	in, err := n.fs.Index.Get(n.ino)
	if err != nil {
		return err
	}
	if err := h.of.attach(in); err != nil {
		return err
	}
	if b := n.decide(h, in); b != nil && h.write {
		if err := b.begin(ctx, h); err != nil {
			return err
		}
	}
	if flags&syscall.O_TRUNC == 0 || !h.write {
		return nil
	}
	caller, ok := fuse.FromContext(ctx)
	return n.truncate(ctx, h, 0, ok && caller.Uid != 0)
}

// Read answers from the staged file, from the cached one, or as the bytes
// arrive from the service.
func (h *handle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	res, err := h.readAt(ctx, dest, off)
	return res, h.of.fs.errno("read", uint64(h.of.ino), err)
}

func (h *handle) readAt(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, error) {
	if own := h.of.borrowFile(); own != nil {
		return replyFrom(own.what, off, len(dest), own.put), nil
	}
	if h.isOverdue() {
		return nil, context.DeadlineExceeded
	}
	r, err := h.source(ctx)
	if r == nil || err != nil {
		return fuse.ReadResultData(nil), err
	}
	var file *os.File
	err = h.of.fs.patiently(ctx, r.what, func(ctx context.Context) error {
		file, err = r.what.FileFor(ctx, off+int64(len(dest)))
		return err
	})
	if errors.Is(err, blob.ErrDamaged) {
		h.of.fs.distrust(h.of.ino)
	}
	if err != nil {
		h.noteOverdue(err)
		r.put()
		return nil, err
	}
	return replyFrom(file, off, len(dest), r.put), nil
}

// overdueFor is how long a wait that ran into its bound answers the reads of its
// handle: the kernel asks a second time, alone, for the page of a readahead that
// failed, and its caller would wait twice.
const overdueFor = time.Second

func (h *handle) isOverdue() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(h.overdue) < overdueFor
}

func (h *handle) noteOverdue(err error) {
	if !errors.Is(err, context.DeadlineExceeded) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.overdue = time.Now()
}

// borrowFile is the staged file, to be put back; nil if there is none.
func (of *openFile) borrowFile() *lent[*os.File] {
	of.mu.Lock()
	defer of.mu.Unlock()
	if of.file == nil {
		return nil
	}
	return of.file.borrow()
}

// source gives the reader of the entity that is the file's content, to be put
// back; nil for an empty file.
func (h *handle) source(ctx context.Context) (*lent[*transfer.Reader], error) {
	h.of.mu.Lock()
	version := h.of.version
	h.of.mu.Unlock()
	h.mu.Lock()
	was := h.reader
	if was != nil && h.version == version && !was.what.Failed() {
		defer h.mu.Unlock()
		return was.borrow(), nil
	}
	h.mu.Unlock()
	in, err := h.of.fs.Index.Get(h.of.ino)
	if err != nil || in.UUID.IsZero() {
		return nil, err
	}
	e, err := h.of.fs.Index.Entity(in.UUID)
	if err != nil {
		return nil, err
	}
	r, err := h.of.fs.Transfer.Open(ctx, e)
	if err != nil {
		return nil, err
	}
	return h.keep(lend(r), was, version), nil
}

// keep makes r the handle's reader in the place of was, unless another read was
// first, and borrows what is.
func (h *handle) keep(r, was *lent[*transfer.Reader], version uint64) *lent[*transfer.Reader] {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader != nil && h.reader != was && h.version == version {
		r.put()
		return h.reader.borrow()
	}
	if h.reader != nil {
		h.reader.put()
	}
	h.reader, h.version = r, version
	return r.borrow()
}

// Lseek finds data and holes: those of the staged file; an entity is data
// throughout.
func (n *node) Lseek(_ context.Context, fh gofs.FileHandle, off uint64, whence uint32) (uint64, syscall.Errno) {
	in, err := n.fs.Index.Get(n.ino)
	if err != nil {
		return 0, n.fs.errno("lseek", uint64(n.ino), err)
	}
	in = n.fs.current(in)
	if h, ok := handleOf(fh); ok {
		if file := h.of.borrowFile(); file != nil {
			defer file.put()
			got, err := unix.Seek(int(file.what.Fd()), int64(off), int(whence))
			return uint64(got), n.fs.errno("lseek", uint64(n.ino), err)
		}
	}
	if off >= uint64(in.Size) {
		return 0, syscall.ENXIO
	}
	if whence == unix.SEEK_HOLE {
		return uint64(in.Size), 0
	}
	return off, 0
}

// CopyFileRange of a whole file into an empty one shares its entity: nothing
// is downloaded or uploaded. Other copies are left to the kernel (EXDEV makes
// it copy by itself).
func (n *node) CopyFileRange(ctx context.Context, fhIn gofs.FileHandle, offIn uint64,
	out *gofs.Inode, fhOut gofs.FileHandle, offOut, length, _ uint64) (uint32, syscall.Errno) {
	src, ok1 := handleOf(fhIn)
	dst, ok2 := handleOf(fhOut)
	if !ok1 || !ok2 || offIn != 0 || offOut != 0 || src.of == dst.of {
		return 0, syscall.EXDEV
	}
	before := src.of.commitCount()
	in, err := n.fs.Index.Get(n.ino)
	if err != nil || in.UUID.IsZero() || in.Staged != 0 || uint64(in.Size) > length || !src.of.cleanSince(before) {
		return 0, syscall.EXDEV
	}
	shared, err := dst.share(ctx, in)
	if err != nil {
		return 0, n.fs.errno("copy_file_range", out.StableAttr().Ino, err)
	}
	if !shared {
		return 0, syscall.EXDEV
	}
	return uint32(in.Size), 0
}

func (of *openFile) isDirty() bool {
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.dirty
}

// share makes in's entity the content of h's file, if that is empty.
func (h *handle) share(ctx context.Context, in index.Inode) (bool, error) {
	of := h.of
	if err := h.begin(ctx, in.Size); err != nil {
		return false, err
	}
	defer of.give()
	now, err := of.fs.Index.Get(of.ino)
	if err != nil {
		return false, err
	}
	of.overlay(&now)
	if now.Size != 0 || of.hasFailed() || of.isUnlinked() || of.backing != nil {
		return false, nil
	}
	mtime := index.Now()
	if _, err := of.fs.Index.SetContent(of.ino, index.Content{ShareOf: &in, Size: in.Size, Mtime: &mtime, Ctime: &mtime}); err != nil {
		return false, err
	}
	of.tookEntity()
	return true, nil
}

// tookEntity follows an index operation that made an entity the content. The
// caller has the turn.
func (of *openFile) tookEntity() {
	of.mu.Lock()
	if of.named {
		of.old = of.staged
	} else if of.staged != 0 {
		of.fs.discard(of.staged)
	}
	of.retire()
	of.mu.Unlock()
	of.settle(false)
}
