package fs_test

import (
	"bytes"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"chatfs/fs"
	"chatfs/internal/transfer"
)

// newCrashFixture has its index commit when a test says so alone: what is
// copied of it is of one moment.
func newCrashFixture(t *testing.T, adjust func(*fs.Config, *transfer.Config)) *fixture {
	f := newFixture(t, adjust)
	f.commits = time.Hour
	f.remount()
	return f
}

// crash goes on with what another process finds after kill -9 at this moment,
// on the same start of the machine or, with another boot, on the next. end is
// what the programs do to their open files that the old mount is still there
// for.
func (f *fixture) crash(boot string, end func()) {
	f.t.Helper()
	left := f.t.TempDir()
	copyFiles(f.t, f.state, filepath.Join(left, "state"))
	copyFiles(f.t, f.cache, filepath.Join(left, "cache"))
	end()
	f.unmount()
	f.state, f.cache, f.boot = filepath.Join(left, "state"), filepath.Join(left, "cache"), boot
	f.mount()
}

// copyFiles copies a tree with its times and hard links. Another program can't
// do that: by its start, it closes copies of all that is open here.
func copyFiles(t testing.TB, from, to string) {
	t.Helper()
	made := map[uint64]string{}
	must(t, filepath.WalkDir(from, func(path string, e iofs.DirEntry, err error) error {
		rel, rerr := filepath.Rel(from, path)
		if err = errors.Join(err, rerr); err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if e.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if first := made[st.Ino]; first != "" {
			return os.Link(first, target)
		}
		made[st.Ino] = target
		b, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(target, b, info.Mode().Perm())
		}
		return errors.Join(err, os.Chtimes(target, time.Time{}, info.ModTime()))
	}))
}

// rescued lists what is in rescued/, but for the list, with its content.
func (f *fixture) rescued() map[string]string {
	f.t.Helper()
	found := map[string]string{}
	paths, err := filepath.Glob(filepath.Join(f.state, "rescued", "*"))
	must(f.t, err)
	for _, path := range paths {
		b, err := os.ReadFile(path)
		must(f.t, err)
		if name := filepath.Base(path); name != "list.txt" {
			found[name] = string(b)
		}
	}
	return found
}

// soundStaging wants every staged file to be some file's, and nothing to mend.
func (f *fixture) soundStaging() {
	f.t.Helper()
	f.drain() // the mount has begun with what waits
	must(f.t, f.index.Sync())
	found, err := transfer.CheckDisk(f.index, f.blobs, func(int, int) {})
	must(f.t, err)
	for _, fault := range found {
		f.t.Errorf("check: %v", fault)
	}
	for _, p := range f.index.Check() {
		f.t.Errorf("check: %v", p)
	}
}

// past is a time that no write of a test has.
var past = time.Unix(1_000_000_000, 123_456_789)

// A crashCase is a file at the moment of a kill.
type crashCase struct {
	name string
	// prepare makes the file, at rest; nil: there is none.
	prepare func(f *fixture, path string)
	// write has it open, and leaves it so.
	write func(f *fixture, path string) *os.File
	want  string    // its content after the crash; absent: it is not there
	mtime time.Time // after the crash; zero: that of the write
	state transfer.State
}

func opened(t testing.TB, path string, flags int) *os.File {
	t.Helper()
	file, err := os.OpenFile(path, flags, 0o644)
	must(t, err)
	return file
}

func put(t testing.TB, file *os.File, text string, off int64) {
	t.Helper()
	_, err := file.WriteAt([]byte(text), off)
	must(t, err)
}

// uploadedFile is at the service, and old.
func uploadedFile(f *fixture, path string) {
	must(f.t, os.WriteFile(path, []byte("old content"), 0o644))
	f.drain()
	must(f.t, f.index.Sync()) // what was staged of it goes
	must(f.t, os.Chtimes(path, past, past))
}

// waitingFile is not at the service, and old.
func waitingFile(f *fixture, path string) {
	must(f.t, os.WriteFile(path, []byte("old content"), 0o644))
	must(f.t, os.Chtimes(path, past, past))
}

