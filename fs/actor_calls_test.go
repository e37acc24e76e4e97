package fs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// calls are the words of a script: each makes one system call, or a few, and
// tells what that gave.
var calls map[string]func(s *stage, a []string) (string, error)

func init() {
	calls = map[string]func(*stage, []string) (string, error){
		"look":   func(*stage, []string) (string, error) { return "", nil },
		"create": func(_ *stage, a []string) (string, error) { return "", create(a[0], a[1]) },
		"mkdir":  func(_ *stage, a []string) (string, error) { return "", unix.Mkdir(a[0], uint32(number(a[1]))) },
		"rmdir":  func(_ *stage, a []string) (string, error) { return "", unix.Rmdir(a[0]) },
		"unlink": func(_ *stage, a []string) (string, error) { return "", unix.Unlink(a[0]) },
		"link":   func(_ *stage, a []string) (string, error) { return "", unix.Link(a[0], a[1]) },
		"linkto": func(_ *stage, a []string) (string, error) {
			return "", unix.Linkat(at, a[0], at, a[1], unix.AT_SYMLINK_FOLLOW)
		},
		"symlink":   func(_ *stage, a []string) (string, error) { return "", unix.Symlink(a[0], a[1]) },
		"rename":    func(_ *stage, a []string) (string, error) { return "", unix.Rename(a[0], a[1]) },
		"noreplace": func(_ *stage, a []string) (string, error) { return "", rename2(a, unix.RENAME_NOREPLACE) },
		"exchange":  func(_ *stage, a []string) (string, error) { return "", rename2(a, unix.RENAME_EXCHANGE) },
		"mkfifo":    func(_ *stage, a []string) (string, error) { return "", unix.Mkfifo(a[0], uint32(number(a[1]))) },
		"mknod":     func(_ *stage, a []string) (string, error) { return "", mknod(a) },
		"bind":      func(_ *stage, a []string) (string, error) { return "", bind(a[0]) },
		"chmod":     func(_ *stage, a []string) (string, error) { return "", unix.Chmod(a[0], uint32(number(a[1]))) },
		"chown":     func(_ *stage, a []string) (string, error) { return "", unix.Chown(a[0], number(a[1]), number(a[2])) },
		"lchown":    func(_ *stage, a []string) (string, error) { return "", unix.Lchown(a[0], number(a[1]), number(a[2])) },
		"truncate":  func(_ *stage, a []string) (string, error) { return "", unix.Truncate(a[0], int64(number(a[1]))) },
		"utimens":   func(_ *stage, a []string) (string, error) { return utimens(a) },
		"umask":     func(_ *stage, a []string) (string, error) { unix.Umask(number(a[0])); return "", nil },
		"stat":      func(_ *stage, a []string) (string, error) { return stat(a[0], 0) },
		"lstat":     func(_ *stage, a []string) (string, error) { return stat(a[0], unix.AT_SYMLINK_NOFOLLOW) },
		"readlink":  func(_ *stage, a []string) (string, error) { return os.Readlink(a[0]) },
		"list":      func(_ *stage, a []string) (string, error) { return list(a[0]) },
		"statfs":    func(_ *stage, a []string) (string, error) { return "", unix.Statfs(a[0], new(unix.Statfs_t)) },
		"access": func(_ *stage, a []string) (string, error) {
			return "", unix.Faccessat(at, a[0], uint32(number(a[1])), unix.AT_EACCESS)
		},
		"content": func(_ *stage, a []string) (string, error) { return "", os.WriteFile(a[0], []byte(a[1]), 0o644) },
		"read":    func(_ *stage, a []string) (string, error) { b, err := os.ReadFile(a[0]); return string(b), err },
		"exec":    func(_ *stage, a []string) (string, error) { return "", exec.Command("./" + a[0]).Run() },
		"copyexe": func(_ *stage, a []string) (string, error) { return "", copyProgram("/bin/sleep", a[0]) },
		"start":   func(s *stage, a []string) (string, error) { return "", s.start(a[0]) },
		"setxattr": func(_ *stage, a []string) (string, error) {
			return "", unix.Lsetxattr(a[0], a[1], []byte(a[2]), number(a[3]))
		},
		"getxattr": func(_ *stage, a []string) (string, error) { return getxattr(a) },
		"rmxattr":  func(_ *stage, a []string) (string, error) { return "", unix.Lremovexattr(a[0], a[1]) },
		"mkdirs":   func(_ *stage, a []string) (string, error) { return "", mkdirs(a[0]) },
		"fault":    func(_ *stage, a []string) (string, error) { return fault() },

		"open":  func(s *stage, a []string) (string, error) { return "", s.openFile("", a) },
		"fd":    func(s *stage, a []string) (string, error) { return "", s.openFile(a[0], a[1:]) },
		"close": func(s *stage, a []string) (string, error) { return "", s.closeFile(a[0]) },
		"pwrite": func(s *stage, a []string) (string, error) {
			return count(unix.Pwrite(s.open[a[0]], []byte(a[2]), int64(number(a[1]))))
		},
		"write": func(s *stage, a []string) (string, error) { return count(unix.Write(s.open[a[0]], []byte(a[1]))) },
		"pread": func(s *stage, a []string) (string, error) { return s.pread(a) },
		"fstat": func(s *stage, a []string) (string, error) { return s.fstat(a[0]) },
		"ftruncate": func(s *stage, a []string) (string, error) {
			return "", unix.Ftruncate(s.open[a[0]], int64(number(a[1])))
		},
		"fchmod": func(s *stage, a []string) (string, error) { return "", unix.Fchmod(s.open[a[0]], uint32(number(a[1]))) },
		"fchown": func(s *stage, a []string) (string, error) {
			return "", unix.Fchown(s.open[a[0]], number(a[1]), number(a[2]))
		},
		"fsync":    func(s *stage, a []string) (string, error) { return "", unix.Fsync(s.open[a[0]]) },
		"futimens": func(s *stage, a []string) (string, error) { return s.futimens(a) },
		"fsetxattr": func(s *stage, a []string) (string, error) {
			return "", unix.Fsetxattr(s.open[a[0]], a[1], []byte(a[2]), number(a[3]))
		},
		"linkfd":   func(s *stage, a []string) (string, error) { return "", linkFd(s.open[a[0]], a[1]) },
		"mkdirat":  func(s *stage, a []string) (string, error) { return "", unix.Mkdirat(s.open[a[0]], a[1], 0o755) },
		"createat": func(s *stage, a []string) (string, error) { return "", s.createAt(a) },
		"allocate": func(s *stage, a []string) (string, error) {
			return "", unix.Fallocate(s.open[a[0]], uint32(number(a[1])), int64(number(a[2])), int64(number(a[3])))
		},
		"copy": func(s *stage, a []string) (string, error) { return copyAll(s.open[a[0]], s.open[a[1]], 0, 0, 1<<20) },
		"seek": func(s *stage, a []string) (string, error) { return s.seek(a) },
		"listopened": func(s *stage, a []string) (string, error) {
			return list(fmt.Sprintf("/proc/thread-self/fd/%d", s.open[a[0]]))
		},
	}
}

