package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// loopbackEnv makes this program serve a loopback mount, in the variant that
// it names, instead of measuring.
const loopbackEnv = "CHATFS_BENCH_LOOPBACK"

// loopback is go-fuse's loopback in a process of its own.
type loopback struct {
	ctx     context.Context
	variant string
	dir     string
	p       *process
	peak    float64
}

func startLoopback(variant string) func(context.Context, *options, string) (mounted, error) {
	return func(ctx context.Context, _ *options, dir string) (mounted, error) {
		l := &loopback{ctx: ctx, variant: variant + ",", dir: dir}
		for _, d := range []string{l.root(), l.data()[0]} {
			if err := os.Mkdir(d, 0o755); err != nil {
				return nil, err
			}
		}
		return l, l.remount(false)
	}
}

func (l *loopback) root() string { return filepath.Join(l.dir, "mnt") }

func (l *loopback) data() []string { return []string{filepath.Join(l.dir, "data")} }

func (l *loopback) settle() error { return nil }

func (l *loopback) remount(bool) error {
	if err := l.stop(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	l.p, err = start(l.ctx, filepath.Join(l.dir, "log"), []string{loopbackEnv + "=" + l.variant}, self, l.root(), l.data()[0])
	if err != nil {
		return err
	}
	return l.p.await("the mount", func() bool { return isMount(l.root()) })
}

func (l *loopback) memory() (float64, error) {
	peak, err := l.p.look()
	return max(l.peak, peak), err
}

func (l *loopback) stop() error {
	if l.p == nil {
		return nil
	}
	err := l.p.stop()
	l.peak = max(l.peak, l.p.peak)
	l.p = nil
	return err
}

// serveLoopback is the child's part: it mounts and serves until SIGTERM.
func serveLoopback(variant, mountpoint, original string) error {
	syscall.Umask(0)
	inner, err := gofs.NewLoopbackRoot(original)
	if err != nil {
		return err
	}
	tuned := strings.Contains(variant, "tuned")
	root := &loopNode{inner.(*gofs.LoopbackNode), tuned, strings.Contains(variant, "pass")}
	server, err := gofs.Mount(mountpoint, root, loopbackOptions(tuned))
	if err != nil {
		return err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-end
		server.Unmount()
	}()
	server.Wait()
	return nil
}

// loopbackOptions are those of go-fuse's example; the tuned ones those that
// chatfs mounts with.
func loopbackOptions(tuned bool) *gofs.Options {
	timeout := time.Second
	o := &gofs.Options{NullPermissions: true, AttrTimeout: &timeout, EntryTimeout: &timeout}
	o.MountOptions = fuse.MountOptions{FsName: "loopback", Name: "loopback", DirectMount: os.Geteuid() == 0}
	if tuned {
		timeout = time.Hour
		o.NegativeTimeout = &timeout
		o.Options = []string{"default_permissions"}
		o.ExtraCapabilities = fuse.CAP_HANDLE_KILLPRIV_V2
		o.ExplicitDataCacheControl = true
		o.EnableSymlinkCaching = true
	}
	return o
}

// A loopNode is a loopback node with some of its answers changed.
type loopNode struct {
	*gofs.LoopbackNode
	tuned, pass bool
}

// WrapChild makes a node of each child.
func (n *loopNode) WrapChild(_ context.Context, ops gofs.InodeEmbedder) gofs.InodeEmbedder {
	return &loopNode{ops.(*gofs.LoopbackNode), n.tuned, n.pass}
}

// Getxattr refuses what the kernel asks for at each write.
func (n *loopNode) Getxattr(ctx context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	if n.tuned && !strings.HasPrefix(attr, "user.") {
		return 0, syscall.ENOTSUP
	}
	return n.LoopbackNode.Getxattr(ctx, attr, dest)
}

// OpendirHandle lets the kernel keep listings.
func (n *loopNode) OpendirHandle(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	h, out, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if n.tuned {
		out |= fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE
	}
	return h, out, errno
}

// Open and Create give handles that offer passthrough, or hide it.
func (n *loopNode) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	h, out, errno := n.LoopbackNode.Open(ctx, flags)
	return n.handle(h), out, errno
}

// Create is Open of a new file.
func (n *loopNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	in, h, of, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return in, n.handle(h), of, errno
}

func (n *loopNode) handle(h gofs.FileHandle) gofs.FileHandle {
	if f, ok := h.(*gofs.LoopbackFile); ok && !n.pass {
		return plainFile{f}
	}
	return h
}

// A plainFile is a file without passthrough: its method of that name is
// another than go-fuse looks for.
type plainFile struct{ *gofs.LoopbackFile }

// PassthroughFd hides LoopbackFile's.
func (plainFile) PassthroughFd(struct{}) {}
