package index

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A machine is an index on a disk that forgets what was not synced.
type machine struct {
	t       testing.TB
	dir     string
	boot    int
	rng     *rand.Rand
	durable map[string]int64  // bytes of each journal segment that were synced
	staged  map[StagedID]bool // contents that were synced
	lost    map[StagedID]bool // contents that a loss of power took
	removed map[string][]byte // journal segments that may be there again, as their unlink was not synced
	ix      *Index
}

func newMachine(t testing.TB, seed uint64) *machine {
	return &machine{t: t, dir: t.TempDir() + "/ix", rng: rand.New(rand.NewPCG(seed, 1)),
		staged: map[StagedID]bool{}, lost: map[StagedID]bool{}}
}

func (m *machine) start() {
	o := Options{CommitInterval: time.Hour, SyncStaged: func(ids []StagedID) error {
		for _, id := range ids {
			m.staged[id] = true
		}
		return nil
	}}
	o.SumStaged = func(id StagedID, size int64) (uint32, error) {
		if m.lost[id] {
			return 0, fs.ErrNotExist
		}
		return uint32(id)*7 + uint32(size), nil
	}
	m.boot++
	m.durable, m.removed = map[string]int64{}, map[string][]byte{}
	o.BootID = fmt.Sprintf("boot %d", m.boot)
	o.hooks.synced = func(path string, size int64) { m.durable[filepath.Base(path)] = size }
	m.ix = open(m.t, m.dir, o)
}

// losePower leaves of each segment what was synced, and of what was not some
// pages, zeroes, or nothing: the disk's choice.
func (m *machine) losePower() {
	to := copyDir(m.t, m.dir)
	for id := range must[map[StagedID]Ino](m.t)(m.ix.StagedInUse()) {
		m.lost[id] = !m.staged[id] && m.rng.IntN(4) == 0
	}
	noError(m.t, m.ix.Close())
	for name, b := range m.removed {
		if m.rng.IntN(2) == 0 {
			noError(m.t, os.WriteFile(filepath.Join(to, name), b, 0o600))
		}
	}
	for _, path := range must[[]string](m.t)(listSegments(to)) {
		m.spoil(path, m.durable[filepath.Base(path)])
	}
	m.dir = to
	m.start()
}

// commit notes the segments that it removes.
func (m *machine) commit() {
	for _, path := range must[[]string](m.t)(listSegments(m.dir)) {
		m.removed[filepath.Base(path)] = must[[]byte](m.t)(os.ReadFile(path))
	}
	noError(m.t, m.ix.store.commit())
	for _, path := range must[[]string](m.t)(listSegments(m.dir)) {
		delete(m.removed, filepath.Base(path))
	}
}

func (m *machine) spoil(path string, durable int64) {
	b := must[[]byte](m.t)(os.ReadFile(path))
	rest := b[durable:]
	switch m.rng.IntN(4) {
	case 0:
		b = b[:durable]
	case 1:
		clear(rest)
	case 2:
		b = b[:durable+m.rng.Int64N(int64(len(rest))+1)]
	case 3: // whole pages in any order
		for len(rest) > 0 {
			page := rest[:min(len(rest), 128)]
			if m.rng.IntN(2) == 0 {
				clear(page)
			}
			rest = rest[len(page):]
		}
	}
	noError(m.t, os.WriteFile(path, b, 0o600))
	if durable == 0 && m.rng.IntN(2) == 0 {
		noError(m.t, os.Remove(path))
	}
}

// TestPowerThatTookAllHeaders: when none of the segments since the last commit
// has a byte left, none can tell of which start of the machine it is.
func TestPowerThatTookAllHeaders(t *testing.T) {
	for what, left := range map[string]int{"empty": 0, "zeroes": 300} {
		m := newMachine(t, 1)
		m.start()
		m.change(1)
		m.commit()
		want := tree(t, m.ix)
		to := copyDir(t, m.dir)
		noError(t, m.ix.Close())
		for _, n := range []uint64{2, 3} {
			noError(t, os.WriteFile(segmentPath(to, n), make([]byte, left), 0o600))
		}
		m.dir = to
		m.start()
		if got := tree(t, m.ix); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
		noError(t, m.ix.Close())
	}
}

// TestPowerLoss: after each loss the index is as it was at some moment not
// before the last sync, and every staged content that it names was synced.
func TestPowerLoss(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := newMachine(t, seed)
	m.start()
	trees := []string{""} // after each operation since the last loss
	synced := 0           // trees[synced] is durable
	replays := 0
	for step := range 1500 {
		switch r := m.rng.IntN(100); {
		case r < 70:
			m.change(step)
			trees = append(trees, tree(t, m.ix))
		case r < 80:
			noError(t, m.ix.Sync())
			synced = len(trees) - 1
		case r < 84:
			m.commit()
			synced = len(trees) - 1
		case r < 90:
			m.losePower()
			got := tree(t, m.ix)
			if !slices.Contains(trees[synced:], got) {
				t.Fatalf("step %d: %q is no state since the last sync: %q", step, got, trees[synced:])
			}
			m.checkStaged()
			replays += m.ix.Recovery().Records
			trees, synced = []string{got}, 0
		}
	}
	if replays == 0 {
		t.Error("no replay was ever made")
	}
}

