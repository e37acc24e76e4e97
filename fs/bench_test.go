package fs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"chatfs/fs"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

// contenders do the same on the mount and on go-fuse's loopback, mounted with
// the same timeouts and capabilities on the same disk.
type contenders struct {
	b    *testing.B
	f    *fixture
	loop *loop
	took [2]time.Duration
}

func newContenders(b *testing.B) *contenders {
	base := b.TempDir()
	c := &contenders{b: b, f: newFixture(b, resting), loop: &loop{b: b, dir: filepath.Join(base, "mnt"), data: filepath.Join(base, "data")}}
	must(b, os.Mkdir(c.loop.dir, 0o755))
	must(b, os.Mkdir(c.loop.data, 0o755))
	c.loop.mount()
	b.Cleanup(c.loop.unmount)
	return c
}

// resting keeps uploads out of what is measured.
func resting(_ *fs.Config, x *transfer.Config) { x.Settle = time.Hour }

func (c *contenders) roots() [2]string { return [2]string{c.f.Dir, c.loop.dir} }

// untimed does op on both.
func (c *contenders) untimed(op func(dir string)) {
	for _, dir := range c.roots() {
		op(dir)
	}
}

func (c *contenders) remount() {
	c.f.remount()
	c.loop.unmount()
	c.loop.mount()
}

// chunk operations in a row are done on one, then on the other.
const chunk = 50

// race does op n times on both, in turns, and times it.
func (c *contenders) race(n int, op func(dir string, i int)) {
	for from := 0; from < n; from += chunk {
		for k, dir := range c.roots() {
			began := time.Now()
			for i := from; i < min(from+chunk, n); i++ {
				op(dir, i)
			}
			c.took[k] += time.Since(began)
		}
	}
}

// report tells how chatfs compares: x-loopback above 1 is faster.
func (c *contenders) report(ops int) {
	n := float64(ops)
	c.b.ReportMetric(float64(c.took[0].Nanoseconds())/n, "ns/op")
	c.b.ReportMetric(float64(c.took[1].Nanoseconds())/n, "loopback-ns/op")
	c.b.ReportMetric(float64(c.took[1])/float64(c.took[0]), "x-loopback")
}

// loop is go-fuse's loopback in this process.
type loop struct {
	b         *testing.B
	dir, data string
	server    *fuse.Server
}

func (l *loop) mount() {
	hour := time.Hour
	root, err := gofs.NewLoopbackRoot(l.data)
	must(l.b, err)
	l.server, err = gofs.Mount(l.dir, &loopNode{root.(*gofs.LoopbackNode)}, &gofs.Options{
		EntryTimeout: &hour, AttrTimeout: &hour, NegativeTimeout: &hour, NullPermissions: true,
		MountOptions: fuse.MountOptions{Name: "loopback", FsName: "loopback", DirectMount: os.Geteuid() == 0, ExplicitDataCacheControl: true,
			Options: []string{"default_permissions"}, ExtraCapabilities: fuse.CAP_HANDLE_KILLPRIV_V2},
	})
	must(l.b, err)
}

func (l *loop) unmount() {
	fusetest.Eventually(l.b, "unmount of the loopback", l.server.Unmount)
	l.server.Wait()
}

// loopNode lets the kernel keep listings, as the mount does, and writes
// without passthrough.
type loopNode struct{ *gofs.LoopbackNode }

func (n *loopNode) WrapChild(_ context.Context, ops gofs.InodeEmbedder) gofs.InodeEmbedder {
	return &loopNode{ops.(*gofs.LoopbackNode)}
}

func (n *loopNode) OpendirHandle(c context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	h, out, errno := n.LoopbackNode.OpendirHandle(c, flags)
	return h, out | fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, errno
}

func (n *loopNode) Create(c context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	in, h, of, errno := n.LoopbackNode.Create(c, name, flags, mode, out)
	if f, ok := h.(*gofs.LoopbackFile); ok {
		h = plainFile{f}
	}
	return in, h, of, errno
}

// A plainFile is written without passthrough, as the mount has to: its method
// of that name is not the one that go-fuse looks for.
type plainFile struct{ *gofs.LoopbackFile }

func (plainFile) PassthroughFd(struct{}) {}

func numbered(kind string, i int) string { return fmt.Sprintf("%s-%06d", kind, i) }

