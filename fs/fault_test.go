package fs_test

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"chatfs/internal/fusetest"
)

// An expected knows what each name may lead to: the contents that were
// acknowledged last, or that an operation which failed may have left.
type expected struct {
	f   *fixture
	may map[string][]string // of content; absent stands for no such name
}

const absent = "\x00absent"

// did notes the outcome of a change of name to want; what it may have left, if
// it failed, are the other states.
func (m *expected) did(err error, name, want string, else_ ...string) {
	if err == nil {
		m.may[name] = []string{want}
		return
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) || errno != syscall.EIO && errno != syscall.ENOSPC && errno != syscall.EROFS {
		m.f.t.Errorf("%s: %v, which no failure of the disk is", name, err)
	}
	m.may[name] = slices.Concat(m.states(name), []string{want}, else_)
}

func (m *expected) states(name string) []string {
	if s := m.may[name]; s != nil {
		return s
	}
	return []string{absent}
}

// cut are the prefixes of a content that a failed write may leave: those of
// whole writes, 1 KiB each.
func cut(content string) (list []string) {
	for n := 0; n <= len(content); n += 1 << 10 {
		list = append(list, content[:n])
	}
	return list
}

// write writes a file anew, in pieces.
func (m *expected) write(name, content string, sync bool) {
	err := func() error {
		file, err := os.Create(m.f.path(name))
		if err != nil {
			return err
		}
		defer file.Close()
		for off := 0; off < len(content); off += 1 << 10 {
			if _, err := file.WriteString(content[off : off+1<<10]); err != nil {
				return err
			}
		}
		if sync {
			if err := file.Sync(); err != nil {
				return err
			}
		}
		return file.Close()
	}()
	m.did(err, name, content, cut(content)...)
}

func (m *expected) extend(name, more string) {
	old := m.states(name)
	if len(old) > 1 {
		return // it failed before
	}
	file, err := os.OpenFile(m.f.path(name), os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = file.WriteString(more)
		err = errors.Join(err, file.Close())
	}
	m.did(err, name, old[0]+more)
}

func (m *expected) rename(name, to string) {
	states, over := m.states(name), m.states(to)
	err := os.Rename(m.f.path(name), m.f.path(to))
	if errors.Is(err, iofs.ErrNotExist) && slices.Contains(states, absent) {
		return
	}
	if err == nil {
		m.may[name], m.may[to] = nil, states
		return
	}
	m.did(err, name, absent)
	m.may[to] = slices.Concat(over, states)
}

func (m *expected) remove(name string) {
	err := os.Remove(m.f.path(name))
	if errors.Is(err, iofs.ErrNotExist) && slices.Contains(m.states(name), absent) {
		return
	}
	m.did(err, name, absent)
}

// check reads all names.
func (m *expected) check(when string) {
	m.f.t.Helper()
	for name, may := range m.may {
		if may == nil {
			may = []string{absent}
		}
		got := absent
		b, err := os.ReadFile(m.f.path(name))
		if err == nil {
			got = string(b)
		} else if !errors.Is(err, iofs.ErrNotExist) {
			m.f.t.Errorf("%s: %s: %v", when, name, err)
			continue
		}
		if !slices.Contains(may, got) {
			m.f.t.Errorf("%s: %s has %d bytes, %.20q…, and may be any of %s", when, name, len(got), got, sketch(may))
		}
	}
	for _, p := range m.f.index.Check() {
		m.f.t.Errorf("%s: check: %v", when, p)
	}
}

func sketch(states []string) string {
	var b strings.Builder
	for _, s := range states {
		fmt.Fprintf(&b, "%d bytes %.10q, ", len(s), s)
	}
	return b.String()
}

// scenario does one of each.
func (m *expected) scenario(n int) {
	text := func(c string) string {
		return strings.Repeat(fmt.Sprintf("%s%d,", c, n)+strings.Repeat(".", 1<<10), 4)[:4<<10]
	}
	name := func(c string) string { return fmt.Sprintf("%s-%d", c, n%3) }
	m.write(name("a"), text("a"), false)
	m.write(name("b"), text("b"), true)
	m.write(name("tmp"), text("t"), false)
	m.rename(name("tmp"), name("a"))
	m.extend(name("b"), "more")
	m.write(name("c"), text("c"), true)
	m.remove(name("b"))
}

// TestEveryFailureOfTheDisk fails the n-th change of the disk, for every n,
// once and for a while: whoever is told of success finds what was
// acknowledged, the others get an errno, and the mount goes on.
func TestEveryFailureOfTheDisk(t *testing.T) {
	disk := newBadDisk(t)
	f := newFixture(t)
	f.log.Logger.SetOutput(io.Discard) // it tells of each failure
	f.on(disk.dir)
	m := &expected{f: f, may: make(map[string][]string)}
	steps, fired, reopened := 0, 0, 0
	step := 11 // prime to the rhythm of the scenario
	if os.Getenv("CHATFS_TEST_LONG") != "" {
		step = 1
	}
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		for _, stuck := range []bool{false, true} {
			for n := 1; ; n += step {
				steps++
				disk.fail(n, errno, stuck)
				m.scenario(steps)
				struck := disk.heal()
				fired += struck
				if f.readOnly() {
					reopened++
					f.remount()
				}
				m.check(fmt.Sprintf("%v at change %d, stuck %v", errno, n, stuck))
				if t.Failed() {
					return
				}
				if struck == 0 {
					break
				}
			}
			f.drain()
		}
	}
	f.drain()
	f.forgetCache()
	m.check("at last, from the service")
	t.Logf("%d scenarios, %d failures of the disk, %d times the index became read-only and was opened anew", steps, fired, reopened)
}

// readOnly tells whether nothing can be changed any more.
func (f *fixture) readOnly() bool {
	f.t.Helper()
	err := os.WriteFile(f.path("probe"), nil, 0o644)
	if err == nil {
		err = os.Remove(f.path("probe"))
	}
	if err != nil && !errors.Is(err, syscall.EROFS) {
		fusetest.Eventually(f.t, "the mount after the disk was healed", func() error {
			return os.WriteFile(f.path("probe"), nil, 0o644)
		})
		return false
	}
	return err != nil
}
