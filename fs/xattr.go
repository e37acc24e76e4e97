package fs

import (
	"context"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"chatfs/index"
	"chatfs/internal/entity"
)

const (
	userPrefix = "user."
	ownPrefix  = "user.chatfs."
)

// Our own xattrs answer by name and stand in no listing, or rsync -X and
// cp -a would carry them to other disks and back as if they were the file's.
var ownXattrs = map[string]func(*filesystem, index.Inode) string{
	"uuid":  func(_ *filesystem, in index.Inode) string { return uuidOf(in) },
	"state": func(f *filesystem, in index.Inode) string { return string(f.Transfer.State(in.Ino)) },
	"error": func(f *filesystem, in index.Inode) string { return f.Transfer.ErrorOf(in.Ino) },
	"url": func(f *filesystem, in index.Inode) string {
		if in.UUID.IsZero() {
			return ""
		}
		return f.URL(in.UUID)
	},
	"sha256": func(f *filesystem, in index.Inode) string {
		if e := f.entityOf(in); !e.Digest.IsZero() {
			return e.Digest.String()
		}
		return ""
	},
	"restricted": func(f *filesystem, in index.Inode) string {
		switch e := f.entityOf(in); {
		case e.UUID.IsZero():
			return ""
		case e.Restricted():
			return "true"
		}
		return "false"
	},
	"expires": func(f *filesystem, in index.Inode) string {
		if at, ok := f.Transfer.Expires(in.UUID); ok {
			return at.UTC().Format("2006-01-02T15:04:05Z")
		}
		return ""
	},
	"share-secret": func(f *filesystem, in index.Inode) string { return f.entityOf(in).Secret.Reveal() },
}

func uuidOf(in index.Inode) string {
	if in.UUID.IsZero() {
		return ""
	}
	return in.UUID.String()
}

func (f *filesystem) entityOf(in index.Inode) entity.Entity {
	if in.UUID.IsZero() {
		return entity.Entity{}
	}
	e, err := f.Index.Entity(in.UUID)
	if err != nil {
		return entity.Entity{}
	}
	return e
}

// absent is the errno for an xattr that is not there. Outside "user." it is
// ENOTSUP, as cp -a fails on ENODATA and ls asks for each file again.
func absent(name string) syscall.Errno {
	if strings.HasPrefix(name, userPrefix) {
		return syscall.ENODATA
	}
	return syscall.ENOTSUP
}

// Getxattr answers user xattrs as they were set, and our own.
func (n *node) Getxattr(ctx context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	switch {
	case name == userPrefix:
		return 0, syscall.EINVAL
	case !strings.HasPrefix(name, userPrefix):
		return 0, syscall.ENOTSUP
	}
	value, err := n.getxattr(ctx, name)
	if err != nil {
		return 0, n.fs.errno("getxattr "+name, uint64(n.ino), err)
	}
	return answer(value, dest)
}

func (n *node) getxattr(ctx context.Context, name string) ([]byte, error) {
	own, ok := strings.CutPrefix(name, ownPrefix)
	if !ok {
		return n.fs.Index.GetXattr(n.ino, name)
	}
	f := ownXattrs[own]
	in, err := n.fs.Index.Get(n.ino)
	if err != nil {
		return nil, err
	}
	if f == nil || in.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil, syscall.ENODATA
	}
	if own == "share-secret" && !owns(ctx, in) {
		return nil, syscall.EACCES
	}
	if v := f(n.fs, in); v != "" {
		return []byte(v), nil
	}
	return nil, syscall.ENODATA
}

// owns tells whether the caller is the file's owner, or root.
func owns(ctx context.Context, in index.Inode) bool {
	caller, ok := fuse.FromContext(ctx)
	return ok && (caller.Uid == in.UID || caller.Uid == 0)
}

func answer(value, dest []byte) (uint32, syscall.Errno) {
	if len(dest) < len(value) {
		return uint32(len(value)), syscall.ERANGE
	}
	return uint32(copy(dest, value)), 0
}

// Listxattr lists the user xattrs that were set.
func (n *node) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	names, err := n.fs.Index.ListXattr(n.ino)
	if err != nil {
		return 0, n.fs.errno("listxattr", uint64(n.ino), err)
	}
	var list []byte
	for _, name := range names {
		list = append(append(list, name...), 0)
	}
	return answer(list, dest)
}

// Setxattr stores a user xattr; the kernel bounds name (255 bytes) and value
// (64 KiB). Ours cannot be set.
func (n *node) Setxattr(_ context.Context, name string, data []byte, flags uint32) syscall.Errno {
	if errno := mayChange(name); errno != 0 {
		return errno
	}
	return n.fs.errno("setxattr "+name, uint64(n.ino), n.fs.Index.SetXattr(n.ino, name, data, flags))
}

// Removexattr removes a user xattr.
func (n *node) Removexattr(_ context.Context, name string) syscall.Errno {
	if errno := mayChange(name); errno != 0 {
		return errno
	}
	return n.fs.errno("removexattr "+name, uint64(n.ino), n.fs.Index.RemoveXattr(n.ino, name))
}

func mayChange(name string) syscall.Errno {
	switch {
	case name == userPrefix:
		return syscall.EINVAL
	case strings.HasPrefix(name, ownPrefix):
		return syscall.EPERM
	case !strings.HasPrefix(name, userPrefix):
		return syscall.ENOTSUP
	}
	return 0
}
