package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process is a program that runs until it is stopped.
type process struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{} // closed when it has
	err   error         // how it ended
	peak  float64       // of its memory, when it was last looked at
}

// start runs a program, its output in the file log.
func start(ctx context.Context, log string, env []string, name string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.CommandContext(ctx, name, args...), log: log, ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// patience is how long a mount may take to come or go; rclone looks at each
// cached file before it mounts.
const patience = 5 * time.Minute

// await returns once ready does, or with what the program said if it ended or
// took too long.
func (p *process) await(what string, ready func() bool) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if ready() {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %v: %s", p.cmd.Path, p.err, p.said())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s: %s did not come in %s: %s", p.cmd.Path, what, patience, p.said())
}

func (p *process) said() string {
	said, _ := os.ReadFile(p.log)
	return strings.TrimSpace(string(said))
}

// stop ends the program with SIGTERM and waits for it.
func (p *process) stop() error {
	p.look()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended: // its code tells of uploads that are left, say
		return nil
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("%s does not end", p.cmd.Path), p.cmd.Process.Kill())
	}
}

// look notes the memory's peak.
func (p *process) look() (float64, error) {
	peak, err := peakMemory(p.cmd.Process.Pid)
	p.peak = max(p.peak, peak)
	return p.peak, err
}

// isMount tells whether something is mounted at dir.
func isMount(dir string) bool {
	var here, above unix.Stat_t
	return unix.Stat(dir, &here) == nil && unix.Stat(dir+"/..", &above) == nil && here.Dev != above.Dev
}
