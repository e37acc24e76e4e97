package fusetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// connections is where the kernel lets a mount's owner give up its connection,
// if fusectl is mounted there.
const connections = "/sys/fs/fuse/connections"

// Unmount unmounts what is mounted at dir, as root by umount(2), as another
// user by fusermount3. It fails where dir is in use.
func Unmount(dir string) error {
	if os.Geteuid() == 0 {
		return unix.Unmount(dir, 0)
	}
	return fusermount("-u", dir)
}

// Detach takes all that is mounted at dir out of the tree at once, also what
// is dead or in use. Nothing may be mounted there.
func Detach(dir string) error {
	for {
		there, err := mountsAt(dir)
		if err != nil || len(there) == 0 {
			return err
		}
		if os.Geteuid() == 0 {
			err = unix.Unmount(dir, unix.MNT_DETACH)
		} else {
			err = fusermount("-u", "-z", dir)
		}
		if err != nil {
			return fmt.Errorf("detach %s: %w", dir, err)
		}
	}
}

func mountsAt(dir string) ([]*mountinfo.Info, error) {
	return mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Mountpoint != dir, false })
}

func fusermount(args ...string) error {
	out, err := exec.Command("fusermount3", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Abort has the kernel give up the connection of the FUSE mount at dir, as if
// the process that serves it had died. The mount stays, dead, if it is in use.
// Another user than root needs fusectl for it: see NeedsAbort.
func Abort(t testing.TB, dir string) {
	t.Helper()
	if os.Geteuid() == 0 {
		if err := unix.Unmount(dir, unix.MNT_FORCE); err != nil && !errors.Is(err, unix.EBUSY) {
			t.Fatalf("umount -f %s: %v", dir, err)
		}
		return
	}
	there, err := mountsAt(dir)
	if err != nil || len(there) != 1 {
		t.Fatalf("%d mounts at %s: %v", len(there), dir, err)
	}
	abort := filepath.Join(connections, fmt.Sprint(there[0].Minor), "abort")
	if err := os.WriteFile(abort, []byte("1"), 0); err != nil {
		t.Fatalf("abort: %v", err)
	}
}

// NeedsAbort skips a test where this user can't Abort. Call it before mounting.
func NeedsAbort(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if there, err := mountsAt(connections); err != nil || len(there) == 0 {
		Skip(t, "only root can have the kernel give up a connection, or who has fusectl mounted at "+connections)
	}
}
