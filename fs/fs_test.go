package fs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"

	"chatfs/fs"
	"chatfs/internal/entity"
	"chatfs/internal/transfer"
	"chatfs/remote"
)

// sameProcessLocks wants a process's fcntl locks to conflict with its own,
// which they do on no local disk; go-fuse leaves it out there, too. See
// TestLocksHoldBetweenProcesses.
const sameProcessLocks = "FcntlFlockLocksFile"

func TestPosix(t *testing.T) {
	for name, test := range posixtest.All {
		if name == sameProcessLocks {
			continue
		}
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.waitForSpares() // FdLeak counts descriptors
			test(t, f.Dir)
		})
	}
}

func TestContentOutlivesCacheAndRemount(t *testing.T) {
	f := newFixture(t)
	must(t, os.MkdirAll(f.path("a/b/c"), 0o750))
	when := time.Unix(1234567890, 123456789)
	files := map[string][]byte{"empty": nil, "small": []byte("x"), "a/b/c/deep": pattern(1, 100_000), "large": pattern(2, 3<<20)}
	for name, content := range files {
		f.write(name, content)
		must(t, os.Chmod(f.path(name), 0o640))
		must(t, os.Chtimes(f.path(name), when, when))
	}
	f.drain()
	f.forgetCache()
	for name, content := range files {
		info, err := os.Stat(f.path(name))
		must(t, err)
		if !info.ModTime().Equal(when) || info.Mode() != 0o640 || info.Size() != int64(len(content)) {
			t.Errorf("%s: %v %v %d bytes", name, info.ModTime(), info.Mode(), info.Size())
		}
		f.wantContent(name, content)
		f.wantContent(name, content)
	}
	if got := f.service.Counts().Downloads; got != 3 {
		t.Errorf("%d downloads, want 3: one a file with content", got)
	}
}

func TestSizeAndTimesAreRightAtClose(t *testing.T) {
	f := newFixture(t)
	before := time.Now().Add(-time.Second)
	for i := range 20 {
		name := fmt.Sprintf("f%d", i)
		f.write(name, pattern(i, i*1000))
		info, err := os.Stat(f.path(name))
		must(t, err)
		if info.Size() != int64(i*1000) || info.ModTime().Before(before) {
			t.Errorf("%s: %d bytes at %v", name, info.Size(), info.ModTime())
		}
	}
}

func TestTimesSetAfterCloseDoNotStopTheUpload(t *testing.T) {
	f := newFixture(t)
	when := time.Unix(1e9, 5)
	for i := range 50 {
		tmp, name := fmt.Sprintf(".f%d.AbCdEf", i), fmt.Sprintf("f%d", i)
		f.write(tmp, pattern(i, 5000))
		must(t, os.Chtimes(f.path(tmp), when, when))
		must(t, os.Chmod(f.path(tmp), 0o600))
		must(t, os.Rename(f.path(tmp), f.path(name)))
	}
	f.drain()
	f.forgetCache()
	for i := range 50 {
		f.wantContent(fmt.Sprintf("f%d", i), pattern(i, 5000))
		if state := f.state_(fmt.Sprintf("f%d", i)); state != "uploaded" {
			t.Errorf("f%d is %s", i, state)
		}
	}
	if got := f.service.Counts().Uploads; got != 50 {
		t.Errorf("%d uploads, want 50", got)
	}
}

func (f *fixture) state_(name string) string { return f.xattr(name, "state") }

func (f *fixture) xattr(name, attr string) string {
	f.t.Helper()
	v, err := xattr.Get(f.path(name), "user.chatfs."+attr)
	must(f.t, err)
	return string(v)
}

