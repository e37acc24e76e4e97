package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/entity"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

// become has the profile speak to another service of the same org and app,
// whose files are below a directory of that name, from now on.
func (w *weekly) become(stored string) {
	w.t.Helper()
	w.unmount()
	w.stopService()
	w.stored = stored
	w.serve()
	w.mount()
}

// marked tells whether a file's entity counts as forgotten by the service.
func (w *weekly) marked(name string) bool {
	w.t.Helper()
	k, err := w.index.Known(w.entity(name).UUID)
	must(w.t, err)
	return k.Expired
}

// mark notes that the service has forgotten a file's entity.
func (w *weekly) mark(name string) { must(w.t, w.index.SetExpired(w.entity(name).UUID, true)) }

// lose has a file lead to an entity that the service does not have, of the
// same content.
func (w *weekly) lose(name string) {
	w.t.Helper()
	old := w.entity(name)
	e := old
	var err error
	e.UUID, err = entity.NewUUIDAt(w.now())
	must(w.t, err)
	must(w.t, w.index.Replace(old.UUID, e))
}

// TestLastCopyIsPinned marks cached files as forgotten by the service: their
// copies are kept for ever, or sent to it again.
func TestLastCopyIsPinned(t *testing.T) {
	for _, keep := range []transfer.KeepMode{transfer.KeepLocal, transfer.KeepRenew, transfer.KeepNone} {
		for _, retention := range []time.Duration{0, 7 * day} {
			t.Run(fmt.Sprint(keep, retention), func(t *testing.T) {
				w := newWeekly(t, keep, false)
				w.unmount()
				w.config.Retention = retention
				w.mount()
				w.put("a", content(1, 1000))
				w.put("picture.png", picture(t))
				r, err := w.x.OpenThumb(context.Background(), w.entity("picture.png"))
				must(t, err)
				r.Close()
				old := w.entity("a").UUID
				w.mark("a")
				w.mark("picture.png")
				w.become("another")
				must(t, w.x.Sweep(context.Background()))
				want := 3
				if keep == transfer.KeepRenew {
					want = 0
				}
				if n := w.pinned(); n != want || (w.entity("a").UUID == old) == (want == 0) {
					t.Errorf("%d are pinned, want %d; the entity is %s, was %s", n, want, w.entity("a").UUID, old)
				}
				w.evict()
				w.wantAll()
			})
		}
	}
}

// TestEvictionLeavesLastCopies fills the cache above its bound while copies of
// what the service may not have are in it.
func TestEvictionLeavesLastCopies(t *testing.T) {
	w := newWeekly(t, transfer.KeepLocal, false)
	w.unmount()
	w.cache = 2500
	w.mount()
	w.put("marked", content(1, 1000))
	w.put("outlived", content(2, 1000))
	w.mark("marked")
	w.passed.Add(int64(8 * day)) // as for a computer that slept: no sweep
	for i := range 4 {
		w.put(fmt.Sprint("new", i), content(uint64(3+i), 1000))
	}
	fusetest.Eventually(t, "eviction", func() error {
		if w.blobs.HasCached(blob.Key{UUID: w.entity("new0").UUID}) {
			return errors.New("an old copy is there")
		}
		return nil
	})
	must(t, w.x.Sweep(context.Background()))
	if n := w.pinned(); n != 2 {
		t.Errorf("%d are pinned, want those that the service may not have", n)
	}
	w.wantAll()
}

// TestLastCopyThatNothingNeedsGoes with the history.
func TestLastCopyThatNothingNeedsGoes(t *testing.T) {
	w := newWeekly(t, transfer.KeepNone, false)
	w.put("overwritten", content(1, 1000))
	old := blob.Key{UUID: w.entity("overwritten").UUID}
	w.mark("overwritten")
	w.put("overwritten", content(2, 1000))
	must(t, w.x.Sweep(context.Background()))
	if n := w.pinned(); n != 1 || !w.blobs.HasPinned(old) {
		t.Errorf("%d are pinned, want the overwritten version", n)
	}
	w.passed.Add(int64(31 * day))
	must(t, w.x.Sweep(context.Background())) // it leaves the history
	must(t, w.x.Sweep(context.Background()))
	if w.blobs.HasCached(old) {
		t.Error("a copy that nothing leads to is left")
	}
}

// TestDamagedLastCopyIsNotDropped, as half of a picture is better than none.
func TestDamagedLastCopyIsNotDropped(t *testing.T) {
	w := newWeekly(t, transfer.KeepLocal, false)
	w.put("a", content(1, 1000))
	w.lose("a")
	w.mark("a")
	must(t, os.MkdirAll(filepath.Dir(w.cached("a")), 0o700))
	must(t, os.WriteFile(w.cached("a"), content(1, 1000), 0o600))
	flip(t, w.cached("a"))
	if err := w.x.Sweep(context.Background()); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("sweep: %v", err)
	}
	if !w.blobs.HasCached(blob.Key{UUID: w.entity("a").UUID}) || w.pinned() != 0 {
		t.Error("it is gone, or pinned")
	}
}

