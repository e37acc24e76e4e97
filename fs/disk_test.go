package fs_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"chatfs/internal/fusetest"
)

// A badDisk is a disk in memory, mounted from a process of its own, that
// forgets with the power what was not synced, and fails when it is told to. A
// profile that lies on it meets what it may meet on a real one.
type badDisk struct {
	mu     sync.Mutex
	root   *diskFile
	inos   uint64
	ops    int           // that change something, since fail was told
	failAt int           // the number of the op that fails; 0: none does
	stuck  bool          // so do all that follow
	errno  syscall.Errno // what they answer
	fired  int
}

// A diskFile is a file or directory: as it is, and as it was when it was
// synced last.
type diskFile struct {
	gofs.Inode
	disk  *badDisk
	ino   uint64
	dir   bool
	ctime time.Time

	data, synced       []byte
	names, syncedNames map[string]*diskFile
}

func (d *badDisk) newFile(dir bool) *diskFile {
	d.inos++
	f := &diskFile{disk: d, ino: d.inos, dir: dir, ctime: time.Now()}
	if dir {
		f.names = make(map[string]*diskFile)
	}
	return f
}

// op counts an operation that changes something, and answers whether it
// fails. mu is held.
func (d *badDisk) op() syscall.Errno {
	d.ops++
	if d.failAt == 0 || d.ops != d.failAt && (!d.stuck || d.ops < d.failAt) {
		return 0
	}
	d.fired++
	return d.errno
}

// losePower gives what is left: of each file and directory what was synced,
// and of the rest any part.
func (d *badDisk) losePower(random *rand.Rand) *diskFile {
	d.mu.Lock()
	defer d.mu.Unlock()
	left := make(map[*diskFile]*diskFile)
	return d.root.leftOf(random, left)
}

func (f *diskFile) leftOf(random *rand.Rand, left map[*diskFile]*diskFile) *diskFile {
	if l := left[f]; l != nil {
		return l
	}
	l := &diskFile{disk: f.disk, ino: f.ino, dir: f.dir, ctime: f.ctime}
	left[f] = l
	if !f.dir {
		l.data = spoil(random, bytes.Clone(f.synced), f.data)
		l.synced = bytes.Clone(l.data)
		return l
	}
	l.names = make(map[string]*diskFile)
	for name, c := range f.syncedNames {
		if f.names[name] == c || random.IntN(2) == 0 {
			l.names[name] = c.leftOf(random, left)
		}
	}
	for name, c := range f.names {
		if f.syncedNames[name] != c && random.IntN(2) == 0 {
			l.names[name] = c.leftOf(random, left)
		}
	}
	l.syncedNames = maps.Clone(l.names)
	return l
}

// spoil lays any of the pages that were not synced over those that were, or
// zeroes in their place.
func spoil(random *rand.Rand, synced, data []byte) []byte {
	const page = 4096
	switch random.IntN(4) {
	case 0:
		return synced
	case 1:
		if len(data) > len(synced) { // the length came to the disk, the bytes did not
			return append(synced, make([]byte, len(data)-len(synced))...)
		}
	}
	for off := 0; off < len(data); off += page {
		end := min(off+page, len(data))
		if bytes.Equal(data[off:end], synced[min(off, len(synced)):min(end, len(synced))]) || random.IntN(2) == 0 {
			continue
		}
		if end > len(synced) {
			synced = append(synced, make([]byte, end-len(synced))...)
		}
		copy(synced[off:end], data[off:end])
	}
	return synced
}

// The operations.

func (f *diskFile) fill(out *fuse.Attr) {
	out.Ino, out.Mode, out.Nlink, out.Size = f.ino, syscall.S_IFREG|0o600, 1, uint64(len(f.data))
	if f.dir {
		out.Mode, out.Nlink = syscall.S_IFDIR|0o700, 2
	}
	out.Blocks = (out.Size + 511) / 512
	out.SetTimes(nil, &f.ctime, &f.ctime)
}

func (f *diskFile) node(ctx context.Context, c *diskFile, out *fuse.EntryOut) *gofs.Inode {
	c.fill(&out.Attr)
	mode := uint32(syscall.S_IFREG)
	if c.dir {
		mode = syscall.S_IFDIR
	}
	return f.NewInode(ctx, c, gofs.StableAttr{Mode: mode, Ino: c.ino, Gen: 1})
}

