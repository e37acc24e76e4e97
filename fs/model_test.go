package fs_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

var modelRuns = flag.Int("model.runs", 0, "random runs of about 200 operations each that TestModel does; 0 is 120, or 1200 of them if there is time")

// TestModel does random operations on the mount and on a plain directory at
// once, by name and on several open files, and compares errnos, results and
// attributes after each, and again and again whole trees with their contents.
// Uploads run meanwhile. rapid prints how to repeat a run that fails.
func TestModel(t *testing.T) {
	f := newFixture(t)
	if *modelRuns == 0 {
		*modelRuns = 120
		if long() {
			*modelRuns = 1200
		}
	}
	must(t, flag.Set("rapid.checks", fmt.Sprint(*modelRuns)))
	must(t, flag.Set("rapid.steps", "200"))
	plain := t.TempDir()
	run, operations := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := &model{f: f, sub: fmt.Sprintf("run%d", run), plain: plain}
		for s := range m.fds {
			m.fds[s] = [2]int{closed, closed}
		}
		for _, root := range m.roots() {
			if err := os.Mkdir(root, 0o755); err != nil {
				rt.Fatal(err)
			}
		}
		defer m.closeSlots()
		rt.Repeat(map[string]func(*rapid.T){
			"write": m.write, "append": m.append, "overwrite": m.overwrite, "truncate": m.truncate,
			"mkdir": m.mkdir, "remove": m.remove, "rename": m.rename, "exchange": m.exchange, "link": m.link,
			"symlink": m.symlink, "chmod": m.chmod, "times": m.times, "xattr": m.xattr, "exclusive": m.exclusive,
			"remount": m.remount, "mknod": m.mknod, "chown": m.chown,
			"open": m.openSlot, "open again": m.openSlot, "close": m.closeOne, "write open": m.writeSlot, "pwrite open": m.pwriteSlot,
			"read open": m.readSlot, "truncate open": m.truncateSlot, "allocate open": m.allocateSlot, "stat open": m.statSlot,
			"sync open": m.syncSlot, "chmod open": m.chmodSlot, "copy": m.copySlot, "copy again": m.copySlot,
			"": func(t *rapid.T) { operations++; m.check(t) },
		})
		m.compareTrees(rt)
	})
	t.Logf("%d runs, %d operations", run, operations)
}

// A model is the pair of directories of one run.
type model struct {
	f     *fixture
	sub   string
	plain string
	fds   [slots][2]int // descriptors, of the mount and of the plain directory
	steps int
}

func (m *model) roots() []string {
	return []string{m.f.path(m.sub), filepath.Join(m.plain, m.sub)}
}

// names are few, so that operations meet; among them are odd ones.
var names = []string{"a", "b", "c", "d/a", "d/b", "d/e/a", "d", "d/e", "e", "a.jpg", "a.jpg.thumb", "ü \n*", strings.Repeat("n", 255)}

func name(t *rapid.T, label string) string { return rapid.SampledFrom(names).Draw(t, label) }

// both does one operation on both sides and compares what it answers.
func (m *model) both(t *rapid.T, what string, op func(root string) (string, error)) {
	t.Helper()
	var answers [2]string
	for i, root := range m.roots() {
		got, err := op(root)
		answers[i] = got + "|" + errnoName(err)
	}
	if answers[0] != answers[1] {
		t.Fatalf("%s: the mount answers %s, a plain directory %s", what, answers[0], answers[1])
	}
}

func errnoName(err error) string {
	var e syscall.Errno
	if errors.As(err, &e) {
		return unix.ErrnoName(e)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func (m *model) open(t *rapid.T, flags int, use func(*os.File) error) {
	n := name(t, "name")
	m.both(t, fmt.Sprintf("open %s %#x", n, flags), func(root string) (string, error) {
		file, err := os.OpenFile(filepath.Join(root, n), flags, 0o644)
		if err != nil {
			return "", err
		}
		defer file.Close()
		return "", use(file)
	})
}

func content(t *rapid.T) []byte {
	return bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(t, "byte"))}, rapid.IntRange(0, 9000).Draw(t, "length"))
}

