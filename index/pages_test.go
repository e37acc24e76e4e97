package index

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// a soundDatabase has tables of every shape: with branches, on one page, inline,
// and free pages between.
func soundDatabase(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	ix := open(t, dir, byHand)
	for i := range 60 {
		f := touch(t, ix, Root, fmt.Sprintf("%03d%s", i, strings.Repeat("n", 200)))
		switch i % 3 {
		case 0:
			upload(t, ix, f.Ino, byte(i))
		case 1:
			must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: ix.NextStaged(), Size: 1}))
		}
	}
	f := must[Dirent](t)(ix.Resolve(fmt.Sprintf("000%s", strings.Repeat("n", 200)))).Inode
	upload(t, ix, f.Ino, 200)
	noError(t, ix.SetXattr(f.Ino, "user.large", make([]byte, 20_000), 0)) // on pages that follow one another
	noError(t, ix.store.commit())
	for i := range 20 {
		must[Removed](t)(ix.Unlink(Root, fmt.Sprintf("%03d%s", 20+i, strings.Repeat("n", 200))))
	}
	noError(t, ix.Close())
	return must[[]byte](t)(os.ReadFile(filepath.Join(dir, FileName)))
}

// survive opens a database and does all that can be done with it. Only damage
// may be told.
func survive(t *testing.T, what string, b []byte) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	noError(t, os.WriteFile(path, b, 0o600))
	told := func(err error) {
		t.Helper()
		var damaged *ErrDamaged
		if err != nil && !errors.As(err, &damaged) && !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", what, err)
		}
	}
	o := byHand
	o.hooks.noSync = true
	for range 2 {
		ix, err := Open(dir, o)
		if told(err); err == nil {
			use(t, ix, told)
			told(ix.Close())
			break
		}
		o.Salvage = true
	}
}

func use(t *testing.T, ix *Index, told func(error)) {
	t.Helper()
	list, err := ix.ReadDir(Root, "", 0)
	told(err)
	for _, d := range list {
		if _, err := ix.Paths(d.Inode.Ino); !errors.Is(err, syscall.ENOENT) { // a byte inside of a key is seen by Check alone
			told(err)
		}
	}
	_, err = ix.HistoryBelow("/")
	told(err)
	problems := ix.Check()
	if err := ix.Repair(problems); len(problems) == 0 {
		told(err)
	}
	if _, err = ix.Create(Root, "new", NewInode{Mode: regular}); !errors.Is(err, syscall.EEXIST) && !errors.Is(err, syscall.ENOENT) {
		told(err)
	}
}

// TestEachDamagedPage spoils one page after another, in each way: nothing
// panics, dies or hangs, and what can't be worked with is told as damage.
func TestEachDamagedPage(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	sound := soundDatabase(t)
	size := os.Getpagesize()
	for at := 0; at < len(sound); at += size {
		for kind, spoil := range map[string]func(page []byte){
			"zeroes":     func(p []byte) { clear(p) },
			"ones":       func(p []byte) { fill(p, func() byte { return 0xff }) },
			"noise":      func(p []byte) { fill(p, func() byte { return byte(rng.Uint32()) }) },
			"head":       func(p []byte) { p[rng.IntN(16)] ^= 1 << rng.IntN(8) },
			"elements":   func(p []byte) { p[16+rng.IntN(64)] ^= 1 << rng.IntN(8) },
			"a byte":     func(p []byte) { p[rng.IntN(size)] ^= 0xff },
			"first page": func(p []byte) { copy(p, sound[:size]) },
			"another":    func(p []byte) { copy(p, sound[rng.IntN(len(sound)/size)*size:][:size]) },
		} {
			b := append([]byte{}, sound...)
			spoil(b[at : at+size])
			survive(t, fmt.Sprintf("page %d: %s", at/size, kind), b)
		}
	}
}

func fill(b []byte, with func() byte) {
	for i := range b {
		b[i] = with()
	}
}