func (f *diskFile) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	c := f.names[name]
	if c == nil {
		return nil, syscall.ENOENT
	}
	return f.node(ctx, c, out), 0
}

// add puts c into the directory.
func (f *diskFile) add(ctx context.Context, name string, c *diskFile, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if e := f.disk.op(); e != 0 {
		return nil, e
	}
	f.names[name], c.ctime = c, time.Now()
	return f.node(ctx, c, out), 0
}

func (f *diskFile) Create(ctx context.Context, name string, _, _ uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.names[name] != nil {
		return nil, nil, 0, syscall.EEXIST
	}
	n, e := f.add(ctx, name, f.disk.newFile(false), out)
	return n, nil, 0, e
}

func (f *diskFile) Tmpfile(ctx context.Context, _, _ uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if e := f.disk.op(); e != 0 {
		return nil, nil, 0, e
	}
	return f.node(ctx, f.disk.newFile(false), out), nil, 0, 0
}

func (f *diskFile) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.add(ctx, name, f.disk.newFile(true), out)
}

func (f *diskFile) Link(ctx context.Context, target gofs.InodeEmbedder, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.names[name] != nil {
		return nil, syscall.EEXIST
	}
	return f.add(ctx, name, target.(*diskFile), out)
}

func (f *diskFile) Unlink(_ context.Context, name string) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if e := f.disk.op(); e != 0 {
		return e
	}
	delete(f.names, name)
	return 0
}

func (f *diskFile) Rmdir(ctx context.Context, name string) syscall.Errno { return f.Unlink(ctx, name) }

func (f *diskFile) Rename(_ context.Context, name string, to gofs.InodeEmbedder, newName string, _ uint32) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if e := f.disk.op(); e != 0 {
		return e
	}
	to.(*diskFile).names[newName] = f.names[name]
	delete(f.names, name)
	return 0
}

func (f *diskFile) Open(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, 0
}

func (f *diskFile) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.fill(&out.Attr)
	return 0
}

func (f *diskFile) Setattr(_ context.Context, _ gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if size, ok := in.GetSize(); ok {
		if e := f.disk.op(); e != 0 {
			return e
		}
		f.grow(int64(size))
		f.data = f.data[:size]
	}
	f.ctime = time.Now()
	f.fill(&out.Attr)
	return 0
}

// grow makes the file at least size bytes long.
func (f *diskFile) grow(size int64) {
	if more := size - int64(len(f.data)); more > 0 {
		f.data = append(f.data, make([]byte, more)...)
	}
}

func (f *diskFile) Read(_ context.Context, _ gofs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if off >= int64(len(f.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, f.data[off:])]), 0
}

func (f *diskFile) Write(_ context.Context, _ gofs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if e := f.disk.op(); e != 0 {
		return 0, e
	}
	f.grow(off + int64(len(data)))
	f.ctime = time.Now()
	return uint32(copy(f.data[off:], data)), 0
}

func (f *diskFile) Allocate(_ context.Context, _ gofs.FileHandle, off, size uint64, _ uint32) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if e := f.disk.op(); e != 0 {
		return e
	}
	f.grow(int64(off + size))
	return 0
}

func (f *diskFile) Fsync(context.Context, gofs.FileHandle, uint32) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if e := f.disk.op(); e != 0 {
		return e
	}
	f.synced, f.syncedNames = bytes.Clone(f.data), maps.Clone(f.names)
	return 0
}

func (f *diskFile) Flush(context.Context, gofs.FileHandle) syscall.Errno { return 0 }

func (f *diskFile) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Frsize, out.NameLen = 4096, 4096, 255
	out.Blocks, out.Bfree, out.Bavail = 1<<20, 1<<20, 1<<20
	return 0
}

// A diskDir lists a directory, and syncs it.
type diskDir struct {
	f    *diskFile
	list []fuse.DirEntry
}

