package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// rclone is rclone mount of a directory that rclone serves itself by WebDAV.
type rclone struct {
	ctx            context.Context
	dir            string
	addr           string
	service, mount *process
	peak           float64
}

func needs(program string) func(*options) string {
	return func(o *options) string {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed"
		}
		if o.latency > 0 {
			return "its service can't be made slow"
		}
		return ""
	}
}

func startRclone(ctx context.Context, _ *options, dir string) (mounted, error) {
	r := &rclone{ctx: ctx, dir: dir}
	for _, d := range []string{r.root(), filepath.Join(dir, "served")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, err
		}
	}
	err := r.serve()
	if err == nil {
		err = r.remount(false)
	}
	if err != nil {
		return nil, errors.Join(err, r.stop())
	}
	return r, nil
}

func (r *rclone) serve() error {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.addr = free.Addr().String()
	free.Close()
	r.service, err = start(r.ctx, filepath.Join(r.dir, "service.log"), nil, "rclone", "serve", "webdav", "--addr", r.addr, filepath.Join(r.dir, "served"))
	if err != nil {
		return err
	}
	return r.service.await("the service", func() bool {
		c, err := net.Dial("tcp", r.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (r *rclone) root() string { return filepath.Join(r.dir, "mnt") }

func (r *rclone) cache() string { return filepath.Join(r.dir, "cache") }

func (r *rclone) data() []string { return []string{r.cache()} }

func (r *rclone) remount(emptyCache bool) (err error) {
	if err := r.unmount(); err != nil {
		return err
	}
	if emptyCache {
		if err := os.RemoveAll(r.cache()); err != nil {
			return err
		}
	}
	r.mount, err = start(r.ctx, filepath.Join(r.dir, "mount.log"), nil, "rclone", "mount", ":webdav:", r.root(),
		"--webdav-url", "http://"+r.addr, "--cache-dir", r.cache(), "--vfs-cache-mode", "full", "--vfs-write-back", "0s",
		"--transfers", "16", "--dir-cache-time", "1h", "--attr-timeout", "1h")
	if err != nil {
		return err
	}
	return r.mount.await("the mount", func() bool { return isMount(r.root()) })
}

func (r *rclone) unmount() error {
	if r.mount == nil {
		return nil
	}
	err := r.mount.stop()
	r.peak = max(r.peak, r.mount.peak)
	r.mount = nil
	return err
}

// settle waits until each file is served at its size. Temporary names that
// rclone uploaded and forgot when they were renamed are none of its business.
func (r *rclone) settle() error {
	var left error
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if left = r.served(); left == nil {
			return nil
		}
	}
	return fmt.Errorf("rclone's uploads do not end: %w", left)
}

// served tells what of the mount is not.
func (r *rclone) served() error {
	return filepath.WalkDir(r.root(), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(r.root(), path)
		if err != nil {
			return err
		}
		here, err := e.Info()
		if err != nil {
			return err
		}
		there, err := os.Lstat(filepath.Join(r.dir, "served", name))
		if err == nil && here.Size() != there.Size() {
			err = fmt.Errorf("%s: %d of %d bytes", name, there.Size(), here.Size())
		}
		return err
	})
}

func (r *rclone) memory() (float64, error) {
	peak, err := r.mount.look()
	return max(r.peak, peak), err
}

func (r *rclone) stop() error {
	err := r.unmount()
	if r.service != nil {
		err = errors.Join(err, r.service.stop())
	}
	return err
}
