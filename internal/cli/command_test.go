package cli_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chatfs/internal/fusetest"
)

// command is the built chatfs, made once for all tests.
var command string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "chatfs-cli-")
	if err != nil {
		panic(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // another user runs it too
		panic(err)
	}
	if command, err = fusetest.Command(dir); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// A place is a person's home: directories of their own and a mount point.
type place struct {
	t   *testing.T
	dir string // the mount point
	env []string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	base := t.TempDir()
	p := &place{t: t, dir: filepath.Join(base, "files")}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p.env = append(os.Environ(), "HOME="+base, "XDG_STATE_HOME="+filepath.Join(base, "state"),
		"XDG_CACHE_HOME="+filepath.Join(base, "cache"), "XDG_CONFIG_HOME="+filepath.Join(base, "config"))
	return p
}

// path is a file of the person's, outside the mount.
func (p *place) path(name string) string { return filepath.Join(filepath.Dir(p.dir), name) }

func (p *place) write(name, text string, mode os.FileMode) string {
	p.t.Helper()
	path := p.path(name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode)); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// run runs chatfs to its end and answers all it said and its exit code.
func (p *place) run(args ...string) (string, int) {
	p.t.Helper()
	return p.exec(command, args...)
}

func (p *place) exec(name string, args ...string) (string, int) {
	p.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = p.env
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// expect runs chatfs and wants this exit code and these words.
func (p *place) expect(code int, words string, args ...string) {
	p.t.Helper()
	out, got := p.run(args...)
	if got != code || !strings.Contains(out, words) {
		p.t.Errorf("chatfs %s: exit code %d, want %d, with %q; it said:\n%s", strings.Join(args, " "), got, code, words, out)
	}
}

// A running mount is in the foreground of its own terminal.
type running struct {
	p    *place
	cmd  *exec.Cmd
	said syncBuffer
	end  chan struct{}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// mount starts chatfs mount and returns once it says that the tree is there.
func (p *place) mount(args ...string) *running {
	p.t.Helper()
	r := &running{p: p, cmd: exec.Command(command, append([]string{"mount", p.dir}, args...)...), end: make(chan struct{})}
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = p.env, &r.said, &r.said
	if err := r.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { _ = r.cmd.Wait(); close(r.end) }()
	p.t.Cleanup(r.kill)
	fusetest.Eventually(p.t, "mount", func() error {
		if strings.Contains(r.said.String(), "Mounted at "+p.dir) {
			return nil
		}
		select {
		case <-r.end:
			p.t.Fatalf("the mount ended: %s", r.said.String())
		default:
		}
		return errors.New("not yet ready: " + r.said.String())
	})
	return r
}

// kill ends what a test left, without mercy.
func (r *running) kill() {
	_ = r.cmd.Process.Kill()
	<-r.end
	if err := fusetest.Detach(r.p.dir); err != nil {
		r.p.t.Error(err)
	}
}

// wait waits for the end and wants this exit code and these words.
func (r *running) wait(code int, words string) {
	r.p.t.Helper()
	select {
	case <-r.end:
	case <-time.After(fusetest.Patience):
		r.p.t.Fatalf("no end: %s", r.said.String())
	}
	if got := r.cmd.ProcessState.ExitCode(); got != code || !strings.Contains(r.said.String(), words) {
		r.p.t.Errorf("exit code %d, want %d, with %q; it said:\n%s", got, code, words, r.said.String())
	}
}

func (r *running) signal(s syscall.Signal) {
	r.p.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.p.t.Fatal(err)
	}
}

// offline is a service that nobody runs.
var offline = []string{"--remote", "http://127.0.0.1:1/org/app", "--settle", "0s"}

func withToken(p *place) *place {
	p.env = append(p.env, "CHATFS_TOKEN=YWMt-test")
	return p
}

// eventuallySaid waits until a mount has said these words.
func (p *place) eventuallySaid(r *running, words string) {
	p.t.Helper()
	fusetest.Eventually(p.t, words, func() error {
		if !strings.Contains(r.said.String(), words) {
			return errors.New("not said: " + r.said.String())
		}
		return nil
	})
}
