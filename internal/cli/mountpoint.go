package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// askTimeout bounds the question whether a mount answers. A FUSE mount
// whose process hangs would hold us for ever.
const askTimeout = 5 * time.Second

// prepareMountpoint checks that dir can be mounted on and answers its
// resolved path. What a crash left mounted there is unmounted, and said.
func prepareMountpoint(dir string, say io.Writer) (string, error) {
	path, err := resolveMountpoint(dir)
	if err != nil {
		return "", err
	}
	for range 16 { // dead mounts stack
		m, err := mountAt(path)
		if err != nil {
			return "", fail(exitMountpoint, "mount point %s: %w", dir, err)
		}
		if m == nil {
			return path, checkEmpty(path)
		}
		if err := askBounded(path); !errors.Is(err, unix.ENOTCONN) {
			return "", alreadyMounted(path, m, err)
		}
		if err := detach(path); err != nil {
			return "", fail(exitMountpoint, "%s is a dead mount and can't be cleared: %w", path, err)
		}
		fmt.Fprintf(say, "chatfs: cleared a dead mount at %s, left by a process that was killed\n", path)
	}
	return "", fail(exitMountpoint, "%s: dead mounts without end", path)
}

// resolveMountpoint is dir without symlinks, even where a dead mount answers
// ENOTCONN to every question.
func resolveMountpoint(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fail(exitMountpoint, "mount point %s: %w", dir, err)
	}
	path, err := filepath.EvalSymlinks(abs)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, unix.ENOTCONN):
		return resolveDead(abs)
	case errors.Is(err, fs.ErrNotExist):
		return "", fail(exitMountpoint, "mount point %s does not exist: make it with mkdir -p %s", dir, dir)
	}
	return "", fail(exitMountpoint, "mount point %s: %w", dir, err)
}

// resolveDead resolves a path whose last part, or that part's target, is a
// dead mount.
func resolveDead(abs string) (string, error) {
	if target, err := os.Readlink(abs); err == nil {
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(abs), target)
		}
		abs = target
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", fail(exitMountpoint, "mount point %s: %w", abs, err)
	}
	return filepath.Join(parent, filepath.Base(abs)), nil
}

// askBounded asks a mount for its space, at most for askTimeout: then it is
// ETIMEDOUT, and the question goes on in its own goroutine until the kernel
// answers it, since statfs(2) can't be called off.
func askBounded(path string) error {
	done := make(chan error, 1)
	go func() {
		var st unix.Statfs_t // stat(2) may be answered by the kernel's cache
		done <- unix.Statfs(path, &st)
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(askTimeout):
		return unix.ETIMEDOUT
	}
}

// isDead tells whether the mount at path has lost its process.
func isDead(path string) bool { return errors.Is(askBounded(path), unix.ENOTCONN) }

func alreadyMounted(path string, m *mountinfo.Info, answer error) error {
	what := m.FSType + " (" + m.Source + ")"
	if m.FSType == fuseType {
		what = "chatfs (" + m.Source + ")"
	}
	if answer != nil {
		return fail(exitMountpoint, "%s is mounted already, by %s, which does not answer: %w", path, what, answer)
	}
	return fail(exitMountpoint, "%s is mounted already, by %s: end that with fusermount3 -u %s, or choose another directory", path, what, path)
}

func checkEmpty(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fail(exitMountpoint, "mount point: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(1)
	switch {
	case errors.Is(err, unix.ENOTDIR):
		return fail(exitMountpoint, "mount point %s is no directory", path)
	case err != nil && !errors.Is(err, io.EOF):
		return fail(exitMountpoint, "mount point: %w", err)
	case len(names) > 0:
		return fail(exitMountpoint, "mount point %s is not empty: it holds %s, which the mount would hide", path, names[0])
	}
	return nil
}

// fusermount runs fusermount3; its own words are the error.
func fusermount(args ...string) error {
	out, err := exec.Command("fusermount3", args...).CombinedOutput()
	if err != nil {
		if words := strings.TrimSpace(string(out)); words != "" {
			return errors.New(words)
		}
	}
	return err
}

// checkOutside refuses a mount point that would hide the profile's own
// directories, or lies in them.
func checkOutside(mountpoint string, dirs ...string) error {
	for _, dir := range dirs {
		for _, pair := range [][2]string{{mountpoint, dir}, {dir, mountpoint}} {
			rel, err := filepath.Rel(pair[0], pair[1])
			if err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
				return fail(exitMountpoint, "mount point %s and chatfs's own directory %s must not hold each other", mountpoint, dir)
			}
		}
	}
	return nil
}
