package fs

import (
	"context"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"chatfs/index"
)

// A tombstoneNode stands for a thumbnail whose picture was removed or moved
// away a moment ago. Whoever listed the directory before, and may read the
// picture, may still read it, and remove or move it, as mv to another disk
// does. Who writes finds nothing there, and makes a file if the directory
// allows that.
type tombstoneNode struct {
	gofs.Inode
	dir     *node
	name    string
	picture index.Inode // as it was
	number  uint64      // as stat shows it: mv compares it
}

// leaveTombstone has the thumbnail of a picture that is gone from n end slowly,
// if a listing may have had it.
func (n *node) leaveTombstone(picture index.Dirent) {
	_, known := n.fs.Index.ThumbSize(picture.Inode.UUID)
	if known && n.fs.Thumbs == ThumbsList {
		n.fs.tombstones.add(n.ino, picture)
	}
}

// lookupTombstone finds a tombstone. No listing has it.
func (n *node) lookupTombstone(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	was, is := n.fs.tombstones.get(n.ino, name)
	if caller, ok := fuse.FromContext(ctx); !is || ok && was.hiddenFrom == caller.Pid {
		out.SetEntryTimeout(unkept) // a thumbnail may appear by itself
		return nil, syscall.ENOENT
	}
	t := &tombstoneNode{dir: n, name: name, picture: was.picture, number: was.number}
	t.fill(&out.Attr)
	out.SetEntryTimeout(0)
	out.SetAttrTimeout(unkept)
	return n.NewInode(ctx, t, gofs.StableAttr{Mode: syscall.S_IFREG, Ino: t.number, Gen: 1}), 0
}

// fill shows the thumbnail with the picture's owner, and readable for whom the
// picture is, as that is now if it has another name. It seems writable to all:
// who opens it to write comes to make a file, of which the kernel asks the
// directory. A size that is not known yet is 0: to remove the tombstone, nothing
// need be fetched.
func (t *tombstoneNode) fill(a *fuse.Attr) {
	fs, in := t.dir.fs, t.picture
	if now, err := fs.Index.Get(in.Ino); err == nil {
		in.Mode, in.UID, in.GID = now.Mode, now.UID, now.GID
	}
	size, _ := fs.Index.ThumbSize(in.UUID)
	fs.thumbAttr(in, max(size, 0), a)
	a.Ino = t.number
	a.Mode |= 0o222
}

// Getattr shows the thumbnail as it was.
func (t *tombstoneNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	t.fill(&out.Attr)
	out.SetTimeout(unkept)
	return 0
}

// Setattr finds nothing to set anything on.
func (t *tombstoneNode) Setattr(context.Context, gofs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return syscall.ENOENT
}

// Open reads the thumbnail, past the kernel's idea of its size. To whom it is
// to write, the tombstone is not there from now on: ESTALE has the kernel look
// the name up again, and make a file.
func (t *tombstoneNode) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		if caller, ok := fuse.FromContext(ctx); ok {
			t.dir.fs.tombstones.hide(t.dir.ino, t.name, caller.Pid)
		}
		return nil, 0, syscall.ESTALE
	}
	content, err := t.dir.fs.readThumb(ctx, t.picture)
	if err != nil {
		return nil, 0, t.dir.fs.errno("open thumbnail", uint64(t.picture.Ino), err)
	}
	return &thumbHandle{content}, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH, 0
}

// Getxattr, Listxattr, Setxattr and Removexattr find no xattr.
func (t *tombstoneNode) Getxattr(_ context.Context, name string, _ []byte) (uint32, syscall.Errno) {
	return 0, absent(name)
}

// Listxattr lists none.
func (t *tombstoneNode) Listxattr(context.Context, []byte) (uint32, syscall.Errno) { return 0, 0 }

// Setxattr finds nothing to set it on.
func (t *tombstoneNode) Setxattr(context.Context, string, []byte, uint32) syscall.Errno {
	return syscall.ENOENT
}

// Removexattr finds none.
func (t *tombstoneNode) Removexattr(_ context.Context, name string) syscall.Errno {
	return absent(name)
}

// tombstones are the names of thumbnails whose pictures are gone, for a while. A
// bound number is kept.
type tombstones struct {
	mu    sync.Mutex
	names map[grave]tombstone
	order []grave
	count uint64 // of all ever
}

// tombstoneBit marks the inode number of a tombstone; the rest counts them.
const tombstoneBit = 1 << 62

// A grave is where a tombstone is.
type grave struct {
	dir  index.Ino
	name string
}

// A tombstone is the picture as it was, and when to forget it.
type tombstone struct {
	picture    index.Inode
	number     uint64
	until      time.Time
	hiddenFrom uint32 // a thread that is about to make a file there; 0 is none
}

// maxTombstones bounds the memory, tombstoneTime the time: rm -r removes a
// picture's thumbnail within as many names as it takes from the listing at once,
// some thousands.
const (
	maxTombstones = 100_000
	tombstoneTime = 30 * time.Second
)

// add makes a tombstone of the thumbnail of a picture that is gone from dir.
func (t *tombstones) add(dir index.Ino, picture index.Dirent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names == nil {
		t.names = make(map[grave]tombstone)
	}
	at := grave{dir, picture.Name + thumbSuffix}
	t.count++
	t.names[at] = tombstone{picture: picture.Inode, number: tombstoneBit | t.count, until: time.Now().Add(tombstoneTime)}
	t.order = append(t.order, at)
	if len(t.order) > maxTombstones {
		delete(t.names, t.order[0])
		t.order = t.order[1:]
	}
}

// named ends the tombstones that a new name stands in for.
func (t *tombstones) named(dir index.Ino, name string) {
	t.remove(dir, name)
	t.remove(dir, name+thumbSuffix)
}

// remove ends one tombstone and tells whether it was there.
func (t *tombstones) remove(dir index.Ino, name string) bool {
	_, was := t.get(dir, name)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.names, grave{dir, name})
	return was
}

// hide has a tombstone not exist for one thread.
func (t *tombstones) hide(dir index.Ino, name string, thread uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if was, is := t.names[grave{dir, name}]; is {
		was.hiddenFrom = thread
		t.names[grave{dir, name}] = was
	}
}

// get gives the tombstone that name is.
func (t *tombstones) get(dir index.Ino, name string) (was tombstone, is bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was, is = t.names[grave{dir, name}]
	return was, is && time.Now().Before(was.until)
}
