package blob

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"chatfs/internal/entity"
	"chatfs/internal/fusetest"
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	o.StateDir, o.CacheDir = filepath.Join(dir, "state"), filepath.Join(dir, "cache")
	s := must[*Store](t)(Open(o))
	s.EvictUnless(func(Key) bool { return false })
	t.Cleanup(func() { s.Close() })
	return s
}

// cache downloads content of its own for each n.
func (s *Store) cacheContent(t *testing.T, n byte, size int) (Key, entity.Digest) {
	t.Helper()
	content := bytes.Repeat([]byte{n, 'x'}, size/2)
	k := Key{UUID: must[entity.UUID](t)(entity.NewUUID())}
	d := must[*Download](t)(s.NewDownload(k, int64(len(content))))
	defer d.Close()
	must[int](t)(d.Write(content))
	digest := entity.Digest(sha256.Sum256(content))
	if err := d.Commit(digest); err != nil {
		t.Fatal(err)
	}
	return k, digest
}

func has(t *testing.T, s *Store, k Key, want bool) {
	t.Helper()
	if s.HasCached(k) != want {
		t.Errorf("entity %s is cached: %v, want %v", k, !want, want)
	}
}

// settled waits until the cache is within its size.
func (s *Store) settled(t *testing.T) {
	t.Helper()
	fusetest.Eventually(t, "eviction", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.used.bytes > s.o.CacheSize {
			return fmt.Errorf("%d bytes of at most %d", s.used.bytes, s.o.CacheSize)
		}
		return nil
	})
}

func TestEvictionTakesTheOldestAndNoneThatIsOpen(t *testing.T) {
	fusetest.Guard(t)
	s := open(t, t.TempDir(), Options{CacheSize: 3000})
	first, d1 := s.cacheContent(t, 1, 1000)
	second, _ := s.cacheContent(t, 2, 1000)
	third, d3 := s.cacheContent(t, 3, 1000)
	inUse := must[*CachedFile](t)(s.OpenCached(first, d1))
	must[*CachedFile](t)(s.OpenCached(third, d3)).Close()
	fourth, _ := s.cacheContent(t, 4, 1000)
	s.settled(t)
	has(t, s, first, true)
	has(t, s, second, false)
	fifth, _ := s.cacheContent(t, 5, 2000)
	s.settled(t)
	has(t, s, first, true) // in use, and the oldest
	has(t, s, third, false)
	has(t, s, fourth, false)
	inUse.Close()
	s.cacheContent(t, 6, 1000)
	s.settled(t)
	has(t, s, fifth, true)
	has(t, s, first, false)
}

func TestWhatAnEarlierProcessCachedCounts(t *testing.T) {
	fusetest.Guard(t)
	dir := t.TempDir()
	k, _ := open(t, dir, Options{}).cacheContent(t, 1, 1000)
	s := open(t, dir, Options{CacheSize: 10})
	fusetest.Eventually(t, "eviction", func() error {
		if s.HasCached(k) {
			return errors.New("it is there")
		}
		return nil
	})
}

// TestCacheFromBeforeTheStartIsCompared: the cache is not synced, so a loss of
// power may leave a file of the right length with other bytes.
func TestCacheFromBeforeTheStartIsCompared(t *testing.T) {
	fusetest.Guard(t)
	dir := t.TempDir()
	s := open(t, dir, Options{})
	whole, d1 := s.cacheContent(t, 1, 1000)
	lost, d2 := s.cacheContent(t, 2, 1000)
	unknown, _ := s.cacheContent(t, 3, 1000)
	if err := os.WriteFile(s.cachedPath(lost), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{Booted: time.Now().Add(time.Hour)})
	must[*CachedFile](t)(s.OpenCached(whole, d1)).Close()
	if f, err := s.OpenCached(lost, d2); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("damaged content: %v, %v", f, err)
	}
	if f, err := s.OpenCached(unknown, entity.Digest{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("content of unknown digest: %v, %v", f, err)
	}
	has(t, s, whole, true)
	has(t, s, lost, false)
	has(t, s, unknown, false)
}

// TestPinnedIsComparedAfterEachStart: a disk loses bits over the years. What is
// not right is not read, and stays beside its place.
func TestPinnedIsComparedAfterEachStart(t *testing.T) {
	fusetest.Guard(t)
	dir := t.TempDir()
	s := open(t, dir, Options{})
	pin := func(n byte) (Key, entity.Digest) {
		k, digest := s.cacheContent(t, n, 1000)
		f := must[*CachedFile](t)(s.OpenCached(k, digest))
		defer f.Close()
		if err := s.Pin(k, f.File); err != nil {
			t.Fatal(err)
		}
		return k, digest
	}
	whole, d1 := pin(1)
	lost, d2 := pin(2)
	unknown, _ := pin(3)
	if err := os.WriteFile(s.pinnedPath(lost), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{Booted: time.Now().Add(time.Hour), Log: logrus.NewEntry(quiet())})
	must[*CachedFile](t)(s.OpenCached(whole, d1)).Close()
	must[*CachedFile](t)(s.OpenCached(unknown, entity.Digest{})).Close()
	for range 2 {
		if f, err := s.OpenCached(lost, d2); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("damaged content: %v, %v", f, err)
		}
	}
	has(t, s, whole, true)
	has(t, s, unknown, true)
	has(t, s, lost, false)
	if b := must[[]byte](t)(os.ReadFile(s.pinnedPath(lost) + damagedSuffix)); len(b) != 1000 {
		t.Errorf("%d bytes of the damaged one are left", len(b))
	}
}

