package index

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// staging is a directory of staged contents that need no disk.
type staging struct {
	sums   map[StagedID]uint32 // of what is there
	synced []StagedID
}

func (s *staging) options(boot string) Options {
	o := byHand
	o.BootID = boot
	o.SyncStaged = func(ids []StagedID) error { s.synced = append(s.synced, ids...); return nil }
	o.SumStaged = func(id StagedID, size int64) (uint32, error) {
		sum, ok := s.sums[id]
		if !ok {
			return 0, os.ErrNotExist
		}
		return sum + uint32(size), nil
	}
	return o
}

func (s *staging) write(t *testing.T, ix *Index, ino Ino, sum uint32) StagedID {
	t.Helper()
	id := ix.NextStaged()
	s.sums[id] = sum
	must[Inode](t)(ix.SetContent(ino, Content{Staged: id, Size: 5}))
	return id
}

// TestKillThenReboot: what a killed process left, and the kernel wrote back
// before the machine was started anew, is all there; and durable before the
// database has it.
func TestKillThenReboot(t *testing.T) {
	dir := t.TempDir() + "/ix"
	s := &staging{sums: map[StagedID]uint32{}}
	ix := open(t, dir, s.options("first"))
	d := mkdir(t, ix, Root, "d")
	noError(t, ix.Sync())
	f := touch(t, ix, d.Ino, "f")
	s.write(t, ix, f.Ino, 1)
	id := s.write(t, ix, f.Ino, 2)
	must[Removed](t)(ix.Rename(d.Ino, "f", Root, "g", 0))
	uploaded := touch(t, ix, Root, "u")
	upload(t, ix, uploaded.Ino, 3)
	must[Removed](t)(ix.Rmdir(Root, "d"))
	crashed := copyDir(t, dir)
	delete(s.sums, id-1) // what came in its place has no need of it
	s.synced = nil
	again := open(t, crashed, s.options("second"))
	r := again.Recovery()
	if got := tree(t, again); got != "g u" || r.Lost() || !r.PowerLoss || !strings.Contains(r.String(), "started anew") {
		t.Errorf("tree %q, %v", got, r)
	}
	if !slices.Contains(s.synced, id) {
		t.Errorf("synced before the database had them: %v", s.synced)
	}
	clean(t, again)
}

// TestLossOfPowerTakesStagedBytes: of the changes after the last sync, those are
// taken that no missing byte is behind; the others are told, with their files.
func TestLossOfPowerTakesStagedBytes(t *testing.T) {
	dir := t.TempDir() + "/ix"
	s := &staging{sums: map[StagedID]uint32{}}
	ix := open(t, dir, s.options("first"))
	d := mkdir(t, ix, Root, "d")
	f, g := touch(t, ix, d.Ino, "f"), touch(t, ix, Root, "g")
	noError(t, ix.Sync())
	s.write(t, ix, f.Ino, 1)
	lost := s.write(t, ix, g.Ino, 2)
	touch(t, ix, Root, "later")
	crashed := copyDir(t, dir)
	s.sums[lost] = 99
	again := open(t, crashed, s.options("second"))
	r := again.Recovery()
	if got := tree(t, again); got != "d d/f g" || !r.Lost() || r.Dropped != 2 || r.DroppedAt == (Time{}) {
		t.Errorf("tree %q, %v", got, r)
	}
	if want := []Doubt{{Staged: lost, Path: "/g", Size: 5}}; !slices.Equal(r.Doubtful, want) {
		t.Errorf("doubtful: %v", r.Doubtful)
	}
	if q := must[[]QueueEntry](t)(again.Queue()); len(q) != 1 || q[0].Ino != f.Ino {
		t.Errorf("queue: %v", q)
	}
	clean(t, again)
}

// TestEachByteOfAJournal turns one byte after another. Nothing is lost that is
// not told, and what was synced before the last sync is damage at the least.
func TestEachByteOfAJournal(t *testing.T) {
	dir := t.TempDir() + "/ix"
	s := &staging{sums: map[StagedID]uint32{}}
	ix := open(t, dir, s.options("first"))
	a := touch(t, ix, Root, "a")
	s.write(t, ix, a.Ino, 1)
	noError(t, ix.Sync())
	touch(t, ix, Root, "b")
	noError(t, ix.Sync())
	s.write(t, ix, touch(t, ix, Root, "c").Ino, 2)
	const all = "a b c"
	path := lastSegment(t, dir)
	journal := must[[]byte](t)(os.ReadFile(path))
	crashed := copyDir(t, dir)
	path = strings.Replace(path, dir, crashed, 1)
	database := must[[]byte](t)(os.ReadFile(crashed + "/" + FileName))
	for at := range journal {
		for _, boot := range []string{"first", "second"} {
			b := slices.Clone(journal)
			b[at] ^= 1 << (at % 8)
			noError(t, os.WriteFile(path, b, 0o600))
			noError(t, os.WriteFile(crashed+"/"+FileName, database, 0o600))
			o := s.options(boot)
			o.hooks.noSync = true
			x, err := Open(crashed, o)
			var damaged *ErrDamaged
			if errors.As(err, &damaged) {
				o.Salvage = true
				x, err = Open(crashed, o)
			}
			if err != nil {
				t.Fatalf("byte %d, boot %s: %v", at, boot, err)
			}
			r, got := x.Recovery(), tree(t, x)
			told := damaged != nil && len(r.SetAside) == 1 && r.Lost() || boot != "first" && r.Lost()
			if got != all && !told || !strings.HasPrefix(got, "a") && damaged == nil {
				t.Errorf("byte %d of %d, boot %s: tree %q, %v, %v", at, len(journal), boot, got, damaged, r)
			}
			noError(t, x.Close())
			for _, aside := range r.SetAside {
				noError(t, os.Remove(strings.Replace(aside, "journal-", "damaged-", 1)))
			}
		}
	}
}

// TestDamagedJournalsAreAllKept: the numbers of segments begin anew after each
// clean end.
func TestDamagedJournalsAreAllKept(t *testing.T) {
	dir := t.TempDir() + "/journal-ix" // a name that a careless rename takes for the file's
	for range 2 {
		ix := open(t, dir, byHand)
		touch(t, ix, Root, strings.Repeat("x", 1+must[int](t)(countFiles(dir))))
		crashed := copyDir(t, dir)
		flip(t, lastSegment(t, crashed), headerSize)
		noError(t, ix.Close())
		noError(t, os.RemoveAll(dir))
		noError(t, os.Rename(crashed, dir))
		o := byHand
		o.Salvage = true
		noError(t, open(t, dir, o).Close())
	}
	kept := 0
	for _, e := range must[[]os.DirEntry](t)(os.ReadDir(dir)) {
		if strings.HasPrefix(e.Name(), "damaged-") {
			kept++
		}
	}
	if kept != 2 {
		t.Errorf("%d damaged journals are kept", kept)
	}
}

func countFiles(dir string) (int, error) {
	list, err := os.ReadDir(dir)
	return len(list), err
}
