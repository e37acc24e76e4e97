package fs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestManyAtOnceOnFewNames has goroutines do random operations on the same
// few names and files at once, for the race detector and for what must hold
// whoever wins: nothing panics, every file reads as long as it says it is,
// also after a remount, and with the last name the last staged byte goes.
func TestManyAtOnceOnFewNames(t *testing.T) {
	f := newFixture(t)
	seed, each := uint64(time.Now().UnixNano()), 400
	if long() {
		each = 10_000
	}
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			h := hammer{f: f, r: rand.New(rand.NewPCG(seed, uint64(w)))}
			for range each {
				h.strike()
			}
		})
	}
	wg.Wait()
	f.wantReadable()
	f.remount()
	f.wantReadable()
	f.drain()
	f.forgetCache()
	f.wantReadable()
	if problems := f.index.Check(); len(problems) != 0 {
		t.Errorf("the index: %v", problems)
	}
	entries, err := os.ReadDir(f.Dir)
	must(t, err)
	for _, e := range entries {
		must(t, os.RemoveAll(f.path(e.Name())))
	}
	f.remount()
	if left := f.staged(); len(left) != 0 {
		t.Errorf("staged files left: %v", left)
	}
}

// wantReadable wants every file to give as many bytes as stat says.
func (f *fixture) wantReadable() {
	f.t.Helper()
	must(f.t, filepath.Walk(f.Dir, func(p string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		if err == nil && int64(len(b)) != info.Size() {
			err = fmt.Errorf("%s gives %d bytes, and stat says %d", p, len(b), info.Size())
		}
		return err
	}))
}

// A hammer does operations of which many fail.
type hammer struct {
	f *fixture
	r *rand.Rand
}

func (h *hammer) name() string {
	names := []string{"a", "b", "c", "d/a", "d/b", "d", "e.jpg", "e.jpg.thumb"}
	return h.f.path(names[h.r.IntN(len(names))])
}

func (h *hammer) strike() {
	p, q := h.name(), h.name()
	switch h.r.IntN(14) {
	case 0:
		_ = os.Mkdir(p, 0o755)
	case 1:
		_ = unix.Unlink(p)
	case 2:
		_ = unix.Rmdir(p)
	case 3:
		_ = os.Rename(p, q)
	case 4:
		_ = unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, unix.RENAME_EXCHANGE)
	case 5:
		_ = os.Link(p, q)
	case 6:
		_ = os.Chtimes(p, time.Now(), time.Now())
	case 7:
		_ = os.Truncate(p, h.r.Int64N(20_000))
	case 8:
		_, _ = os.ReadFile(p)
	case 9:
		_, _ = os.ReadDir(p)
	case 10:
		_ = os.WriteFile(p, pattern(h.r.Int(), h.r.IntN(9000)), 0o644)
	case 11:
		h.copy(p, q)
	default:
		h.use(p)
	}
}

// use opens a file and does some of what can be done to it.
func (h *hammer) use(p string) {
	file, err := os.OpenFile(p, []int{os.O_RDWR, os.O_RDWR | os.O_CREATE, os.O_RDONLY, os.O_WRONLY | os.O_TRUNC}[h.r.IntN(4)], 0o644)
	if err != nil {
		return
	}
	defer file.Close()
	for range h.r.IntN(5) {
		switch h.r.IntN(6) {
		case 0:
			_, _ = file.ReadAt(make([]byte, 5000), h.r.Int64N(9000))
		case 1:
			_ = file.Truncate(h.r.Int64N(20_000))
		case 2:
			_ = unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, h.r.Int64N(9000), 1000)
		case 3:
			_, _ = file.Seek(h.r.Int64N(9000), unix.SEEK_DATA)
		case 4:
			_, _ = file.Stat()
		default:
			_, _ = file.WriteAt(pattern(h.r.Int(), h.r.IntN(9000)), h.r.Int64N(20_000))
		}
	}
}

// copy copies a whole file, which shares an entity if there is one.
func (h *hammer) copy(from, to string) {
	in, err := os.Open(from)
	if err != nil {
		return
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return
	}
	defer out.Close()
	_, _ = unix.CopyFileRange(int(in.Fd()), nil, int(out.Fd()), nil, 1<<20, 0)
}
