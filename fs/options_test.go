package fs_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
	"github.com/pkg/xattr"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"chatfs/fs"
	"chatfs/internal/entity"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

// mountOptions are what the kernel says of the mount.
func (f *fixture) mountOptions() []string {
	f.t.Helper()
	infos, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(f.Dir))
	must(f.t, err)
	if len(infos) != 1 {
		f.t.Fatalf("%d mounts at %s", len(infos), f.Dir)
	}
	return append(strings.Split(infos[0].Options, ","), strings.Split(infos[0].VFSOptions, ",")...)
}

func TestMountOptions(t *testing.T) {
	f := newFixture(t)
	must(t, os.WriteFile(f.path("script"), []byte("#!/bin/true\n"), 0o755))
	// The kernel keeps ro in the file system's options, not the mount's.
	plain, all := f.Adjust, func(c *fs.Config) { c.ReadOnly, c.NoExec, c.AllowOther = true, true, os.Getuid() == 0 }
	for _, c := range []struct {
		name     string
		adjust   func(*fs.Config)
		has, not []string
		exec     error
	}{
		{"default", func(*fs.Config) {}, []string{"rw", "nosuid", "nodev", "default_permissions"}, []string{"noexec", "allow_other"}, nil},
		{"noexec", func(c *fs.Config) { c.NoExec = true }, []string{"rw", "nosuid", "nodev", "noexec"}, nil, syscall.EACCES},
		{"read-only", func(c *fs.Config) { c.ReadOnly = true }, []string{"ro", "nosuid", "nodev"}, []string{"noexec"}, nil},
		{"all", all, []string{"ro", "nosuid", "nodev", "noexec", "default_permissions"}, nil, syscall.EACCES},
	} {
		f.Adjust = func(fc *fs.Config, x *transfer.Config) { plain(fc, x); c.adjust(fc) }
		f.remount()
		options := f.mountOptions()
		for _, o := range c.has {
			if !slices.Contains(options, o) {
				t.Errorf("%s: no %s in %q", c.name, o, options)
			}
		}
		for _, o := range c.not {
			if slices.Contains(options, o) {
				t.Errorf("%s: %s in %q", c.name, o, options)
			}
		}
		a := startActor(t)
		if got := a.one(f.Dir, "exec script"); got != errnoName(c.exec) {
			t.Errorf("%s: exec answers %q, want %v", c.name, got, c.exec)
		}
		a.stop()
	}
}

// one does a single step as the actor, and gives its answer.
func (a *actor) one(root, step string) string {
	a.t.Helper()
	return a.run(script{Roots: []string{root}, Steps: []string{step}})[1][0].Got
}

