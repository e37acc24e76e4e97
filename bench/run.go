package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A run is one round on one target.
type run struct {
	ctx    context.Context
	t      *target
	m      mounted
	dir    string // the round's own, empty at first
	src    string // what is copied in, the same for all targets
	record func(metric string, value float64)
	made   map[string]bool // sets of files that were copied in
}

// run does all rounds and prints what came of them.
func (o *options) run(ctx context.Context) error {
	chosen, err := choose(targets, o.targets)
	if err != nil {
		return err
	}
	work, err := choose(workloads, o.workloads)
	if err != nil {
		return err
	}
	if err := o.prepare(ctx); err != nil {
		return err
	}
	if !o.keep {
		defer os.RemoveAll(o.dir)
	}
	src := filepath.Join(o.dir, "source")
	if err := makeSource(src); err != nil {
		return err
	}
	res := newResults(o)
	for round := range o.rounds {
		for _, t := range chosen {
			if why := t.missing(o); why != "" {
				res.leaveOut(t.name, why)
				continue
			}
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, o.rounds, t.name)
			if err := o.once(ctx, t, work, src, res); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	return res.print(o.json)
}

// prepare makes the directory to work in and builds chatfs.
func (o *options) prepare(ctx context.Context) (err error) {
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return err
		}
	}
	if o.dir, err = os.MkdirTemp(o.dir, "chatfs-bench-"); err != nil {
		return err
	}
	if o.chatfs != "" {
		return nil
	}
	o.chatfs = filepath.Join(o.dir, "chatfs")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", o.chatfs, "chatfs")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build chatfs: %w\n%s", err, out)
	}
	return nil
}

// once does one round on one target, in a fresh directory.
func (o *options) once(ctx context.Context, t *target, work []*workload, src string, res *results) (err error) {
	dir, err := os.MkdirTemp(o.dir, "round-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m, err := t.start(ctx, o, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.stop()) }()
	r := &run{ctx: ctx, t: t, m: m, dir: dir, src: src, made: make(map[string]bool),
		record: func(metric string, v float64) { res.add(t.name, metric, v) }}
	for _, w := range work {
		if err := ctx.Err(); err != nil {
			return err
		}
		if w.service && !t.service || o.latency > 0 && !w.slow {
			continue
		}
		if err := r.measure(w); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	if mem, err := m.memory(); err == nil && mem > 0 {
		r.record("memory", mem)
	}
	return nil
}

// measure does a workload. For profiles of it alone chatfs is mounted anew.
func (r *run) measure(w *workload) error {
	if c, ok := r.m.(*chatfs); ok && c.o.profile != "" {
		c.doing = w.name
		if err := c.remount(false); err != nil {
			return err
		}
	}
	return w.do(r)
}

// command runs a program to its end; its output is told if it fails.
func (r *run) command(name string, args ...string) (string, error) {
	var said strings.Builder
	cmd := exec.CommandContext(r.ctx, name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// in is a path within the target.
func (r *run) in(elem ...string) string {
	return filepath.Join(append([]string{r.m.root()}, elem...)...)
}
