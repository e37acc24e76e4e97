package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"chatfs/index"
)

// create makes an inode and its name in the index, owned by the caller.
func (n *node) create(ctx context.Context, name string, what index.NewInode, out *fuse.EntryOut) (*gofs.Inode, index.Inode, syscall.Errno) {
	caller, told := fuse.FromContext(ctx)
	if told {
		what.UID, what.GID = caller.Uid, caller.Gid
	}
	in, err := n.fs.Index.Create(n.ino, name, what)
	if err != nil {
		return nil, in, n.fs.errno("create "+name, uint64(n.ino), err)
	}
	if told && in.IsRegular() {
		n.fs.makers.note(caller.Pid, n.ino, in.Ino)
	}
	n.fs.tombstones.named(n.ino, name)
	return n.child(ctx, name, in, out), in, 0
}

// Create makes a regular file and opens it. Its staged file comes with the
// first write.
func (n *node) Create(ctx context.Context, name string, _, mode uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	ch, in, errno := n.create(ctx, name, index.NewInode{Mode: syscall.S_IFREG | mode&0o7777}, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	h := n.fs.acquire(in.Ino, true)
	h.of.setMode(in.Mode)
	return ch, h, fuse.FOPEN_KEEP_CACHE, 0
}

// Mkdir makes a directory.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	ch, _, errno := n.create(ctx, name, index.NewInode{Mode: syscall.S_IFDIR | mode&0o7777}, out)
	return ch, errno
}

// Mknod makes an empty file, FIFO, socket or device node. A device never
// works here, as the mount is nodev, but is kept.
func (n *node) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	ch, _, errno := n.create(ctx, name, index.NewInode{Mode: mode, Rdev: dev}, out)
	return ch, errno
}

// Tmpfile is not offered: programs fall back to a named file.
func (n *node) Tmpfile(context.Context, uint32, uint32, *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EOPNOTSUPP
}

// Link makes another name of a file.
func (n *node) Link(ctx context.Context, target gofs.InodeEmbedder, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if thumb, ok := target.(*thumbNode); ok {
		return n.linkThumb(ctx, thumb, name, out)
	}
	t, ok := target.(*node)
	if !ok {
		return nil, syscall.ENOENT // a tombstone
	}
	in, err := n.fs.Index.Link(t.ino, n.ino, name)
	if err != nil {
		return nil, n.fs.errno("link "+name, uint64(n.ino), err)
	}
	if caller, ok := fuse.FromContext(ctx); ok {
		n.fs.makers.note(caller.Pid, n.ino, t.ino)
	}
	n.fs.tombstones.named(n.ino, name)
	n.fs.Transfer.Wake(t.ino)
	n.fs.entry(in, out)
	return t.EmbeddedInode(), 0
}

// Unlink removes a name. Removing a thumbnail hides it until its picture
// changes.
func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	picture, is := n.pictureOf(name)
	n.fs.places.lose(n.ino, name)
	removed, err := n.fs.Index.Unlink(n.ino, name)
	if toErrno(err) == syscall.ENOENT {
		return n.unlinkThumb(name)
	}
	if err != nil {
		return n.fs.errno("unlink "+name, uint64(n.ino), err)
	}
	if is {
		n.leaveTombstone(picture)
	}
	n.fs.removed(removed)
	return 0
}

// Rmdir removes an empty directory.
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	n.fs.places.lose(n.ino, name)
	removed, err := n.fs.Index.Rmdir(n.ino, name)
	if err == nil {
		n.fs.removed(removed)
	}
	return n.fs.errno("rmdir "+name, uint64(n.ino), err)
}

// Rename changes names alone, and takes a picture's thumbnail along.
func (n *node) Rename(ctx context.Context, name string, to gofs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	dst, ok := to.(*node)
	if !ok {
		return syscall.EXDEV
	}
	picture, is := n.pictureOf(name)
	moved, err := n.fs.Index.Lookup(n.ino, name)
	if toErrno(err) == syscall.ENOENT {
		return n.renameThumb(name, dst, newName, flags)
	}
	n.fs.places.lose(n.ino, name)
	removed, err := n.rename(ctx, name, dst, newName, flags)
	if err != nil {
		return n.fs.errno("rename "+name, uint64(n.ino), err)
	}
	if is {
		n.leaveTombstone(picture)
	}
	n.fs.tombstones.named(dst.ino, newName)
	n.fs.removed(removed)
	n.fs.Transfer.Wake(moved.Inode.Ino)
	if flags&unix.RENAME_EXCHANGE != 0 {
		n.exchanged(name)
	}
	return 0
}

// rename changes the index; a whiteout that is left is the caller's.
func (n *node) rename(ctx context.Context, name string, dst *node, newName string, flags uint32) (index.Removed, error) {
	if flags&unix.RENAME_WHITEOUT == 0 {
		return n.fs.Index.Rename(n.ino, name, dst.ino, newName, flags)
	}
	var uid, gid uint32
	if caller, ok := fuse.FromContext(ctx); ok {
		uid, gid = caller.Uid, caller.Gid
	}
	return n.fs.Index.RenameWhiteout(n.ino, name, dst.ino, newName, flags, uid, gid)
}

// exchanged takes note that another file bears name now.
func (n *node) exchanged(name string) {
	n.fs.tombstones.named(n.ino, name)
	if d, err := n.fs.Index.Lookup(n.ino, name); err == nil {
		n.fs.Transfer.Wake(d.Inode.Ino)
	}
}

// Symlink makes a symbolic link.
func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	ch, _, errno := n.create(ctx, name, index.NewInode{Mode: syscall.S_IFLNK | 0o777, Target: target}, out)
	return ch, errno
}

// Readlink gives a symbolic link's target.
func (n *node) Readlink(context.Context) ([]byte, syscall.Errno) {
	in, err := n.fs.Index.Get(n.ino)
	if err != nil {
		return nil, n.fs.errno("readlink", uint64(n.ino), err)
	}
	return []byte(in.Target), 0
}

// Ioctl is not offered.
func (n *node) Ioctl(context.Context, gofs.FileHandle, uint32, uint64, []byte, []byte) (int32, syscall.Errno) {
	return 0, syscall.ENOTTY
}
