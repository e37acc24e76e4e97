package fs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"chatfs/internal/blob"
	"chatfs/internal/entity"
)

// cached makes an uploaded file that is whole on the disk, and opens it, so
// that the kernel reads it by itself where it may.
func (f *fixture) cached(name string, content []byte) *os.File {
	f.t.Helper()
	f.write(name, content)
	f.drain()
	f.remount()
	r, err := os.Open(f.path(name))
	must(f.t, err)
	f.t.Cleanup(func() { r.Close() })
	return r
}

// wantRead reads all that an open file has.
func (f *fixture) wantRead(what string, r *os.File, want []byte) {
	f.t.Helper()
	got, err := io.ReadAll(io.NewSectionReader(r, 0, 1<<40))
	must(f.t, err)
	info, err := r.Stat()
	must(f.t, err)
	if !bytes.Equal(got, want) || info.Size() != int64(len(want)) {
		f.t.Errorf("%s: %d bytes, fstat says %d, want %d; equal up to %d", what, len(got), info.Size(), len(want), common(got, want))
	}
}

func (f *fixture) entityOf(name string) entity.Entity {
	f.t.Helper()
	d, err := f.index.Resolve(name)
	must(f.t, err)
	e, err := f.index.Entity(d.Inode.UUID)
	must(f.t, err)
	return e
}

// TestReaderSeesWhatAWriterDoes has a reader open, of which the kernel reads
// the local copy by itself, while a writer changes the file in every way. The
// copy of the entity that the file had is left as it was.
func TestReaderSeesWhatAWriterDoes(t *testing.T) {
	f := newFixture(t)
	want := pattern(1, 50_000)
	r := f.cached("f", want)
	before := f.entityOf("f")
	f.wantRead("at first", r, want)

	w, err := os.OpenFile(f.path("f"), os.O_RDWR, 0)
	must(t, err)
	f.wantRead("with a writer", r, want)
	want = bytes.Clone(want)
	step := func(what string, err error) {
		t.Helper()
		must(t, err)
		f.wantRead(what, r, want)
		f.wantRead(what+", the writer", w, want)
	}
	copy(want[10:], "inside")
	_, err = w.WriteAt([]byte("inside"), 10)
	step("overwritten", err)
	want = append(want, "the end"...)
	_, err = w.WriteAt([]byte("the end"), 50_000)
	step("appended", err)
	step("synced", w.Sync())
	want = want[:4000]
	step("cut", w.Truncate(4000))
	want = append(want, make([]byte, 5000)...)
	step("grown", w.Truncate(9000))
	want = nil
	step("emptied", w.Truncate(0))
	step("emptied and synced", w.Sync())
	want = pattern(2, 30_000)
	_, err = w.WriteAt(want, 0)
	step("filled again", err)
	must(t, w.Close())
	f.wantRead("closed", r, want)
	f.drain()
	f.wantRead("uploaded", r, want)

	want = []byte("again")
	f.write("f", want)
	f.wantRead("after O_TRUNC", r, want)
	must(t, os.Truncate(f.path("f"), 2))
	f.wantRead("after truncate", r, want[:2])
	f.drain()
	must(t, r.Close())

	file, err := f.blobs.OpenCached(blob.Key{UUID: before.UUID}, before.Digest)
	must(t, err)
	defer file.Close()
	must(t, blob.CheckDigest(blob.Key{UUID: before.UUID}, before.Digest, file))
	f.wantContent("f", want[:2])
	f.forgetCache()
	f.wantContent("f", want[:2])
}

// TestWriterThatChangesNothingLeavesNothing opens for writing beside a reader
// and closes again.
func TestWriterThatChangesNothingLeavesNothing(t *testing.T) {
	f := newFixture(t)
	r := f.cached("f", pattern(1, 10_000))
	before := f.entityOf("f")
	for range 3 {
		w, err := os.OpenFile(f.path("f"), os.O_RDWR, 0)
		must(t, err)
		must(t, w.Close())
	}
	f.wantRead("at last", r, pattern(1, 10_000))
	must(t, r.Close())
	f.unmount()
	if left, err := os.ReadDir(f.state + "/staging"); err != nil || len(left) > 0 {
		t.Errorf("staging holds %v (%v)", left, err)
	}
	f.mount()
	if after := f.entityOf("f"); after.UUID != before.UUID {
		t.Error("the file has another entity")
	}
	f.wantContent("f", pattern(1, 10_000))
}

