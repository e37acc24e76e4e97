package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A target is what does the workloads.
type target struct {
	name    string
	help    string
	service bool                  // there is one behind it
	missing func(*options) string // why it can't be measured here; "" if it can
	start   func(ctx context.Context, o *options, dir string) (mounted, error)
}

func (t *target) label() string { return t.name }

// mounted is a target that is there to be worked on.
type mounted interface {
	root() string             // the directory to work in
	data() []string           // where its bytes are on the disk
	settle() error            // returns once everything is at the service
	remount(bool) error       // with an empty cache, if told so
	memory() (float64, error) // peak of its processes' resident memory, MiB; 0 is none
	stop() error
}

var targets = []*target{
	{"chatfs", "chatfs mount with its embedded service", true, always, startChatfs},
	{"rclone", "rclone mount, full cache, of rclone serve webdav", true, needs("rclone"), startRclone},
	{"loopback", "go-fuse's loopback as its example mounts it", false, noService, startLoopback("pass")},
	{"loopback-plain", "the same without passthrough", false, noService, startLoopback("")},
	{"tuned", "loopback with long timeouts, listings cached, xattrs of the kernel refused", false, noService, startLoopback("tuned,pass")},
	{"tuned-plain", "the same without passthrough", false, noService, startLoopback("tuned")},
	{"disk", "a directory of the disk itself", false, noService, startDisk},
}

func always(*options) string { return "" }

func noService(o *options) string {
	if o.latency > 0 {
		return "it has no service"
	}
	return ""
}

// disk is a plain directory.
type disk struct{ dir string }

func startDisk(_ context.Context, _ *options, dir string) (mounted, error) {
	d := disk{filepath.Join(dir, "disk")}
	return d, os.Mkdir(d.dir, 0o755)
}

func (d disk) root() string             { return d.dir }
func (d disk) data() []string           { return []string{d.dir} }
func (d disk) settle() error            { return nil }
func (d disk) remount(bool) error       { return nil }
func (d disk) memory() (float64, error) { return 0, nil }
func (d disk) stop() error              { return nil }

// peakMemory reads a process's peak of resident memory, in MiB (proc(5)).
func peakMemory(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kib float64
			_, err := fmt.Sscan(rest, &kib)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d tells no VmHWM", pid)
}
