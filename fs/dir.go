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
	after   string   // the last name taken from the index
	changes uint64   // the index's number when pending was read
	dropped uint64   // the node's number when the handle was opened
	done    bool
}

type listed struct {
	name  string // of a thumbnail, its picture's
	in    index.Inode
	thumb bool
}

func (l listed) entryName() string {
	if l.thumb {
		return l.name + thumbSuffix
	}
	return l.name
}

// OpendirHandle opens a directory. The kernel may keep the listing: it sees
// every change but a thumbnail's coming, of which it is told.
func (n *node) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if caller, ok := fuse.FromContext(ctx); ok {
		n.fs.makers.listed(caller.Pid, n.ino)
	}
	h := &dirHandle{node: n, dropped: n.dropped.Load()}
	h.rewind()
	n.fs.places.open(n.ino)
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
	h.after, h.done = "", false
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
	e := &fuse.DirEntry{Name: h.last.entryName(), Mode: h.last.in.Mode & syscall.S_IFMT, Ino: uint64(h.last.in.Ino), Off: placeOf(h.last)}
	if h.last.thumb {
		e.Ino |= thumbBit
	}
	return e, 0
}

// fill takes the next batch from the index, with the thumbnails that stand
// beside its pictures.
func (h *dirHandle) fill() error {
	h.changes = h.node.fs.Index.Changes()
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
			h.pending = append(h.pending, listed{name: d.Name, in: d.Inode, thumb: true})
		}
	}
	return nil
}

// Lookup answers for the entry given last, without asking the index again if
// nothing has changed there: the kernel believes what it is told for long.
// A thumbnail whose size is not known yet is told of by name alone: listing
// costs no request.
func (h *dirHandle) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	fs, l := h.node.fs, h.last
	if name != l.entryName() {
		return h.node.Lookup(ctx, name, out)
	}
	if h.changes != fs.Index.Changes() {
		d, err := fs.Index.Lookup(h.node.ino, l.name)
		if err != nil || l.thumb && !h.node.listsThumb(d) {
			return nil, syscall.ENOENT
		}
		l.in = d.Inode
	}
	if !l.thumb {
		return h.node.child(ctx, name, l.in, out), 0
	}
	size, known := fs.Index.ThumbSize(l.in.UUID)
	if !known {
		return nil, syscall.ENOENT
	}
	return h.node.thumbChild(ctx, name, l.in, size, out), 0
}

// Seekdir goes on behind the entry whose place is off.
func (h *dirHandle) Seekdir(_ context.Context, off uint64) syscall.Errno {
	h.rewind()
	switch off {
	case 0:
		return 0
	case placeOf(listed{name: "."}):
		h.pending = h.pending[1:]
		return 0
	case placeOf(listed{name: ".."}):
		h.pending = nil
		return 0
	}
	name, err := h.node.fs.findPlace(h.node.ino, off)
	if err != nil {
		return h.node.fs.errno("seek in", uint64(h.node.ino), err)
	}
	h.pending, h.after = nil, name
	h.changes = h.node.fs.Index.Changes()
	d, err := h.node.fs.Index.Lookup(h.node.ino, name)
	if err == nil && off&1 == 0 && h.node.listsThumb(d) {
		h.pending = []listed{{name: name, in: d.Inode, thumb: true}}
	}
	return 0
}

// Releasedir gives the handle up. If a thumbnail came while it was open, the
// kernel may have kept what it read before that.
func (h *dirHandle) Releasedir(context.Context, uint32) {
	h.node.fs.places.close(h.node.ino)
	if h.dropped != h.node.dropped.Load() {
		h.node.fs.inval.send(func() { h.node.NotifyContent(0, 0) })
	}
}

// Fsyncdir makes the index outlive a power loss.
func (h *dirHandle) Fsyncdir(context.Context, uint32) syscall.Errno {
	return h.node.fs.errno("fsync", uint64(h.node.ino), h.node.fs.Index.Sync())
}
