package index

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"chatfs/internal/entity"

	"golang.org/x/sys/unix"
)

// upload stages and uploads content for ino.
func upload(t *testing.T, ix *Index, ino Ino, digest byte) entity.Entity {
	t.Helper()
	n := must[Inode](t)(ix.SetContent(ino, Content{Staged: ix.NextStaged(), Size: 7}))
	e := newEntity(t, digest)
	if ok := must[bool](t)(ix.Uploaded(ino, n.Version, e, true)); !ok {
		t.Fatal("not committed")
	}
	return e
}

func TestUploadTurnsStagedIntoEntity(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f := touch(t, ix, Root, "f")
	mtime := Time{12345, 678}
	id := ix.NextStaged()
	n := must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: id, Size: 7, Mtime: &mtime}))
	if n.Mtime != mtime || n.Version == f.Version || n.Staged != id || n.Size != 7 {
		t.Errorf("after SetContent: %+v", n)
	}
	if st := must[Stats](t)(ix.Stats()); st.Queued != 1 || st.QueuedBytes != 7 || st.Inodes != 2 {
		t.Errorf("stats %+v", st)
	}
	e := newEntity(t, 1)
	if ok := must[bool](t)(ix.Uploaded(f.Ino, n.Version, e, true)); !ok {
		t.Fatal("not committed")
	}
	got := must[Inode](t)(ix.Get(f.Ino))
	want := n
	want.Staged, want.UUID, want.Image = 0, e.UUID, true
	if got != want {
		t.Errorf("after Uploaded %+v, want %+v", got, want)
	}
	if r := must[entity.Entity](t)(ix.Entity(e.UUID)); r != e {
		t.Errorf("entity %+v, want %+v", r, e)
	}
	if used := must[bool](t)(ix.References(e.UUID)); !used {
		t.Error("no user of the entity")
	}
	if st := must[Stats](t)(ix.Stats()); st.Queued != 0 || st.QueuedBytes != 0 {
		t.Errorf("stats %+v", st)
	}
	clean(t, ix)
}

func TestOldVersionsUploadGoesToHistory(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f := touch(t, ix, Root, "f")
	old := must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: ix.NextStaged(), Size: 7}))
	cur := must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: ix.NextStaged(), Size: 8}))
	e := newEntity(t, 1)
	if ok := must[bool](t)(ix.Uploaded(f.Ino, old.Version, e, false)); ok {
		t.Error("an old version was committed")
	}
	if n := must[Inode](t)(ix.Get(f.Ino)); n != cur {
		t.Errorf("the inode changed: %+v", n)
	}
	if q, ok, err := ix.QueueEntry(f.Ino); err != nil || !ok || q.Version != cur.Version {
		t.Errorf("queue %+v %v %v", q, ok, err)
	}
	if h := must[[]Version](t)(ix.History("/f")); len(h) != 1 || h[0].UUID != e.UUID {
		t.Errorf("history %+v", h)
	}
	if r := must[entity.Entity](t)(ix.Entity(e.UUID)); r.Secret != e.Secret {
		t.Error("the secret is lost")
	}
	clean(t, ix)
}

func TestHistoryKeepsOverwrittenAndDeleted(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	d := mkdir(t, ix, Root, "d")
	f := touch(t, ix, d.Ino, "f")
	first := upload(t, ix, f.Ino, 1)
	second := upload(t, ix, f.Ino, 2)
	must[Removed](t)(ix.Unlink(d.Ino, "f"))
	must[[]StagedID](t)(ix.Forget(f.Ino))
	h := must[[]Version](t)(ix.History("/d/f"))
	if len(h) != 2 || h[0].UUID != first.UUID || h[1].UUID != second.UUID || h[1].Size != 7 || h[1].Mode != regular {
		t.Errorf("history %+v", h)
	}
	for _, e := range []entity.Entity{first, second} {
		if r := must[entity.Entity](t)(ix.Entity(e.UUID)); r.Secret != e.Secret {
			t.Error("a secret is lost")
		}
		if used := must[bool](t)(ix.References(e.UUID)); used {
			t.Error("a deleted file uses its entity")
		}
	}
	if n := must[int](t)(ix.PurgeHistory(h[1].Replaced)); n != 1 {
		t.Errorf("purged %d, want 1", n)
	}
	if h := must[[]Version](t)(ix.History("/d/f")); len(h) != 1 {
		t.Errorf("history after the purge %+v", h)
	}
	clean(t, ix)
}

