package fs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"chatfs/fs"
	"chatfs/internal/entity"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
	"chatfs/remote"
)

// TestSignalsDoNotDisturb: a program that handles signals, as one with a timer
// or children does, sees no EINTR and no short write, though two of its threads
// change the same file.
func TestSignalsDoNotDisturb(t *testing.T) {
	f := newFixture(t)
	f.write("f", pattern(1, 100<<10))
	f.drain()
	p := startSignalled(t, "change", f.path("f"))
	pace := time.NewTicker(200 * time.Microsecond)
	defer pace.Stop()
	for sent := 0; ; {
		select {
		case err := <-p.ended:
			if err != nil {
				t.Errorf("%v: %s", err, p.said())
			}
			t.Logf("%d signals", sent)
			return
		case <-pace.C:
			sent += signalThreads(p.Process.Pid)
		}
	}
}

// TestSignalsDoNotEndAWait: nor does who waits for the service, as to change a
// file takes its content; but a signal that ends programs ends the wait.
func TestSignalsDoNotEndAWait(t *testing.T) {
	g := &gate{asked: make(chan struct{}), open: make(chan struct{})}
	f := newFixture(t, func(_ *fs.Config, x *transfer.Config) { g.Remote, x.Remote, x.Prefetch = x.Remote, g, 0 })
	f.write("f", pattern(1, 100<<10))
	f.drain()
	f.forgetCache()
	p := startSignalled(t, "fetch", f.path("f"))
	<-g.asked
	p.disturb()
	fusetest.Eventually(t, "end by SIGTERM", func() error {
		select {
		case err := <-p.ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
				t.Errorf("%v: %s", err, p.said())
			}
			return nil
		default: // of the signals before, none may have ended it
			return fmt.Errorf("it runs (%w)", p.Process.Signal(syscall.SIGTERM))
		}
	})
	p = startSignalled(t, "fetch", f.path("f"))
	p.disturb()
	close(g.open)
	if err := <-p.ended; err != nil {
		t.Errorf("%v: %s", err, p.said())
	}
}

// TestAbortEndsAWait: who waits for the service holds no mount up whose
// connection the kernel gave up.
func TestAbortEndsAWait(t *testing.T) {
	fusetest.NeedsAbort(t)
	g := &gate{asked: make(chan struct{}), open: make(chan struct{})}
	f := newFixture(t, func(c *fs.Config, x *transfer.Config) {
		g.Remote, x.Remote, x.Prefetch = x.Remote, g, 0
		c.ReadTimeout = time.Hour
	})
	f.write("f", pattern(1, 100<<10))
	f.drain()
	f.forgetCache()
	done := make(chan error)
	go func() { _, err := os.ReadFile(f.path("f")); done <- err }()
	<-g.asked
	fusetest.Abort(t, f.Dir)
	if err := <-done; !errors.Is(err, unix.ECONNABORTED) && !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("read: %v", err)
	}
	ended := make(chan struct{})
	go func() { f.server.Wait(); close(ended) }()
	fusetest.Eventually(t, "end of the mount", func() error {
		select {
		case <-ended:
			return nil
		default:
			return errors.New("a read is waited for")
		}
	})
	must(t, fusetest.Detach(f.Dir))
	f.closeProfile()
}

// A gate lets downloads through once it is open.
type gate struct {
	transfer.Remote
	asked, open chan struct{}
	once        sync.Once
}

func (g *gate) Download(ctx context.Context, u entity.UUID, secret entity.Secret, thumb bool) (*remote.Body, error) {
	g.once.Do(func() { close(g.asked) })
	select {
	case <-g.open:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return g.Remote.Download(ctx, u, secret, thumb)
}

// A signalled program is this one, which does one thing to a file.
type signalled struct {
	*exec.Cmd
	out   string
	ended chan error
}

func startSignalled(t *testing.T, what, path string) *signalled {
	t.Helper()
	p := &signalled{exec.Command(os.Args[0]), filepath.Join(t.TempDir(), "out"), make(chan error, 1)}
	p.Env = append(os.Environ(), "CHATFS_TEST_SIGNALS="+what, "CHATFS_TEST_FILE="+path)
	out, err := os.Create(p.out)
	must(t, err)
	defer out.Close()
	p.Stdout, p.Stderr = out, out
	must(t, p.Start())
	go func() { p.ended <- p.Wait() }()
	return p
}

// disturb signals it for a while.
func (p *signalled) disturb() {
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for range 100 {
		<-pace.C
		signalThreads(p.Process.Pid)
	}
}

func (p *signalled) said() string {
	said, _ := os.ReadFile(p.out)
	return string(said)
}

// signalThreads signals each thread, as the kernel would choose one that idles.
// Go's runtime handles SIGURG, and has interrupted calls restarted.
func signalThreads(pid int) (sent int) {
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // none once it has ended
	for _, th := range threads {
		if tid, err := strconv.Atoi(th.Name()); err == nil && unix.Tgkill(pid, tid, unix.SIGURG) == nil {
			sent++
		}
	}
	return sent
}

// doUnderSignals is what the program does.
func doUnderSignals(what, path string) error {
	if what == "fetch" {
		return changeAndClose(path)
	}
	failed := make(chan error)
	for thread := range int64(2) {
		go func() { failed <- changeFile(path, thread*(50<<10)) }()
	}
	return errors.Join(<-failed, <-failed)
}

func changeFile(path string, at int64) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	fd, piece := int(file.Fd()), make([]byte, 10<<10)
	for i := range int64(300) {
		if n, err := unix.Pwrite(fd, piece, at+i); n != len(piece) {
			return fmt.Errorf("write %d: %d bytes: %w", i, n, err)
		}
		for name, op := range map[string]func() error{
			"ftruncate": func() error { return unix.Ftruncate(fd, 100<<10+i) },
			"truncate":  func() error { return unix.Truncate(path, 100<<10+i) },
			"fallocate": func() error { return unix.Fallocate(fd, 0, at, 20<<10) },
			"chmod":     func() error { return unix.Fchmod(fd, 0o600|uint32(i)&0o77) },
			"fsync":     func() error { return unix.Fdatasync(fd) },
			"open":      func() error { return changeAndClose(path) },
		} {
			if err := op(); err != nil {
				return fmt.Errorf("%s %d: %w", name, i, err)
			}
		}
		if n, err := unix.Pread(fd, piece, at+i); n != len(piece) {
			return fmt.Errorf("read %d: %d bytes: %w", i, n, err)
		}
	}
	return nil
}

func changeAndClose(path string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND, 0)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		unix.Close(fd)
		return fmt.Errorf("append: %w", err)
	}
	return unix.Close(fd)
}
