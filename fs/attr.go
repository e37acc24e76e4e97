package fs

import (
	"context"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"chatfs/index"
)

// current is an inode as it is now: what the index has, with what an open file
// has that the index does not know yet. An inode that was read before may lack
// both: a commit, for which nobody need wait, gives to the index what the open
// file had. So the index is read here, and again where a commit came between.
// The kernel would keep an old size for as long as it keeps attributes.
func (f *filesystem) current(in index.Inode) index.Inode {
	if in.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return in
	}
	for {
		of := f.files.get(in.Ino)
		before := of.commitCount()
		if now, err := f.Index.Get(in.Ino); err == nil { // else it is gone, and as it was
			in = now
		}
		if of == nil || of.overlaySince(before, &in) {
			return in
		}
	}
}

// attr fills in what stat(2) tells of in, as it is now.
func (f *filesystem) attr(in index.Inode, a *fuse.Attr) {
	in = f.current(in)
	a.Ino = uint64(in.Ino)
	a.Mode = in.Mode
	a.Nlink = in.Nlink
	a.Owner = fuse.Owner{Uid: in.UID, Gid: in.GID}
	a.Rdev = in.Rdev
	a.Size = uint64(in.Size)
	a.Blocks = (a.Size + 511) / 512
	a.Blksize = 4096
	a.Atime, a.Atimensec = uint64(in.Atime.Sec), in.Atime.Nsec
	a.Mtime, a.Mtimensec = uint64(in.Mtime.Sec), in.Mtime.Nsec
	a.Ctime, a.Ctimensec = uint64(in.Ctime.Sec), in.Ctime.Nsec
	f.shown(a)
}

// shown applies the mount's own idea of owner and mode.
func (f *filesystem) shown(a *fuse.Attr) {
	if f.UID != nil {
		a.Uid = *f.UID
	}
	if f.GID != nil {
		a.Gid = *f.GID
	}
	if f.Umask != nil {
		a.Mode &^= *f.Umask & 0o777
	}
}

// timeout is how long the kernel may keep in's attributes. A write clears
// setuid and setgid behind the kernel's back, so it must ask for those.
func timeout(in index.Inode) time.Duration {
	if !in.IsDir() && in.Mode&setIDs != 0 {
		return time.Nanosecond
	}
	return attrTimeout
}

// entry fills in the answer to a lookup or creation.
func (f *filesystem) entry(in index.Inode, out *fuse.EntryOut) {
	f.attr(in, &out.Attr)
	out.SetEntryTimeout(entryTimeout)
	out.SetAttrTimeout(timeout(in))
}

// Getattr answers stat and fstat, from the index and the local disk alone.
func (n *node) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	in, err := n.fs.Index.Get(n.ino)
	if err != nil {
		return n.fs.errno("stat", uint64(n.ino), err)
	}
	n.fs.attr(in, &out.Attr)
	out.SetTimeout(timeout(in))
	return 0
}

// Setattr answers chmod, chown, truncate and utimensat. The kernel has
// checked the permission. A size is set first: it alone can fail.
func (n *node) Setattr(ctx context.Context, fh gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if err := n.truncate(ctx, fh, int64(size), in.Valid&fuse.FATTR_KILL_SUIDGID != 0); err != nil {
			return n.fs.errno("truncate", uint64(n.ino), err)
		}
	}
	got, err := n.setAttr(ctx, in)
	if err != nil {
		return n.fs.errno("set attributes", uint64(n.ino), err)
	}
	n.fs.attr(got, &out.Attr)
	out.SetTimeout(timeout(got))
	return 0
}

// setAttr sets all that a SETATTR asks for, but for the size.
func (n *node) setAttr(ctx context.Context, in *fuse.SetAttrIn) (index.Inode, error) {
	now := index.Now()
	of := n.fs.files.get(n.ino)
	waits := of != nil && of.setTimes(in, now)
	got, err := n.fs.Index.SetAttr(n.ino, func(i *index.Inode) error {
		mtime := i.Mtime
		change(ctx, i, in, now)
		if waits { // no old content under the new one's time
			i.Mtime = mtime
		}
		return nil
	})
	if of != nil && err == nil {
		of.setMode(got.Mode)
	}
	return got, err
}

// settable are the attributes that a SETATTR may name.
const settable = fuse.FATTR_MODE | fuse.FATTR_UID | fuse.FATTR_GID | fuse.FATTR_SIZE | fuse.FATTR_ATIME | fuse.FATTR_MTIME

// change applies to i what a SETATTR asks for. One that names nothing comes of
// a chown to no other owner, a fallocate or a copy_file_range: setuid and
// setgid are cleared.
func change(ctx context.Context, i *index.Inode, in *fuse.SetAttrIn, now index.Time) {
	before := *i
	if mode, ok := in.GetMode(); ok {
		i.Mode = i.Mode&syscall.S_IFMT | mode&0o7777
	}
	uid, chown := in.GetUID()
	if chown {
		i.UID = uid
	}
	gid, chgrp := in.GetGID()
	if chgrp {
		i.GID = gid
	}
	if (chown || chgrp || in.Valid&settable == 0) && !i.IsDir() {
		i.Mode = clearSetIDs(ctx, before, i.Mode)
	}
	if in.Valid&fuse.FATTR_ATIME != 0 {
		i.Atime = timeOf(in.Valid&fuse.FATTR_ATIME_NOW != 0, in.Atime, in.Atimensec, now)
	}
	if in.Valid&fuse.FATTR_MTIME != 0 {
		i.Mtime = timeOf(in.Valid&fuse.FATTR_MTIME_NOW != 0, in.Mtime, in.Mtimensec, now)
	}
	i.Ctime = now
}

func timeOf(useNow bool, sec uint64, nsec uint32, now index.Time) index.Time {
	if useNow {
		return now
	}
	return index.Time{Sec: int64(sec), Nsec: nsec}
}

// Access is never asked with default_permissions; the kernel decides.
func (n *node) Access(context.Context, uint32) syscall.Errno { return 0 }

// Statfs tells what the local disk can still take, at once.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	const block = 4096
	space, err := n.fs.Blobs.Free()
	if err != nil {
		return n.fs.errno("statfs", uint64(n.ino), err)
	}
	out.Bsize, out.Frsize, out.NameLen = block, block, 255
	out.Blocks = max(uint64(space.Total)/block, 1)
	out.Bfree = uint64(space.Avail) / block
	out.Bavail = out.Bfree
	// Inodes are records of the index: as many as the disk has room for.
	out.Files, out.Ffree = 1<<32, 1<<31
	return 0
}
