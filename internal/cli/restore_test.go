package cli_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"chatfs/internal/fusetest"
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

// TestRestoreNeedsNoOldIndex restores over whatever is in the index's place,
// and keeps that.
func TestRestoreNeedsNoOldIndex(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	backup := p.backedUp()
	state := p.path("state/chatfs/default")
	path := filepath.Join(state, "index.db")
	copyTree(t, state, p.path("before"))
	places := map[string]func() error{
		"a directory":       func() error { return errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "sub"), 0o700)) },
		"a link to nowhere": func() error { return errors.Join(os.Remove(path), os.Symlink("nowhere", path)) },
		"unreadable":        func() error { return os.Chmod(path, 0) },
		"empty":             func() error { return os.Truncate(path, 0) },
		"garbage":           func() error { return os.WriteFile(path, bytes.Repeat([]byte("garbage "), 1<<14), 0o600) },
		"a broken journal": func() error {
			return os.WriteFile(filepath.Join(state, "journal-0000000000000001"), bytes.Repeat([]byte{1}, 100), 0o600)
		},
	}
	for what, put := range places {
		copyTree(t, p.path("before"), state)
		if err := put(); err != nil {
			t.Fatal(err)
		}
		was, _ := os.Lstat(path)
		if what == "empty" {
			p.expect(ok, "restored from", "restore", backup) // nothing is lost
		} else {
			p.expect(usage, "--force", "restore", backup)
			p.expect(ok, "restored from", "restore", "--force", backup)
			kept, _ := filepath.Glob(filepath.Join(state, "before-restore-*/index.db"))
			if len(kept) != 1 {
				t.Errorf("%s: kept are %v", what, kept)
			} else if is, err := os.Lstat(kept[0]); err != nil || is.Mode() != was.Mode() || !is.IsDir() && is.Size() != was.Size() {
				t.Errorf("%s: kept is %v, was %v: %v", what, is, was, err)
			}
		}
		r := p.mount()
		p.want("a.txt", "hello")
		r.signal(syscall.SIGINT)
		r.wait(ok, "")
		p.expect(ok, "all is sound", "check")
	}
}

// TestRestoreEvictsNothing from a cache that is larger than a mount's without
// flags would be.
func TestRestoreEvictsNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	backup := p.backedUp()
	copies, err := filepath.Glob(p.path("cache/chatfs/default/entities/*/*"))
	if err != nil || len(copies) != 1 {
		t.Fatal(copies, err)
	}
	for _, name := range []string{"1", "2", "3"} {
		sparse := copies[0][:len(copies[0])-1] + name
		if sparse == copies[0] {
			continue
		}
		if err := errors.Join(os.WriteFile(sparse, nil, 0o600), os.Truncate(sparse, 8<<30)); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := filepath.Glob(p.path("cache/chatfs/default/entities/*/*"))
	for range 5 {
		p.expect(ok, "restored from", "restore", "--force", backup)
	}
	if after, _ := filepath.Glob(p.path("cache/chatfs/default/entities/*/*")); len(after) != len(before) {
		t.Errorf("of %d copies are left %v", len(before), after)
	}
}

// TestRestoreOnAFullDisk leaves what was there, and does not blame the backup.
func TestRestoreOnAFullDisk(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	backup := p.backedUp()
	disk := fusetest.SmallDisk(t, 12<<10)
	p.expect(1, "no space left", "restore", "--state-dir", disk, "--cache-dir", p.path("c"), backup)
	left, err := filepath.Glob(filepath.Join(disk, "*"))
	if hidden, _ := filepath.Glob(filepath.Join(disk, ".restore*")); err != nil || len(hidden) > 0 || slices.Contains(left, filepath.Join(disk, "index.db")) {
		t.Errorf("left are %v, %v: %v", left, hidden, err)
	}
}

// TestBackupOfANewerVersionIsRefused as such.
func TestBackupOfANewerVersionIsRefused(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backedUp()
	path := filepath.Join(p.path("state/chatfs/default"), "index.db")
	newerSchema(t, path)
	db, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	if _, err := zip.Write(db); errors.Join(err, zip.Close()) != nil {
		t.Fatal(err)
	}
	p.expect(badIndex, "use a newer chatfs", "restore", "--profile", "other", p.write("newer", b.String(), 0o600))
}
