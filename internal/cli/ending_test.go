package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"chatfs/internal/fusetest"
)

// start starts a command in the background, whose end a test awaits.
func (p *place) start(name string, args ...string) *running {
	p.t.Helper()
	r := &running{p: p, cmd: exec.Command(name, args...), end: make(chan struct{})}
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = p.env, &r.said, &r.said
	r.begin()
	return r
}

func (r *running) begin() {
	r.p.t.Helper()
	if err := r.cmd.Start(); err != nil {
		r.p.t.Fatal(err)
	}
	go func() { _ = r.cmd.Wait(); close(r.end) }()
	r.p.t.Cleanup(r.kill)
}

// servedLate has mounts of p go to a service that answers each upload late.
func (p *place) servedLate(latency string) *place {
	p.t.Helper()
	base, id, secretFile := p.serve("--faults", "upload.latency="+latency)
	p.env = append(p.env, "CHATFS_CLIENT_ID="+id, "CHATFS_CLIENT_SECRET="+appSecret(p.t, secretFile), "CHATFS_REMOTE="+base)
	return p
}

func TestMountOutlivesItsReader(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r := &running{p: p, cmd: exec.Command(command, "mount", p.dir), end: make(chan struct{})}
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = p.env, out, out
	r.begin()
	out.Close()
	head := make([]byte, 1)
	if _, err := io.ReadFull(in, head); err != nil {
		t.Fatal(err)
	}
	in.Close() // as head does
	fusetest.Eventually(t, "the mount's answer", func() error {
		if out, code := p.run("status", p.dir); code != ok {
			return errors.New(out)
		}
		return nil
	})
	p.put("a.txt", "hello")
	r.signal(syscall.SIGTERM) // which it says, to nobody
	r.wait(ok, "")
}

func TestNohupMeansIt(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start("sh", "-c", `trap "" HUP; exec "$0" mount "$1"`, command, p.dir)
	p.eventuallySaid(r, "Mounted at")
	r.signal(syscall.SIGHUP)
	p.put("a.txt", "hello")
	r.signal(syscall.SIGTERM)
	r.wait(ok, "terminated: unmounting")
}

// A terminal that is closed sends SIGHUP twice: once by its driver, once by
// its shell.
func TestSecondHangupIsNoHurry(t *testing.T) {
	t.Parallel()
	p := newPlace(t).servedLate("1s")
	r := p.mount("--drain-timeout", "1m")
	p.put("a.txt", "hello")
	r.signal(syscall.SIGHUP)
	p.eventuallySaid(r, "hangup: unmounting")
	r.signal(syscall.SIGHUP)
	r.wait(ok, "everything is uploaded")
}

func TestCopiesOfTheMountHoldNobodyUp(t *testing.T) {
	t.Parallel()
	fusetest.NeedsRoot(t, "bind a mount elsewhere")
	p := newPlace(t)
	r := p.mount("--drain-timeout", "1m")
	p.put("a.txt", "hello")
	copied := p.path("copy")
	if err := errors.Join(os.Mkdir(copied, 0o755), unix.Mount(p.dir, copied, "", unix.MS_BIND, "")); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(copied, unix.MNT_DETACH) }()
	elsewhere := p.start("unshare", "-m", "sh", "-c", "echo in; exec sleep 1000")
	p.eventuallySaid(elsewhere, "in")
	p.expect(ok, "at "+copied, "umount", p.dir)
	r.wait(ok, "in the mount namespace of sleep")
	if _, err := os.ReadDir(copied); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("the copy answers: %v", err)
	}
}

// Who still uploads has nothing to do with what is mounted there by now.
func TestEndLeavesALaterMountAlone(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	old := p.mount(append(offline, "--drain-timeout", "1h")...)
	p.put("a.txt", "hello")
	old.signal(syscall.SIGTERM)
	p.eventuallySaid(old, "uploading: 1 file")
	p.expect(ok, "finishes its uploads", "status")
	r := p.mount(append(offline, "--profile", "later", "--drain-timeout", "100ms")...)
	p.put("b.txt", "hello")
	old.signal(syscall.SIGTERM)
	old.wait(waiting, "leaving at once")
	p.want("b.txt", "hello")
	p.expect(ok, "profile   later", "status", p.dir)
	r.signal(syscall.SIGTERM)
	r.wait(waiting, "")
}

