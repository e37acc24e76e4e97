package transfer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/entity"
	"chatfs/internal/transfer"
)

// A damage is one that a test makes on purpose.
type damage struct {
	kind transfer.FaultKind
	make func(w *weekly)
}

func (w *weekly) cached(name string) string {
	u := w.entity(name).UUID.String()
	return filepath.Join(w.dir, "cache", "entities", u[:2], u)
}

func (w *weekly) stagedPath(name string) string {
	in, err := w.index.Resolve(name)
	must(w.t, err)
	return filepath.Join(w.dir, "staging", fmt.Sprintf("%016x", uint64(in.Inode.Staged)))
}

var damages = []damage{
	{transfer.StagedMissing, func(w *weekly) { must(w.t, os.Remove(w.stagedPath("waiting"))) }},
	{transfer.StagedSize, func(w *weekly) { must(w.t, os.Truncate(w.stagedPath("waiting"), 5)) }},
	{transfer.StagedSize, func(w *weekly) { must(w.t, os.Truncate(w.stagedPath("waiting"), 5000)) }},
	{transfer.StagedStray, func(w *weekly) { w.file("staging/00000000000fffff") }},
	{transfer.StagedStray, func(w *weekly) { w.file("staging/notes.txt") }},
	{transfer.CacheStray, func(w *weekly) { w.file("cache/entities/notes.txt") }},
	{transfer.CacheStray, func(w *weekly) {
		u, err := entity.NewUUID()
		must(w.t, err)
		w.file("cache/entities/" + u.String()[:2] + "/" + u.String())
	}},
	{transfer.CacheDamaged, func(w *weekly) { must(w.t, os.Truncate(w.cached("a"), 5)) }},
	{transfer.CacheDamaged, func(w *weekly) { flip(w.t, w.cached("a")) }},
	{transfer.CacheDamaged, func(w *weekly) {
		must(w.t, w.index.SetThumbSize(w.entity("a").UUID, 7))
		must(w.t, os.WriteFile(w.cached("a")+".thumb", []byte("x"), 0o600))
	}},
	{transfer.PinDamaged, func(w *weekly) {
		u := w.entity("a").UUID
		file, err := os.Open(w.cached("a"))
		must(w.t, err)
		defer file.Close()
		must(w.t, w.blobs.Pin(blob.Key{UUID: u}, file))
		flip(w.t, filepath.Join(w.dir, blob.PinnedDir, u.String()[:2], u.String()))
	}},
}

// file makes one with bytes that are nowhere else.
func (w *weekly) file(name string) {
	path := filepath.Join(w.dir, name)
	must(w.t, os.MkdirAll(filepath.Dir(path), 0o700))
	w.strays++
	must(w.t, os.WriteFile(path, fmt.Append(nil, "stray ", w.strays), 0o600))
}

// rescued counts the strays that are kept.
func (w *weekly) rescued() (n int) {
	paths, err := filepath.Glob(filepath.Join(w.dir, "rescued", "*"))
	must(w.t, err)
	for _, path := range paths {
		b, err := os.ReadFile(path)
		must(w.t, err)
		if strings.HasPrefix(string(b), "stray ") {
			n++
		}
	}
	return n
}

// flip changes one bit and no size.
func flip(t *testing.T, path string) {
	b, err := os.ReadFile(path)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
}

func TestCheckFindsAndMendsDamagesOnTheDisk(t *testing.T) {
	w := newWeekly(t, transfer.KeepNone, false)
	w.config.Settle = 1 << 60
	w.unmount()
	w.mount()
	for i, d := range damages {
		w.put("a", content(uint64(i), 1000))
		w.wait("waiting", content(uint64(i)+100, 1000))
		w.sound()
		secret := w.entity("a").Secret
		d.make(w)
		found, err := transfer.CheckDisk(w.index, w.blobs, func(int, int) {})
		must(t, err)
		if len(found) != 1 || found[0].Kind != d.kind {
			t.Errorf("damage %d (%s): found %v", i, d.kind, found)
			continue
		}
		must(t, found[0].Mend())
		w.sound()
		if n := w.rescued(); n != w.strays {
			t.Errorf("damage %d (%s): %d of %d strays are kept", i, d.kind, n, w.strays)
		}
		if w.entity("a").Secret != secret {
			t.Errorf("damage %d (%s): the secret is lost", i, d.kind)
		}
		if got, err := w.read("a"); err != nil || string(got) != string(w.files["a"]) {
			t.Errorf("damage %d (%s): a is %d bytes, %v", i, d.kind, len(got), err)
		}
	}
}

// TestStraysThatAreNoLossAreRemoved: without a record, but the bytes are here
// under another name, or none.
func TestStraysThatAreNoLossAreRemoved(t *testing.T) {
	w := newWeekly(t, transfer.KeepNone, false)
	w.config.Settle = 1 << 60
	w.unmount()
	w.mount()
	w.put("a", content(1, 1000))
	w.wait("waiting", content(2, 1000))
	w.sound()
	staging := filepath.Join(w.dir, "staging")
	must(t, os.WriteFile(filepath.Join(staging, "00000000000fffff"), content(1, 1000), 0o600))
	must(t, os.WriteFile(filepath.Join(staging, "00000000000ffffe"), nil, 0o600))
	must(t, os.Link(w.stagedPath("waiting"), filepath.Join(staging, "00000000000ffffd")))
	must(t, os.WriteFile(w.stagedPath("waiting")+blob.NextSuffix, content(2, 1000), 0o600))
	w.unmount()
	w.mount()
	must(t, w.x.Drain(context.Background(), nil)) // a mount begins with what waits
	w.sound()
	if left, err := os.ReadDir(staging); err != nil || len(left) > 0 {
		t.Errorf("staging holds %v, %v", left, err)
	}
	if _, err := os.Lstat(filepath.Join(w.dir, "rescued")); !os.IsNotExist(err) {
		t.Errorf("something is rescued: %v", err)
	}
}

