package cli_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"chatfs/internal/fusetest"
)

// withBackups makes a profile with a.txt at the service, b.txt waiting for its
// upload, an automatic backup that knows a.txt alone, and one that knows both.
// It answers the state directory and the index as it was between them.
func (p *place) withBackups() (state, old string) {
	p.t.Helper()
	state = p.path("state/chatfs/default")
	r := p.mount("--settle", "0s")
	p.put("a.txt", "hello")
	p.sync()
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	p.backsUp(1)
	old = p.path("old.db")
	copyFile(p.t, filepath.Join(state, "index.db"), old)
	r = p.mount()
	p.put(".b.swp", "local")
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	p.agedBackups()
	p.backsUp(2)
	return state, old
}

// backsUp mounts until there are n automatic backups.
func (p *place) backsUp(n int) {
	p.t.Helper()
	r := p.mount()
	fusetest.Eventually(p.t, "an automatic backup", func() error {
		if copies, _ := filepath.Glob(p.path("state/chatfs/default/backups/index-*")); len(copies) != n {
			return errors.New(strings.Join(copies, " "))
		}
		return nil
	})
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
}

// agedBackups has the automatic backups be from years ago.
func (p *place) agedBackups() {
	p.t.Helper()
	copies, err := filepath.Glob(p.path("state/chatfs/default/backups/index-*"))
	for _, path := range copies {
		name := filepath.Base(path)
		_, rest, _ := strings.Cut(strings.TrimPrefix(name, "index-"), "-")
		err = errors.Join(err, os.Rename(path, filepath.Join(filepath.Dir(path), "index-20010203T040506Z-"+rest)))
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestLostIndexIsRefused: an index that is missing, or empty, or from before its
// backups, is told by all commands, and a restore brings all back.
func TestLostIndexIsRefused(t *testing.T) {
	t.Parallel()
	losses := map[string]func(path, old string) error{
		"is missing":                 func(path, _ string) error { return os.Remove(path) },
		"the index is missing":       func(path, _ string) error { return os.Truncate(path, 0) },
		"is older than its backups":  func(path, old string) error { return os.Rename(old, path) },
		"the index is missing: ther": func(path, _ string) error { return errors.Join(os.Remove(path), os.Symlink("nowhere", path)) },
	}
	for words, lose := range losses {
		t.Run(words, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			state, old := p.withBackups()
			if err := lose(filepath.Join(state, "index.db"), old); err != nil {
				t.Fatal(err)
			}
			for _, command := range [][]string{{"mount", p.dir}, {"status", "--profile", "default"}, {"check"}, {"backup", "--plaintext", p.path("b")}, {"history", "--profile", "default", "/a.txt"}} {
				out, code := p.run(command...)
				if code != badIndex || !strings.Contains(out, words) || !strings.Contains(out, "chatfs restore") {
					t.Errorf("chatfs %s: exit code %d:\n%s", command, code, out)
				}
			}
			if _, err := os.Lstat(p.path("b")); err == nil {
				t.Error("a backup was written")
			}
			copies, err := filepath.Glob(filepath.Join(state, "backups/index-2*"))
			if err != nil || len(copies) != 2 {
				t.Fatal(copies, err)
			}
			p.expect(ok, "restored from", "restore", "--force", copies[1])
			r := p.mount()
			p.want("a.txt", "hello")
			p.want(".b.swp", "local")
			r.signal(syscall.SIGINT)
			r.wait(ok, "")
			p.expect(ok, "all is sound", "check")
		})
	}
}

// TestOldIndexIsTakenByRepair: it is taken as it is, stays taken, and gives no
// number that was given since.
func TestOldIndexIsTakenByRepair(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	state, old := p.withBackups()
	inode := func(name string) uint64 {
		r := p.mount()
		defer func() { r.signal(syscall.SIGINT); r.wait(ok, "") }()
		p.put(name, "new")
		info, err := os.Stat(filepath.Join(p.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	before := inode("c.txt")
	if err := os.Rename(old, filepath.Join(state, "index.db")); err != nil {
		t.Fatal(err)
	}
	p.expect(badIndex, "older than its backups", "check")
	p.expect(ok, "index-damaged: ", "check", "--repair")
	p.expect(ok, "all is sound", "check")
	if after := inode("d.txt"); after <= before {
		t.Errorf("inode %d is given after %d", after, before)
	}
	p.expect(ok, "all is sound", "check")
}

// TestLostIndexWithoutBackup: nothing but a repair makes an empty tree of it,
// and what waited for its upload is kept.
func TestLostIndexWithoutBackup(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	r := p.mount(append(offline, "--drain-timeout", "10ms")...)
	p.put("a.txt", "waiting")
	r.signal(syscall.SIGINT)
	r.wait(waiting, "")
	state := p.path("state/chatfs/org-app")
	if err := errors.Join(os.Remove(filepath.Join(state, "index.db")), os.RemoveAll(filepath.Join(state, "backups"))); err != nil {
		t.Fatal(err)
	}
	p.expect(badIndex, "the index is missing", append([]string{"mount", p.dir}, offline...)...)
	p.expect(badIndex, "check --repair begins an empty tree", "status", "--profile", "org-app")
	p.expect(ok, "index-damaged: the index is missing", "check", "--repair", "--profile", "org-app")
	kept, err := filepath.Glob(filepath.Join(state, "rescued", "*-*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("what waited for its upload is kept in %v, %v", kept, err)
	}
	if b, err := os.ReadFile(kept[0]); err != nil || string(b) != "waiting" {
		t.Errorf("%s has %q, %v", kept[0], b, err)
	}
	r = p.mount(append(offline, "--drain-timeout", "10ms")...)
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
}
