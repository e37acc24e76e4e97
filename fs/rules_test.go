package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chatfs/fs"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

// A rule is a story told in a script's words. The tables of rules_*_test.go
// say what is done, never what it gives: a directory of the local disk tells
// that.
type rule struct {
	name  string
	setup []string // not looked at in between
	steps []string
	fresh bool // each step finds what setup made
	times bool // also, which times each step changes
}

// TestRulesOfALocalDisk does the same system calls, as root and as other
// users, on the mount and on a directory of the local disk, and wants the
// same errno, result, attributes, links, contents and changed times of both.
// If time is short, every second of the calls that a path is tried with.
// In the end the mount must look the same from a new kernel's cache.
func TestRulesOfALocalDisk(t *testing.T) {
	f := newFixture(t, func(c *fs.Config, _ *transfer.Config) { c.AllowOther = os.Getuid() == 0 })
	plain := t.TempDir()
	for dir := plain; os.Getuid() == 0 && dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755)) // other users go through
	}
	if os.Getuid() != 0 {
		fusetest.Untested(t, "only root can act as another user: permissions, sticky directories, set-id bits, times, values and xattrs")
	}
	a := startActor(t)
	steps := 0
	var after []func()
	for _, group := range ruleGroups() {
		t.Run(group.name, func(t *testing.T) {
			for i, r := range group.rules {
				sub := strings.ReplaceAll(fmt.Sprintf("%s%d", group.name, i), " ", "-")
				got := a.compare(t, f.path(sub), filepath.Join(plain, sub), r)
				steps += len(got)
				after = append(after, func() { a.sameAfter(t, f.path(sub), got) })
			}
		})
	}
	f.remount()
	for _, check := range after {
		check()
	}
	a.stop()
	t.Logf("%d steps compared", steps)
}

type ruleGroup struct {
	name  string
	rules []rule
}

// ruleGroups are all rules; an ordinary user, who can act as nobody else, has
// those that need no other.
func ruleGroups() []ruleGroup {
	groups := []ruleGroup{{"names", nameRules()}, {"renames", renameRules()}, {"handles", handleRules()}}
	if os.Getuid() == 0 {
		groups = append(groups, []ruleGroup{{"permissions", permissionRules()}, {"sticky", stickyRules()}, {"set-id bits", setIDRules()},
			{"times", timeRules()}, {"utimens", utimensRules()}, {"values", valueRules()}, {"xattrs", xattrRules()}}...)
	}
	return groups
}

// compare runs a rule on the mount and on the plain directory. It gives the
// mount's answers.
func (a *actor) compare(t *testing.T, mounted, plain string, r rule) [][]answers {
	t.Helper()
	for _, dir := range []string{mounted, plain} {
		must(t, os.Mkdir(dir, 0o755))
	}
	got := a.run(script{Roots: []string{mounted, plain}, Setup: r.setup, Steps: r.steps, Fresh: r.fresh, Times: r.times})
	steps := append([]string{"the setup"}, r.steps...)
	for i, step := range got {
		if step[0] == step[1] {
			continue
		}
		t.Errorf("%s: after %q, step %d %q:\nthe mount answers %q\nthe disk          %q\n%s",
			r.name, steps[max(i-4, 0):i], i, steps[i], step[0].Got, step[1].Got, difference(step[0].Tree, step[1].Tree))
		if !r.fresh {
			break
		}
	}
	return got
}

// sameAfter wants the root to look as it did at the script's end: what was
// seen then was no fancy of the kernel's cache.
func (a *actor) sameAfter(t *testing.T, mounted string, got [][]answers) {
	t.Helper()
	now := a.run(script{Roots: []string{mounted}})
	if want := withoutTimes(got[len(got)-1][0].Tree); now[0][0].Tree != want {
		t.Errorf("%s looks different after a remount:\n%s", mounted, difference(now[0][0].Tree, want))
	}
}

// withoutTimes drops the word on changed times from each line.
func withoutTimes(tree string) string {
	lines := strings.Split(tree, "\n")
	for i, l := range lines {
		lines[i], _, _ = strings.Cut(l, " | ")
	}
	return strings.Join(lines, "\n")
}

// difference lists the lines that only one of two trees has.
func difference(a, b string) string {
	var d strings.Builder
	for _, side := range []struct{ mark, has, lacks string }{{"mount: ", a, b}, {"disk:  ", b, a}} {
		other := strings.Split(side.lacks, "\n")
		for line := range strings.SplitSeq(side.has, "\n") {
			if !slices.Contains(other, line) {
				fmt.Fprintf(&d, "  %s%s\n", side.mark, line)
			}
		}
	}
	return d.String()
}

// The users of the rules.
const (
	ann  = "as 65534:65534 "
	bob  = "as 65533:65533 "
	both = "as 65534:65534,65533 " // ann, who is in bob's group too
)

// A kind of inode, with what makes one.
type kind struct{ name, make string }

var kinds = []kind{
	{"file", "create %s 0644"}, {"dir", "mkdir %s 0755"}, {"fifo", "mkfifo %s 0644"}, {"char", "mknod %s char 0644 1 2"},
	{"block", "mknod %s block 0644 1 2"}, {"socket", "bind %s"}, {"symlink", "symlink test %s"},
}

// someKinds are all of them, or if time is short a file, a directory and a
// symlink.
func someKinds() []kind {
	if long() {
		return kinds
	}
	return []kind{kinds[0], kinds[1], kinds[len(kinds)-1]}
}

func makeKind(kind, name string) string {
	for _, k := range kinds {
		if k.name == kind {
			return fmt.Sprintf(k.make, name)
		}
	}
	panic(kind)
}

func remove(kind, name string) string {
	if kind == "dir" {
		return "rmdir " + name
	}
	return "unlink " + name
}

// TestSharedContentClearsSetIDs: a copy that only takes the same entity is a
// write all the same.
func TestSharedContentClearsSetIDs(t *testing.T) {
	f := newFixture(t, func(c *fs.Config, _ *transfer.Config) { c.AllowOther = os.Getuid() == 0 })
	f.openTo(t)
	f.write("f", []byte("content"))
	f.write("g", nil)
	must(t, os.Chmod(f.path("g"), 0o777|os.ModeSetuid|os.ModeSetgid))
	f.drain()
	a := startActor(t)
	defer a.stop()
	got := a.run(script{Roots: []string{f.Dir}, Steps: []string{ann + "fd in f rdonly", ann + "fd out g rdwr", ann + "copy in out", ann + "fstat out"}})
	if answer := got[4][0].Got; got[3][0].Got != "7" || !strings.HasPrefix(answer, "100777") {
		t.Errorf("copied %q bytes; then %q, want mode 0777", got[3][0].Got, answer)
	}
	if a, b := f.xattr("f", "uuid"), f.xattr("g", "uuid"); a != b {
		t.Errorf("the copy did not share the entity: %s, %s", a, b)
	}
}

// openTo lets other users walk to the mount.
func (f *fixture) openTo(t testing.TB) {
	t.Helper()
	for dir := filepath.Dir(f.Dir); os.Getuid() == 0 && dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
}
