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

// A ghostNode stands for a thumbnail whose picture was removed or moved away
// a moment ago. Whoever listed the directory before may still remove or move
// it; there is nothing to read, and who writes makes a file.
type ghostNode struct {
	gofs.Inode
	dir  *node
	name string
	mode uint32
	fuse.Owner
}

// lookupGhost finds a ghost. No listing has it.
func (n *node) lookupGhost(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if !n.fs.ghosts.has(n.ino, name) {
		out.SetEntryTimeout(unkept) // a thumbnail may appear by itself
		return nil, syscall.ENOENT
	}
	g := &ghostNode{dir: n, name: name, mode: 0o644}
	if caller, ok := fuse.FromContext(ctx); ok {
		g.Owner = caller.Owner
	}
	g.fill(&out.Attr)
	out.SetEntryTimeout(0)
	out.SetAttrTimeout(unkept)
	return n.NewInode(ctx, g, gofs.StableAttr{Mode: syscall.S_IFREG}), 0
}

func (g *ghostNode) fill(a *fuse.Attr) {
	a.Mode, a.Nlink, a.Owner = syscall.S_IFREG|g.mode, 1, g.Owner
}

// Getattr shows an empty file of the caller's.
func (g *ghostNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	g.fill(&out.Attr)
	out.SetTimeout(unkept)
	return 0
}

// Setattr and Open find nothing, unless they are to write: then a real file
// takes the ghost's place, and ESTALE has the kernel look for it.
func (g *ghostNode) Setattr(_ context.Context, _ gofs.FileHandle, in *fuse.SetAttrIn, _ *fuse.AttrOut) syscall.Errno {
	if _, ok := in.GetSize(); ok {
		return g.embody()
	}
	return syscall.ENOENT
}

// Open opens nothing: see Setattr.
func (g *ghostNode) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE == syscall.O_RDONLY {
		return nil, 0, syscall.ENOENT
	}
	return nil, 0, g.embody()
}

func (g *ghostNode) embody() syscall.Errno {
	what := index.NewInode{Mode: syscall.S_IFREG | g.mode, UID: g.Uid, GID: g.Gid}
	_, err := g.dir.fs.Index.Create(g.dir.ino, g.name, what)
	if errno := toErrno(err); err != nil && errno != syscall.EEXIST {
		return g.dir.fs.errno("create "+g.name, uint64(g.dir.ino), err)
	}
	g.dir.fs.ghosts.lay(g.dir.ino, g.name)
	return syscall.ESTALE
}

// Getxattr, Listxattr, Setxattr and Removexattr find no xattr.
func (g *ghostNode) Getxattr(_ context.Context, name string, _ []byte) (uint32, syscall.Errno) {
	return 0, absent(name)
}

// Listxattr lists none.
func (g *ghostNode) Listxattr(context.Context, []byte) (uint32, syscall.Errno) { return 0, 0 }

// Setxattr finds nothing to set it on.
func (g *ghostNode) Setxattr(context.Context, string, []byte, uint32) syscall.Errno {
	return syscall.ENOENT
}

// Removexattr finds none.
func (g *ghostNode) Removexattr(_ context.Context, name string) syscall.Errno { return absent(name) }

// ghosts are the names of thumbnails whose pictures are gone, for a while. A
// bound number is kept.
type ghosts struct {
	mu    sync.Mutex
	until map[ghost]time.Time
	order []ghost
}

type ghost struct {
	dir  index.Ino
	name string
}

// maxGhosts bounds the memory, ghostTime the time: rm -r removes a picture's
// thumbnail within as many names as it takes from the listing at once, some
// thousands.
const (
	maxGhosts = 100_000
	ghostTime = 30 * time.Second
)

// raise makes a ghost of the thumbnail of a picture that is gone.
func (g *ghosts) raise(dir index.Ino, picture string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.until == nil {
		g.until = make(map[ghost]time.Time)
	}
	k := ghost{dir, picture + thumbSuffix}
	g.until[k] = time.Now().Add(ghostTime)
	g.order = append(g.order, k)
	if len(g.order) > maxGhosts {
		delete(g.until, g.order[0])
		g.order = g.order[1:]
	}
}

// lay ends the ghosts that a new name stands in for.
func (g *ghosts) lay(dir index.Ino, name string) {
	g.exorcise(dir, name)
	g.exorcise(dir, name+thumbSuffix)
}

// exorcise ends one ghost and tells whether it was there.
func (g *ghosts) exorcise(dir index.Ino, name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := ghost{dir, name}
	was := time.Now().Before(g.until[k])
	delete(g.until, k)
	return was
}

func (g *ghosts) has(dir index.Ino, name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Now().Before(g.until[ghost{dir, name}])
}