func BenchmarkCreate4KiB(b *testing.B) {
	c := newContenders(b)
	content := pattern(1, 4<<10)
	b.ResetTimer()
	c.race(b.N, func(dir string, i int) {
		must(b, os.WriteFile(filepath.Join(dir, numbered("f", i)), content, 0o644))
	})
	b.StopTimer()
	c.report(b.N)
}

// fill makes n empty files.
func (c *contenders) fill(n int) {
	c.untimed(func(dir string) {
		for i := range n {
			f, err := os.Create(filepath.Join(dir, numbered("f", i)))
			must(c.b, err)
			must(c.b, f.Close())
		}
	})
}

// BenchmarkStat looks at each file once after a mount, so that the kernel has
// to ask.
func BenchmarkStat(b *testing.B) {
	c := newContenders(b)
	c.fill(b.N)
	c.remount()
	b.ResetTimer()
	c.race(b.N, func(dir string, i int) {
		_, err := os.Lstat(filepath.Join(dir, numbered("f", i)))
		must(b, err)
	})
	b.StopTimer()
	c.report(b.N)
}

// BenchmarkReaddirplus lists 10,000 entries with their attributes after a
// mount.
func BenchmarkReaddirplus(b *testing.B) {
	const entries = 10_000
	c := newContenders(b)
	c.fill(entries)
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		c.remount()
		b.StartTimer()
		c.race(1, func(dir string, _ int) {
			d, err := os.Open(dir)
			must(b, err)
			list, err := d.Readdir(-1)
			must(b, err)
			must(b, d.Close())
			if len(list) != entries {
				b.Fatalf("%d entries", len(list))
			}
		})
	}
	b.StopTimer()
	c.report(b.N)
}

func BenchmarkRename(b *testing.B) {
	c := newContenders(b)
	c.fill(b.N)
	b.ResetTimer()
	c.race(b.N, func(dir string, i int) {
		must(b, os.Rename(filepath.Join(dir, numbered("f", i)), filepath.Join(dir, numbered("g", i))))
	})
	b.StopTimer()
	c.report(b.N)
}

func BenchmarkUnlink(b *testing.B) {
	c := newContenders(b)
	c.fill(b.N)
	b.ResetTimer()
	c.race(b.N, func(dir string, i int) { must(b, os.Remove(filepath.Join(dir, numbered("f", i)))) })
	b.StopTimer()
	c.report(b.N)
}

// BenchmarkOpenReadClose reads files of 4 KiB that the kernel knows already.
func BenchmarkOpenReadClose(b *testing.B) {
	const files = 500
	f := newFixture(b)
	for i := range files {
		f.write(numbered("f", i), pattern(i, 4<<10))
	}
	f.drain()
	read := func(i int) {
		_, err := os.ReadFile(f.path(numbered("f", i%files)))
		must(b, err)
	}
	for i := range files {
		read(i)
	}
	b.ResetTimer()
	for i := range b.N {
		read(i)
	}
}

// BenchmarkWriteLarge writes files of 9.5 MiB as cp does, 128 KiB at a time.
func BenchmarkWriteLarge(b *testing.B) {
	const size = 9728 << 10
	c := newContenders(b)
	piece := pattern(1, 128<<10)
	b.SetBytes(size)
	b.ResetTimer()
	c.race(b.N, func(dir string, i int) {
		f, err := os.Create(filepath.Join(dir, numbered("f", i)))
		must(b, err)
		for range size / len(piece) {
			_, err := f.Write(piece)
			must(b, err)
		}
		must(b, f.Close())
	})
	b.StopTimer()
	c.report(b.N)
}

// BenchmarkColdRead reads files of 9.5 MiB one after the other, none of them
// on the disk.
func BenchmarkColdRead(b *testing.B) {
	const size, files = 9728 << 10, 8
	f := newFixture(b)
	for i := range files {
		f.write(numbered("f", i), pattern(i, size))
	}
	f.drain()
	buf := make([]byte, 128<<10)
	b.SetBytes(size * files)
	for b.Loop() {
		b.StopTimer()
		f.forgetCache()
		b.StartTimer()
		for i := range files {
			r, err := os.Open(f.path(numbered("f", i)))
			must(b, err)
			_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buf)
			must(b, errors.Join(err, r.Close()))
		}
	}
}