func quiet() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// TestCopyIntoTheCacheIsCompared, where the cache is on another disk than what
// is staged.
func TestCopyIntoTheCacheIsCompared(t *testing.T) {
	fusetest.Guard(t)
	s := open(t, t.TempDir(), Options{})
	f := must[*os.File](t)(s.CreateStaged(1))
	defer f.Close()
	must[int](t)(f.Write([]byte("content")))
	k := Key{UUID: must[entity.UUID](t)(entity.NewUUID())}
	if err := s.copyStaged(1, k, entity.Digest{1}); !errors.Is(err, ErrDamaged) {
		t.Errorf("other bytes were copied: %v", err)
	}
	has(t, s, k, false)
	if err := s.copyStaged(1, k, sha256.Sum256([]byte("content"))); err != nil {
		t.Error(err)
	}
	has(t, s, k, true)
}

// TestStagingLeavesTheReserve fills a small disk by way of Admit.
func TestStagingLeavesTheReserve(t *testing.T) {
	fusetest.Guard(t)
	const size, piece = 32 << 20, 128 << 10
	s := open(t, fusetest.SmallDisk(t, size), Options{MinFree: 0.25})
	before := must[Space](t)(s.Free())
	f := must[*os.File](t)(s.CreateStaged(1))
	defer f.Close()
	var pauses []time.Duration
	var written int64
	for {
		pause, err := s.Admit(piece)
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		pauses = append(pauses, pause)
		written += int64(must[int](t)(f.Write(make([]byte, piece))))
	}
	after := must[Space](t)(s.Free())
	if after.Avail >= piece || before.Avail-written >= piece || before.Avail < written {
		t.Errorf("wrote %d bytes of the %d that Free told; it tells %d now", written, before.Avail, after.Avail)
	}
	if _, free, _ := diskSpace(s.staging); free < size/4 {
		t.Errorf("%d bytes are free, want a quarter of %d", free, size)
	}
	if last := pauses[len(pauses)-1]; pauses[0] != 0 || last < slowest/2 || last > slowest {
		t.Errorf("pauses went from %v to %v", pauses[0], last)
	}
	if err := s.RemoveStaged(1); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := s.Admit(piece); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestStagingTakesTheCachesRoom: cached content gives way to staged content,
// but for what is open, and Free counts it that way.
func TestStagingTakesTheCachesRoom(t *testing.T) {
	fusetest.Guard(t)
	s := open(t, fusetest.SmallDisk(t, 32<<20), Options{MinFree: 0.25})
	var keys []Key
	for n := range byte(20) {
		k, _ := s.cacheContent(t, n, 1<<20)
		keys = append(keys, k)
	}
	space := must[Space](t)(s.Free())
	if space.Avail < 23<<20 {
		t.Errorf("Free tells %d bytes, with 20 MiB cached of 32 and a reserve of 8", space.Avail)
	}
	f := must[*os.File](t)(s.CreateStaged(1))
	defer f.Close()
	for range 22 {
		must[time.Duration](t)(s.Admit(1 << 20))
		must[int](t)(f.Write(make([]byte, 1<<20)))
	}
	has(t, s, keys[0], false)
}

// TestFullDiskFailsNoDownload: what can't be cached is read from memory.
func TestFullDiskFailsNoDownload(t *testing.T) {
	fusetest.Guard(t)
	dir := fusetest.SmallDisk(t, 4<<20)
	s := open(t, dir, Options{})
	k := Key{UUID: must[entity.UUID](t)(entity.NewUUID())}
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	d := must[*Download](t)(s.NewDownload(k, int64(len(content))))
	defer d.Close()
	must[int](t)(d.Write(content[:1000]))
	fill(t, filepath.Join(dir, "full"))
	must[int](t)(d.Write(content[1000:]))
	if err := d.Commit(entity.Digest(sha256.Sum256(content))); err != nil {
		t.Fatal(err)
	}
	got := must[[]byte](t)(io.ReadAll(io.NewSectionReader(d.File(), 0, 1<<62)))
	if !bytes.Equal(got, content) {
		t.Errorf("%d bytes, want %d", len(got), len(content))
	}
	has(t, s, k, false)
}

// fill takes all that is free.
func fill(t *testing.T, path string) {
	t.Helper()
	f := must[*os.File](t)(os.Create(path))
	defer f.Close()
	for _, piece := range []int{1 << 20, 1 << 12} {
		for {
			if _, err := f.Write(make([]byte, piece)); errors.Is(err, unix.ENOSPC) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestFloorIsAtMostOneGiB: a large disk with 3 % free still takes files.
func TestFloorIsAtMostOneGiB(t *testing.T) {
	s := &Store{o: Options{MinFree: 0.05}}
	for total, want := range map[int64]int64{100 << 20: 5 << 20, 1 << 40: 1 << 30} {
		if got := s.floor(total); got != want {
			t.Errorf("of %d bytes %d stay free, want %d", total, got, want)
		}
	}
}
