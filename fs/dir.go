package fs

import (
	"context"
	"strings"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"chatfs/index"
)

// Lookup answers from the index; a name that is not there may be a picture's
// thumbnail.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	d, err := n.fs.Index.Lookup(n.ino, name)
	if err == nil {
		return n.child(ctx, name, d.Inode, out), 0
	}
	if toErrno(err) == syscall.ENOENT && strings.HasSuffix(name, thumbSuffix) {
		return n.lookupThumb(ctx, name, out)
	}
	return nil, n.fs.errno("lookup of "+name, uint64(n.ino), err)
}

// batch is how many entries a directory handle takes from the index at once.
const batch = 256

// A dirHandle is one open(2) of a directory. It reads the index in batches,
// in the names' order, so that its memory does not grow with the directory,
// and what is created or removed meanwhile upsets no other entry.
type dirHandle struct {
	node    *node
	pending []listed // read from the index, not given yet
	last    listed   // given last
	offset  uint64   // of the last entry given, from 1
	marks   []mark   // where each batch began, for seeking back
	after   string   // the last name taken from the index
	done    bool
}

type listed struct {
	name  string
	in    index.Inode
	thumb bool
}

type mark struct {
	offset uint64
	after  string
}

// OpendirHandle opens a directory. The kernel may keep the listing: it sees
// every change but a thumbnail's coming, of which it is told.
func (n *node) OpendirHandle(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	h := &dirHandle{node: n}
	h.rewind()
	return h, fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, 0
}

func (h *dirHandle) rewind() {
	parent := h.node.ino
	if p, err := h.node.fs.Index.Parent(h.node.ino); err == nil {
		parent = p
	}
	dir := func(name string, ino index.Ino) listed {
		return listed{name: name, in: index.Inode{Ino: ino, Mode: syscall.S_IFDIR}}
	}
	h.pending = []listed{dir(".", h.node.ino), dir("..", parent)}
	h.offset, h.after, h.done, h.marks = 0, "", false, nil
}

// Readdirent gives the next entry, or nil at the end.
func (h *dirHandle) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	if len(h.pending) == 0 && !h.done {
		if err := h.fill(); err != nil {
			return nil, h.node.fs.errno("list", uint64(h.node.ino), err)
		}
	}
	if len(h.pending) == 0 {
		return nil, 0
	}
	h.last, h.pending = h.pending[0], h.pending[1:]
	h.offset++
	e := &fuse.DirEntry{Name: h.last.name, Mode: h.last.in.Mode & syscall.S_IFMT, Ino: uint64(h.last.in.Ino), Off: h.offset}
	if h.last.thumb {
		e.Ino |= thumbBit
	}
	return e, 0
}

// fill takes the next batch from the index, with the thumbnails that stand
// beside its pictures.
func (h *dirHandle) fill() error {
	h.marks = append(h.marks, mark{h.offset, h.after})
	entries, err := h.node.fs.Index.ReadDir(h.node.ino, h.after, batch)
	if err != nil {
		return err
	}
	h.done = len(entries) < batch
	h.pending = make([]listed, 0, len(entries))
	for _, d := range entries {
		h.after = d.Name
		h.pending = append(h.pending, listed{name: d.Name, in: d.Inode})
		if h.node.listsThumb(d) {
			h.pending = append(h.pending, listed{name: d.Name + thumbSuffix, in: d.Inode, thumb: true})
		}
	}
	return nil
}

// Lookup answers for the entry given last, without asking the index again.
// A thumbnail whose size is not known yet is told of by name alone: listing
// costs no request.
func (h *dirHandle) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if name != h.last.name {
		return h.node.Lookup(ctx, name, out)
	}
	if !h.last.thumb {
		return h.node.child(ctx, name, h.last.in, out), 0
	}
	size, known := h.node.fs.Index.ThumbSize(h.last.in.UUID)
	if !known {
		return nil, syscall.ENOENT
	}
	return h.node.thumbChild(ctx, name, h.last.in, size, out), 0
}

// Seekdir goes back to where the entry numbered off was given.
func (h *dirHandle) Seekdir(ctx context.Context, off uint64) syscall.Errno {
	if off == 0 || len(h.marks) == 0 || off < h.marks[0].offset {
		h.rewind()
	} else {
		i := len(h.marks) - 1
		for h.marks[i].offset > off {
			i--
		}
		h.offset, h.after, h.done = h.marks[i].offset, h.marks[i].after, false
		h.marks, h.pending = h.marks[:i], nil
	}
	for h.offset < off {
		e, errno := h.Readdirent(ctx)
		if e == nil || errno != 0 {
			return errno
		}
	}
	return 0
}

// Releasedir has nothing to give up.
func (h *dirHandle) Releasedir(context.Context, uint32) {}

// Fsyncdir makes the index outlive a power loss.
func (h *dirHandle) Fsyncdir(context.Context, uint32) syscall.Errno {
	return h.node.fs.errno("fsync", uint64(h.node.ino), h.node.fs.Index.Sync())
}
