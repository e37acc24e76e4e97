package cli_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pkg/xattr"

	"chatfs/index"
	"chatfs/internal/entity"
)

// TestCheckAndRepair finds damages of each place, mends them, and finds nothing
// more; the files are read as before.
func TestCheckAndRepair(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.mount("--settle", "0s")
	p.put("a.txt", "hello")
	p.sync()
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	p.expect(ok, "all is sound", "check", "--remote")
	copies, err := filepath.Glob(p.path("cache/chatfs/default/entities/*/*"))
	if err != nil || len(copies) != 1 {
		t.Fatal(copies, err)
	}
	for _, damage := range []string{copies[0], p.path("state/chatfs/default/staging/0000000000001234"), p.path("cache/chatfs/default/entities/x")} {
		if err := os.WriteFile(damage, []byte("HELLO"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, words := range []string{"cache-damaged", "staged-stray", "cache-stray", "3 problems"} {
		p.expect(badIndex, words, "check")
	}
	p.expect(ok, "3 problems mended", "check", "--repair")
	p.expect(ok, "all is sound", "check")
	r = p.mount()
	p.want("a.txt", "hello")
	p.expect(inUse, "is in use by", "check")
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
}

// TestCheckRepairsADamagedJournal keeps what comes before the damage.
func TestCheckRepairsADamagedJournal(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	r := p.mount(offline...)
	for _, name := range []string{"a", "b", "c", "d"} {
		p.put(name, strings.Repeat(name, 100))
	}
	r.signal(syscall.SIGKILL)
	<-r.end
	p.expect(ok, "cleared", "umount", p.dir)
	journals, err := filepath.Glob(p.path("state/chatfs/org-app/journal-*"))
	if err != nil || len(journals) == 0 {
		t.Fatal(journals, err)
	}
	for _, path := range journals {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[20] ^= 1 // in the header
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.expect(badIndex, "is damaged", "check", "--profile", "org-app")
	p.expect(ok, "damaged journals kept", "check", "--profile", "org-app", "--repair")
	p.expect(ok, "all is sound", "check", "--profile", "org-app")
}

func TestCheckRemoteTellsWhatIsGone(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.served()
	r := p.mount("--settle", "0s", "--keep", "none")
	p.put("a.txt", "hello")
	p.put("b.txt", "which the service has")
	p.sync()
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	p.moveEntity("a.txt")
	p.expect(ok, "all is sound", "check")
	p.expect(badIndex, "(/a.txt): the service has forgotten it", "check", "--remote")
	p.expect(ok, "1 problem mended", "check", "--remote", "--repair")
	p.expect(ok, "all is sound", "check", "--remote")
	if err := os.RemoveAll(p.path("cache")); err != nil {
		t.Fatal(err)
	}
	p.expect(ok, `expired   "a.txt"`, "status")
	r = p.mount("--keep", "none")
	if _, err := os.ReadFile(filepath.Join(p.dir, "a.txt")); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("read of what is gone: %v", err)
	}
	if state, err := xattr.Get(filepath.Join(p.dir, "a.txt"), "user.chatfs.state"); err != nil || string(state) != "expired" {
		t.Errorf("its state is %q, %v", state, err)
	}
	p.expect(1, "can't be had", "history", p.writeOver("a.txt"), "--restore", "1")
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
}

// moveEntity has a file lead to an entity of the same content that the service
// does not have.
func (p *place) moveEntity(name string) {
	p.t.Helper()
	found, err := filepath.Glob(p.path("state/chatfs/*/index.db"))
	if err != nil || len(found) != 1 {
		p.t.Fatal(found, err)
	}
	x, err := index.Open(filepath.Dir(found[0]), index.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	defer x.Close()
	d, err := x.Resolve(name)
	if err != nil {
		p.t.Fatal(err)
	}
	e, err := x.Entity(d.Inode.UUID)
	if err != nil {
		p.t.Fatal(err)
	}
	if e.UUID, err = entity.NewUUID(); err != nil {
		p.t.Fatal(err)
	}
	if err := x.Replace(d.Inode.UUID, e); err != nil {
		p.t.Fatal(err)
	}
}

// writeOver overwrites a file of the tree and answers its path.
func (p *place) writeOver(name string) string {
	p.t.Helper()
	p.put(name, "new")
	return filepath.Join(p.dir, name)
}
