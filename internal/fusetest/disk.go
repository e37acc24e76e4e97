package fusetest

import (
	"fmt"
	"syscall"
	"testing"
)

// SmallDisk mounts a tmpfs of a size in bytes, and gives its directory. It is
// gone with the test, which another user than root skips.
func SmallDisk(t testing.TB, size int64) string {
	t.Helper()
	NeedsRoot(t, "mount a small disk, to see it full")
	dir := t.TempDir()
	if err := syscall.Mount("chatfs-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		t.Fatalf("a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount the small disk: %v", err)
		}
	})
	return dir
}