// TestStrangerIsNotBelieved reads from a service of the same org and app that
// has none of the files, and then from the right one again.
func TestStrangerIsNotBelieved(t *testing.T) {
	w := newWeekly(t, transfer.KeepLocal, false)
	for i := range 5 {
		w.put(fmt.Sprint(i), content(uint64(i), 1000))
	}
	w.become("another")
	w.evict()
	for name := range w.files {
		if _, err := w.read(name); !errors.Is(err, transfer.ErrNotFound) || w.marked(name) {
			t.Errorf("%s, of a stranger: %v, forgotten: %v", name, err, w.marked(name))
		}
	}
	w.passed.Add(int64(4 * day))
	if err := w.x.Sweep(context.Background()); err == nil {
		t.Error("the sweep says nothing of files that it could not keep")
	}
	w.become("service")
	w.wantAll()
	must(t, w.x.Sweep(context.Background()))
	if n := w.pinned(); n != 5 {
		t.Errorf("%d are pinned", n)
	}
}

// TestForgottenIsAskedForAgain: what a service that has others says it has
// forgotten counts as that, and is asked for again until its days are over.
func TestForgottenIsAskedForAgain(t *testing.T) {
	w := newWeekly(t, transfer.KeepLocal, false)
	w.put("a", content(1, 1000))
	w.put("b", content(2, 1000))
	w.lose("a")
	w.evict()
	if _, err := w.read("a"); !errors.Is(err, transfer.ErrNotFound) || !w.marked("a") {
		t.Errorf("read: %v, forgotten: %v", err, w.marked("a"))
	}
	asks := func(after time.Duration) int {
		w.passed.Add(int64(after))
		before := w.service.Counts().Requests
		must(t, w.x.Sweep(context.Background()))
		return w.service.Counts().Requests - before
	}
	for i, step := range []struct {
		after time.Duration
		asks  int
	}{{0, 1}, {30 * time.Minute, 0}, {31 * time.Minute, 1}, {time.Hour, 0}, {61 * time.Minute, 1}} {
		if n := asks(step.after); n != step.asks {
			t.Errorf("step %d: %d requests, want %d", i, n, step.asks)
		}
	}
	w.put("c", content(1, 1000)) // the service has it again, as another entity
	k := w.entity("c")
	must(t, w.index.Replace(w.entity("a").UUID, k))
	w.mark("a")
	asks(0)
	w.evict()
	asks(9 * time.Hour)
	if w.marked("a") {
		t.Error("what the service has counts as forgotten")
	}
	w.wantAll()
	for _, name := range []string{"a", "c"} {
		gone, err := w.index.Unlink(index.Root, name)
		must(t, err)
		_, err = w.index.Forget(gone.Inode.Ino)
		must(t, err)
	}
	w.lose("b")
	w.mark("b")
	w.evict()
	asks(8 * day)
	if n := asks(25 * time.Hour); n != 0 {
		t.Errorf("%d requests for what has outlived its days", n)
	}
}

// TestCheckRemoteBelievesNoStranger asks a service of the same org and app that
// has none of the files.
func TestCheckRemoteBelievesNoStranger(t *testing.T) {
	w := newWeekly(t, transfer.KeepNone, false)
	w.put("a", content(1, 1000))
	w.put("b", content(2, 1000))
	w.become("another")
	has, found, err := transfer.CheckRemote(context.Background(), w.index, w.client, func(int, int) {})
	must(t, err)
	if has != 0 || len(found) != 1 || found[0].Kind != transfer.EntityStrange || found[0].Mend != nil {
		t.Errorf("%d there, found %v", has, found)
	}
}

// TestCheckRemoteFindsWhatIsBack unmarks what the service has.
func TestCheckRemoteFindsWhatIsBack(t *testing.T) {
	w := newWeekly(t, transfer.KeepNone, false)
	w.put("a", content(1, 1000))
	w.put("b", content(2, 1000))
	w.mark("a")
	has, found, err := transfer.CheckRemote(context.Background(), w.index, w.client, func(int, int) {})
	must(t, err)
	if has != 2 || len(found) != 1 || found[0].Kind != transfer.EntityBack {
		t.Fatalf("%d there, found %v", has, found)
	}
	must(t, found[0].Mend())
	if w.marked("a") {
		t.Error("it is marked still")
	}
}
