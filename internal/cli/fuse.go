package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
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
	return checkUnmount()
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

// mtab is where fusermount3 looks for what it is to unmount.
const mtab = "/etc/mtab"

// checkUnmount refuses what a user could mount and never unmount.
func checkUnmount() error {
	if _, err := os.Stat(mtab); errors.Is(err, fs.ErrNotExist) {
		return fail(exitFUSE, "%s is missing, without which fusermount3 could not unmount the tree: sudo ln -s /proc/self/mounts %s", mtab, mtab)
	}
	return nil
}

// capSysAdmin is the number of the right to mount: capabilities(7).
const capSysAdmin = 21

// mountError is a mount's failure for a person. go-fuse has nothing of
// fusermount3 but its wait status; its words are on stderr already.
func mountError(mountpoint string, err error) error {
	if strings.Contains(err.Error(), "exited with code") {
		return fmt.Errorf("fusermount3 did not mount %s%s", mountpoint, whyNoMount())
	}
	return fmt.Errorf("%w%s", err, whyNoMount())
}

// whyNoMount says what may have kept the kernel from mounting, to follow the
// error; "" if there is nothing to see.
func whyNoMount() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ""
	}
	fields := make(map[string]string)
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	rights, err := strconv.ParseUint(fields["CapBnd"], 16, 64)
	switch {
	case err == nil && rights&(1<<capSysAdmin) == 0:
		return " (nobody may mount in here: a container needs --device /dev/fuse --cap-add SYS_ADMIN)"
	case os.Geteuid() != 0 && fields["NoNewPrivs"] == "1":
		return " (this process may gain no rights, so fusermount3 can't mount: a container must not set no-new-privileges)"
	}
	return ""
}
