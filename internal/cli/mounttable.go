package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// A device is the number that the kernel gives a mounted file system, the same
// in all its copies and in no other while one of them is left.
type device struct{ major, minor int }

func deviceOf(m *mountinfo.Info) device { return device{m.Major, m.Minor} }

// fuseType is what the mount table calls a tree of chatfs.
const fuseType = "fuse.chatfs"

// mountAt is the topmost mount at path; nil if there is none.
func mountAt(path string) (*mountinfo.Info, error) {
	all, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return i.Mountpoint != path, false
	})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[len(all)-1], nil
}

// mountedTrees are a user's trees of chatfs in this process's view, in the
// order in which they were mounted.
func mountedTrees(uid int) ([]*mountinfo.Info, error) {
	owner := fmt.Sprintf("user_id=%d", uid)
	return mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return i.FSType != fuseType || !slices.Contains(strings.Split(i.VFSOptions, ","), owner), false
	})
}

// copiesOf says where the file system is mounted, in this mount namespace and
// in those of the processes that we may look at: "at /b", "at /c in the mount
// namespace of sh (42)".
func copiesOf(d device) []string {
	here, _ := os.Readlink("/proc/self/ns/mnt")
	tables, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		return nil
	}
	var found []string
	seen := make(map[string]bool)
	for _, table := range append([]string{"/proc/self/mountinfo"}, tables...) {
		process := filepath.Dir(table)
		namespace, err := os.Readlink(filepath.Join(process, "ns/mnt"))
		if err != nil || seen[namespace] {
			continue
		}
		seen[namespace] = true
		for _, path := range pathsIn(table, d) {
			where := "at " + path
			if namespace != here {
				where += " in the mount namespace of " + nameOf(process)
			}
			found = append(found, where)
		}
	}
	slices.Sort(found)
	return found
}

// pathsIn are the places of a file system in one mount table.
func pathsIn(table string, d device) (paths []string) {
	text, err := os.ReadFile(table)
	if err != nil {
		return nil // the process has ended
	}
	all, _ := mountinfo.GetMountsFromReader(bytes.NewReader(text), func(i *mountinfo.Info) (skip, stop bool) {
		return deviceOf(i) != d, false
	})
	for _, m := range all {
		paths = append(paths, m.Mountpoint)
	}
	return paths
}

// nameOf names the process with this directory in /proc: "bash (123)".
func nameOf(process string) string {
	name, _ := os.ReadFile(filepath.Join(process, "comm"))
	return fmt.Sprintf("%s (%s)", strings.TrimSpace(string(name)), filepath.Base(process))
}

// unmount removes a mount that nobody uses from its directory, and does not
// wait for the end of its process.
func unmount(path string) error {
	if os.Geteuid() == 0 {
		return unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
	}
	return fusermount("-u", path)
}

// detach takes a mount out of the tree at once; who uses it may go on.
func detach(path string) error {
	if os.Geteuid() == 0 {
		return unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	return fusermount("-u", "-z", path)
}