func (f *diskFile) OpendirHandle(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	d := &diskDir{f: f}
	for name, c := range f.names {
		mode := uint32(syscall.S_IFREG)
		if c.dir {
			mode = syscall.S_IFDIR
		}
		d.list = append(d.list, fuse.DirEntry{Name: name, Ino: c.ino, Mode: mode})
	}
	return d, 0, 0
}

func (d *diskDir) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	if len(d.list) == 0 {
		return nil, 0
	}
	e := d.list[0]
	d.list = d.list[1:]
	return &e, 0
}

func (d *diskDir) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	return d.f.Fsync(ctx, nil, flags)
}

// serveDisk is the disk's process: it takes commands from stdin until that
// ends, and answers each with a line.
func serveDisk(dir string) error {
	d := &badDisk{}
	d.root = d.newFile(true)
	left := d.root
	server, err := d.mount(dir, d.root)
	if err != nil {
		return err
	}
	fmt.Println("ok")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); d.reply() {
		var n int
		var errno, seed uint64
		switch command, rest, _ := strings.Cut(lines.Text(), " "); command {
		case "fail":
			d.mu.Lock()
			fmt.Sscan(rest, &n, &errno, &d.stuck)
			d.ops, d.failAt, d.errno, d.fired = 0, n, syscall.Errno(errno), 0
			d.mu.Unlock()
		case "lose":
			fmt.Sscan(rest, &seed)
			left = d.losePower(rand.New(rand.NewPCG(seed, 2)))
		case "swap":
			if err := unmountDisk(server); err != nil {
				return err
			}
			d.mu.Lock()
			d.root = left
			d.mu.Unlock()
			if server, err = d.mount(dir, left); err != nil {
				return err
			}
		}
	}
	return unmountDisk(server)
}

func (d *badDisk) reply() {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Println("ok", d.fired)
}

func (d *badDisk) mount(dir string, root *diskFile) (*fuse.Server, error) {
	hour := time.Hour
	return gofs.Mount(dir, root, &gofs.Options{EntryTimeout: &hour, AttrTimeout: &hour, RootStableAttr: &gofs.StableAttr{Ino: root.ino, Gen: 1},
		MountOptions: fuse.MountOptions{Name: "baddisk", FsName: "baddisk", DirectMount: true, MaxWrite: 1 << 17}})
}

func unmountDisk(server *fuse.Server) (err error) {
	for end := time.Now().Add(fusetest.Patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = server.Unmount(); err == nil {
			server.Wait()
			break
		}
	}
	return err
}

// A diskHandle commands a badDisk.
type diskHandle struct {
	t   testing.TB
	dir string
	in  *os.File
	out *bufio.Scanner
}

// newBadDisk starts a disk's process; it ends with the test.
func newBadDisk(t testing.TB) *diskHandle {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "CHATFS_TEST_DISK="+dir)
	cmd.Stderr = os.Stderr
	inR, inW, err := os.Pipe()
	must(t, err)
	outR, outW, err := os.Pipe()
	must(t, err)
	cmd.Stdin, cmd.Stdout = inR, outW
	must(t, cmd.Start())
	inR.Close()
	outW.Close()
	d := &diskHandle{t: t, dir: dir, in: inW, out: bufio.NewScanner(outR)}
	t.Cleanup(func() {
		inW.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the disk's process: %v", err)
		}
		outR.Close()
	})
	d.answer()
	return d
}

func (d *diskHandle) answer() (fired int) {
	d.t.Helper()
	if !d.out.Scan() {
		d.t.Fatalf("the disk's process ended: %v", d.out.Err())
	}
	fmt.Sscanf(d.out.Text(), "ok %d", &fired)
	return fired
}

func (d *diskHandle) tell(format string, args ...any) (fired int) {
	d.t.Helper()
	_, err := fmt.Fprintf(d.in, format+"\n", args...)
	must(d.t, err)
	return d.answer()
}

// fail has the n-th change from now on fail, and with stuck all that follow.
func (d *diskHandle) fail(n int, errno syscall.Errno, stuck bool) {
	d.t.Helper()
	d.tell("fail %d %d %v", n, uint64(errno), stuck)
}

// heal ends the failures and tells how many there were.
func (d *diskHandle) heal() int {
	d.t.Helper()
	fired := d.tell("count")
	d.fail(0, 0, false)
	return fired
}