// TestStagedIsCutAtMount: what is longer than its file, and that nobody was
// writing, was acknowledged by nobody. It is not sent.
func TestStagedIsCutAtMount(t *testing.T) {
	w := newWeekly(t, transfer.KeepNone, false)
	w.config.Settle = 1 << 60
	w.unmount()
	w.mount()
	w.wait("waiting", content(1, 1000))
	must(t, os.Truncate(w.stagedPath("waiting"), 5000))
	w.unmount()
	w.mount()
	must(t, w.x.Drain(context.Background(), nil)) // a mount begins with what waits
	w.sound()
	if got, err := w.read("waiting"); err != nil || string(got) != string(content(1, 1000)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestRepairedIndexKeepsStrays: after a repair nobody knows what its lost
// records named.
func TestRepairedIndexKeepsStrays(t *testing.T) {
	w := newWeekly(t, transfer.KeepNone, false)
	w.file(fmt.Sprintf("staging/%016x", uint64(w.index.NextStaged())))
	must(t, w.index.Repair(nil))
	w.unmount()
	w.mount()
	if n := w.rescued(); n != 1 {
		t.Errorf("%d strays are kept", n)
	}
	w.file(fmt.Sprintf("staging/%016x", uint64(w.index.NextStaged()))) // given up, as far as the index knows
	w.unmount()
	w.mount()
	if n := w.rescued(); n != 1 {
		t.Errorf("%d are kept after what was given up", n)
	}
}

// TestCheckLeavesPinsOfAnotherIndex alone: after a restore, they are those of
// the index that was kept beside.
func TestCheckLeavesPinsOfAnotherIndex(t *testing.T) {
	w := newWeekly(t, transfer.KeepLocal, false)
	u, err := entity.NewUUID()
	must(t, err)
	w.file(blob.PinnedDir + "/" + u.String()[:2] + "/" + u.String())
	w.sound()
	must(t, w.x.Sweep(context.Background()))
	if n := w.pinned(); n != 1 {
		t.Errorf("%d are pinned", n)
	}
}

// wait writes a file that nothing uploads.
func (w *weekly) wait(name string, content []byte) {
	in, err := w.index.Resolve(name)
	if err == syscall.ENOENT {
		in.Inode, err = w.index.Create(index.Root, name, index.NewInode{Mode: syscall.S_IFREG | 0o644})
	}
	must(w.t, err)
	if in.Inode.Staged != 0 {
		_ = w.blobs.RemoveStaged(uint64(in.Inode.Staged)) // a damage may have removed it
	}
	id := w.index.NextStaged()
	file, err := w.blobs.CreateStaged(uint64(id))
	must(w.t, err)
	defer file.Close()
	_, err = file.Write(content)
	must(w.t, err)
	_, err = w.index.SetContent(in.Inode.Ino, index.Content{Staged: id, Size: int64(len(content))})
	must(w.t, err)
}

// sound wants no fault.
func (w *weekly) sound() {
	w.t.Helper()
	must(w.t, w.index.Sync()) // what was uploaded gives its staged bytes up
	found, err := transfer.CheckDisk(w.index, w.blobs, func(int, int) {})
	must(w.t, err)
	if len(found) > 0 {
		w.t.Errorf("faults: %v", found)
	}
	for _, p := range w.index.Check() {
		w.t.Errorf("check: %v", p)
	}
}

func TestCheckRemoteAsksForEachFile(t *testing.T) {
	w := newWeekly(t, transfer.KeepNone, false)
	for i := range 20 {
		w.put(fmt.Sprint("old", i), content(uint64(i), 100))
	}
	w.passed.Add(int64(6 * day))
	w.put("young", content(50, 100))
	w.put("foreign", content(51, 100))
	foreign := w.entity("foreign")
	foreign.Secret = entity.NewSecret("another")
	u := foreign.UUID
	w.passed.Add(int64(2 * day))
	check := func() (kinds []string) {
		told := 0
		_, found, err := transfer.CheckRemote(context.Background(), w.index, w.client, func(done, of int) { told = done })
		must(t, err)
		for _, f := range found {
			kinds = append(kinds, string(f.Kind))
			if f.Mend != nil {
				must(t, f.Mend())
			}
			if strings.Contains(f.Text, "another") {
				t.Errorf("the secret is told: %s", f.Text)
			}
		}
		if told == 0 {
			t.Error("no progress was told")
		}
		return kinds
	}
	_, err := w.index.Uploaded(mustIno(t, w, "foreign"), 0, foreign, false) // the secret is another now
	must(t, err)
	want := strings.Repeat("entity-refused ", 1) + strings.Repeat("expired ", 20)
	if got := strings.Join(check(), " "); got != strings.TrimSpace(want) {
		t.Errorf("found %s", got)
	}
	if got := check(); len(got) != 1 {
		t.Errorf("found again: %v", got)
	}
	if k, err := w.index.Known(u); err != nil || k.Expired {
		t.Errorf("the refused one: %+v, %v", k, err)
	}
}