func TestStatusShowsAllTrees(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	quick := append(offline, "--drain-timeout", "10ms")
	r := p.mount(append(quick, "--profile", "resting")...)
	p.put("a.txt", "a")
	r.signal(syscall.SIGTERM)
	r.wait(waiting, "")
	r = p.mount(append(quick, "--profile", "idle")...)
	r.signal(syscall.SIGTERM)
	r.wait(ok, "")
	elsewhere := filepath.Join(filepath.Dir(p.dir), "elsewhere")
	r = p.start(command, append([]string{"mount", "--mkdir", elsewhere, "--profile", "dead", "--state-dir", p.path("own")}, quick...)...)
	p.eventuallySaid(r, "Mounted at")
	defer func() { p.run("umount", elsewhere) }()
	if err := os.WriteFile(filepath.Join(elsewhere, "b.txt"), []byte("bb"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.signal(syscall.SIGKILL)
	<-r.end
	live := p.mount(quick...)
	out, code := p.run("status")
	for _, words := range []string{"profile resting: not mounted", elsewhere + ": dead", p.dir + ": mounted for", "1 file (2 B) waiting"} {
		if !strings.Contains(out, words) {
			t.Errorf("no %q in:\n%s", words, out)
		}
	}
	if code != ok || strings.Contains(out, "profile idle") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	text, _ := p.run("status", "--json")
	var all []struct {
		Mountpoint, Profile string
		Dead                bool
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) < 3 {
		t.Errorf("%v in:\n%s", err, text)
	}
	live.signal(syscall.SIGTERM)
	live.wait(ok, "")
}

func TestSyncThatMeetsTheEnd(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	r := p.mount(append(offline, "--drain-timeout", "10ms")...)
	p.put("a.txt", "hello")
	syncing := p.start(command, "sync", p.dir)
	p.eventuallySaid(syncing, "uploading: 1 file")
	r.signal(syscall.SIGTERM)
	r.wait(waiting, "")
	syncing.wait(waiting, "waits for upload; it resumes at the next mount")
}

func TestWrongConfigurationHindersNoEnd(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	r := p.mount(offline...)
	for _, text := range []string{"frob = 1\n", "= 1\n"} {
		p.write("config/chatfs/config.toml", text, 0o600)
		p.expect(ok, "warning: configuration file", "status", "--profile", "org-app")
		p.expect(ok, "everything is uploaded", "sync", "--profile", "org-app")
	}
	p.expect(ok, "chatfs umount: unmounting", "umount", "--profile", "org-app")
	r.wait(ok, "")
}

func TestOrdersAreNoSettings(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for _, key := range []string{"repair", "force", "json", "restore", "listen"} {
		p.write("config/chatfs/config.toml", key+" = true\n", 0o600)
		p.expect(usage, "no setting is called \""+key+"\"", "mount", p.dir)
	}
	p.write("config/chatfs/config.toml", "", 0o600)
	p.env = append(p.env, "CHATFS_JSON=true")
	r := p.mount()
	if out, _ := p.run("status", p.dir); strings.HasPrefix(out, "{") {
		t.Errorf("the environment gave --json:\n%s", out)
	}
	r.signal(syscall.SIGTERM)
	r.wait(ok, "")
}

func TestFailedMountLeavesNoDirectory(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	made := p.path("made")
	for _, how := range [][]string{nil, {"--daemon"}} {
		p.expect(credentials, "no credentials", append(append([]string{"mount", "--mkdir", made}, how...), offline...)...)
		if _, err := os.Lstat(made); !os.IsNotExist(err) {
			t.Errorf("%s: %v", how, err)
		}
	}
}

func TestContainerWithoutTheRightToMount(t *testing.T) {
	t.Parallel()
	fusetest.NeedsRoot(t, "give up the right to mount")
	p := newPlace(t)
	out, code := p.exec("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", command, "mount", p.dir)
	if code != noFUSE || !strings.Contains(out, "--cap-add SYS_ADMIN") || strings.Contains(out, "exited with code") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestUserWithoutMtab(t *testing.T) {
	t.Parallel()
	fusetest.NeedsRoot(t, "hide /etc/mtab")
	p := newPlace(t)
	p.env = append(p.env, "CHATFS_CONFIG=/none")
	out, code := p.exec("unshare", "-m", "sh", "-c", `mount -t tmpfs none /etc && mount -t tmpfs none /dev && mknod -m 666 /dev/fuse c 10 229 && mknod -m 666 /dev/null c 1 3 &&
		exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" mount "$1"`, command, p.dir)
	if code != noFUSE || !strings.Contains(out, "ln -s /proc/self/mounts /etc/mtab") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

// terminal makes a pseudo-terminal: what a person types goes into master, and
// programs run on slave.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func TestPromptGivesTheTerminalBack(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	master, slave := terminal(t)
	r := &running{p: p, cmd: exec.Command(command, "login", "--remote", "https://example.com/org/app"), end: make(chan struct{})}
	r.cmd.Env, r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = p.env, slave, &r.said, &r.said
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	r.begin()
	if _, err := master.WriteString("ann\n"); err != nil {
		t.Fatal(err)
	}
	echoes := func() bool {
		state, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return state.Lflag&unix.ECHO != 0
	}
	p.eventuallySaid(r, "Password: ")
	fusetest.Eventually(t, "hidden input", func() error {
		if echoes() {
			return errors.New("the terminal echoes")
		}
		return nil
	})
	if _, err := master.WriteString("\x03"); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	<-r.end
	if !echoes() {
		t.Error("the terminal does not echo any more")
	}
	if status := r.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v", status)
	}
}
