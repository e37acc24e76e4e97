package fs

import (
	"context"
	"errors"
	"path"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"chatfs/index"
)

// unlinkThumb hides a thumbnail until its picture changes, or ends the tombstone
// of one whose picture went first.
func (n *node) unlinkThumb(name string) syscall.Errno {
	if d, ok := n.thumbOf(name); ok {
		return n.fs.errno("unlink "+name, uint64(n.ino), n.fs.Index.HideThumb(n.ino, d.Name))
	}
	if n.fs.tombstones.remove(n.ino, name) {
		return 0
	}
	return syscall.ENOENT
}

// renameThumb moves nothing: a thumbnail goes where its picture goes. So mv
// of both, in either order, ends well. EXDEV, for any other name, has mv make
// a copy.
func (n *node) renameThumb(name string, dst *node, newName string, flags uint32) syscall.Errno {
	_, is := n.thumbOf(name)
	if _, was := n.fs.tombstones.get(n.ino, name); !is && !was {
		return syscall.ENOENT
	}
	_, there := dst.thumbOf(newName)
	if flags&unix.RENAME_EXCHANGE != 0 || name != newName && !there {
		return syscall.EXDEV
	}
	n.fs.tombstones.remove(n.ino, name)
	return 0
}

// linkThumb makes no name: the thumbnail of a picture's other name is there by
// itself.
func (n *node) linkThumb(ctx context.Context, t *thumbNode, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	d, ok := n.thumbOf(name)
	if !ok || d.Inode.Ino != t.ino {
		return nil, syscall.EPERM
	}
	size, err := n.fs.thumbSize(ctx, d.Inode)
	if err != nil {
		return nil, n.fs.errno("thumbnail", uint64(t.ino), err)
	}
	return n.thumbChild(ctx, name, d.Inode, size, out), 0
}

// takeOver makes a real file, with the thumbnail's bytes if keep is set, that
// shadows the thumbnail from now on. ESTALE has the kernel look the name up
// again, and open or truncate that file. The names of a picture with several
// share one thumbnail, and then one file.
func (t *thumbNode) takeOver(ctx context.Context, keep bool) syscall.Errno {
	in, err := t.picture()
	if err != nil {
		return t.fs.errno("write to thumbnail", uint64(t.ino), err)
	}
	var bytes []byte
	if keep {
		if bytes, err = t.read(ctx); err != nil {
			return t.fs.errno("thumbnail", uint64(t.ino), err)
		}
	}
	if err := t.replace(ctx, in, bytes); err != nil {
		return t.fs.errno("write to thumbnail", uint64(t.ino), err)
	}
	return syscall.ESTALE
}

// replace puts one real file in the place of each of the picture's thumbnails.
func (t *thumbNode) replace(ctx context.Context, in index.Inode, bytes []byte) error {
	paths, err := t.fs.Index.Paths(t.ino)
	if err != nil {
		return err
	}
	what := index.NewInode{Mode: syscall.S_IFREG | in.Mode&0o666, UID: in.UID, GID: in.GID}
	var file index.Ino
	for _, p := range paths {
		dir, err := t.fs.Index.Resolve(path.Dir(p))
		if err != nil {
			return err
		}
		parent, name := &node{fs: t.fs, ino: dir.Inode.Ino}, path.Base(p)+thumbSuffix
		if _, ok := parent.thumbOf(name); !ok {
			continue
		}
		if file == 0 {
			made, cerr := t.fs.Index.Create(parent.ino, name, what)
			file, err = made.Ino, cerr
		} else {
			_, err = t.fs.Index.Link(file, parent.ino, name)
		}
		if err != nil && !errors.Is(err, syscall.EEXIST) {
			return err
		}
	}
	return t.fs.fill(ctx, file, bytes)
}

// fill writes a new file's first bytes.
func (f *filesystem) fill(ctx context.Context, ino index.Ino, bytes []byte) error {
	if ino == 0 || len(bytes) == 0 {
		return nil
	}
	h := f.acquire(ino, true)
	defer h.close()
	if _, err := h.writeAt(ctx, bytes, 0); err != nil {
		return err
	}
	return h.flush(ctx)
}
