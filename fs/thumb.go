package fs

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"chatfs/index"
	"chatfs/internal/transfer"
)

// thumbSuffix makes a picture's name its thumbnail's.
const thumbSuffix = ".thumb"

// A thumbNode is the thumbnail beside a picture: with the picture's owner and
// times, and gone when the picture's content changes. Who writes to it makes a
// file of its own of it.
type thumbNode struct {
	gofs.Inode
	fs  *filesystem
	ino index.Ino // the picture's
}

// hasThumb tells whether the service makes a thumbnail of in's content.
func (f *filesystem) hasThumb(in index.Inode) bool {
	return f.Thumbs != ThumbsOff && in.Image && in.Staged == 0 && !in.UUID.IsZero()
}

// showsThumb tells whether a thumbnail stands beside d. A thumbnail that was
// copied in from elsewhere is a picture too, and has none: else each copy of
// a copy would have one more.
func (f *filesystem) showsThumb(d index.Dirent) bool {
	return !d.ThumbHidden && f.hasThumb(d.Inode) && !strings.HasSuffix(d.Name, thumbSuffix)
}

// listsThumb tells whether d's thumbnail stands in the listing: once it is
// known, and where no real file has its name. One that nobody has asked for
// yet is asked for now, and is listed when it is here.
func (n *node) listsThumb(d index.Dirent) bool {
	if n.fs.Thumbs != ThumbsList || !n.fs.showsThumb(d) {
		return false
	}
	if _, known := n.fs.Index.ThumbSize(d.Inode.UUID); !known {
		n.fs.Transfer.WantThumb(d.Inode.UUID)
		return false
	}
	_, err := n.fs.Index.Lookup(n.ino, d.Name+thumbSuffix)
	return toErrno(err) == syscall.ENOENT
}

// pictureOf finds the picture name, if it has a thumbnail.
func (n *node) pictureOf(name string) (picture index.Dirent, is bool) {
	d, err := n.fs.Index.Lookup(n.ino, name)
	return d, err == nil && n.fs.showsThumb(d)
}

// thumbOf finds the picture whose thumbnail name is.
func (n *node) thumbOf(name string) (index.Dirent, bool) {
	picture, ok := strings.CutSuffix(name, thumbSuffix)
	if !ok || picture == "" {
		return index.Dirent{}, false
	}
	return n.pictureOf(picture)
}

// lookupThumb answers for a thumbnail. Its size must be right in stat, so who
// asks for one that is not known waits for it alone.
func (n *node) lookupThumb(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	d, ok := n.thumbOf(name)
	if !ok {
		return n.lookupTombstone(ctx, name, out)
	}
	if caller, ok := fuse.FromContext(ctx); ok && n.fs.makers.made(caller.Pid, n.ino, d.Inode.Ino) {
		out.SetEntryTimeout(unkept)
		return nil, syscall.ENOENT
	}
	n.fs.Transfer.Opened(n.ino, d.Name, true)
	size, err := n.fs.thumbSize(ctx, d.Inode)
	if errors.Is(err, transfer.ErrNoThumb) {
		out.SetEntryTimeout(unkept)
		return nil, syscall.ENOENT
	}
	if err != nil {
		return nil, n.fs.errno("thumbnail", uint64(d.Inode.Ino), err)
	}
	return n.thumbChild(ctx, name, d.Inode, size, out), 0
}

// thumbSize gives a thumbnail's size in bytes, fetching it if need be.
func (f *filesystem) thumbSize(ctx context.Context, in index.Inode) (int64, error) {
	if size, known := f.Index.ThumbSize(in.UUID); known {
		return size, nil
	}
	r, err := f.openThumb(ctx, in)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return r.Size(ctx)
}

