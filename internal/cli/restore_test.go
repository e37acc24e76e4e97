package cli_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestKilledRestore kills chatfs restore at random moments. The profile is
// then whole, the old or the new, and another restore makes it the new.
func TestKilledRestore(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	p := newPlace(t)
	backup := p.backedUp()
	r := p.mount("--settle", "0s")
	p.put("b.txt", "later")
	p.sync()
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	copyTree(t, p.path("state"), p.path("before"))
	began := time.Now()
	p.expect(ok, "restored from", "restore", "--force", backup)
	whole := time.Since(began)
	old, renewed := 0, 0
	for range 20 {
		copyTree(t, p.path("before"), p.path("state"))
		cmd := exec.Command(command, "restore", "--force", backup)
		cmd.Env = p.env
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(random.Int64N(int64(whole * 3 / 2)))) // a start may be slower
		cmd.Process.Kill()
		cmd.Wait()
		if p.oldOrNew() {
			old++
		} else {
			renewed++
		}
		p.expect(ok, "restored from", "restore", "--force", backup)
		if p.oldOrNew() {
			t.Error("the restore after the kill leaves the old tree")
		}
	}
	t.Logf("20 kills, a restore takes %v: %d left the old tree, %d the new", whole, old, renewed)
}

// backedUp makes a profile that has a.txt, and a backup of it.
func (p *place) backedUp() (backup string) {
	p.t.Helper()
	r := p.mount("--settle", "0s")
	p.put("a.txt", "hello")
	p.sync()
	backup = p.path("backup")
	p.expect(ok, "in the clear", "backup", "--plaintext", backup)
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	return backup
}

// oldOrNew mounts a profile, which has a.txt whole in any case, and tells
// whether it has b.txt.
func (p *place) oldOrNew() (old bool) {
	p.t.Helper()
	r := p.mount()
	p.want("a.txt", "hello")
	_, err := os.Lstat(filepath.Join(p.dir, "b.txt"))
	if old = err == nil; old {
		p.want("b.txt", "later")
	} else if !os.IsNotExist(err) {
		p.t.Error(err)
	}
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	return old
}

// copyTree makes to what from is.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
}

// TestRestoreWritesTheServiceFirst has the profile's service lead nowhere, so
// that writing through it fails: no names are there without their service.
func TestRestoreWritesTheServiceFirst(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	backup := p.backedUp()
	// A profile without names, and a place of its service that leads nowhere.
	state := p.path("state/chatfs/other")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(state, "nowhere", "service"), filepath.Join(state, "service")); err != nil {
		t.Fatal(err)
	}
	out, code := p.run("restore", "--profile", "other", backup)
	_, ierr := os.Stat(filepath.Join(state, "index.db"))
	text, serr := os.ReadFile(filepath.Join(state, "service"))
	if ierr == nil && (serr != nil || len(text) == 0) {
		t.Errorf("exit code %d: there are names without their service: %v\n%s", code, serr, out)
	}
}