// TestReadOnlyMount wants of every call what a directory of the local disk
// that is mounted read-only answers.
func TestReadOnlyMount(t *testing.T) {
	f := newFixture(t)
	if os.Getuid() != 0 {
		fusetest.Untested(t, "only root can mount a directory of the disk read-only, to compare all calls with it")
		f.readOnlyForAnyone(t)
		return
	}
	disk := t.TempDir()
	must(t, os.Chmod(disk, 0o755))
	a := startActor(t)
	defer a.stop()
	s := script{Roots: []string{f.Dir, disk}, Setup: append(world("full todir dangling"), "create file 0644", "symlink file tofile", "setxattr file user.x y 0")}
	for i, got := range a.run(s)[0] {
		if got.Got != "" {
			t.Fatalf("%s: %s", s.Roots[i], got.Got)
		}
	}
	plain := f.Adjust
	f.Adjust = func(c *fs.Config, x *transfer.Config) { plain(c, x); c.ReadOnly = true }
	f.remount()
	must(t, unix.Mount(disk, disk, "", unix.MS_BIND, ""))
	defer func() { must(t, unix.Unmount(disk, unix.MNT_DETACH)) }()
	must(t, unix.Mount("", disk, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	var steps []string
	for _, path := range []string{"file", "empty", "full", "missing", "missing/x", "tofile", "todir", "dangling", ".", "file/x", "%L256"} {
		for _, call := range append(pathCalls, "rmxattr %s user.x", "exchange %s ok", "open %s rdwr", "open %s wronly,append") {
			steps = append(steps, strings.ReplaceAll(call, "%s", path))
		}
	}
	refused := 0
	for i, got := range a.run(script{Roots: s.Roots, Steps: steps})[1:] {
		if got[0] != got[1] {
			t.Errorf("%s: the mount answers %q, the disk %q\n%s", steps[i], got[0].Got, got[1].Got, difference(got[0].Tree, got[1].Tree))
		}
		if got[0].Got == "EROFS" {
			refused++
		}
	}
	if refused < 50 {
		t.Errorf("only %d calls of %d were refused with EROFS", refused, len(steps))
	}
}

// readOnlyForAnyone is what an ordinary user, who mounts no bind, can see.
func (f *fixture) readOnlyForAnyone(t *testing.T) {
	f.write("f", []byte("x"))
	plain := f.Adjust
	f.Adjust = func(c *fs.Config, x *transfer.Config) { plain(c, x); c.ReadOnly = true }
	f.remount()
	for what, err := range map[string]error{"write": os.WriteFile(f.path("f"), nil, 0o644), "mkdir": os.Mkdir(f.path("d"), 0o755),
		"unlink": os.Remove(f.path("f")), "chmod": os.Chmod(f.path("f"), 0o600)} {
		wantErrno(t, what, err, syscall.EROFS)
	}
	f.wantContent("f", []byte("x"))
}

func TestAllowOtherLetsOthersIn(t *testing.T) {
	fusetest.NeedsRoot(t, "act as another user, whom --allow-other lets in")
	f := newFixture(t)
	f.openTo(t)
	must(t, os.Chmod(f.Dir, 0o777))
	f.write("f", []byte("x"))
	plain := f.Adjust
	for _, allow := range []bool{false, true} {
		f.Adjust = func(c *fs.Config, x *transfer.Config) { plain(c, x); c.AllowOther = allow }
		f.remount()
		a := startActor(t)
		for step, want := range map[string]string{"read f": "x", "create g 0644": "", "unlink g": ""} {
			if !allow {
				want = "EACCES"
			}
			if step == "unlink g" && allow {
				continue // map's order is any
			}
			if got := a.one(f.Dir, ann+step); got != want {
				t.Errorf("allow %v: %s answers %q, want %q", allow, step, got, want)
			}
		}
		a.stop()
	}
}

func TestShownOwnerAndMode(t *testing.T) {
	uid, gid, umask := uint32(1234), uint32(4321), uint32(0o027)
	if os.Getuid() != 0 { // who would be let in nowhere any more
		uid, gid = uint32(os.Getuid()), uint32(os.Getgid())
	}
	f := newFixture(t, func(c *fs.Config, _ *transfer.Config) { c.UID, c.GID, c.Umask = &uid, &gid, &umask })
	must(t, os.Mkdir(f.path("d"), 0o777))
	must(t, os.WriteFile(f.path("d/f"), []byte("x"), 0o666))
	for round := range 2 {
		for name, mode := range map[string]uint32{"d": unix.S_IFDIR | 0o750, "d/f": unix.S_IFREG | 0o640} {
			var st unix.Stat_t
			must(t, unix.Stat(f.path(name), &st))
			if st.Uid != uid || st.Gid != gid || st.Mode != mode {
				t.Errorf("round %d: %s is %o of %d:%d, want %o of %d:%d", round, name, st.Mode, st.Uid, st.Gid, mode, uid, gid)
			}
		}
		f.remount()
	}
	f.Adjust = func(*fs.Config, *transfer.Config) {}
	f.remount()
	var st unix.Stat_t
	must(t, unix.Stat(f.path("d/f"), &st))
	if st.Mode != unix.S_IFREG|0o666 || st.Uid != uint32(os.Getuid()) {
		t.Errorf("without the options it is %o of %d: they changed what is kept", st.Mode, st.Uid)
	}
}

// TestPanicIsEIO has the one function panic that a mount is given to call
// within an operation.
func TestPanicIsEIO(t *testing.T) {
	var log bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&log)
	f := newFixture(t, func(c *fs.Config, _ *transfer.Config) {
		c.URL = func(entity.UUID) string { panic("out of addresses") }
		c.Panicked, c.Log = nil, logrus.NewEntry(logger)
	})
	f.write("f", []byte("content"))
	f.drain()
	for range 3 {
		_, err := xattr.Get(f.path("f"), "user.chatfs.url")
		wantErrno(t, "the operation that panicked", err, syscall.EIO)
	}
	f.wantContent("f", []byte("content"))
	f.write("g", []byte("the mount lives"))
	f.remount()
	for _, want := range []string{"out of addresses", "stack=", "xattr.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
}