func TestShareOf(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	a, b := touch(t, ix, Root, "a"), touch(t, ix, Root, "b")
	e := upload(t, ix, a.Ino, 1)
	src := must[Inode](t)(ix.Get(a.Ino))
	n := must[Inode](t)(ix.SetContent(b.Ino, Content{ShareOf: &src}))
	if n.UUID != e.UUID || n.Size != 7 || !n.Image {
		t.Errorf("the copy: %+v", n)
	}
	if users := must[[]Ino](t)(ix.Users(e.UUID, 1)); len(users) != 1 {
		t.Errorf("one of the users: %v", users)
	}
	if users := must[[]Ino](t)(ix.Users(e.UUID, 0)); len(users) != 2 {
		t.Errorf("users %v", users)
	}
	must[Inode](t)(ix.SetContent(a.Ino, Content{Staged: ix.NextStaged(), Size: 1}))
	src = must[Inode](t)(ix.Get(a.Ino))
	if _, err := ix.SetContent(b.Ino, Content{ShareOf: &src}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("shared staged content: %v", err)
	}
	clean(t, ix)
}

func TestQueueKeepsFailures(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	a, b := touch(t, ix, Root, "a"), touch(t, ix, Root, "b")
	na := must[Inode](t)(ix.SetContent(a.Ino, Content{Staged: ix.NextStaged(), Size: 1}))
	must[Inode](t)(ix.SetContent(b.Ino, Content{Staged: ix.NextStaged(), Size: 2, Failed: "too large"}))
	noError(t, ix.Attempted(a.Ino, na.Version, "no network"))
	noError(t, ix.Failed(a.Ino, na.Version, "plan limit"))
	noError(t, ix.Failed(a.Ino, na.Version+1, "not this one"))
	q := must[[]QueueEntry](t)(ix.Queue())
	if len(q) != 2 || q[0].Failed != "plan limit" || q[0].Attempts != 2 || q[1].Failed != "too large" {
		t.Errorf("queue %+v", q)
	}
	if st := must[Stats](t)(ix.Stats()); st.FailedCount != 2 || st.FailedBytes != 3 || st.Queued != 0 {
		t.Errorf("stats %+v", st)
	}
	if n := must[int](t)(ix.RetryFailed()); n != 1 {
		t.Errorf("retried %d, want the one that is not too large", n)
	}
	if st := must[Stats](t)(ix.Stats()); st.FailedCount != 1 || st.Queued != 1 {
		t.Errorf("stats %+v", st)
	}
	must[Inode](t)(ix.SetContent(b.Ino, Content{}))
	if _, ok, err := ix.QueueEntry(b.Ino); ok || err != nil {
		t.Errorf("an empty file is queued: %v", err)
	}
	clean(t, ix)
}