func TestWriteInPlaceAfterUpload(t *testing.T) {
	f := newFixture(t)
	content := pattern(3, 300_000)
	f.write("f", content)
	f.drain()
	first := f.xattr("f", "uuid")
	f.forgetCache()

	file, err := os.OpenFile(f.path("f"), os.O_RDWR, 0)
	must(t, err)
	_, err = file.WriteAt([]byte("HERE"), 150_000)
	must(t, err)
	must(t, file.Close())
	copy(content[150_000:], "HERE")
	f.wantContent("f", content)

	file, err = os.OpenFile(f.path("f"), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = file.WriteString("tail")
	must(t, err)
	must(t, file.Close())
	content = append(content, "tail"...)
	must(t, os.Truncate(f.path("f"), int64(len(content)-2)))
	content = content[:len(content)-2]
	f.drain()
	if second := f.xattr("f", "uuid"); second == first {
		t.Error("the changed file still has its first uuid")
	}
	f.forgetCache()
	f.wantContent("f", content)
}

// mapAndWrite maps a file, closes it, and writes by way of the mapping: a word
// into each page from the given one on, in steps. It runs in a process of its
// own: one that serves the mount would wait for itself when it faults a page
// in.
func mapAndWrite(job string) error {
	from, path, _ := strings.Cut(job, ":")
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	m, err := unix.Mmap(int(file.Fd()), 0, 100_000, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	mapped(m, number(from))
	return unix.Munmap(m)
}

// mapped is what a process writes, and what is wanted of the file then.
func mapped(m []byte, from int) {
	for off := from * 1000; off < len(m); off += 2000 {
		copy(m[off:], fmt.Sprintf("mapped %d", from))
	}
}

func TestSharedMappingIsWritten(t *testing.T) {
	f := newFixture(t)
	content := pattern(4, 100_000)
	f.write("f", content)
	f.drain()
	f.forgetCache()
	var processes sync.WaitGroup
	for from := range 2 {
		mapped(content, from)
		processes.Go(func() {
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), fmt.Sprintf("CHATFS_TEST_MAP=%d:%s", from, f.path("f")))
			if out, err := child.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	processes.Wait()
	f.wantContent("f", content)
	f.drain()
	f.forgetCache()
	f.wantContent("f", content)
}

func TestXattrs(t *testing.T) {
	f := newFixture(t)
	f.write("f", []byte("content"))
	f.drain()
	uuid, err := entity.ParseUUID(f.xattr("f", "uuid"))
	must(t, err)
	if url := f.xattr("f", "url"); url != f.client.URL(uuid) {
		t.Errorf("url is %s", url)
	}
	if secret := f.xattr("f", "share-secret"); len(secret) != 48 {
		t.Errorf("the share-secret has %d characters", len(secret))
	}
	must(t, xattr.Set(f.path("f"), "user.mine", []byte("kept")))
	f.remount()
	list, err := xattr.List(f.path("f"))
	must(t, err)
	if fmt.Sprint(list) != "[user.mine]" {
		t.Errorf("listed: %v", list)
	}
	v, err := xattr.Get(f.path("f"), "user.mine")
	must(t, err)
	if string(v) != "kept" {
		t.Errorf("user.mine is %q", v)
	}
	wantErrno(t, "setting our own", xattr.Set(f.path("f"), "user.chatfs.uuid", []byte("x")), syscall.EPERM)
	_, err = xattr.Get(f.path("f"), "user.absent")
	wantErrno(t, "absent", err, syscall.ENODATA)
	_, err = xattr.Get(f.path("f"), "security.capability")
	wantErrno(t, "foreign", err, syscall.ENOTSUP)
}

// TestXattrBounds: what the kernel takes is kept, and what it could not list
// any more is refused.
func TestXattrBounds(t *testing.T) {
	f := newFixture(t)
	f.write("f", nil)
	most := bytes.Repeat([]byte{0, 1, 255}, 1<<16)[:1<<16]
	must(t, xattr.Set(f.path("f"), "user.most", most))
	wantErrno(t, "a value over 64 KiB", unix.Setxattr(f.path("f"), "user.more", append(most, 0), 0), unix.E2BIG)
	wantErrno(t, "a name over 255 bytes", xattr.Set(f.path("f"), "user."+strings.Repeat("n", 251), nil), unix.ERANGE)
	n, err := 0, error(nil)
	for ; err == nil; n++ {
		err = xattr.Set(f.path("f"), fmt.Sprintf("user.%0250d", n), []byte("x"))
	}
	wantErrno(t, "a name too many", err, unix.ENOSPC)
	must(t, xattr.Set(f.path("f"), fmt.Sprintf("user.%0250d", 0), []byte("changed")))
	f.remount()
	list, err := xattr.List(f.path("f"))
	if err != nil || len(list) != n {
		t.Errorf("%d names are listed (%v), want %d", len(list), err, n)
	}
	if got, err := xattr.Get(f.path("f"), "user.most"); err != nil || !bytes.Equal(got, most) {
		t.Errorf("the largest value: %d bytes, %v", len(got), err)
	}
}

func TestUnlinkedButOpen(t *testing.T) {
	f := newFixture(t)
	content := pattern(7, 50_000)
	f.write("f", content)
	f.drain()
	for _, fresh := range []bool{false, true} {
		if fresh {
			f.write("f", content)
		}
		file, err := os.OpenFile(f.path("f"), os.O_RDWR, 0)
		must(t, err)
		must(t, os.Remove(f.path("f")))
		got := make([]byte, len(content))
		_, err = file.ReadAt(got, 0)
		must(t, err)
		if !bytes.Equal(got, content) {
			t.Error("content differs after unlink")
		}
		must(t, file.Truncate(10))
		_, err = file.WriteAt([]byte("more"), 10)
		must(t, err)
		info, err := file.Stat()
		must(t, err)
		if info.Size() != 14 || info.Sys().(*syscall.Stat_t).Nlink != 0 {
			t.Errorf("fstat: %d bytes, nlink %d", info.Size(), info.Sys().(*syscall.Stat_t).Nlink)
		}
		must(t, file.Close())
	}
	f.remount()
	if got := entries(t, f.Dir); got != "[]" {
		t.Errorf("listed: %s", got)
	}
	if left := f.staged(); len(left) != 0 {
		t.Errorf("staged files left: %v", left)
	}
}

func TestWholeFileCopySharesTheEntity(t *testing.T) {
	f := newFixture(t)
	content := pattern(8, 200_000)
	f.write("f", content)
	f.drain()
	in, err := os.Open(f.path("f"))
	must(t, err)
	out, err := os.Create(f.path("copy"))
	must(t, err)
	n, err := unix.CopyFileRange(int(in.Fd()), nil, int(out.Fd()), nil, 1<<30, 0)
	if err != nil || n != len(content) {
		t.Errorf("copied %d, %v", n, err)
	}
	must(t, in.Close())
	must(t, out.Close())
	if a, b := f.xattr("f", "uuid"), f.xattr("copy", "uuid"); a != b {
		t.Errorf("uuids differ: %s %s", a, b)
	}
	f.wantContent("copy", content)
	if got := f.service.Counts().Uploads; got != 1 {
		t.Errorf("%d uploads, want 1", got)
	}
	f.write("copy", []byte("changed"))
	f.wantContent("f", content)
}

func TestManyWritersAtOnce(t *testing.T) {
	f := newFixture(t)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				f.write(fmt.Sprintf("f%d-%d", w, i), pattern(w*100+i, 4000+i))
			}
		})
	}
	wg.Wait()
	f.drain()
	f.forgetCache()
	for w := range 8 {
		for i := range 25 {
			f.wantContent(fmt.Sprintf("f%d-%d", w, i), pattern(w*100+i, 4000+i))
		}
	}
	if got := f.service.Counts().Uploads; got != 200 {
		t.Errorf("%d uploads, want 200", got)
	}
}

