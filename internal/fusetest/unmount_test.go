package fusetest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// mountEmpty mounts an empty directory, and waits at the test's end for the
// mount's.
func mountEmpty(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	server, err := gofs.Mount(dir, &gofs.Inode{}, &gofs.Options{MountOptions: fuse.MountOptions{Name: "empty", FsName: "empty", DirectMount: os.Geteuid() == 0}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Wait)
	t.Cleanup(func() {
		if err := Detach(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func mounted(t *testing.T, dir string) bool {
	t.Helper()
	there, err := mountsAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(there) > 0
}

func TestDetachTakesWhatIsInUse(t *testing.T) {
	dir := mountEmpty(t)
	used, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	if err := Unmount(dir); err == nil || !mounted(t, dir) {
		t.Errorf("a mount in use was unmounted: %v", err)
	}
	for range 2 { // nothing is there the second time
		if err := Detach(dir); err != nil || mounted(t, dir) {
			t.Errorf("detach: %v", err)
		}
	}
}

func TestUnmountTakesWhatIsNotInUse(t *testing.T) {
	dir := mountEmpty(t)
	if err := Unmount(dir); err != nil || mounted(t, dir) {
		t.Errorf("unmount: %v", err)
	}
}

func TestAbortLeavesADeadMount(t *testing.T) {
	NeedsAbort(t)
	dir := mountEmpty(t)
	used, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	Abort(t, dir)
	if _, err := os.ReadDir(dir); !errors.Is(err, unix.ENOTCONN) || !mounted(t, dir) {
		t.Errorf("the aborted mount answers %v", err)
	}
}

func TestGuardDetachesWhatAFailedTestLeaves(t *testing.T) {
	before := mountEmpty(t)
	r := &recorder{TB: t, failed: true}
	Guard(r)
	left := mountEmpty(t)
	if filepath.Dir(left) != filepath.Dir(before) {
		t.Fatalf("%s and %s are not of one test", left, before)
	}
	if r.finish(); mounted(t, left) || !mounted(t, before) {
		t.Errorf("left by the test: mounted is %v; there before: %v", mounted(t, left), mounted(t, before))
	}
}
