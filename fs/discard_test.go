package fs_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"chatfs/index"
)

// TestReplacedBytesStayUntilTheIndexIsDurable: a loss of power may bring back
// the index that names them.
func TestReplacedBytesStayUntilTheIndexIsDurable(t *testing.T) {
	f := newFixture(t, resting)
	f.unmount()
	f.commits = time.Hour
	f.mount()
	staged := func() (ids []uint64) {
		t.Helper()
		ids, err := f.blobs.ListStaged()
		must(t, err)
		return ids
	}
	must(t, os.WriteFile(f.path("f"), []byte("old"), 0o644))
	must(t, f.index.Sync())
	old := staged()
	must(t, os.WriteFile(f.path("f"), []byte("new"), 0o644))
	d, err := f.index.Lookup(index.Root, "f")
	must(t, err)
	if len(old) != 1 || d.Inode.Staged == index.StagedID(old[0]) {
		t.Fatalf("staged before: %v, now %d", old, d.Inode.Staged)
	}
	if now := staged(); !slices.Contains(now, old[0]) {
		t.Errorf("staged before the index is durable: %v", now)
	}
	must(t, f.index.Sync())
	if now := staged(); slices.Contains(now, old[0]) {
		t.Errorf("staged after: %v", now)
	}
}