func (m *model) write(t *rapid.T) {
	b := content(t)
	m.open(t, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, func(f *os.File) error { _, err := f.Write(b); return err })
}

func (m *model) exclusive(t *rapid.T) {
	b := content(t)
	m.open(t, os.O_WRONLY|os.O_CREATE|os.O_EXCL, func(f *os.File) error { _, err := f.Write(b); return err })
}

func (m *model) append(t *rapid.T) {
	b := content(t)
	m.open(t, os.O_WRONLY|os.O_APPEND, func(f *os.File) error { _, err := f.Write(b); return err })
}

func (m *model) overwrite(t *rapid.T) {
	b, off := content(t), rapid.Int64Range(0, 20_000).Draw(t, "offset")
	m.open(t, os.O_RDWR, func(f *os.File) error { _, err := f.WriteAt(b, off); return err })
}

func (m *model) truncate(t *rapid.T) {
	n, size := name(t, "name"), rapid.Int64Range(0, 20_000).Draw(t, "size")
	m.both(t, "truncate "+n, func(root string) (string, error) { return "", os.Truncate(filepath.Join(root, n), size) })
}

func (m *model) mkdir(t *rapid.T) {
	n := name(t, "name")
	m.both(t, "mkdir "+n, func(root string) (string, error) { return "", os.Mkdir(filepath.Join(root, n), 0o750) })
}

func (m *model) remove(t *rapid.T) {
	n, dir := name(t, "name"), rapid.Bool().Draw(t, "rmdir")
	m.both(t, fmt.Sprintf("remove %s dir=%v", n, dir), func(root string) (string, error) {
		if dir {
			return "", syscall.Rmdir(filepath.Join(root, n))
		}
		return "", syscall.Unlink(filepath.Join(root, n))
	})
}

func (m *model) rename(t *rapid.T) {
	m.rename2(t, rapid.SampledFrom([]uint{0, 0, 0, unix.RENAME_NOREPLACE}).Draw(t, "flags"))
}

func (m *model) exchange(t *rapid.T) { m.rename2(t, unix.RENAME_EXCHANGE) }

func (m *model) rename2(t *rapid.T, flags uint) {
	from, to := name(t, "from"), name(t, "to")
	m.both(t, fmt.Sprintf("rename %s %s %d", from, to, flags), func(root string) (string, error) {
		return "", unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, from), unix.AT_FDCWD, filepath.Join(root, to), flags)
	})
}

func (m *model) link(t *rapid.T) {
	from, to := name(t, "from"), name(t, "to")
	m.both(t, "link "+from+" "+to, func(root string) (string, error) {
		return "", os.Link(filepath.Join(root, from), filepath.Join(root, to))
	})
}

func (m *model) symlink(t *rapid.T) {
	target, n := name(t, "target"), name(t, "name")
	m.both(t, "symlink "+n, func(root string) (string, error) { return "", os.Symlink(target, filepath.Join(root, n)) })
}

func (m *model) chmod(t *rapid.T) {
	n, mode := name(t, "name"), rapid.Uint32Range(0, 0o7777).Draw(t, "mode")
	m.both(t, fmt.Sprintf("chmod %s %o", n, mode), func(root string) (string, error) {
		return "", syscall.Chmod(filepath.Join(root, n), mode|0o700)
	})
}

func (m *model) times(t *rapid.T) {
	n := name(t, "name")
	ts := []unix.Timespec{
		{Sec: rapid.Int64Range(0, 4e9).Draw(t, "atime"), Nsec: rapid.Int64Range(0, 999_999_999).Draw(t, "nsec")},
		{Sec: rapid.Int64Range(0, 4e9).Draw(t, "mtime"), Nsec: rapid.SampledFrom([]int64{0, 5, unix.UTIME_OMIT}).Draw(t, "nsec")},
	}
	m.both(t, "utimes "+n, func(root string) (string, error) {
		return setTimes(filepath.Join(root, n), ts)
	})
}

