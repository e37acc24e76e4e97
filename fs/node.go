package fs

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"chatfs/index"
)

// A node is a file, directory, symlink or special file as the kernel knows
// it. It holds nothing but the number that leads to the index, and how often
// the kernel was told to drop a directory's listing.
type node struct {
	gofs.Inode
	fs  *filesystem
	ino index.Ino
	nodePass

	dropped atomic.Uint64
}

// thumbBit marks the inode number of a picture's thumbnail: the picture's
// own number with this bit, so that it is as stable as that.
const thumbBit = 1 << 63

func inoOf(number uint64) index.Ino { return index.Ino(number &^ thumbBit) }

// child answers a lookup: the node that stands for in, and its attributes.
// A node that the kernel knows already is taken again.
func (n *node) child(ctx context.Context, name string, in index.Inode, out *fuse.EntryOut) *gofs.Inode {
	n.fs.entry(in, out)
	if known := n.GetChild(name); known != nil && known.StableAttr().Ino == uint64(in.Ino) {
		return known
	}
	c := &node{fs: n.fs, ino: in.Ino}
	ch := n.NewInode(ctx, c, gofs.StableAttr{Mode: in.Mode & syscall.S_IFMT, Ino: uint64(in.Ino), Gen: 1})
	if in.IsDir() {
		n.fs.dirs.add(ch.Operations().(*node))
	}
	return ch
}

// OnForget drops a directory's node from the table that notifications use,
// and an inode without a name for good.
func (n *node) OnForget() {
	n.fs.dirs.remove(n)
	n.fs.unknown(n.ino)
}

// dirTable knows the nodes of the directories that the kernel knows, to
// notify it of changes that no request made.
type dirTable struct {
	mu    sync.Mutex
	nodes map[index.Ino]*node
}

func (t *dirTable) add(n *node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes[n.ino] = n
}

func (t *dirTable) remove(n *node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nodes[n.ino] == n {
		delete(t.nodes, n.ino)
	}
}

func (t *dirTable) get(ino index.Ino) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nodes[ino]
}
