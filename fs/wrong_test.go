package fs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"chatfs/fs"
	"chatfs/index"
	"chatfs/internal/entity"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
	"chatfs/remote/service"
)

// meet has the service meet faults from now on.
func (f *fixture) meet(list string) {
	f.t.Helper()
	if f.faults != nil {
		must(f.t, f.faults.Become(list))
		return
	}
	var err error
	seed := uint64(time.Now().UnixNano())
	f.t.Logf("seed of the faults %d", seed)
	f.faults, err = service.ParseFaults(list, seed)
	must(f.t, err)
	f.unmount()
	must(f.t, f.client.Close())
	must(f.t, f.service.Shutdown(context.Background()))
	f.startService(filepath.Dir(f.Dir))
	f.mount()
}

// noFaults is a list of none.
const noFaults = "cut=0"

// wrongKinds are the ways in which a service answers 200 with other bytes.
var wrongKinds = []string{"page", "gzip", "flip", "swap", "longer", "length"}

// TestNoWrongByteIsRead copies files that are larger than the kernel's first
// read, while the service answers with other bytes: cp fails, or the copy is
// right, with and without passthrough; and once the service is sound again the
// same mount gives the right bytes.
func TestNoWrongByteIsRead(t *testing.T) {
	for _, passthrough := range []bool{false, true} {
		t.Run(fmt.Sprintf("passthrough=%v", passthrough), func(t *testing.T) {
			f := newFixture(t, func(c *fs.Config, x *transfer.Config) { c.Passthrough, x.Prefetch = passthrough, 0 })
			for _, kind := range wrongKinds {
				f.write(kind, pattern(len(kind), 3<<20))
			}
			f.write("other", pattern(8, 3<<20))
			f.drain()
			f.meet(noFaults)
			f.forgetCache()
			for _, kind := range wrongKinds {
				f.meet("download." + kind + "=100%")
				f.wantRightOrEIO(kind, pattern(len(kind), 3<<20))
				f.meet(noFaults)
				f.wantContent(kind, pattern(len(kind), 3<<20))
			}
		})
	}
}

// wantRightOrEIO copies a file by cp, and reads it in its middle alone.
func (f *fixture) wantRightOrEIO(name string, want []byte) {
	f.t.Helper()
	to := filepath.Join(f.t.TempDir(), name)
	out, err := exec.Command("cp", f.path(name), to).CombinedOutput()
	got, _ := os.ReadFile(to) // of a cp that failed there may be none
	if err == nil && !bytes.Equal(got, want) {
		f.t.Errorf("%s: cp ended well with %d bytes, equal up to %d", name, len(got), common(got, want))
	}
	if err != nil && !bytes.Contains(out, []byte("Input/output error")) {
		f.t.Errorf("%s: cp: %v %s", name, err, out)
	}
	if !bytes.HasPrefix(want, got) {
		f.t.Errorf("%s: cp wrote wrong bytes from %d of %d on", name, common(got, want), len(got))
	}
	file, err := os.Open(f.path(name))
	must(f.t, err)
	defer file.Close()
	off := int64(len(want)) / 2
	b := make([]byte, 100)
	n, err := file.ReadAt(b, off)
	if err != nil && !errors.Is(err, syscall.EIO) || !bytes.HasPrefix(want[off:], b[:n]) {
		f.t.Errorf("%s: %d bytes at %d are wrong, or %v", name, n, off, err)
	}
}

// TestOpenFileIsReadOnceTheServiceIsSound: a program that has a file open, and
// was told of an error, need not open it anew.
func TestOpenFileIsReadOnceTheServiceIsSound(t *testing.T) {
	f := newFixture(t, func(_ *fs.Config, x *transfer.Config) { x.Prefetch = 0 })
	want := pattern(1, 3<<20)
	f.write("a", want)
	f.drain()
	f.meet("download.page=100%")
	f.forgetCache()
	file, err := os.Open(f.path("a"))
	must(t, err)
	defer file.Close()
	got := make([]byte, len(want))
	_, err = file.ReadAt(got, 0)
	wantErrno(t, "read of a page of HTML", err, syscall.EIO)
	f.meet(noFaults)
	fusetest.Eventually(t, "the right bytes", func() error {
		_, err := file.ReadAt(got, 0)
		return err
	})
	if !bytes.Equal(got, want) {
		t.Errorf("equal up to %d", common(got, want))
	}
}

// TestKernelForgetsWhatIsForged: where each block was right and the whole is
// not, the pages that the kernel has of it are dropped.
func TestKernelForgetsWhatIsForged(t *testing.T) {
	f := newFixture(t, func(_ *fs.Config, x *transfer.Config) { x.Prefetch = 0 })
	want := pattern(1, 3<<20)
	f.write("a", want)
	f.drain()
	f.forgetCache()
	d, err := f.index.Lookup(index.Root, "a")
	must(t, err)
	e, err := f.index.Entity(d.Inode.UUID)
	must(t, err)
	digest := e.Digest
	e.Digest = entity.Digest{1}
	record := func() {
		t.Helper()
		_, err = f.index.Uploaded(d.Inode.Ino, d.Inode.Version, e, false)
		must(t, err)
	}
	record()
	_, err = os.ReadFile(f.path("a"))
	wantErrno(t, "read of what is not the content", err, syscall.EIO)
	e.Digest = digest
	record()
	asked := f.service.Counts().Downloads
	fusetest.Eventually(t, "the kernel to ask again", func() error {
		file, err := os.Open(f.path("a"))
		must(t, err)
		defer file.Close()
		if _, err := file.ReadAt(make([]byte, 10), 0); err != nil {
			return err
		}
		if f.service.Counts().Downloads == asked {
			return errors.New("it has its pages still")
		}
		return nil
	})
	f.wantContent("a", want)
}

// TestWrongBytesAreNotWrittenOn: a write into the middle of a file that is not
// here, or a cut of it, is laid on right bytes, or fails and leaves the file as
// it was.
func TestWrongBytesAreNotWrittenOn(t *testing.T) {
	f := newFixture(t, func(_ *fs.Config, x *transfer.Config) { x.Prefetch = 0 })
	want := pattern(1, 3<<20)
	f.write("a", want)
	f.write("another", pattern(2, 3<<20))
	f.drain()
	f.meet("download.swap=100%")
	f.forgetCache()
	file, err := os.OpenFile(f.path("a"), os.O_RDWR, 0)
	must(t, err)
	_, err = file.WriteAt([]byte("new"), 1<<20)
	wantErrno(t, "write on another file's bytes", err, syscall.EIO)
	must(t, file.Close())
	wantErrno(t, "cut of another file's bytes", os.Truncate(f.path("a"), 1<<20), syscall.EIO)
	f.meet(noFaults)
	f.wantContent("a", want)
	file, err = os.OpenFile(f.path("a"), os.O_RDWR, 0)
	must(t, err)
	_, err = file.WriteAt([]byte("new"), 1<<20)
	must(t, errors.Join(err, file.Close()))
	copy(want[1<<20:], "new")
	f.drain()
	f.forgetCache()
	f.wantContent("a", want)
}
