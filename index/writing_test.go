package index

import "testing"

// TestWritingEndsWithTheContent follows a file's note through all that ends it,
// and over a kill.
func TestWritingEndsWithTheContent(t *testing.T) {
	dir := t.TempDir()
	ix := open(t, dir, byHand)
	begin := func(name string) (Inode, StagedID) {
		f := touch(t, ix, Root, name)
		return f, must[StagedID](t)(ix.BeginWriting(f.Ino, 0, ""))
	}
	left, id := begin("left")
	ended, other := begin("ended")
	noError(t, ix.EndWriting(ended.Ino, id)) // another's
	closed, written := begin("closed")
	must[Inode](t)(ix.SetContent(closed.Ino, Content{Staged: written, Size: 3}))
	mapped, own := begin("mapped")
	must[Inode](t)(ix.SetContent(mapped.Ino, Content{Staged: own, Size: 3, Writing: own}))
	deleted, _ := begin("deleted")
	must[Removed](t)(ix.Unlink(Root, "deleted"))
	must[[]StagedID](t)(ix.Forget(deleted.Ino))
	if _, err := ix.BeginWriting(deleted.Ino, 0, ""); err == nil {
		t.Error("an inode that is not there is written")
	}
	want := []Writing{{Ino: left.Ino, Staged: id, Version: 1, SameBoot: true},
		{Ino: ended.Ino, Staged: other, Version: 1, SameBoot: true},
		{Ino: mapped.Ino, Staged: own, Version: 2, SameBoot: true}}
	wantWritings(t, ix, want)
	after := open(t, copyDir(t, dir), byHand)
	wantWritings(t, after, want)
	noError(t, after.EndWriting(ended.Ino, other))
	wantWritings(t, after, []Writing{want[0], want[2]})
	elsewhere := byHand
	elsewhere.BootID = "another start of the machine"
	list := must[[]Writing](t)(open(t, copyDir(t, dir), elsewhere).Writings())
	for _, w := range list {
		if w.SameBoot {
			t.Errorf("%+v is of this start", w)
		}
	}
	clean(t, after)
}

func wantWritings(t *testing.T, ix *Index, want []Writing) {
	t.Helper()
	got := must[[]Writing](t)(ix.Writings())
	if len(got) != len(want) {
		t.Errorf("writings %+v, want %+v", got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("writing %+v, want %+v", got[i], want[i])
		}
	}
}

// TestGivenUpIsKnownOfSettledIdsAlone: of what was given before the index was
// settled, or after its state, or may have been since it was put back, nothing
// says that it was given up.
func TestGivenUpIsKnownOfSettledIdsAlone(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	first := ix.NextStaged()
	want := func(what string, id StagedID, given bool) {
		t.Helper()
		if ix.GivenUp(id) != given {
			t.Errorf("%s: given up is %v", what, !given)
		}
	}
	want("not settled", first, false)
	noError(t, ix.Settled())
	want("settled", first, true)
	want("never given", first+1, false)
	noError(t, ix.Skip(0, first+100))
	want("put back", first, false)
	want("skipped", first+50, false)
	if id := ix.NextStaged(); id != first+100 {
		t.Errorf("%d is given after the skip", id)
	}
	noError(t, ix.Settled())
	want("settled again", first, true)
	noError(t, ix.Repair(nil))
	want("repaired", first, false)
}