// setTimes sets the times of a name and gives what stat says of them. The file
// is found once, before: reading a symlink on the way changes that symlink's
// atime on a local disk, and it may be the very file, by another name.
func setTimes(p string, ts []unix.Timespec) (string, error) {
	fd, err := unix.Open(p, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return "", err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	answer := fmt.Sprint(st.Atim)
	if ts[1].Nsec != unix.UTIME_OMIT {
		answer += fmt.Sprint(st.Mtim)
	}
	return answer, err
}

// TestTimesOfASymlinkThatLeadsToItself sets the times of a symlink by a name
// that leads through this symlink.
func TestTimesOfASymlinkThatLeadsToItself(t *testing.T) {
	f := newFixture(t)
	ts := []unix.Timespec{{Sec: 1000, Nsec: 7}, {Sec: 2000, Nsec: 5}}
	var answers [2]string
	for i, root := range []string{f.Dir, t.TempDir()} {
		must(t, os.Mkdir(filepath.Join(root, "dir"), 0o755))
		must(t, os.Symlink("dir", filepath.Join(root, "link")))
		must(t, os.Link(filepath.Join(root, "link"), filepath.Join(root, "dir/link")))
		var err error
		answers[i], err = setTimes(filepath.Join(root, "link/link"), ts)
		must(t, err)
	}
	if want := "{1000 7}{2000 5}"; answers != [2]string{want, want} {
		t.Errorf("the mount answers %s, a plain directory %s, want %s", answers[0], answers[1], want)
	}
}

func (m *model) xattr(t *rapid.T) {
	n, attr := name(t, "name"), rapid.SampledFrom([]string{"user.a", "user.b"}).Draw(t, "attr")
	value := []byte(rapid.StringN(0, 50, 100).Draw(t, "value"))
	what := rapid.SampledFrom([]string{"set", "remove", "get", "list"}).Draw(t, "what")
	m.both(t, what+" xattr "+n, func(root string) (string, error) {
		p := filepath.Join(root, n)
		switch what {
		case "set":
			return "", xattr.LSet(p, attr, value)
		case "remove":
			return "", xattr.LRemove(p, attr)
		case "get":
			got, err := xattr.LGet(p, attr)
			return string(got), err
		}
		got, err := xattr.LList(p)
		sort.Strings(got)
		return fmt.Sprint(got), err
	})
}

// remount comes seldom, and sometimes with all uploaded and the cache lost.
// It compares the trees too.
func (m *model) remount(t *rapid.T) {
	switch rapid.IntRange(0, 80).Draw(t, "remount") {
	case 0:
		m.closeSlots()
		m.f.remount()
	case 1:
		m.closeSlots()
		m.f.drain()
		m.f.forgetCache()
	default:
		return
	}
	m.compareTrees(t)
}

func (m *model) compareTrees(t *rapid.T) {
	t.Helper()
	roots := m.roots()
	mounted, plain := describeTree(t, roots[0]), describeTree(t, roots[1])
	if mounted != plain {
		t.Fatalf("the mount has\n%s\na plain directory\n%s", mounted, plain)
	}
}

// describeTree lists a tree with types, modes, links, sizes and contents.
// Hard links are told by the first name of their inode.
func describeTree(t *rapid.T, root string) string {
	var b strings.Builder
	first := make(map[uint64]string)
	err := filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if first[st.Ino] == "" {
			first[st.Ino] = rel
		}
		attrs, err := xattrsOf(p)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%q %s first=%q%s", rel, describe(&st), first[st.Ino], attrs)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			content, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sum(content))
		case unix.S_IFLNK:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %q", target)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatalf("walk %s: %v\n%s", root, err, b.String())
	}
	return b.String()
}

func sum(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}
