package index

import "testing"

// TestSkipGivesOnlyHigherNumbers, also after the next opening, and After counts
// on from what it is told.
func TestSkipGivesOnlyHigherNumbers(t *testing.T) {
	dir := t.TempDir()
	ix := open(t, dir, byHand)
	first := touch(t, ix, Root, "a")
	noError(t, ix.Skip(first.Ino+1000000, 5000000))
	noError(t, ix.Skip(3, 3)) // lower ones change nothing
	if ino, staged := ix.Numbers(); ino != first.Ino+1000000 || staged != 5000000 {
		t.Errorf("next are %d and %d", ino, staged)
	}
	b, id := touch(t, ix, Root, "b"), ix.NextStaged()
	if b.Ino < first.Ino+1000000 || id < 5000000 {
		t.Errorf("inode %d and staged %d are given", b.Ino, id)
	}
	noError(t, ix.Close())
	o := byHand
	o.After = 7000000
	ix = open(t, dir, o)
	if c := touch(t, ix, Root, "c"); c.Ino <= b.Ino || ix.NextStaged() <= id || ix.Changes() <= 7000000 {
		t.Errorf("inode %d and staged %d are given, %d changes", c.Ino, ix.NextStaged()-1, ix.Changes())
	}
	changes := ix.Changes()
	ix = open(t, copyDir(t, dir), byHand) // as after a kill
	if ix.Changes() < changes {
		t.Errorf("%d changes after %d", ix.Changes(), changes)
	}
	for _, name := range []string{"a", "b", "c"} {
		must[Dirent](t)(ix.Lookup(Root, name))
	}
	if found := ix.Check(); len(found) > 0 {
		t.Errorf("problems: %v", found)
	}
}
