package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// chatfs is the built command, with its embedded service or, where that has
// to be slow, chatfs serve as a process of its own.
type chatfs struct {
	ctx     context.Context
	o       *options
	dir     string
	env     []string
	remote  []string // flags
	mount   *process
	service *process // or nil
	peak    float64
	doing   string // the workload, where profiles are written
	mounts  int    // so far
}

func startChatfs(ctx context.Context, o *options, dir string) (mounted, error) {
	c := &chatfs{ctx: ctx, o: o, dir: dir}
	c.env = []string{"HOME=" + dir, "XDG_STATE_HOME=" + dir, "XDG_CACHE_HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_RUNTIME_DIR=" + dir}
	err := os.Mkdir(c.root(), 0o755)
	if err == nil && o.latency > 0 {
		err = c.serve()
	}
	if err == nil {
		err = c.remount(false)
	}
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

var address = regexp.MustCompile(`http://\S+`)

// serve starts the service that answers late.
func (c *chatfs) serve() (err error) {
	data, log := filepath.Join(c.dir, "service"), filepath.Join(c.dir, "service.log")
	c.service, err = start(c.ctx, log, c.env, c.o.chatfs, "serve", "--listen", "127.0.0.1:0", "--data", data,
		"--faults", "latency="+c.o.latency.String())
	if err != nil {
		return err
	}
	var base string
	err = c.service.await("its address", func() bool {
		said, _ := os.ReadFile(log)
		base = address.FindString(string(said))
		return base != "" && strings.Contains(string(said), "stop")
	})
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(data, "credentials.json"))
	if err != nil {
		return err
	}
	var creds struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	if err := json.Unmarshal(b, &creds); err != nil {
		return err
	}
	c.remote = []string{"--remote", base, "--max-rps", "1000000"}
	c.env = append(c.env, "CHATFS_CLIENT_ID="+creds.ID, "CHATFS_CLIENT_SECRET="+creds.Secret)
	return nil
}

func (c *chatfs) root() string { return filepath.Join(c.dir, "mnt") }

func (c *chatfs) state() string { return filepath.Join(c.dir, "state") }

func (c *chatfs) cache() string { return filepath.Join(c.dir, "cache") }

func (c *chatfs) data() []string { return []string{c.state(), c.cache()} }

// remount ends the mount, if there is one, and mounts again.
func (c *chatfs) remount(emptyCache bool) (err error) {
	if err := c.unmount(); err != nil {
		return err
	}
	if emptyCache {
		if err := os.RemoveAll(c.cache()); err != nil {
			return err
		}
	}
	args := append([]string{"mount", "--state-dir", c.state(), "--cache-dir", c.cache()}, c.remote...)
	args = append(append(args, strings.Fields(c.o.flags)...), c.root())
	program, env := c.o.chatfs, c.env
	if c.doing != "" {
		if program, err = os.Executable(); err != nil {
			return err
		}
		c.mounts++
		env = append(slices.Clone(env), fmt.Sprintf("%s=%s-%d", profileEnv, filepath.Join(c.o.profile, c.doing), c.mounts))
	}
	c.mount, err = start(c.ctx, filepath.Join(c.dir, "mount.log"), env, program, args...)
	if err != nil {
		return err
	}
	return c.mount.await("the mount", func() bool { return isMount(c.root()) && c.tell("status") == nil })
}

func (c *chatfs) unmount() error {
	if c.mount == nil {
		return nil
	}
	err := c.mount.stop()
	c.peak = max(c.peak, c.mount.peak)
	c.mount = nil
	return err
}

// tell runs one of chatfs's commands on the mount.
func (c *chatfs) tell(command string) error {
	ctx, cancel := context.WithTimeout(c.ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.o.chatfs, command, "--state-dir", c.state(), c.root())
	cmd.Env = append(os.Environ(), c.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("chatfs %s: %w: %s", command, err, out)
	}
	return nil
}

func (c *chatfs) settle() error { return c.tell("sync") }

func (c *chatfs) memory() (float64, error) {
	peak, err := c.mount.look()
	return max(c.peak, peak), err
}

func (c *chatfs) stop() error {
	err := c.unmount()
	if c.service != nil {
		err = errors.Join(err, c.service.stop())
	}
	return err
}
