package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A server is chatfs serve in a process of its own, which a test stops,
// kills and starts again on the same port.
type server struct {
	t    *testing.T
	data string
	args []string
	Base string

	proc *exec.Cmd
	said chan string // all that it prints, once it has ended
}

func newServer(t *testing.T, args ...string) *server {
	t.Helper()
	v := &server{t: t, data: t.TempDir(), args: args}
	t.Cleanup(func() {
		if v.proc != nil {
			v.kill()
		}
	})
	v.start("127.0.0.1:0")
	return v
}

// start returns once the server listens.
func (v *server) start(listen string) {
	v.t.Helper()
	v.proc = exec.Command(command, append([]string{"serve", "--listen", listen, "--data", v.data, "--log-level", "error"}, v.args...)...)
	v.proc.Stderr = os.Stderr
	out, err := v.proc.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	if err := v.proc.Start(); err != nil {
		v.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C") {
		if base, ok := strings.CutPrefix(lines.Text(), "Serving "); ok {
			v.Base = base
		}
	}
	v.said = make(chan string, 1)
	go func() {
		var rest strings.Builder
		for lines.Scan() {
			rest.WriteString(lines.Text() + "\n")
		}
		v.said <- rest.String()
	}()
}

// restart serves the same data at the same address again.
func (v *server) restart() {
	v.t.Helper()
	v.start(strings.Split(strings.TrimPrefix(v.Base, "http://"), "/")[0])
}

func (v *server) signal(sig syscall.Signal) {
	v.t.Helper()
	if err := v.proc.Process.Signal(sig); err != nil {
		v.t.Fatal(err)
	}
}

func (v *server) kill() {
	v.t.Helper()
	v.signal(syscall.SIGKILL)
	<-v.said
	v.proc.Wait() // it was killed
	v.proc = nil
}

// stop ends the server as a person does, and gives what it says.
func (v *server) stop() string {
	v.t.Helper()
	v.signal(syscall.SIGTERM)
	said := <-v.said
	v.proc.Wait() // it cuts off whom it stalls, and tells
	v.proc = nil
	return said
}

// session mounts the server's files.
func (v *server) session(args ...string) *session {
	v.t.Helper()
	b, err := os.ReadFile(filepath.Join(v.data, "credentials.json"))
	if err != nil {
		v.t.Fatal(err)
	}
	var c struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		v.t.Fatal(err)
	}
	s := &session{t: v.t, base: v.t.TempDir(), Args: append([]string{"--remote", v.Base}, args...),
		Env: []string{"CHATFS_CLIENT_ID=" + c.ID, "CHATFS_CLIENT_SECRET=" + c.Secret}}
	s.begin()
	return s
}
