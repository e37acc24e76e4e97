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
// a moment ago. Whoever listed the directory before may still read, remove or
// move it, as mv to another disk does; who writes makes a file.
type ghostNode struct {
	gofs.Inode
	dir     *node
	name    string
	picture index.Inode // as it was
	number  uint64      // as stat shows it: mv compares it
	mode    uint32
	fuse.Owner
}

// lookupGhost finds a ghost. No listing has it.
func (n *node) lookupGhost(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	was, is := n.fs.ghosts.get(n.ino, name)
	if !is {
		out.SetEntryTimeout(unkept) // a thumbnail may appear by itself
		return nil, syscall.ENOENT
	}
	g := &ghostNode{dir: n, name: name, picture: was.picture, number: was.number, mode: 0o644}
	if caller, ok := fuse.FromContext(ctx); ok {
		g.Owner = caller.Owner
	}
	g.fill(&out.Attr)
	out.SetEntryTimeout(0)
	out.SetAttrTimeout(unkept)
	return n.NewInode(ctx, g, gofs.StableAttr{Mode: syscall.S_IFREG, Ino: g.number, Gen: 1}), 0
}

// fill shows a file of the caller's. A size that is not known yet is 0: to
// remove the ghost, nothing need be fetched.
func (g *ghostNode) fill(a *fuse.Attr) {
	size, _ := g.dir.fs.Index.ThumbSize(g.picture.UUID)
	g.dir.fs.thumbAttr(g.picture, max(size, 0), a)
	a.Mode, a.Owner, a.Ino = syscall.S_IFREG|g.mode, g.Owner, g.number
}

// Getattr shows the thumbnail as it was.
func (g *ghostNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	g.fill(&out.Attr)
	out.SetTimeout(unkept)
	return 0
}

// Setattr finds nothing, unless it is to cut: then a real file takes the
// ghost's place, and ESTALE has the kernel look for it.
func (g *ghostNode) Setattr(_ context.Context, _ gofs.FileHandle, in *fuse.SetAttrIn, _ *fuse.AttrOut) syscall.Errno {
	if _, ok := in.GetSize(); ok {
		return g.embody()
	}
	return syscall.ENOENT
}

// Open reads the thumbnail, past the kernel's idea of its size. To write is as
// in Setattr.
func (g *ghostNode) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, g.embody()
	}
	content, err := g.dir.fs.readThumb(ctx, g.picture)
	if err != nil {
		return nil, 0, g.dir.fs.errno("open thumbnail", uint64(g.picture.Ino), err)
	}
	return &thumbHandle{content}, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH, 0
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
	mu     sync.Mutex
	names  map[haunt]ghost
	order  []haunt
	raised uint64 // so many
}

// ghostBit marks the inode number of a ghost; the rest counts them.
const ghostBit = 1 << 62

// A haunt is where a ghost is.
type haunt struct {
	dir  index.Ino
	name string
}

// A ghost is the picture as it was, and when to forget it.
type ghost struct {
	picture index.Inode
	number  uint64
	until   time.Time
}

// maxGhosts bounds the memory, ghostTime the time: rm -r removes a picture's
// thumbnail within as many names as it takes from the listing at once, some
// thousands.
const (
	maxGhosts = 100_000
	ghostTime = 30 * time.Second
)

// raise makes a ghost of the thumbnail of a picture that is gone from dir.
func (g *ghosts) raise(dir index.Ino, picture index.Dirent) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.names == nil {
		g.names = make(map[haunt]ghost)
	}
	at := haunt{dir, picture.Name + thumbSuffix}
	g.raised++
	g.names[at] = ghost{picture.Inode, ghostBit | g.raised, time.Now().Add(ghostTime)}
	g.order = append(g.order, at)
	if len(g.order) > maxGhosts {
		delete(g.names, g.order[0])
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
	_, was := g.get(dir, name)
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.names, haunt{dir, name})
	return was
}

// get gives the ghost that name is.
func (g *ghosts) get(dir index.Ino, name string) (was ghost, is bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was, is = g.names[haunt{dir, name}]
	return was, is && time.Now().Before(was.until)
}
