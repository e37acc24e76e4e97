package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"
)

// daemonVariable marks the process in the background; its value is the
// descriptor on which that process says once how its start went.
const (
	daemonVariable = "CHATFS_DAEMON_FD"
	daemonFD       = 3
)

func isDaemon() bool { return os.Getenv(daemonVariable) != "" }

// readiness is what a process in the background says of its start.
type readiness struct {
	Ready string `json:"ready,omitempty"` // what a person is told
	Error string `json:"error,omitempty"`
	Code  int    `json:"code,omitempty"`
}

// startDaemon starts this command again in a session of its own and waits
// for its tree.
func startDaemon(cmd *cobra.Command, o *mountOptions, dir string, set *settings) error {
	p, err := o.chooseProfile(set)
	if err != nil {
		return err
	}
	if err := p.makeDirs(); err != nil {
		return err
	}
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fail(exitProfile, "log: %w", err)
	}
	defer log.Close()
	said, err := spawn(log)
	if err != nil {
		return fmt.Errorf("start in the background: %w (see %s)", err, p.logPath())
	}
	if said.Error != "" {
		return fail(said.Code, "%s", said.Error)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s  log       %s\n", said.Ready, p.logPath())
	return nil
}

// spawn starts the process and reads how its start went.
func spawn(log *os.File) (readiness, error) {
	self, err := os.Executable()
	if err != nil {
		return readiness{}, err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return readiness{}, err
	}
	defer in.Close()
	child := exec.Command(self, os.Args[1:]...)
	child.Stdout, child.Stderr = log, log
	child.ExtraFiles = []*os.File{out} // becomes descriptor 3
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%d", daemonVariable, daemonFD))
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = child.Start()
	out.Close()
	if err != nil {
		return readiness{}, err
	}
	var said readiness
	if err := json.NewDecoder(in).Decode(&said); err != nil {
		return readiness{}, errors.Join(errors.New("it ended without a word"), child.Wait())
	}
	if said.Error != "" {
		_ = child.Wait() // said.Error tells more
		return said, nil
	}
	return said, child.Process.Release()
}

// tellParent says how the start went and lets go of the terminal's
// directory.
func tellParent(r readiness) {
	f := os.NewFile(daemonFD, "parent")
	_ = json.NewEncoder(f).Encode(r) // the parent may have been interrupted
	f.Close()
	_ = os.Chdir("/") // or that directory's disk can't be unmounted
}
