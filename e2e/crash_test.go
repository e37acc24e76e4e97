package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// kills is how often the mount is killed: CHATFS_KILLS, else 50.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("CHATFS_KILLS")); err == nil {
		return n
	}
	return 50
}

// A manifest is what the mount has acknowledged: for each name the content
// that close returned for, or that the name is gone. What was under way at
// the kill may be either.
type manifest struct {
	mu     sync.Mutex
	files  map[string][]byte // nil: acknowledged as removed
	doubts map[string][]byte // name → what an operation under way wants it to be
	parts  map[string]bool   // of the doubts, those that are written in place: a kill leaves a part
	open   map[string]*openFile
	attrs  map[string]attr // that chmod and utimes acknowledged since
}

func newManifest() *manifest {
	return &manifest{files: make(map[string][]byte), doubts: make(map[string][]byte), parts: make(map[string]bool),
		open: make(map[string]*openFile), attrs: make(map[string]attr)}
}

// attr is what a file's content does not hold.
type attr struct {
	mode  fs.FileMode
	mtime time.Time
}

// setAttr gives a file mode and mtime, and notes them once that is
// acknowledged.
func (m *manifest) setAttr(path string, a attr) error {
	name := filepath.Base(path)
	m.mu.Lock()
	there := m.files[name] != nil
	delete(m.attrs, name)
	m.mu.Unlock()
	if !there {
		return nil
	}
	if err := errors.Join(os.Chmod(path, a.mode), os.Chtimes(path, time.Time{}, a.mtime)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attrs[name] = a
	return nil
}

// checkAttr compares what is noted of a file.
func (m *manifest) checkAttr(t *testing.T, path string) {
	t.Helper()
	want, noted := m.attrs[filepath.Base(path)]
	if !noted {
		return
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != want.mode || !info.ModTime().Equal(want.mtime) {
		t.Errorf("%s: %v (%v), want mode %v and mtime %v", path, info, err, want.mode, want.mtime)
	}
}

func (m *manifest) begin(name string, content []byte, inPlace bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doubts[name] = content
	m.parts[name] = inPlace
	delete(m.attrs, name)
}

func (m *manifest) done(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = m.doubts[name]
	delete(m.doubts, name)
}

// TestKilledAtRandomMoments kills the mount with SIGKILL while writers work,
// also on files that they do not close, mounts it anew and compares every name
// with what was acknowledged: by close, and by write(2) where a file is open.
func TestKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("CHATFS_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("CHATFS_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	s := newSession(t, "--settle", "20ms")
	m := newManifest()
	verified := 0
	for range kills() {
		s.workUntilKilled(m, random, time.Duration(5+random.IntN(120))*time.Millisecond)
		s.mount()
		verified += m.verify(t, s.Dir)
		if t.Failed() {
			return
		}
		if kept, _ := filepath.Glob(s.base + "/state/chatfs/*/rescued"); len(kept) > 0 {
			t.Fatalf("something is rescued, and nothing was lost:\n%s", s.output())
		}
	}
	replays := strings.Count(s.output(), "recovered from an unclean end")
	t.Logf("%d kills, %d replays, %d names verified", kills(), replays, verified)
	if replays == 0 {
		t.Error("no replay was exercised")
	}
	s.sync()
	if code := s.interrupt(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.sh(`"$CHATFS" check && rm -r cache/chatfs`)
	s.mount()
	m.verify(t, s.Dir)
}

// workUntilKilled runs four writers, each with names of its own, and kills
// the mount while they work.
func (s *session) workUntilKilled(m *manifest, random *rand.Rand, after time.Duration) {
	s.t.Helper()
	var writers sync.WaitGroup
	for w := range 4 {
		r := rand.New(rand.NewPCG(random.Uint64(), uint64(w)))
		writers.Go(func() {
			for m.step(s.Dir, w, r) == nil {
			}
		})
		o := m.opener(s.Dir, w, rand.New(rand.NewPCG(random.Uint64(), uint64(w))))
		writers.Go(o.work)
	}
	timer := time.NewTimer(after)
	<-timer.C
	s.kill()
	writers.Wait()
}

// step does one operation and notes what was acknowledged. Its error is the
// mount's end.
func (m *manifest) step(dir string, writer int, r *rand.Rand) error {
	name := fmt.Sprintf("w%d-%d", writer, r.IntN(30))
	path := filepath.Join(dir, name)
	if r.IntN(5) == 0 {
		m.begin(name, nil, false)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		m.done(name)
		return nil
	}
	if r.IntN(5) == 0 {
		return m.setAttr(path, attr{fs.FileMode(0o600 | r.IntN(0o100)), time.Unix(r.Int64N(1<<31), r.Int64N(1e9))})
	}
	content := bytes.Repeat([]byte{byte(r.Uint32()), byte(r.Uint32()), byte(writer)}, r.IntN(20_000))
	rename := r.IntN(2) == 0
	m.begin(name, content, !rename)
	if err := save(path, content, rename, r.IntN(4) == 0); err != nil {
		return err
	}
	m.done(name)
	return nil
}

// save writes a file, in place or by way of a temporary name, perhaps with
// fsync.
func save(path string, content []byte, rename, sync bool) error {
	if !rename {
		return write(path, content, sync)
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".Ab12Cd")
	if err := write(tmp, content, sync); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func write(path string, content []byte, sync bool) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// verify compares each name with what was acknowledged, and settles what was
// under way: old or new, and for a file written in place also the empty one
// that O_TRUNC or O_CREAT made and the beginning of the new one, but never
// anything else.
func (m *manifest) verify(t *testing.T, dir string) int {
	t.Helper()
	n := m.verifyOpen(t, dir)
	for name, want := range m.files {
		if _, doubted := m.doubts[name]; doubted {
			continue
		}
		got, err := os.ReadFile(filepath.Join(dir, name))
		if want == nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: was removed, and is there: %d bytes, %v", name, len(got), err)
		}
		if want != nil && (err != nil || !bytes.Equal(got, want)) {
			t.Errorf("%s: %d bytes, want %d: %v", name, len(got), len(want), err)
		}
		m.checkAttr(t, filepath.Join(dir, name))
		n++
	}
	for name, wanted := range m.doubts {
		got, err := os.ReadFile(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			got = nil
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case len(got) == 0, bytes.Equal(got, wanted), bytes.Equal(got, m.files[name]):
		case m.parts[name] && bytes.HasPrefix(wanted, got):
		default:
			t.Errorf("%s: %d bytes that are neither the old %d nor the new %d", name, len(got), len(m.files[name]), len(wanted))
		}
		m.files[name] = got
		delete(m.doubts, name)
	}
	return n
}