// TestMappedWriterBesideAReader writes by way of a mapping, of which the
// kernel tells nothing where it reads the file by itself.
func TestMappedWriterBesideAReader(t *testing.T) {
	f := newFixture(t)
	want := pattern(4, 100_000) // as mapAndWrite wants it
	r := f.cached("f", want)
	self, err := os.Executable()
	must(t, err)
	child := exec.Command(self)
	child.Env = append(os.Environ(), "CHATFS_TEST_MAP=0:"+f.path("f"))
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want = bytes.Clone(want)
	mapped(want, 0)
	f.wantRead("beside the mapping", r, want)
	must(t, r.Close())
	f.drain()
	f.forgetCache()
	f.wantContent("f", want)
}

// TestEqualFilesKeepTheirOwnContent has two files of one entity open, and
// changes the one.
func TestEqualFilesKeepTheirOwnContent(t *testing.T) {
	f := newFixture(t)
	content := pattern(3, 20_000)
	r := f.cached("a", content)
	src, err := os.Open(f.path("a"))
	must(t, err)
	dst, err := os.Create(f.path("b"))
	must(t, err)
	if n, err := unix.CopyFileRange(int(src.Fd()), nil, int(dst.Fd()), nil, len(content), 0); n != len(content) || err != nil {
		t.Fatalf("copied %d bytes: %v", n, err)
	}
	must(t, errors.Join(src.Close(), dst.Close()))
	other, err := os.Open(f.path("b"))
	must(t, err)
	f.wantRead("b", other, content)
	changed := make(chan error, 1)
	go func() { changed <- os.WriteFile(f.path("a"), []byte("changed"), 0o644) }()
	var early error
	select {
	case early = <-changed: // nothing is shared by way of the kernel here
		changed <- early
	case <-time.After(100 * time.Millisecond): // it waits for b's reader
		f.wantRead("b, with a writer of a", other, content)
	}
	f.wantRead("b, before its close", other, content)
	must(t, other.Close())
	must(t, <-changed)
	f.wantRead("a", r, []byte("changed"))
	f.wantContent("b", content)
}

// TestOpensOfEveryKindAtOnce opens few files in all ways from many goroutines:
// the kernel wants one mode of an inode's handles at a time, and answers EIO
// to the open that has another.
func TestOpensOfEveryKindAtOnce(t *testing.T) {
	f := newFixture(t)
	const files, workers, rounds = 3, 6, 150
	for i := range files {
		f.write(numbered("f", i), pattern(i, 20_000))
	}
	f.drain()
	f.remount()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)))
			for range rounds {
				if err := openSomehow(r, f.path(numbered("f", r.IntN(files)))); err != nil {
					t.Errorf("worker %d: %v", w, err)
					return
				}
			}
		})
	}
	all.Wait()
	f.drain()
	var want [files][]byte
	for i := range files {
		var err error
		want[i], err = os.ReadFile(f.path(numbered("f", i)))
		must(t, err)
	}
	f.forgetCache()
	for i := range files {
		f.wantContent(numbered("f", i), want[i])
	}
	for _, p := range f.index.Check() {
		t.Errorf("check: %v", p)
	}
}

func openSomehow(r *rand.Rand, path string) error {
	flags := []int{os.O_RDONLY, os.O_RDONLY, os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_TRUNC}[r.IntN(6)]
	file, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if flags&syscall.O_ACCMODE != os.O_RDONLY {
		if _, err := file.Write(bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(3000))); err != nil {
			return fmt.Errorf("write with %#x: %w", flags, err)
		}
	}
	if flags&syscall.O_ACCMODE != os.O_WRONLY {
		if _, err := io.Copy(io.Discard, file); err != nil {
			return fmt.Errorf("read with %#x: %w", flags, err)
		}
	}
	return nil
}
