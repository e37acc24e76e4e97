package index

import (
	"testing"

	"chatfs/internal/entity"
)

// TestCheckFindsAndRepairMends makes each damage on purpose.
func TestCheckFindsAndRepairMends(t *testing.T) {
	for _, c := range []struct {
		kind   Kind
		damage func(t *tx, w *world)
		mends  bool
	}{
		{Unreadable, func(t *tx, w *world) { t.put(bucketInodes, inoKey(w.f.Ino), []byte{99}) }, false},
		{NoRoot, func(t *tx, w *world) { t.del(bucketInodes, inoKey(Root)) }, true},
		{EntityMissing, func(t *tx, w *world) { t.del(bucketEntities, t.firstKey(bucketEntities)) }, false},
		{NoContent, func(t *tx, w *world) {
			n, _ := t.inode(w.f.Ino)
			n.Size, n.Staged = 5, 0
			t.putInode(&n)
		}, false},
		{DirentBroken, func(t *tx, w *world) {
			t.putDirent(Root, "ghost", &Inode{Ino: 4711, Mode: regular}, 0)
		}, true},
		{DirentBroken, func(t *tx, w *world) { t.del(bucketInodes, inoKey(w.full.Ino)) }, true},
		{LinkMissing, func(t *tx, w *world) { t.del(bucketLinks, linkKey(w.f.Ino, Root, "f")) }, true},
		{LinkExtra, func(t *tx, w *world) { t.put(bucketLinks, linkKey(w.f.Ino, w.d.Ino, "nix"), present) }, true},
		{Unreachable, func(t *tx, w *world) { t.delDirent(w.d.Ino, "sub", w.sub.Ino) }, true},
		{Unreachable, func(t *tx, w *world) { // e/full/e: a circle
			t.delDirent(Root, "e", w.e.Ino)
			t.putDirent(w.full.Ino, "e", &w.e, 0)
		}, true},
		{WrongNlink, func(t *tx, w *world) {
			n, _ := t.inode(w.f.Ino)
			n.Nlink = 9
			t.putInode(&n)
		}, true},
		{OrphanExtra, func(t *tx, w *world) { t.put(bucketOrphans, inoKey(w.f.Ino), present) }, true},
		{QueueExtra, func(t *tx, w *world) { t.enqueue(&QueueEntry{Ino: w.d.Ino, Staged: 3}) }, true},
		{QueueMissing, func(t *tx, w *world) { t.del(bucketQueue, t.firstKey(bucketQueue)) }, true},
		{UserMissing, func(t *tx, w *world) { t.del(bucketUsers, t.firstKey(bucketUsers)) }, true},
		{UserExtra, func(t *tx, w *world) { t.put(bucketUsers, userKey(entity.UUID{1}, w.f.Ino), present) }, true},
		{DigestMissing, func(t *tx, w *world) { t.del(bucketDigests, t.firstKey(bucketDigests)) }, true},
		{DigestExtra, func(t *tx, w *world) {
			t.put(bucketDigests, digestKey(entity.Digest{9}, true, entity.UUID{9}), present)
		}, true},
		{WrongCounts, func(t *tx, w *world) { t.addStats(func(st *Stats) { st.Inodes += 3 }) }, true},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			w := newWorld(t)
			x := must[Dirent](t)(w.Resolve("/e/full/x"))
			e := upload(t, w.Index, x.Inode.Ino, 1)
			must[Inode](t)(w.SetContent(w.f.Ino, Content{Staged: w.NextStaged(), Size: 1}))
			clean(t, w.Index)
			noError(t, w.store.update(func(tx *tx) error { c.damage(tx, w); return nil }))
			found := w.Check()
			if !has(found, c.kind) {
				t.Fatalf("not found: %v", found)
			}
			if err := w.Repair(found); (err == nil) != c.mends {
				t.Errorf("repair: %v", err)
			}
			if c.mends {
				clean(t, w.Index)
			}
			if r, err := w.Entity(e.UUID); c.kind != EntityMissing && (err != nil || r.Secret != e.Secret) {
				t.Error("the secret is lost")
			}
		})
	}
}

func (t *tx) firstKey(b bucket) []byte { return []byte(t.keys(b, nil)[0]) }

func has(list []Problem, k Kind) bool {
	for _, p := range list {
		if p.Kind == k {
			return true
		}
	}
	return false
}
