package fs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// slots are how many files a run holds open at once, on both sides.
const slots = 4

// closed is the descriptor of a slot with nothing open: calls on it are EBADF.
const closed = -1

func slot(t *rapid.T, label string) int { return rapid.IntRange(0, slots-1).Draw(t, label) }

// on does one operation on a slot's two descriptors and compares the answers.
func (m *model) on(t *rapid.T, s int, what string, op func(fd int) (string, error)) {
	t.Helper()
	i := 0
	m.both(t, fmt.Sprintf("%s on slot %d", what, s), func(string) (string, error) {
		i++
		return op(m.fds[s][i-1])
	})
}

func (m *model) openSlot(t *rapid.T) {
	s, n := slot(t, "slot"), name(t, "name")
	flags := rapid.SampledFrom([]int{unix.O_RDONLY, unix.O_RDWR, unix.O_RDWR, unix.O_RDWR | unix.O_APPEND, unix.O_RDWR | unix.O_TRUNC, unix.O_RDWR | unix.O_CREAT,
		unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL, unix.O_RDWR | unix.O_NOFOLLOW}).Draw(t, "flags")
	m.closeSlot(s)
	i := 0
	m.both(t, fmt.Sprintf("open %s %#x in slot %d", n, flags, s), func(root string) (string, error) {
		fd, err := unix.Open(filepath.Join(root, n), flags|unix.O_CLOEXEC, 0o640)
		m.fds[s][i] = fd // -1 if it failed
		i++
		return "", err
	})
}

func (m *model) closeSlot(s int) {
	for i, fd := range m.fds[s] {
		if fd != closed {
			_ = unix.Close(fd)
		}
		m.fds[s][i] = closed
	}
}

func (m *model) closeSlots() {
	for s := range m.fds {
		m.closeSlot(s)
	}
}

func (m *model) closeOne(t *rapid.T) { m.closeSlot(slot(t, "slot")) }

func (m *model) writeSlot(t *rapid.T) {
	b := content(t)
	m.on(t, slot(t, "slot"), "write", func(fd int) (string, error) { return count(unix.Write(fd, b)) })
}

func (m *model) pwriteSlot(t *rapid.T) {
	b, off := content(t), rapid.Int64Range(0, 20_000).Draw(t, "offset")
	m.on(t, slot(t, "slot"), "pwrite", func(fd int) (string, error) { return count(unix.Pwrite(fd, b, off)) })
}

func (m *model) readSlot(t *rapid.T) {
	b, at := make([]byte, 40_000), rapid.Bool().Draw(t, "pread")
	m.on(t, slot(t, "slot"), "read", func(fd int) (string, error) {
		read := func() (int, error) { return unix.Read(fd, b) }
		if at {
			read = func() (int, error) { return unix.Pread(fd, b, 0) }
		}
		n, err := read()
		return fmt.Sprintf("%d bytes %x", n, sum(b[:max(n, 0)])), err
	})
}

func (m *model) truncateSlot(t *rapid.T) {
	size := rapid.Int64Range(0, 20_000).Draw(t, "size")
	m.on(t, slot(t, "slot"), "ftruncate", func(fd int) (string, error) { return "", unix.Ftruncate(fd, size) })
}

func (m *model) allocateSlot(t *rapid.T) {
	mode := rapid.SampledFrom([]uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE,
		unix.FALLOC_FL_ZERO_RANGE, unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE}).Draw(t, "mode")
	off, n := rapid.Int64Range(0, 20_000).Draw(t, "offset"), rapid.Int64Range(1, 9000).Draw(t, "length")
	m.on(t, slot(t, "slot"), fmt.Sprintf("fallocate %#x", mode), func(fd int) (string, error) { return "", unix.Fallocate(fd, mode, off, n) })
}

func (m *model) statSlot(t *rapid.T) {
	m.on(t, slot(t, "slot"), "fstat", func(fd int) (string, error) {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return "", err
		}
		return describe(&st), nil
	})
}

func (m *model) syncSlot(t *rapid.T) {
	if rapid.IntRange(0, 5).Draw(t, "sync") == 0 {
		m.on(t, slot(t, "slot"), "fsync", func(fd int) (string, error) { return "", unix.Fsync(fd) })
	}
}

func (m *model) chmodSlot(t *rapid.T) {
	mode := rapid.Uint32Range(0, 0o7777).Draw(t, "mode")
	m.on(t, slot(t, "slot"), "fchmod", func(fd int) (string, error) { return "", unix.Fchmod(fd, mode|0o700) })
}

// copySlot copies from one file to another, or to itself.
func (m *model) copySlot(t *rapid.T) {
	from, to := slot(t, "from"), slot(t, "to")
	in, out := rapid.Int64Range(0, 10_000).Draw(t, "in"), rapid.Int64Range(0, 10_000).Draw(t, "out")
	if rapid.Bool().Draw(t, "whole") {
		in, out = 0, 0
	}
	n := rapid.IntRange(1, 30_000).Draw(t, "length")
	i := 0
	m.on(t, from, fmt.Sprintf("copy %d from %d to slot %d at %d", n, in, to, out), func(fd int) (string, error) {
		i++
		return copyAll(fd, m.fds[to][i-1], in, out, n)
	})
}

// copyAll tells how many bytes copy_file_range gives in as many calls as it
// takes.
func copyAll(from, to int, in, out int64, n int) (string, error) {
	done := 0
	for done < n {
		got, err := unix.CopyFileRange(from, &in, to, &out, n-done, 0)
		if err != nil {
			return "", err
		}
		if got == 0 {
			break
		}
		done += got
	}
	return fmt.Sprint(done), nil
}

func (m *model) mknod(t *rapid.T) {
	n, kind := name(t, "name"), rapid.SampledFrom([]uint32{unix.S_IFREG, unix.S_IFSOCK}).Draw(t, "kind")
	m.both(t, "mknod "+n, func(root string) (string, error) { return "", unix.Mknod(filepath.Join(root, n), kind|0o644, 0) })
}

func (m *model) chown(t *rapid.T) {
	if os.Getuid() != 0 {
		return // chown is root's
	}
	ids := []int{-1, 0, 1, 65534}
	n, uid, gid := name(t, "name"), rapid.SampledFrom(ids).Draw(t, "uid"), rapid.SampledFrom(ids).Draw(t, "gid")
	m.both(t, "lchown "+n, func(root string) (string, error) { return "", unix.Lchown(filepath.Join(root, n), uid, gid) })
}

// check compares the attributes that all names lead to, after each step.
func (m *model) check(t *rapid.T) {
	for _, n := range names {
		m.both(t, "lstat "+n, func(root string) (string, error) {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(root, n), &st); err != nil {
				return "", err
			}
			return describe(&st), nil
		})
	}
	if m.steps++; m.steps%50 == 0 {
		m.compareTrees(t)
	}
}

// xattrsOf describes a file's xattrs.
func xattrsOf(p string) (string, error) {
	b := make([]byte, 4096)
	n, err := unix.Llistxattr(p, b)
	if n == 0 || errors.Is(err, unix.ENOTSUP) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var d string
	for _, attr := range []string{"user.a", "user.b"} {
		value := make([]byte, 4096)
		if n, err := unix.Lgetxattr(p, attr, value); err == nil {
			d += fmt.Sprintf(" %s=%q", attr, value[:n])
		}
	}
	return d, nil
}