// TestEachTruncation cuts the database at each kind of length.
func TestEachTruncation(t *testing.T) {
	sound := soundDatabase(t)
	page := os.Getpagesize()
	sizes := []int{0, 1, 16, 64, 100, 1024, page - 1}
	for at := page; at < len(sound); at += page {
		sizes = append(sizes, at, at+1, at+page/2)
	}
	for _, size := range sizes {
		survive(t, fmt.Sprintf("cut at %d", size), sound[:size])
	}
}

// TestDamageInUse takes the file from under an index that is open: it answers
// with damage, writes no more, and can be closed.
func TestDamageInUse(t *testing.T) {
	page := int64(os.Getpagesize())
	for what, spoil := range map[string]func(path string, size int64) error{
		"cut":    func(path string, _ int64) error { return os.Truncate(path, 2*page) },
		"zeroed": func(path string, size int64) error { return overwrite(path, 2*page, make([]byte, size-2*page)) },
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, FileName)
		sound := soundDatabase(t)
		noError(t, os.WriteFile(path, sound, 0o600))
		ix := open(t, dir, byHand)
		noError(t, spoil(path, int64(len(sound))))
		var damaged *ErrDamaged
		if _, err := ix.ReadDir(Root, "", 0); !errors.As(err, &damaged) {
			t.Errorf("%s: ReadDir: %v", what, err)
		}
		if _, err := ix.Create(Root, "new", NewInode{Mode: regular}); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: Create: %v", what, err)
		}
		if err := ix.Backup(nil); !errors.As(err, &damaged) {
			t.Errorf("%s: Backup: %v", what, err)
		}
		if problems := ix.Check(); len(problems) == 0 || problems[0].Kind != Unreadable {
			t.Errorf("%s: check: %v", what, problems)
		}
		_ = ix.Close() // it has no changes
		if _, err := Open(dir, byHand); !errors.As(err, &damaged) {
			t.Errorf("%s: opened again: %v", what, err)
		}
	}
}

// TestDamageAtACommit: what was acknowledged stays in the journal.
func TestDamageAtACommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	sound := soundDatabase(t)
	noError(t, os.WriteFile(path, sound, 0o600))
	ix := open(t, dir, byHand)
	touch(t, ix, Root, "new")
	noError(t, os.Truncate(path, 2*int64(os.Getpagesize())))
	var damaged *ErrDamaged
	if err := ix.store.commit(); !errors.As(err, &damaged) {
		t.Errorf("commit: %v", err)
	}
	noError(t, ix.Sync())
	if err := ix.Close(); !errors.As(err, &damaged) {
		t.Errorf("Close: %v", err)
	}
	noError(t, os.WriteFile(path, sound, 0o600))
	must[Dirent](t)(open(t, dir, byHand).Lookup(Root, "new"))
}

func overwrite(path string, at int64, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}

// TestPanicsOfOursArePanics: a guard that swallowed them would hide faults.
func TestPanicsOfOursArePanics(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	for _, fault := range []func(){func() { panic("ours") }, func() { _ = []int{}[len(ix.recovery.SetAside)] }, func() { _ = (*Inode)(nil).Size }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("swallowed")
				}
			}()
			_ = ix.store.view(func(*tx) error { fault(); return nil })
		}()
	}
	noError(t, ix.store.db.damage())
}

// TestHalfHead: where the newer of the two heads may be the one that is gone,
// the last changes may be, too.
func TestHalfHead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	sound := soundDatabase(t)
	for head := range int64(2) {
		noError(t, os.WriteFile(path, sound, 0o600))
		noError(t, overwrite(path, head*int64(os.Getpagesize())+20, []byte{0xa5}))
		var damaged *ErrDamaged
		if _, err := Open(dir, byHand); !errors.As(err, &damaged) {
			t.Fatalf("head %d: opened: %v", head, err)
		}
		o := byHand
		o.Salvage = true
		ix := open(t, dir, o)
		if !ix.Recovery().HalfHead || !strings.Contains(ix.Recovery().String(), "heads") {
			t.Errorf("head %d: %v", head, ix.Recovery())
		}
		noError(t, ix.Close())
		noError(t, open(t, dir, byHand).Close())
	}
}
