package index

import (
	"syscall"
	"testing"
	"time"

	"chatfs/internal/entity"
)

func TestEntityIsRenewed(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f := touch(t, ix, Root, "f")
	e := upload(t, ix, f.Ino, 1)
	if k := must[Known](t)(ix.Known(e.UUID)); !k.Since.Equal(e.UUID.Time()) || k.Expired {
		t.Errorf("known of a new one: %+v", k)
	}
	later := time.Now().Add(5 * 24 * time.Hour).Truncate(time.Second)
	noError(t, ix.SetExpired(e.UUID, true))
	noError(t, ix.SetRenewed(e.UUID, later))
	must[Inode](t)(ix.SetContent(f.Ino, Content{}))
	if k := must[Known](t)(ix.Known(e.UUID)); !k.Since.Equal(later) || k.Expired || k.Secret != e.Secret {
		t.Errorf("known of a renewed one: %+v", k)
	}
	old := upload(t, ix, f.Ino, 1)
	if k, _, err := ix.ByDigest(e.Digest, true); err != nil || k.UUID != e.UUID {
		t.Errorf("ByDigest: %v %v, want the renewed one, not %s", k.UUID, err, old.UUID)
	}
	clean(t, ix)
}

// TestEntityWithoutATimeCountsFromItsUpload is about uuids of other versions.
func TestEntityWithoutATimeCountsFromItsUpload(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f := touch(t, ix, Root, "f")
	n := must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: ix.NextStaged(), Size: 7}))
	e := newEntity(t, 1)
	e.UUID[6] = 0x40
	must[bool](t)(ix.Uploaded(f.Ino, n.Version, e, false))
	if k := must[Known](t)(ix.Known(e.UUID)); time.Since(k.Since) > time.Minute {
		t.Errorf("since %v", k.Since)
	}
}

func TestReplaceMovesEveryUser(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f, g := touch(t, ix, Root, "f"), touch(t, ix, Root, "g")
	old := upload(t, ix, f.Ino, 1)
	n := must[Inode](t)(ix.Get(f.Ino))
	must[Inode](t)(ix.SetContent(g.Ino, Content{ShareOf: &n}))
	e := newEntity(t, 1)
	noError(t, ix.Replace(old.UUID, e))
	for _, path := range []string{"/f", "/g"} {
		d := must[Dirent](t)(ix.Resolve(path))
		if d.Inode.UUID != e.UUID || d.Inode.Size != 7 {
			t.Errorf("%s: %+v", path, d.Inode)
		}
		if h := must[[]Version](t)(ix.History(path)); len(h) != 1 || h[0].UUID != old.UUID {
			t.Errorf("history of %s: %+v", path, h)
		}
	}
	if r := must[Inode](t)(ix.Get(f.Ino)); r.Version != n.Version || r.Mtime != n.Mtime {
		t.Error("the content is the same and seems another")
	}
	got := must[map[entity.UUID]bool](t)(ix.InHistory(map[entity.UUID]bool{old.UUID: true, e.UUID: true}))
	if !got[old.UUID] || got[e.UUID] {
		t.Errorf("in the history: %v", got)
	}
	clean(t, ix)
}

func TestPurgeGoesThroughBatches(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f := touch(t, ix, Root, "f")
	var middle time.Time
	for i := range purgeBatch + 200 {
		upload(t, ix, f.Ino, byte(i))
		if i == purgeBatch+100 {
			middle = time.Now()
		}
	}
	want := len(must[[]Version](t)(ix.History("/f"))) - 99
	if n := must[int](t)(ix.PurgeHistory(middle)); n != want {
		t.Errorf("purged %d, want %d", n, want)
	}
	if left := must[[]Version](t)(ix.HistoryBelow("/")); len(left) != 99 {
		t.Errorf("%d are left, want 99", len(left))
	}
	clean(t, ix)
}