func TestByDigest(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f := touch(t, ix, Root, "f")
	first := upload(t, ix, f.Ino, 1)
	second := upload(t, ix, f.Ino, 1)
	if e, ok, err := ix.ByDigest(first.Digest, true); err != nil || !ok || e.Entity != second {
		t.Errorf("ByDigest = %v %v %v, want the newest", e, ok, err)
	}
	noError(t, ix.SetExpired(second.UUID, true))
	if e, ok, err := ix.ByDigest(first.Digest, true); err != nil || !ok || e.Entity != first {
		t.Errorf("ByDigest = %v %v %v, want the one that is left", e, ok, err)
	}
	if _, ok, err := ix.ByDigest(first.Digest, false); ok || err != nil {
		t.Errorf("a restricted entity answers for an unrestricted one: %v", err)
	}
	if !must[Known](t)(ix.Known(second.UUID)).Expired {
		t.Error("not expired")
	}
	if _, ok := ix.ThumbSize(first.UUID); ok {
		t.Error("a thumbnail's size out of nowhere")
	}
	noError(t, ix.SetThumbSize(first.UUID, 99))
	if size, ok := ix.ThumbSize(first.UUID); !ok || size != 99 {
		t.Errorf("ThumbSize = %d %v", size, ok)
	}
	if all := must[[]Known](t)(ix.Entities(entity.UUID{}, 10)); len(all) != 2 {
		t.Errorf("Entities: %d", len(all))
	}
	clean(t, ix)
}

func TestThumbStaysHiddenUntilContentChanges(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f := touch(t, ix, Root, "f")
	upload(t, ix, f.Ino, 1)
	noError(t, ix.HideThumb(Root, "f"))
	must[Removed](t)(ix.Rename(Root, "f", Root, "g", 0))
	if d := must[Dirent](t)(ix.Lookup(Root, "g")); !d.ThumbHidden {
		t.Error("not hidden")
	}
	upload(t, ix, f.Ino, 2)
	if d := must[Dirent](t)(ix.Lookup(Root, "g")); d.ThumbHidden {
		t.Error("still hidden")
	}
}

func TestXattrs(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f := touch(t, ix, Root, "f")
	noError(t, ix.SetXattr(f.Ino, "user.b", []byte{}, unix.XATTR_CREATE))
	noError(t, ix.SetXattr(f.Ino, "user.a", []byte("v"), 0))
	if err := ix.SetXattr(f.Ino, "user.a", nil, unix.XATTR_CREATE); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("created twice: %v", err)
	}
	if v := must[[]byte](t)(ix.GetXattr(f.Ino, "user.b")); v == nil || len(v) != 0 {
		t.Errorf("the empty one: %v", v)
	}
	if names := must[[]string](t)(ix.ListXattr(f.Ino)); strings.Join(names, " ") != "user.a user.b" {
		t.Errorf("names %v", names)
	}
	if n := must[Inode](t)(ix.Get(f.Ino)); !f.Ctime.Before(n.Ctime) || n.Mtime != f.Mtime {
		t.Errorf("times %+v", n)
	}
	noError(t, ix.RemoveXattr(f.Ino, "user.a"))
	must[Removed](t)(ix.Unlink(Root, "f"))
	must[[]StagedID](t)(ix.Forget(f.Ino))
	if ix.store.active.Len() == 0 {
		t.Error("nothing to commit")
	}
	noError(t, ix.store.commit())
	noError(t, ix.store.view(func(tx *tx) error {
		if left := tx.keys(bucketXattrs, nil); len(left) > 0 {
			return fmt.Errorf("left over: %q", left)
		}
		return nil
	}))
}

func TestSetAttrKeepsWhatIsNotItsOwn(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f := touch(t, ix, Root, "f")
	upload(t, ix, f.Ino, 1)
	before := must[Inode](t)(ix.Get(f.Ino))
	after := must[Inode](t)(ix.SetAttr(f.Ino, func(n *Inode) error {
		*n = Inode{Ino: 77, Mode: directory | 0o4000, UID: 1, GID: 2, Size: 3, Mtime: FromTime(time.Unix(9, 9))}
		return nil
	}))
	want := before
	want.Mode, want.UID, want.GID, want.Size, want.Mtime = syscall.S_IFREG|0o4755, 1, 2, 3, Time{9, 9}
	want.Atime, want.Ctime, want.Btime = Time{}, Time{}, Time{}
	if after != want {
		t.Errorf("got %+v, want %+v", after, want)
	}
	if _, err := ix.SetAttr(f.Ino, func(*Inode) error { return syscall.EPERM }); !errors.Is(err, syscall.EPERM) {
		t.Errorf("its error: %v", err)
	}
}
