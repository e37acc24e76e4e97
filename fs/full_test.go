package fs_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"chatfs/fs"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

// on moves the profile to another disk; what was there is left behind.
func (f *fixture) on(disk string) {
	f.t.Helper()
	f.unmount()
	f.state, f.cache = filepath.Join(disk, "state"), filepath.Join(disk, "cache")
	f.mount()
}

// TestFullDiskIsENOSPC fills the disk of a mount whose uploads rest: the write
// that finds no room says so, all before it is kept, and df told the truth.
func TestFullDiskIsENOSPC(t *testing.T) {
	disk := fusetest.SmallDisk(t, 24<<20)
	f := newFixture(t, func(_ *fs.Config, x *transfer.Config) { x.LocalOnly, x.Settle = nil, time.Hour })
	f.on(disk)
	before := f.avail()
	var kept int
	var last error
	for i := 0; last == nil; i++ {
		name := "f" + string(rune('a'+i))
		if last = os.WriteFile(f.path(name), pattern(i, 3<<20), 0o644); last == nil {
			kept++
		}
	}
	wantErrno(t, "the write on a full disk", last, syscall.ENOSPC)
	if left := f.avail(); before < int64(kept)*3<<20 || left > 4<<20 {
		t.Errorf("df told %d bytes before %d files of 3 MiB, and %d after", before, kept, left)
	}
	half := f.path("f" + string(rune('a'+kept)))
	info, err := os.Stat(half)
	must(t, err)
	got, err := os.ReadFile(half)
	must(t, err)
	if want := pattern(kept, 3<<20)[:info.Size()]; string(got) != string(want) {
		t.Errorf("the file that found no room has %d bytes that differ from what was written at %d", len(got), common(got, want))
	}
	must(t, os.Remove(half))
	must(t, os.Remove(f.path("fa")))
	must(t, f.index.Sync()) // the staged bytes go with it
	fusetest.Eventually(t, "room after a removal", func() error {
		return os.WriteFile(f.path("again"), pattern(99, 2<<20), 0o644)
	})
	f.remount()
	for i := 1; i < kept; i++ {
		f.wantContent("f"+string(rune('a'+i)), pattern(i, 3<<20))
	}
	f.wantContent("again", pattern(99, 2<<20))
	for _, p := range f.index.Check() {
		t.Errorf("check: %v", p)
	}
}

// TestUploadsMakeRoom writes far more than the disk holds: writers wait for
// the uploads, and none is told of a full disk.
func TestUploadsMakeRoom(t *testing.T) {
	disk := fusetest.SmallDisk(t, 24<<20)
	f := newFixture(t)
	f.on(disk)
	for i := range 10 {
		f.write("f"+string(rune('a'+i)), pattern(i, 4<<20))
	}
	f.drain()
	for i := range 10 {
		f.wantContent("f"+string(rune('a'+i)), pattern(i, 4<<20))
	}
}

// TestShrinkingKeepsWhatTheIndexNames: until a shorter content is committed,
// the longer one is whole.
func TestShrinkingKeepsWhatTheIndexNames(t *testing.T) {
	f := newFixture(t, func(_ *fs.Config, x *transfer.Config) { x.Settle = time.Hour })
	f.write("f", pattern(1, 10_000))
	in, err := f.index.Lookup(1, "f")
	must(t, err)
	// It comes after close has answered, and would commit what is done then.
	fusetest.Eventually(t, "RELEASE", func() error {
		if f.transfer.Held(in.Inode.Ino) {
			return errors.New("a writer is there")
		}
		return nil
	})
	w, err := os.OpenFile(f.path("f"), os.O_RDWR, 0)
	must(t, err)
	defer w.Close()
	must(t, w.Truncate(4_000))
	must(t, w.Truncate(20_000))
	in, err = f.index.Lookup(1, "f")
	must(t, err)
	staged, err := f.blobs.OpenStaged(uint64(in.Inode.Staged))
	must(t, err)
	defer staged.Close()
	info, err := staged.Stat()
	must(t, err)
	if info.Size() != 10_000 || in.Inode.Size != 10_000 {
		t.Errorf("the staged content has %d bytes, the index says %d, before close", info.Size(), in.Inode.Size)
	}
	must(t, w.Close())
	f.wantContent("f", append(pattern(1, 10_000)[:4_000], make([]byte, 16_000)...))
}

func (f *fixture) avail() int64 {
	f.t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(f.Dir, &st); err != nil {
		f.t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}
