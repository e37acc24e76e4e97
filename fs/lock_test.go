package fs_test

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// tryLock locks a file without waiting, as the process that the test starts
// does: with flock(2), or with fcntl(2).
func tryLock(kind string, file *os.File) error {
	if kind == "flock" {
		return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	return unix.FcntlFlock(file.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}

// lockedOut is the exit code of a process that another kept from locking.
const lockedOut = 11

func lockAndExit(kind, path string) int {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 1
	}
	defer file.Close()
	switch err := tryLock(kind, file); {
	case err == nil:
		return 0
	case errors.Is(err, unix.EAGAIN):
		return lockedOut
	}
	return 1
}

func TestLocksHoldBetweenProcesses(t *testing.T) {
	for _, kind := range []string{"flock", "fcntl"} {
		t.Run(kind, func(t *testing.T) {
			f := newFixture(t)
			f.write("f", []byte("locked"))
			other := func() int {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), "CHATFS_TEST_LOCK="+kind, "CHATFS_TEST_FILE="+f.path("f"))
				_ = cmd.Run()
				return cmd.ProcessState.ExitCode()
			}
			file, err := os.OpenFile(f.path("f"), os.O_RDWR, 0)
			must(t, err)
			must(t, tryLock(kind, file))
			if got := other(); got != lockedOut {
				t.Errorf("while it is locked, another process's lock ends with %d, want %d", got, lockedOut)
			}
			must(t, file.Close())
			if got := other(); got != 0 {
				t.Errorf("once it is free, another process's lock ends with %d", got)
			}
		})
	}
}
