package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

var serving = regexp.MustCompile(`Serving (http\S+)\n  client id (\S+) \(its secret is in (\S+)\)`)

// serve starts chatfs serve on a free port and answers its address and where
// the app's credentials are.
func (p *place) serve(args ...string) (base, id, secretFile string) {
	p.t.Helper()
	r := &running{p: p, cmd: exec.Command(command, append([]string{"serve", "--listen", "127.0.0.1:0", "--data", p.path("served")}, args...)...), end: make(chan struct{})}
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = p.env, &r.said, &r.said
	if err := r.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() { _ = r.cmd.Wait(); close(r.end) }()
	p.t.Cleanup(func() { r.signal(syscall.SIGTERM); r.wait(ok, "") })
	p.eventuallySaid(r, "Ctrl-C")
	m := serving.FindStringSubmatch(r.said.String())
	if m == nil {
		p.t.Fatalf("no address in:\n%s", r.said.String())
	}
	return m[1], m[2], m[3]
}

func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	base, _, _ := p.serve()
	for _, env := range [][]string{
		{"CHATFS_TOKEN=YWMtwrong"},
		{"CHATFS_CLIENT_ID=x", "CHATFS_CLIENT_SECRET=hunter2"},
		{"CHATFS_USERNAME=ann", "CHATFS_PASSWORD=hunter2"},
	} {
		q := newPlace(t)
		q.env = append(q.env, env...)
		out, code := q.run("mount", "--remote", base, q.dir)
		if code != credentials || !strings.Contains(out, "refused the credentials") || strings.Contains(out, "hunter2") || strings.Contains(out, "YWMtwrong") {
			t.Errorf("%s: exit code %d:\n%s", env, code, out)
		}
	}
	p.env = append(p.env, "CHATFS_TOKEN=x")
	if out, code := p.run("mount", "--remote", strings.TrimSuffix(base, "chatfs")+"none", p.dir); code == ok {
		t.Errorf("another app: exit code %d:\n%s", code, out)
	}
}

func TestServedAndMounted(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	base, id, secretFile := p.serve()
	secret := appSecret(t, secretFile)
	p.env = append(p.env, "CHATFS_CLIENT_ID="+id, "CHATFS_CLIENT_SECRET="+secret)
	p.expect(ok, "took the credentials", "login", "--remote", base)
	p.env = p.env[:len(p.env)-2] // login keeps them
	r := p.mount("--settle", "0s")
	p.put("a.txt", "hello")
	p.expect(ok, "", "sync", p.dir)
	p.expect(ok, "0 files (0 B) waiting", "status")
	if err := os.Truncate(filepath.Join(p.dir, "a.txt"), 11<<20); err == nil {
		t.Error("11 MiB were taken")
	}
	r.signal(syscall.SIGINT)
	r.wait(ok, "interrupt: unmounting")
	if err := os.RemoveAll(p.path("cache")); err != nil {
		t.Fatal(err)
	}
	r = p.mount()
	p.want("a.txt", "hello")
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	if strings.Contains(r.said.String(), secret) {
		t.Error("the secret is shown")
	}
	q := newPlace(t)
	q.expect(ok, "Mounted", "mount", "--daemon", "--settle", "0s", q.dir)
	q.put("b.txt", "hello")
	q.expect(ok, "", "umount", q.dir)
	q.env = append(q.env, "CHATFS_TOKEN=YWMtx")
	q.expect(inUse, "holds the files of the embedded service", "mount", "--profile", "default", "--remote", base, q.dir)
}

// appSecret reads it from the file that chatfs serve names.
func appSecret(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`"client_secret"\s*:\s*"([^"]+)"`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no client_secret in %s", path)
	}
	return string(m[1])
}

func TestEmbeddedServiceLasts(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.mount("--settle", "0s")
	if !strings.Contains(r.said.String(), "no account is configured") {
		t.Errorf("not said plainly:\n%s", r.said.String())
	}
	p.put("a.txt", "hello")
	if err := os.Mkdir(filepath.Join(p.dir, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.put("deep/b.txt", strings.Repeat("b", 100000))
	r.signal(syscall.SIGTERM)
	r.wait(ok, "everything is uploaded")
	if err := os.RemoveAll(p.path("cache")); err != nil {
		t.Fatal(err)
	}
	r = p.mount()
	p.want("a.txt", "hello")
	p.want("deep/b.txt", strings.Repeat("b", 100000))
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
}

// TestServeWarnsOfPlainHTTP beyond this machine.
func TestServeWarnsOfPlainHTTP(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start(command, "serve", "--listen", "0.0.0.0:0", "--data", p.path("served"))
	p.eventuallySaid(r, "Ctrl-C")
	r.signal(syscall.SIGTERM)
	r.wait(ok, "warning: plain http beyond this machine")
	r = p.start(command, "serve", "--listen", "127.0.0.1:0", "--data", p.path("served"))
	p.eventuallySaid(r, "Ctrl-C")
	r.signal(syscall.SIGTERM)
	r.wait(ok, "")
	if strings.Contains(r.said.String(), "warning") {
		t.Errorf("it warns on loopback:\n%s", r.said.String())
	}
}