// TestOlderEntityIsRead has records from before entities could be renewed, and
// from before their blocks had sums.
func TestOlderEntityIsRead(t *testing.T) {
	e := entityRecord{Entity: newEntity(t, 1), image: true, thumb: 9}
	for newer := range 3 {
		b := encodeEntity(&e)
		got := must[entityRecord](t)(decodeEntity(e.UUID, b[:len(b)-newer]))
		if got != e {
			t.Errorf("without the %d newest fields: read %+v, want %+v", newer, got, e)
		}
	}
}

// TestThumbnailFromBeforeIsNotKnown: its size may be that of a page, which was
// taken for one.
func TestThumbnailFromBeforeIsNotKnown(t *testing.T) {
	e := entityRecord{Entity: newEntity(t, 1), image: true, thumb: -1}
	older := encodeEntity(&e)
	e.thumb = 9
	newer := encodeEntity(&e)
	if len(older) != len(newer) {
		t.Fatalf("records of %d and %d bytes", len(older), len(newer))
	}
	for i := range older { // the size alone differs, not the flags
		if newer[i] != older[i] && newer[i] != older[i]|flagEntityThumb {
			older[i] = newer[i]
		}
	}
	if got := must[entityRecord](t)(decodeEntity(e.UUID, older)); got.thumb != -1 {
		t.Errorf("its size is %d", got.thumb)
	}
}

// TestSumsAreKept whatever is put or noted of an entity later, over a remount,
// and are not taken for another content's.
func TestSumsAreKept(t *testing.T) {
	dir := t.TempDir()
	ix := open(t, dir, byHand)
	f := touch(t, ix, Root, "f")
	var h entity.Hasher
	h.Write(make([]byte, 3*entity.BlockSize))
	e := newEntity(t, 0)
	e.Size, e.Digest, e.Sums = h.Size(), h.Digest(), h.Sums()
	put := func(e entity.Entity) {
		t.Helper()
		n := must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: ix.NextStaged(), Size: e.Size}))
		if ok := must[bool](t)(ix.Uploaded(f.Ino, n.Version, e, false)); !ok {
			t.Fatal("not committed")
		}
	}
	put(e)
	lacks := e
	lacks.Sums = entity.Sums{}
	put(lacks)
	lacks.Digest = entity.Digest{}
	put(lacks)
	noError(t, ix.SetExpired(e.UUID, true))
	noError(t, ix.SetThumbSize(e.UUID, 5))
	noError(t, ix.Close())
	ix = open(t, dir, byHand)
	if got := must[entity.Entity](t)(ix.Entity(e.UUID)); got != e {
		t.Errorf("%+v, want %+v", got, e)
	}
	lacks.Digest = entity.Digest{9}
	put(lacks)
	if got := must[entity.Entity](t)(ix.Entity(e.UUID)); got != lacks {
		t.Errorf("another content has the sums of the one before: %+v", got)
	}
}

// TestDigestIsNotedOnce: what is known of a content is not replaced by another.
func TestDigestIsNotedOnce(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f := touch(t, ix, Root, "f")
	var h entity.Hasher
	h.Write(make([]byte, 3*entity.BlockSize))
	e := newEntity(t, 0)
	e.Size = h.Size()
	n := must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: ix.NextStaged(), Size: e.Size}))
	must[bool](t)(ix.Uploaded(f.Ino, n.Version, e, false))
	noError(t, ix.SetDigest(e.UUID, h.Digest(), h.Sums()))
	if err := ix.SetDigest(e.UUID, entity.Digest{1}, entity.Sums{}); err != syscall.EINVAL {
		t.Errorf("another digest: %v", err)
	}
	if got := must[entity.Entity](t)(ix.Entity(e.UUID)); got.Digest != h.Digest() || got.Sums != h.Sums() || got.Secret != e.Secret {
		t.Errorf("noted %+v", got)
	}
	if err := ix.SetDigest(entity.UUID{1}, entity.Digest{1}, entity.Sums{}); err != syscall.ENOENT {
		t.Errorf("of no entity: %v", err)
	}
	clean(t, ix)
}