const at = unix.AT_FDCWD

func (s *stage) call(name string, a []string) (string, error) {
	f := calls[name]
	if f == nil {
		return "", fmt.Errorf("the script's word %q is unknown", name)
	}
	return f(s, a)
}

func count(n int, err error) (string, error) { return fmt.Sprint(n), err }

func create(p, mode string) error {
	fd, err := unix.Open(p, unix.O_CREAT|unix.O_WRONLY|unix.O_EXCL, uint32(number(mode)))
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func rename2(a []string, flags uint) error { return unix.Renameat2(at, a[0], at, a[1], flags) }

// mknod PATH TYPE MODE MAJOR MINOR
func mknod(a []string) error {
	types := map[string]int{"file": unix.S_IFREG, "fifo": unix.S_IFIFO, "char": unix.S_IFCHR, "block": unix.S_IFBLK, "socket": unix.S_IFSOCK, "dir": unix.S_IFDIR}
	dev := unix.Mkdev(uint32(number(a[3])), uint32(number(a[4])))
	return unix.Mknod(a[0], uint32(types[a[1]]|number(a[2])), int(dev))
}

func bind(p string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrUnix{Name: p})
}

// spec reads the times ATIME MTIME: seconds, seconds.nanoseconds, now or omit.
func spec(a []string) []unix.Timespec {
	var ts []unix.Timespec
	for _, w := range a {
		switch sec, nsec, _ := strings.Cut(w, "."); {
		case w == "now":
			ts = append(ts, unix.Timespec{Nsec: unix.UTIME_NOW})
		case w == "omit":
			ts = append(ts, unix.Timespec{Nsec: unix.UTIME_OMIT})
		case nsec != "":
			ts = append(ts, unix.Timespec{Sec: int64(number(sec)), Nsec: int64(number(nsec))})
		default:
			ts = append(ts, unix.Timespec{Sec: int64(number(sec))})
		}
	}
	return ts
}

// utimens PATH ATIME MTIME gives the times that were set to a number.
func utimens(a []string) (string, error) {
	ts := spec(a[1:])
	if err := unix.UtimesNanoAt(at, a[0], ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return "", err
	}
	var st unix.Stat_t
	err := unix.Lstat(a[0], &st)
	return told(ts, &st), err
}

