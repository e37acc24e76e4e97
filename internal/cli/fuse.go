package cli

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// fuseDevice and fuseConf are where the kernel and fuse3 keep them.
const (
	fuseDevice = "/dev/fuse"
	fuseConf   = "/etc/fuse.conf"
)

// checkFUSE tells what hinders this user from mounting on this machine.
func checkFUSE(allowOther bool) error {
	dev, err := os.OpenFile(fuseDevice, os.O_RDWR, 0)
	switch {
	case err == nil:
		dev.Close()
	case errors.Is(err, fs.ErrNotExist):
		return fail(exitFUSE, "this machine has no %s: load the kernel's module with sudo modprobe fuse (for a container: start it with --device %s --cap-add SYS_ADMIN)", fuseDevice, fuseDevice)
	case errors.Is(err, fs.ErrPermission):
		return fail(exitFUSE, "this user may not open %s: run sudo chmod 666 %s, or run chatfs as root", fuseDevice, fuseDevice)
	default:
		return fail(exitFUSE, "%s: %w (is the kernel's fuse module there? sudo modprobe fuse)", fuseDevice, err)
	}
	if os.Geteuid() == 0 {
		return nil // mounts by itself
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		return fail(exitFUSE, "fusermount3 is missing, without which only root may mount: sudo apt-get install fuse3")
	}
	if allowOther && !userAllowOther() {
		return fail(exitFUSE, "--allow-other needs the line user_allow_other in %s", fuseConf)
	}
	return nil
}

// userAllowOther tells whether fuse.conf lets users share their mounts.
func userAllowOther() bool {
	conf, err := os.Open(fuseConf)
	if err != nil {
		return false
	}
	defer conf.Close()
	for lines := bufio.NewScanner(conf); lines.Scan(); {
		if strings.TrimSpace(lines.Text()) == "user_allow_other" {
			return true
		}
	}
	return false
}