func (f *filesystem) openThumb(ctx context.Context, in index.Inode) (*transfer.Reader, error) {
	e, err := f.Index.Entity(in.UUID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := whileWanted(ctx, f.ReadTimeout)
	defer cancel()
	return f.Transfer.OpenThumb(ctx, e)
}

func (n *node) thumbChild(ctx context.Context, name string, in index.Inode, size int64, out *fuse.EntryOut) *gofs.Inode {
	n.fs.thumbAttr(in, size, &out.Attr)
	out.SetEntryTimeout(0)
	out.SetAttrTimeout(thumbTimeout)
	ino := uint64(in.Ino) | thumbBit
	if known := n.GetChild(name); known != nil && known.StableAttr().Ino == ino {
		return known
	}
	return n.NewInode(ctx, &thumbNode{fs: n.fs, ino: in.Ino}, gofs.StableAttr{Mode: syscall.S_IFREG, Ino: ino, Gen: 1})
}

// thumbTimeout is short, as a thumbnail changes with its picture. The name is
// not kept at all, as it goes away with its picture's.
const thumbTimeout = time.Second

// unkept has the kernel ask again for an absent name: 0 would be the mount's
// own timeout.
const unkept = time.Nanosecond

func (f *filesystem) thumbAttr(in index.Inode, size int64, a *fuse.Attr) {
	f.attr(in, a)
	a.Ino |= thumbBit
	a.Mode = syscall.S_IFREG | a.Mode&0o666
	a.Nlink = 1
	a.Size = uint64(size)
	a.Blocks = (a.Size + 511) / 512
}

// Getattr answers stat with the thumbnail's own size.
func (t *thumbNode) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	in, err := t.picture()
	if err != nil {
		return t.fs.errno("stat of thumbnail", uint64(t.ino), err)
	}
	size, err := t.fs.thumbSize(ctx, in)
	if err != nil {
		return t.fs.errno("thumbnail", uint64(t.ino), err)
	}
	t.fs.thumbAttr(in, size, &out.Attr)
	out.SetTimeout(thumbTimeout)
	return 0
}

// picture gives the inode that the thumbnail is of; ESTALE if its content is
// no uploaded image any more.
func (t *thumbNode) picture() (index.Inode, error) {
	in, err := t.fs.Index.Get(t.ino)
	if err == nil && !t.fs.hasThumb(in) {
		err = syscall.ESTALE
	}
	return in, err
}

// Open reads the thumbnail, a few KiB, whole: a handle then holds nothing
// that must be given up, as the kernel drops RELEASEs when a mount ends.
func (t *thumbNode) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, t.takeOver(ctx, flags&syscall.O_TRUNC == 0)
	}
	content, err := t.read(ctx)
	if err != nil {
		return nil, 0, t.fs.errno("open thumbnail", uint64(t.ino), err)
	}
	return &thumbHandle{content}, fuse.FOPEN_NOFLUSH, 0
}

func (t *thumbNode) read(ctx context.Context) ([]byte, error) {
	in, err := t.picture()
	if err != nil {
		return nil, err
	}
	return t.fs.readThumb(ctx, in)
}

// readThumb reads the thumbnail of a picture whole.
func (f *filesystem) readThumb(ctx context.Context, in index.Inode) ([]byte, error) {
	r, err := f.openThumb(ctx, in)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	ctx, cancel := whileWanted(ctx, f.ReadTimeout)
	defer cancel()
	size, err := r.Size(ctx)
	if err != nil {
		return nil, err
	}
	content := make([]byte, size)
	n, err := r.ReadAt(ctx, content, 0)
	if int64(n) == size {
		err = nil
	}
	return content, err
}

type thumbHandle struct{ content []byte }

// Read answers from memory.
func (h *thumbHandle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	from := min(off, int64(len(h.content)))
	return fuse.ReadResultData(h.content[from:min(from+int64(len(dest)), int64(len(h.content)))]), 0
}

// Setattr accepts and forgets what cp -a and rsync set on what they take for
// a file of their own; who sets the size makes it one.
func (t *thumbNode) Setattr(ctx context.Context, fh gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		return t.takeOver(ctx, size != 0)
	}
	return t.Getattr(ctx, fh, out)
}

// Access is never asked with default_permissions; the kernel decides.
func (t *thumbNode) Access(context.Context, uint32) syscall.Errno { return 0 }

// Getxattr, Listxattr, Setxattr and Removexattr know no xattr here.
func (t *thumbNode) Getxattr(_ context.Context, name string, _ []byte) (uint32, syscall.Errno) {
	return 0, absent(name)
}

// Listxattr lists none.
func (t *thumbNode) Listxattr(context.Context, []byte) (uint32, syscall.Errno) { return 0, 0 }

// Setxattr is refused.
func (t *thumbNode) Setxattr(context.Context, string, []byte, uint32) syscall.Errno {
	return syscall.EPERM
}

// Removexattr finds none.
func (t *thumbNode) Removexattr(_ context.Context, name string) syscall.Errno { return absent(name) }
