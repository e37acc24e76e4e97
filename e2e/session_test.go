package e2e

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chatfs/internal/fusetest"
)

// command is the built chatfs, made once for all tests.
var command string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "chatfs-e2e-")
	if err != nil {
		panic(err)
	}
	var flags []string
	if raceEnabled {
		flags = append(flags, "-race")
	}
	if command, err = fusetest.Command(dir, flags...); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// A session is a person at a terminal: a profile of their own, a mount
// point, and what the mount printed.
type session struct {
	t    *testing.T
	base string
	Dir  string // the mount point, or a folder of it
	cwd  string // where scripts run
	Args []string
	Env  []string // more than a person has
	Wrap []string // runs the mount: unshare, say

	proc  *exec.Cmd     // nil once its end was seen
	ended chan struct{} // closed at its end
	mu    sync.Mutex
	said  strings.Builder
}

func newSession(t *testing.T, args ...string) *session {
	t.Helper()
	s := &session{t: t, base: t.TempDir(), Args: args}
	s.begin()
	return s
}

// begin makes the mount point and mounts.
func (s *session) begin() {
	t := s.t
	t.Helper()
	s.cwd = s.base
	s.Dir = filepath.Join(s.base, "files")
	if err := os.Mkdir(s.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	s.mount()
}

func (s *session) env() []string {
	return append(append(os.Environ(), s.Env...), "HOME="+s.base, "XDG_STATE_HOME="+s.base+"/state",
		"XDG_CACHE_HOME="+s.base+"/cache", "XDG_CONFIG_HOME="+s.base+"/config", "LC_ALL=C.UTF-8")
}

// mount starts the command and returns once the mount answers.
func (s *session) mount(extra ...string) {
	s.t.Helper()
	args := append([]string{"mount", "--settle", "50ms"}, s.Args...)
	line := slices.Concat(s.Wrap, []string{command}, args, extra, []string{s.Dir})
	s.proc = exec.Command(line[0], line[1:]...)
	s.proc.Env = s.env()
	out, err := s.proc.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.proc.Stderr = s.proc.Stdout
	if err := s.proc.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	s.ended = ended
	go func(p *exec.Cmd) {
		s.listen(out, ready)
		_ = p.Wait() // its state tells
		close(ended)
	}(s.proc)
	select {
	case <-ready:
	case <-ended:
		s.t.Fatalf("the mount ended at once: %v\n%s", s.proc.ProcessState, s.output())
	case <-time.After(fusetest.Patience):
		s.t.Fatalf("the mount does not answer\n%s", s.output())
	}
}

// listen keeps what the command prints; ready is closed at the line that
// says how to stop, the last before it serves.
func (s *session) listen(out io.Reader, ready chan struct{}) {
	lines := bufio.NewScanner(out)
	once := sync.OnceFunc(func() { close(ready) })
	for lines.Scan() {
		s.mu.Lock()
		s.said.WriteString(lines.Text() + "\n")
		s.mu.Unlock()
		if strings.Contains(lines.Text(), "Ctrl-C") {
			once()
		}
	}
}

func (s *session) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// interrupt is Ctrl-C; it gives the exit code.
func (s *session) interrupt() int {
	s.t.Helper()
	if err := s.proc.Process.Signal(os.Interrupt); err != nil {
		s.t.Fatal(err)
	}
	return s.wait()
}

func (s *session) kill() {
	s.t.Helper()
	if err := s.proc.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	s.wait()
}

func (s *session) wait() int {
	s.t.Helper()
	select {
	case <-s.ended:
		code := s.proc.ProcessState.ExitCode()
		s.proc = nil
		return code
	case <-time.After(fusetest.Patience):
		s.t.Fatalf("the mount does not end\n%s", s.output())
		return -1
	}
}

// end ends what a failed test left, and its mount.
func (s *session) end() {
	if s.proc != nil {
		s.proc.Process.Kill()
		<-s.ended
	}
	if err := fusetest.Detach(s.Dir); err != nil {
		s.t.Error(err)
	}
	if s.t.Failed() {
		s.t.Logf("the mount said:\n%s", s.output())
	}
}

// sh runs a shell script in the base folder, or the corner's, with $D the mount point, and
// gives what it prints; it fails the test where the script fails.
func (s *session) sh(script string) string {
	s.t.Helper()
	out, err := s.try(script)
	if err != nil {
		s.t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return out
}

func (s *session) try(script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fusetest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = s.cwd
	cmd.Env = append(s.env(), "D="+s.Dir, "CHATFS="+command)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// sync waits for the uploads.
func (s *session) sync() {
	s.t.Helper()
	s.sh(`"$CHATFS" sync`)
}
