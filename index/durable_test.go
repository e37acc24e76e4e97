package index

import (
	"testing"

	"chatfs/internal/entity"
)

// TestKnownSecretIsKept when the entity is put again by whoever lacks it.
func TestKnownSecretIsKept(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f, g := touch(t, ix, Root, "f"), touch(t, ix, Root, "g")
	e := upload(t, ix, f.Ino, 1)
	lacks := entity.Entity{UUID: e.UUID, Size: e.Size}
	n := must[Inode](t)(ix.SetContent(g.Ino, Content{Staged: ix.NextStaged(), Size: e.Size}))
	if ok := must[bool](t)(ix.Uploaded(g.Ino, n.Version, lacks, false)); !ok {
		t.Fatal("not committed")
	}
	if got := must[entity.Entity](t)(ix.Entity(e.UUID)); got.Secret != e.Secret || got.Digest != e.Digest {
		t.Error("after an upload of the same: secret or digest is lost")
	}
	other := upload(t, ix, touch(t, ix, Root, "h").Ino, 2)
	noError(t, ix.Replace(other.UUID, lacks))
	if got := must[entity.Entity](t)(ix.Entity(e.UUID)); got.Secret != e.Secret {
		t.Error("after a replacement by it: the secret is lost")
	}
}

// TestOnDurableWaits for a sync or a commit of what was changed before.
func TestOnDurableWaits(t *testing.T) {
	for what, end := range map[string]func(*Index) error{
		"sync":   (*Index).Sync,
		"commit": func(ix *Index) error { return ix.store.commit() },
	} {
		ix := open(t, t.TempDir(), byHand)
		noError(t, ix.Sync())
		ran := 0
		ix.OnDurable(func() { ran++ })
		if ran != 1 {
			t.Errorf("%s: nothing to wait for, and it ran %d times", what, ran)
		}
		touch(t, ix, Root, "f")
		ix.OnDurable(func() { ran++ })
		if ran != 1 {
			t.Errorf("%s: it ran before", what)
		}
		noError(t, end(ix))
		if ran != 2 {
			t.Errorf("%s: it ran %d times", what, ran)
		}
	}
}

// TestReplayedStagedBytesAreMadeDurable before the database has the records
// that name them: the journal, where a loss of power would have them doubted, is
// removed afterwards.
func TestReplayedStagedBytesAreMadeDurable(t *testing.T) {
	dir := t.TempDir() + "/ix"
	ix := open(t, dir, byHand)
	f := touch(t, ix, Root, "f")
	id := ix.NextStaged()
	must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: id, Size: 1}))
	crashed := copyDir(t, dir)
	var synced []StagedID
	committed := false
	o := byHand
	o.hooks.commit = func() error { committed = true; return nil }
	o.SyncStaged = func(ids []StagedID) error {
		if !committed {
			synced = append(synced, ids...)
		}
		return nil
	}
	open(t, crashed, o)
	if len(synced) != 1 || synced[0] != id || !committed {
		t.Errorf("synced %v, committed %v", synced, committed)
	}
}