func TestCloseUploadedMeansUploaded(t *testing.T) {
	f := newFixture(t, func(c *fs.Config, _ *transfer.Config) { c.Close = fs.CloseUploaded })
	for i := range 3 {
		f.write("f", pattern(i, 1000))
		if got := f.state_("f"); got != "uploaded" {
			t.Errorf("after close: %s", got)
		}
	}
	if got := f.service.Counts().Uploads; got != 3 {
		t.Errorf("%d uploads, want 3", got)
	}
}

// TestCloseUploadedTellsWhy the service takes no upload, by errno.
func TestCloseUploadedTellsWhy(t *testing.T) {
	f := newFixture(t, func(c *fs.Config, x *transfer.Config) {
		c.Close = fs.CloseUploaded
		x.Remote = refusing{x.Remote}
	})
	for name, want := range map[string]error{"too large": syscall.EFBIG, "plan": syscall.EDQUOT, "forbidden": syscall.EACCES} {
		file, err := os.Create(f.path(name))
		must(t, err)
		_, err = file.WriteString(name)
		must(t, err)
		if err := file.Close(); !errors.Is(err, want) {
			t.Errorf("%s: close: %v, want %v", name, err, want)
		}
	}
}

// refusing is a service that refuses what it is told to by the name.
type refusing struct{ transfer.Remote }

func (r refusing) Upload(_ context.Context, u remote.UploadRequest) (entity.Entity, error) {
	kind := map[string]error{"too large": remote.ErrTooLarge, "plan": remote.ErrPlanLimit, "forbidden": remote.ErrForbidden}[u.Name]
	return entity.Entity{}, &remote.Error{Kind: kind, Status: 400}
}

func TestAppendersLoseNothing(t *testing.T) {
	f := newFixture(t)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			file, err := os.OpenFile(f.path("log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
			if err != nil {
				t.Error(err)
				return
			}
			defer file.Close()
			for i := range 50 {
				fmt.Fprintf(file, "%d-%02d\n", w, i)
			}
		})
	}
	wg.Wait()
	b, err := os.ReadFile(f.path("log"))
	must(t, err)
	if lines := strings.Split(strings.TrimSpace(string(b)), "\n"); len(lines) != 200 {
		t.Errorf("%d lines, want 200", len(lines))
	}
}