func (m *machine) change(step int) {
	list := must[[]Dirent](m.t)(m.ix.ReadDir(Root, "", 0))
	if len(list) > 20 {
		d := list[m.rng.IntN(len(list))]
		must[Removed](m.t)(m.ix.Unlink(Root, d.Name))
		return
	}
	f := touch(m.t, m.ix, Root, fmt.Sprintf("%05d", step))
	must[Inode](m.t)(m.ix.SetContent(f.Ino, Content{Staged: m.ix.NextStaged(), Size: 1}))
}

func (m *machine) checkStaged() {
	for id := range must[map[StagedID]Ino](m.t)(m.ix.StagedInUse()) {
		if !m.staged[id] {
			m.t.Fatalf("staged content %d is named and was never synced", id)
		}
	}
	clean(m.t, m.ix)
}

// TestSegmentsThatBboltHasDoNotMatter: a commit lets go of a segment before the
// unlink, which no sync covers; after a loss of power it may be there with
// anything in it.
func TestSegmentsThatBboltHasDoNotMatter(t *testing.T) {
	for what, spoil := range map[string]func([]byte) []byte{
		"whole":         func(b []byte) []byte { return b },
		"empty":         func(b []byte) []byte { return nil },
		"zeroes":        func(b []byte) []byte { return make([]byte, len(b)) },
		"cut":           func(b []byte) []byte { return b[:len(b)-10] },
		"cut to a half": func(b []byte) []byte { return b[:headerSize+(len(b)-headerSize)/2] },
		"its records":   func(b []byte) []byte { return append(b[:headerSize:headerSize], make([]byte, 300)...) },
		"its header":    func(b []byte) []byte { b[20] ^= 1; return b },
		"its first record": func(b []byte) []byte {
			b[headerSize+recordHead+1] ^= 1
			return b
		},
	} {
		for _, markers := range []bool{false, true} {
			dir := t.TempDir() + "/ix"
			ix := open(t, dir, byHand)
			touch(t, ix, Root, "a")
			if markers {
				noError(t, ix.Sync())
			}
			touch(t, ix, Root, "b")
			path := lastSegment(t, dir)
			old := must[[]byte](t)(os.ReadFile(path))
			noError(t, ix.store.commit())
			touch(t, ix, Root, "c")
			noError(t, ix.Sync())
			lost := copyDir(t, dir)
			noError(t, os.WriteFile(filepath.Join(lost, filepath.Base(path)), spoil(old), 0o600))
			for _, boot := range []string{"", "another"} {
				o := byHand
				o.BootID = boot
				again, err := Open(copyDir(t, lost), o)
				if err != nil {
					t.Errorf("%s, %v, boot %q: %v", what, markers, boot, err)
					continue
				}
				if got := tree(t, again); got != "a b c" || again.Recovery().Lost() {
					t.Errorf("%s, %v, boot %q: tree %q, %v", what, markers, boot, got, again.Recovery())
				}
				noError(t, again.Close())
			}
		}
	}
}

// TestDamageBeforeASyncIsToldAfterPowerLoss: what was durable can't be torn.
func TestDamageBeforeASyncIsToldAfterPowerLoss(t *testing.T) {
	m := newMachine(t, 1)
	m.start()
	touch(t, m.ix, Root, "first")
	noError(t, m.ix.Sync())
	touch(t, m.ix, Root, "second")
	noError(t, m.ix.Sync())
	to := copyDir(t, m.dir)
	flip(t, lastSegment(t, to), headerSize+recordHead+3)
	o := byHand
	o.BootID = "another boot"
	var damaged *ErrDamaged
	if _, err := Open(to, o); !errors.As(err, &damaged) {
		t.Errorf("opened: %v", err)
	}
}

// TestStagedBytesFirst: neither a sync nor a commit goes on when staged
// contents can't be made durable.
func TestStagedBytesFirst(t *testing.T) {
	dir := t.TempDir() + "/ix"
	fault := errors.New("no fsync today")
	o := byHand
	o.SyncStaged = func([]StagedID) error { return fault }
	ix := open(t, dir, o)
	f := touch(t, ix, Root, "f")
	noError(t, ix.Sync())
	noError(t, ix.store.commit())
	must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: ix.NextStaged(), Size: 1}))
	if err := ix.Sync(); !errors.Is(err, fault) {
		t.Errorf("Sync: %v", err)
	}
	if err := ix.store.commit(); !errors.Is(err, fault) {
		t.Errorf("commit: %v", err)
	}
	fault = nil
	noError(t, ix.Sync())
	noError(t, ix.store.commit())
}
