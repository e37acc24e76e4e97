package index

import (
	"slices"
	"testing"
	"time"
)

// TestSyncLeavesOutWhatIsNamedNoMore syncs four contents of which one was
// uploaded, one replaced and one unlinked meanwhile: their bytes need not
// outlive a loss of power, the last one's must.
func TestSyncLeavesOutWhatIsNamedNoMore(t *testing.T) {
	var synced []StagedID
	ix := open(t, t.TempDir(), Options{CommitInterval: time.Hour, SyncStaged: func(ids []StagedID) error {
		synced = append(synced, ids...)
		return nil
	}})
	stage := func(name string) (Inode, StagedID) {
		in, id := touch(t, ix, Root, name), ix.NextStaged()
		return must[Inode](t)(ix.SetContent(in.Ino, Content{Staged: id, Size: 7})), id
	}
	sent, _ := stage("sent")
	replaced, _ := stage("replaced")
	stage("unlinked")
	_, left := stage("left")
	if !must[bool](t)(ix.Uploaded(sent.Ino, sent.Version, newEntity(t, 1), false)) {
		t.Fatal("the upload was not recorded")
	}
	again := ix.NextStaged()
	must[Inode](t)(ix.SetContent(replaced.Ino, Content{Staged: again, Size: 7}))
	must[Removed](t)(ix.Unlink(Root, "unlinked"))
	noError(t, ix.Sync())
	slices.Sort(synced)
	if want := []StagedID{left, again}; !slices.Equal(synced, want) {
		t.Errorf("synced %v, want %v", synced, want)
	}
}