func told(ts []unix.Timespec, st *unix.Stat_t) string {
	var b strings.Builder
	for i, got := range []unix.Timespec{st.Atim, st.Mtim} {
		if n := ts[i].Nsec; n != unix.UTIME_NOW && n != unix.UTIME_OMIT {
			fmt.Fprintf(&b, "%d.%d ", got.Sec, got.Nsec)
		}
	}
	return b.String()
}

func (s *stage) futimens(a []string) (string, error) {
	ts := spec(a[1:])
	path := fmt.Sprintf("/proc/thread-self/fd/%d", s.open[a[0]])
	if err := unix.UtimesNanoAt(at, path, ts, 0); err != nil {
		return "", err
	}
	var st unix.Stat_t
	err := unix.Fstat(s.open[a[0]], &st)
	return told(ts, &st), err
}

func stat(p string, flags int) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(at, p, &st, flags); err != nil {
		return "", err
	}
	return describe(&st), nil
}

func (s *stage) fstat(name string) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(s.open[name], &st); err != nil {
		return "", err
	}
	return describe(&st), nil
}

// describe is what two file systems should agree upon.
func describe(st *unix.Stat_t) string {
	d := fmt.Sprintf("%o links=%d owner=%d:%d", st.Mode, st.Nlink, st.Uid, st.Gid)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR: // its size is each file system's own
	case unix.S_IFCHR, unix.S_IFBLK:
		d += fmt.Sprintf(" dev=%d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	default:
		d += fmt.Sprintf(" size=%d", st.Size)
	}
	return d
}

func list(p string) (string, error) {
	entries, err := os.ReadDir(p)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name()+":"+e.Type().String())
	}
	slices.Sort(names)
	return strings.Join(names, " "), err
}

func copyProgram(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// start runs a program until the script ends.
func (s *stage) start(p string) error {
	cmd := exec.Command("./"+p, "60")
	if err := cmd.Start(); err != nil {
		return err
	}
	s.runs = append(s.runs, cmd)
	return nil
}

func getxattr(a []string) (string, error) {
	b := make([]byte, 1<<16)
	n, err := unix.Lgetxattr(a[0], a[1], b)
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

// mkdirs makes the directories that the path's last name is to stand in.
func mkdirs(p string) error { return os.MkdirAll(filepath.Dir(p), 0o755) }

var openFlags = map[string]int{
	"rdonly": unix.O_RDONLY, "wronly": unix.O_WRONLY, "rdwr": unix.O_RDWR, "creat": unix.O_CREAT, "excl": unix.O_EXCL,
	"trunc": unix.O_TRUNC, "append": unix.O_APPEND, "nofollow": unix.O_NOFOLLOW, "directory": unix.O_DIRECTORY,
	"nonblock": unix.O_NONBLOCK, "path": unix.O_PATH, "sync": unix.O_SYNC, "noatime": unix.O_NOATIME,
}

// open PATH FLAG,FLAG… [MODE]; without a name it is closed at once.
func (s *stage) openFile(name string, a []string) error {
	flags, mode := unix.O_CLOEXEC, 0
	for f := range strings.SplitSeq(a[1], ",") {
		flags |= openFlags[f]
	}
	if len(a) > 2 {
		mode = number(a[2])
	}
	fd, err := unix.Open(a[0], flags, uint32(mode))
	if err != nil {
		return err
	}
	if name == "" {
		return unix.Close(fd)
	}
	s.open[name] = fd
	return nil
}

func (s *stage) closeFile(name string) error {
	fd := s.open[name]
	delete(s.open, name)
	return unix.Close(fd)
}

// pread NAME OFFSET LENGTH
func (s *stage) pread(a []string) (string, error) {
	b := make([]byte, number(a[2]))
	n, err := unix.Pread(s.open[a[0]], b, int64(number(a[1])))
	return fmt.Sprintf("%q", b[:max(n, 0)]), err
}

// createat NAME PATH makes a file below an open directory.
func (s *stage) createAt(a []string) error {
	fd, err := unix.Openat(s.open[a[0]], a[1], unix.O_CREAT|unix.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// linkFd gives an open file, perhaps an unlinked one, a name.
func linkFd(fd int, p string) error {
	return unix.Linkat(at, fmt.Sprintf("/proc/thread-self/fd/%d", fd), at, p, unix.AT_SYMLINK_FOLLOW)
}

// seek NAME OFFSET set|end|data|hole
func (s *stage) seek(a []string) (string, error) {
	whence := map[string]int{"set": unix.SEEK_SET, "end": unix.SEEK_END, "data": unix.SEEK_DATA, "hole": unix.SEEK_HOLE}
	n, err := unix.Seek(s.open[a[0]], int64(number(a[1])), whence[a[2]])
	return fmt.Sprint(n), err
}
