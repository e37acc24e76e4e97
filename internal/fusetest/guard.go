package fusetest

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"go.uber.org/goleak"
)

// Patience is how long a test waits for what must come about: the one bound of
// all waits that measure no promise. A machine under any load is quicker, so
// only what never comes reaches it.
const Patience = 3 * time.Minute

// Guard fails the test if, after its cleanups, a FUSE mount below the test's
// temporary directories, a goroutine or a file descriptor is left that was not
// there at the call. What mounts are left it detaches, of a failed test too.
// Call it first.
func Guard(t testing.TB) {
	t.Helper()
	fdsBefore := descriptors(t)
	// Other packages' tests mount at the same time, elsewhere.
	below := filepath.Dir(t.TempDir()) + "/"
	mountsBefore := mounts(t, below)
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { detachBelow(t, below, mountsBefore) })
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		if err := goroutines(ignore); err != nil {
			t.Errorf("goroutines left behind: %v", err)
		}
		settle(t, "mounts", mountsBefore, func(t testing.TB) map[string]bool { return mounts(t, below) })
		settle(t, "file descriptors", fdsBefore, descriptors)
	})
}

// detachBelow takes what a test has left mounted out of the tree.
func detachBelow(t testing.TB, below string, before map[string]bool) {
	for dir := range mounts(t, below) {
		if before[dir] {
			continue
		}
		if err := Detach(dir); err != nil {
			t.Error(err)
		}
	}
}

// goroutines looks, again and again until Patience ends, for goroutines that
// ignore does not name. One look of goleak's takes up to half a second.
func goroutines(ignore goleak.Option) error {
	for end := time.Now().Add(Patience); ; {
		err := goleak.Find(ignore)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// settle compares what is there now with what was there before, again and
// again until Patience ends.
func settle(t testing.TB, what string, before map[string]bool, now func(testing.TB) map[string]bool) {
	t.Helper()
	var left []string
	for end := time.Now().Add(Patience); ; time.Sleep(10 * time.Millisecond) {
		left = left[:0]
		for k := range now(t) {
			if !before[k] {
				left = append(left, k)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			break
		}
	}
	sort.Strings(left)
	t.Errorf("%s left behind:\n%s", what, strings.Join(left, "\n"))
}

func mounts(t testing.TB, below string) map[string]bool {
	t.Helper()
	infos, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(i.FSType, "fuse.") || !strings.HasPrefix(i.Mountpoint, below), false
	})
	if err != nil {
		t.Fatal(err)
	}
	set := make(map[string]bool)
	for _, i := range infos {
		set[i.Mountpoint] = true
	}
	return set
}

// descriptors lists this process's open files, but for pipes of the Go
// runtime and of go-fuse's pool, and the /dev/null that this pool is emptied
// into, which live as long as the process.
func descriptors(t testing.TB) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	set := make(map[string]bool)
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err != nil || strings.HasPrefix(to, "pipe:") || strings.HasPrefix(to, "anon_inode:") || to == os.DevNull || strings.HasSuffix(to, "/fd") {
			continue
		}
		set[fmt.Sprintf("%s -> %s", e.Name(), to)] = true
	}
	return set
}
