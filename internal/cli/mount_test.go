package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"chatfs/internal/fusetest"
)

func (p *place) put(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) want(name, text string) {
	p.t.Helper()
	got, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil || string(got) != text {
		p.t.Errorf("%s holds %q, %v; want %q", name, got, err, text)
	}
}

func TestOfflineQueueOutlivesMounts(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	r := p.mount(append(offline, "--drain-timeout", "100ms")...)
	if !strings.Contains(r.said.String(), "can't be reached now") {
		t.Errorf("no warning in:\n%s", r.said.String())
	}
	p.put("a.txt", "hello")
	p.put(".a.swp", "local")
	p.expect(ok, "1 file (5 B) waiting", "status", p.dir)
	r.signal(syscall.SIGINT)
	r.wait(waiting, "1 file (5 B) waits for upload; it resumes at the next mount")
	p.expect(ok, "1 file (5 B) waiting", "status", "--profile", "org-app")
	r = p.mount(append(offline, "--drain-timeout", "1h")...)
	p.want("a.txt", "hello")
	r.signal(syscall.SIGTERM)
	p.eventuallySaid(r, "unmounting")
	r.signal(syscall.SIGTERM)
	r.wait(waiting, "leaving at once")
}

func TestSecondMountIsToldOfTheFirst(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	r := p.mount(offline...)
	p.expect(mountpoint, "is mounted already, by chatfs", append([]string{"mount", p.dir}, offline...)...)
	other := p.path("other")
	p.expect(inUse, "process "+fmt.Sprint(r.cmd.Process.Pid)+" (mounted at "+p.dir+")",
		append([]string{"mount", "--mkdir", other}, offline...)...)
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	p.expect(inUse, "is in use by", "check", "--profile", "org-app")
	p.expect(inUse, "is in use by", append([]string{"mount", "--daemon", other}, offline...)...)
	r.signal(syscall.SIGTERM)
	r.wait(ok, "")
}

func TestDeadMountIsCleared(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	r := p.mount(offline...)
	p.put("a.txt", "hello")
	r.signal(syscall.SIGKILL)
	<-r.end
	link := p.path("link")
	if err := os.Symlink(p.dir, link); err != nil {
		t.Fatal(err)
	}
	p.expect(ok, "cleared a dead mount at "+p.dir, "umount", link)
	p.expect(notMounted, "is not mounted", "umount", link)
	r = p.mount(offline...)
	r.signal(syscall.SIGKILL)
	<-r.end
	r = p.mount(append(offline, "--drain-timeout", "10ms")...)
	p.want("a.txt", "hello")
	if !strings.Contains(r.said.String(), "cleared a dead mount") {
		t.Errorf("it was not said:\n%s", r.said.String())
	}
	r.signal(syscall.SIGTERM)
	r.wait(waiting, "1 file (5 B) waits")
}

func TestBusyMountVanishesAndSaysWhoUsesIt(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	r := p.mount(append(offline, "--drain-timeout", "200ms")...)
	dir, err := os.Open(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	r.signal(syscall.SIGINT)
	r.wait(ok, fmt.Sprintf("(%d): it vanishes now", os.Getpid()))
	if left, err := os.ReadDir(p.dir); err != nil || len(left) != 0 {
		t.Errorf("the directory is no empty one: %v, %v", left, err)
	}
}

func TestUmountCommandEndsTheMount(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	r := p.mount(offline...)
	p.expect(ok, "", "umount", p.dir)
	r.wait(ok, "chatfs umount: unmounting")
	r = p.mount(append(offline, "--drain-timeout", "50ms")...)
	p.put("a.txt", "hello")
	p.expect(waiting, "1 file (5 B) waits", "umount") // the only one
	r.wait(waiting, "1 file (5 B) waits")
}

func TestUnmountFromOutsideEndsTheProcess(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	r := p.mount(offline...)
	if err := fusetest.Unmount(p.dir); err != nil {
		t.Fatal(err)
	}
	r.wait(ok, "unmounted from outside")
}

func TestReadOnlyAndOwners(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	r := p.mount(append(offline, "--read-only", "--uid", "4711", "--gid", "4712")...)
	if err := os.WriteFile(filepath.Join(p.dir, "x"), nil, 0o644); !os.IsPermission(err) && !strings.Contains(fmt.Sprint(err), "read-only") {
		t.Errorf("a write into a read-only tree: %v", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(p.dir, &st); err != nil || st.Uid != 4711 || st.Gid != 4712 {
		t.Errorf("owner %d, group %d, %v", st.Uid, st.Gid, err)
	}
	r.signal(syscall.SIGHUP)
	r.wait(ok, "hangup: unmounting")
}

func TestStateIsPrivate(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	p.mount(offline...)
	p.put("a.txt", "hello")
	p.expect(ok, "with share-secrets in the clear", "backup", "--plaintext", p.path("copy.db"))
	err := filepath.Walk(p.path("state"), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 && path != p.path("state") {
			t.Errorf("%s is %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	info, err := os.Stat(p.path("copy.db"))
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
		t.Errorf("the backup: %v, %v", info, err)
	}
}

func TestDaemonReturnsOnceItAnswers(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	args := append([]string{"mount", "--daemon", "--drain-timeout=100ms", p.dir}, offline...)
	p.expect(ok, "chatfs umount "+p.dir, args...)
	t.Cleanup(func() { p.run("umount", p.dir) })
	p.put("a.txt", "hello")
	out, code := p.run("status", "--json", p.dir)
	var report struct {
		Mountpoint string
		PID        int
		Waiting    int
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != ok || report.Mountpoint != p.dir || report.Waiting != 1 {
		t.Errorf("exit code %d, %v:\n%s", code, err, out)
	}
	p.expect(mountpoint, "mounted already", args...)
}

// TestDiskWithoutUnnamedFiles puts a profile into another one's tree, which
// refuses O_TMPFILE, as vfat, NFS and most FUSE file systems do.
func TestDiskWithoutUnnamedFiles(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.mount()
	other := p.path("other")
	for _, flag := range []string{"--cache-dir", "--state-dir"} {
		p.expect(inUse, "O_TMPFILE", "mount", "--mkdir", "--profile", "second", flag, p.dir+"/inside", other)
	}
	p.expect(1, "O_TMPFILE", "serve", "--data", p.dir+"/served", "--listen", "127.0.0.1:0")
	r.signal(syscall.SIGTERM)
	r.wait(ok, "")
}
