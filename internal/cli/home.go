package cli

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/adrg/xdg"
)

// baseVariables say where a person's directories are.
var baseVariables = []string{"HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"}

// findHome has HOME be what the user database says where it is not set, as for
// services that root runs, and refuses paths whose meaning changes with the
// working directory.
func findHome() error {
	for _, name := range baseVariables {
		if dir := os.Getenv(name); dir != "" && !filepath.IsAbs(dir) {
			return fail(exitUsage, "%s is %q, which is no absolute path", name, dir)
		}
	}
	if os.Getenv("HOME") != "" {
		return nil
	}
	u, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil || !filepath.IsAbs(u.HomeDir) {
		return fail(exitUsage, "HOME is not set, and the user database has no home for user %d: set HOME", os.Getuid())
	}
	if err := os.Setenv("HOME", u.HomeDir); err != nil {
		return err
	}
	xdg.Reload()
	return nil
}

// ownDir makes a directory, 0700, or takes one that nobody else has a hand in:
// it and what lies in it belong to this user, and others may not write there.
// Whatever is there keeps its mode, for who made it knows why it is so.
func ownDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if err := isOurs(dir, info); err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others may write in %s (mode %v): take a directory that is yours alone, or make it so", dir, info.Mode())
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		for _, look := range []func(string) (os.FileInfo, error){os.Lstat, os.Stat} { // a link, and what it leads to
			if info, err := look(path); err == nil && isOurs(path, info) != nil {
				return isOurs(path, info)
			}
		}
	}
	return nil
}

// isOurs refuses what belongs to another user.
func isOurs(path string, info os.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, and this is user %d: what others can change is not used", path, st.Uid, os.Geteuid())
	}
	return nil
}