var crashCases = []crashCase{
	{name: "new", want: "written", write: func(f *fixture, path string) *os.File {
		file := opened(f.t, path, os.O_RDWR|os.O_CREATE)
		put(f.t, file, "written", 0)
		return file
	}},
	{name: "log", want: "one\ntwo\nthree\n", write: func(f *fixture, path string) *os.File {
		file := opened(f.t, path, os.O_WRONLY|os.O_CREATE)
		put(f.t, file, "one\n", 0)
		must(f.t, file.Sync())
		put(f.t, file, "two\n", 4)
		put(f.t, file, "three\n", 8)
		return file
	}},
	{name: "synced", want: "one\n", write: func(f *fixture, path string) *os.File {
		file := opened(f.t, path, os.O_WRONLY|os.O_CREATE)
		put(f.t, file, "one\n", 0)
		must(f.t, file.Sync())
		return file
	}},
	{name: "in the middle of an uploaded one", want: "old CONTent", prepare: uploadedFile, write: func(f *fixture, path string) *os.File {
		file := opened(f.t, path, os.O_RDWR)
		put(f.t, file, "CONT", 4)
		return file
	}},
	{name: "in the middle of a waiting one", want: "old CONTent", prepare: waitingFile, write: func(f *fixture, path string) *os.File {
		file := opened(f.t, path, os.O_RDWR)
		put(f.t, file, "CONT", 4)
		return file
	}},
	{name: "appended to a waiting one", want: "old content and more", prepare: waitingFile, write: func(f *fixture, path string) *os.File {
		file := opened(f.t, path, os.O_RDWR)
		put(f.t, file, " and more", 11)
		return file
	}},
	{name: "begun anew", want: "half", prepare: uploadedFile, write: func(f *fixture, path string) *os.File {
		file := opened(f.t, path, os.O_WRONLY|os.O_TRUNC)
		put(f.t, file, "half", 0)
		return file
	}},
	{name: "emptied", want: "", prepare: waitingFile, write: func(f *fixture, path string) *os.File {
		return opened(f.t, path, os.O_WRONLY|os.O_TRUNC)
	}},
	{name: "open alone", want: "old content", mtime: past, prepare: waitingFile, write: func(f *fixture, path string) *os.File {
		return opened(f.t, path, os.O_RDWR)
	}},
	{name: "cut", want: "old", prepare: uploadedFile, write: func(f *fixture, path string) *os.File {
		file := opened(f.t, path, os.O_RDWR)
		must(f.t, file.Truncate(3))
		return file
	}},
	{name: "time set before close", want: "written", mtime: past, write: func(f *fixture, path string) *os.File {
		file := opened(f.t, path, os.O_RDWR|os.O_CREATE)
		put(f.t, file, "written", 0)
		must(f.t, os.Chtimes(path, past, past))
		return file
	}},
	{name: "written after its time was set", want: "WRITten", write: func(f *fixture, path string) *os.File {
		file := opened(f.t, path, os.O_RDWR|os.O_CREATE)
		put(f.t, file, "written", 0)
		must(f.t, os.Chtimes(path, past, past))
		put(f.t, file, "WRIT", 0)
		return file
	}},
	{name: "renamed", want: absent, write: func(f *fixture, path string) *os.File {
		file := opened(f.t, path, os.O_RDWR|os.O_CREATE)
		put(f.t, file, "moved on", 0)
		must(f.t, os.Rename(path, path+"+"))
		return file
	}},
	{name: "deleted", want: absent, write: func(f *fixture, path string) *os.File {
		file := opened(f.t, path, os.O_RDWR|os.O_CREATE)
		put(f.t, file, "unwanted", 0)
		must(f.t, os.Remove(path))
		return file
	}},
	{name: "read and written", want: "old CONTent", prepare: uploadedFile, write: func(f *fixture, path string) *os.File {
		reader := opened(f.t, path, os.O_RDONLY) // root's kernel reads it by itself
		file := opened(f.t, path, os.O_RDWR)
		put(f.t, file, "CONT", 4)
		must(f.t, reader.Close())
		return file
	}},
	{name: "mapped", want: "OLD content", prepare: uploadedFile, write: func(f *fixture, path string) *os.File {
		reader := opened(f.t, path, os.O_RDONLY)
		file := opened(f.t, path, os.O_RDWR)
		m, err := unix.Mmap(int(file.Fd()), 0, 11, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		must(f.t, err)
		copy(m, "OLD")
		must(f.t, unix.Msync(m, unix.MS_SYNC))
		must(f.t, unix.Munmap(m))
		must(f.t, reader.Close())
		return file
	}},
	{name: "over the limit", want: strings.Repeat("x", 100), state: transfer.StateFailed, write: func(f *fixture, path string) *os.File {
		file := opened(f.t, path, os.O_RDWR|os.O_CREATE)
		put(f.t, file, strings.Repeat("x", 100), 0)
		if _, err := file.WriteAt(make([]byte, 1<<16), 1<<20); err == nil {
			f.t.Error("a write over the limit succeeds")
		}
		return file
	}},
}

func smallLimit(c *fs.Config, x *transfer.Config) {
	c.MaxSize, x.Settle = 1<<20, time.Hour
}

// TestWrittenAndNotClosedOutlivesAKill: what write(2) took is the file's after
// the process was killed, under a time that tells of it, and nothing else is
// left of it.
func TestWrittenAndNotClosedOutlivesAKill(t *testing.T) {
	for _, c := range crashCases {
		if c.name == "mapped" && runtime.GOMAXPROCS(0) == 1 {
			continue // who faults in this process keeps the one processor from serving the fault
		}
		t.Run(c.name, func(t *testing.T) {
			f := newCrashFixture(t, smallLimit)
			path := f.path("file")
			if c.prepare != nil {
				c.prepare(f, path)
			}
			began := time.Now().Add(-time.Second) // a disk's clock is coarser
			file := c.write(f, path)
			f.crash("", func() { must(t, file.Close()) })
			c.check(f, path, began)
			if got := f.rescued(); len(got) > 0 {
				t.Errorf("rescued: %q", got)
			}
			f.soundStaging()
		})
	}
}

func (c *crashCase) check(f *fixture, path string, began time.Time) {
	t := f.t
	t.Helper()
	info, err := os.Stat(path)
	if c.want == absent {
		if !os.IsNotExist(err) {
			t.Errorf("it is there: %v, %v", info, err)
		}
		if c.name == "renamed" {
			f.wantContent("file+", []byte("moved on"))
		}
		return
	}
	must(t, err)
	f.wantContent("file", []byte(c.want))
	if c.mtime.IsZero() && info.ModTime().Before(began) || !c.mtime.IsZero() && !info.ModTime().Equal(c.mtime) {
		t.Errorf("mtime %v, want %v (zero: after %v)", info.ModTime(), c.mtime, began)
	}
	if d, err := f.index.Resolve("file"); err != nil || c.state != "" && f.transfer.State(d.Inode.Ino) != c.state {
		t.Errorf("state %s, %v, want %s", f.transfer.State(d.Inode.Ino), err, c.state)
	}
}

// TestNotClosedWhenThePowerWentIsRescued: of what was not synced nothing is
// proven to be there, so it becomes no file's content, but is kept; the file is
// what was committed.
func TestNotClosedWhenThePowerWentIsRescued(t *testing.T) {
	f := newCrashFixture(t, resting)
	fresh := opened(t, f.path("fresh"), os.O_RDWR|os.O_CREATE)
	put(t, fresh, "perhaps garbage", 0)
	log := opened(t, f.path("log"), os.O_RDWR|os.O_CREATE)
	put(t, log, "synced ", 0)
	must(t, log.Sync())
	must(t, os.Chtimes(f.path("log"), past, past))
	put(t, log, "and not", 7)
	must(t, f.index.Sync()) // the notes, not the bytes
	f.crash("another boot", func() { must(t, fresh.Close()); must(t, log.Close()) })
	f.wantContent("fresh", nil)
	f.wantContent("log", []byte("synced "))
	if info, err := os.Stat(f.path("log")); err != nil || info.ModTime().Equal(past) {
		t.Errorf("bytes that may be new have their old time: %v, %v", info.ModTime(), err)
	}
	got := f.rescued()
	for name, content := range got {
		if strings.HasSuffix(name, "-fresh") && content == "perhaps garbage" || strings.HasSuffix(name, "-log") && content == "synced and not" {
			delete(got, name)
		}
	}
	if n := len(f.rescued()); n != 2 || len(got) > 0 {
		t.Errorf("rescued %d, these are wrong: %q", n, got)
	}
	list, err := os.ReadFile(filepath.Join(f.state, "rescued", "list.txt"))
	must(t, err)
	if !bytes.Contains(list, []byte(`path="/fresh" size=15`)) {
		t.Errorf("the list says:\n%s", list)
	}
	f.soundStaging()
}

// TestGivenUpIsNotRescued kills right after many files were deleted,
// overwritten, emptied and uploaded, before the index had made that durable,
// and their staged bytes are still there.
func TestGivenUpIsNotRescued(t *testing.T) {
	const many = 100
	f := newFixture(t)
	for i := range many {
		f.write(fmt.Sprint("deleted", i), pattern(i, 100))
		f.write(fmt.Sprint("overwritten", i), pattern(i, 200))
		f.write(fmt.Sprint("emptied", i), pattern(i, 300))
	}
	f.write("uploaded", pattern(1, 1000))
	f.drain()
	f.unmount()
	f.Adjust, f.commits = resting, time.Hour
	f.mount()
	for i := range many {
		f.write(fmt.Sprint("temporary", i), pattern(i, 400))
		must(t, os.Remove(f.path(fmt.Sprint("temporary", i))))
		must(t, os.Remove(f.path(fmt.Sprint("deleted", i))))
		f.write(fmt.Sprint("overwritten", i), pattern(i, 500))
		f.write(fmt.Sprint("overwritten", i), pattern(i, 600))
		must(t, os.Truncate(f.path(fmt.Sprint("emptied", i)), 0))
	}
	f.crash("", func() {})
	if got := f.rescued(); len(got) > 0 {
		t.Errorf("%d are rescued", len(got))
	}
	for i := range many {
		f.wantContent(fmt.Sprint("overwritten", i), pattern(i, 600))
	}
	f.soundStaging()
	if left := f.staged(); len(left) > 0 {
		t.Errorf("staging holds %q", left)
	}
}

// TestLostRecordsAreRescued: the index loses its latest records, as by damage,
// and with them the names of content that close acknowledged. The content is
// kept.
func TestLostRecordsAreRescued(t *testing.T) {
	f := newCrashFixture(t, resting)
	f.write("known", []byte("known"))
	must(t, f.index.Sync())
	before := t.TempDir()
	out, err := exec.Command("sh", "-c", `cp -a "$0"/index.db "$0"/journal-* "$1"`, f.state, before).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f.write("letter", []byte("dear reader"))
	f.write("known", []byte("newer"))
	f.write("empty", nil)
	f.unmount()
	out, err = exec.Command("sh", "-c", `rm "$0"/index.db; rm -f "$0"/journal-*; cp -a "$1"/* "$0"`, f.state, before).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f.mount()
	got := map[string]bool{}
	for _, content := range f.rescued() {
		got[content] = true
	}
	if len(got) != 2 || !got["dear reader"] || !got["newer"] {
		t.Errorf("rescued %q", f.rescued())
	}
	f.remount()
	if n := len(f.rescued()); n != 2 {
		t.Errorf("after another mount %d are there", n)
	}
}

// TestNoOldContentUnderANewTime: a program sets the time of what it has
// written before it closes, and the power goes before the content is recorded.
func TestNoOldContentUnderANewTime(t *testing.T) {
	f := newCrashFixture(t, resting)
	f.write("copy", []byte("old content"))
	must(t, f.index.Sync())
	f.drain()
	file := opened(t, f.path("copy"), os.O_RDWR)
	put(t, file, "new content", 0)
	must(t, os.Chtimes(f.path("copy"), past, past))
	if info, err := file.Stat(); err != nil || !info.ModTime().Equal(past) {
		t.Errorf("stat says %v, %v", info.ModTime(), err)
	}
	must(t, f.index.Sync())
	f.crash("another boot", func() { must(t, file.Close()) })
	info, err := os.Stat(f.path("copy"))
	must(t, err)
	if info.ModTime().Equal(past) {
		t.Error("the old content has the time of the new")
	}
	f.wantContent("copy", []byte("old content"))
}
