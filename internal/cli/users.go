package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// usersOf names the processes that use a mount, as far as we may see them:
// ", by bash (123), vim (124)". It reads links below /proc alone, which ask
// nothing of the mount.
func usersOf(mountpoint string) string {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return ""
	}
	var users []string
	for _, dir := range dirs {
		if uses(dir, mountpoint) {
			users = append(users, nameOf(dir))
		}
	}
	slices.Sort(users)
	if len(users) > 8 {
		users = append(users[:8], "others")
	}
	if len(users) == 0 {
		return ""
	}
	return ", by " + strings.Join(users, ", ")
}

// uses tells whether the process with this directory in /proc has a file or
// directory below the mount point open.
func uses(proc, mountpoint string) bool {
	links := []string{filepath.Join(proc, "cwd"), filepath.Join(proc, "root")}
	fds, _ := os.ReadDir(filepath.Join(proc, "fd"))
	for _, fd := range fds {
		links = append(links, filepath.Join(proc, "fd", fd.Name()))
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err == nil && (target == mountpoint || strings.HasPrefix(target, mountpoint+"/")) {
			return true
		}
	}
	return false
}
