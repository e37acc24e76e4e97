package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stamps are the times of an inode. The times of last access of symlinks and
// the sizes of directories are left out: looking changes the former.
type stamps struct{ atime, mtime, ctime unix.Timespec }

// look describes all that is in the root: types, modes, owners, links, sizes,
// contents, and which times the step changed.
func (s *stage) look() string {
	if err := os.Chdir(s.root); err != nil {
		return err.Error()
	}
	var b strings.Builder
	seen, first := make(map[uint64]stamps), make(map[uint64]string)
	s.walk(".", func(p string, st *unix.Stat_t) {
		if first[st.Ino] == "" {
			first[st.Ino] = p
		}
		fmt.Fprintf(&b, "%s %s", shorten(p), describe(st))
		if first[st.Ino] != p {
			fmt.Fprintf(&b, " = %s", shorten(first[st.Ino]))
		}
		if st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size > 0 {
			fmt.Fprintf(&b, " %x", contentOf(p))
		}
		now := stamps{st.Atim, st.Mtim, st.Ctim}
		if s.times {
			b.WriteString(changedTimes(s.seen, st, now))
		}
		seen[st.Ino] = now
		b.WriteByte('\n')
	})
	s.seen = seen
	return b.String()
}

func changedTimes(before map[uint64]stamps, st *unix.Stat_t, now stamps) string {
	was, known := before[st.Ino]
	if !known {
		// All three are of one moment, but for what the script's very step
		// set otherwise.
		return " | new"
	}
	changed := " | "
	if was.atime != now.atime && st.Mode&unix.S_IFMT != unix.S_IFLNK {
		changed += "a"
	}
	if was.mtime != now.mtime {
		changed += "m"
	}
	if was.ctime != now.ctime {
		changed += "c"
	}
	return changed
}

func shorten(p string) string {
	if len(p) > 60 {
		return fmt.Sprintf("%s…(%d)", p[:30], len(p))
	}
	return p
}

// walk visits a tree in the order of its names, without changing times of
// last access.
func (s *stage) walk(p string, visit func(string, *unix.Stat_t)) {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return // the path is longer than the system takes
	}
	visit(p, &st)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return
	}
	fd, err := unix.Open(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	dir := os.NewFile(uintptr(fd), p)
	names, _ := dir.Readdirnames(-1)
	dir.Close()
	slices.Sort(names)
	for _, name := range names {
		s.walk(filepath.Join(p, name), visit)
	}
}

// contentOf is a sum of what a file holds.
func contentOf(p string) uint64 {
	fd, err := unix.Open(p, unix.O_RDONLY|unix.O_NOATIME|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	f := os.NewFile(uintptr(fd), p)
	defer f.Close()
	b := make([]byte, 1<<16)
	n, _ := f.ReadAt(b, 0)
	return sum(b[:n])
}

// fault makes calls with an address that no process has.
func fault() (string, error) {
	const bad = 0xdeadc0de
	here, err := unix.BytePtrFromString("here")
	if err != nil {
		return "", err
	}
	good, cwd := uintptr(unsafe.Pointer(here)), ^uintptr(99) // AT_FDCWD
	var answers []string
	for _, c := range [][5]uintptr{
		{unix.SYS_OPENAT, cwd, bad, 0, 0},
		{unix.SYS_OPENAT, cwd, bad, unix.O_CREAT, 0o644},
		{unix.SYS_MKDIRAT, cwd, bad, 0o755, 0},
		{unix.SYS_MKNODAT, cwd, bad, unix.S_IFIFO | 0o644, 0},
		{unix.SYS_UNLINKAT, cwd, bad, 0, 0},
		{unix.SYS_UNLINKAT, cwd, bad, unix.AT_REMOVEDIR, 0},
		{unix.SYS_SYMLINKAT, bad, cwd, good, 0},
		{unix.SYS_SYMLINKAT, good, cwd, bad, 0},
		{unix.SYS_RENAMEAT, cwd, bad, cwd, good},
		{unix.SYS_RENAMEAT, cwd, good, cwd, bad},
		{unix.SYS_LINKAT, cwd, bad, cwd, good},
		{unix.SYS_LINKAT, cwd, good, cwd, bad},
		{unix.SYS_FCHMODAT, cwd, bad, 0o644, 0},
		{unix.SYS_FCHOWNAT, cwd, bad, 0, 0},
		{unix.SYS_TRUNCATE, bad, 0, 0, 0},
	} {
		_, _, e := unix.Syscall6(c[0], c[1], c[2], c[3], c[4], 0, 0)
		answers = append(answers, unix.ErrnoName(e))
	}
	return strings.Join(answers, " "), nil
}
