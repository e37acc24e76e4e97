package fs_test

import (
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAttributesBesideCommits sets a file's size and times, and wants stat to
// tell them at once, while what was written comes to the index by other
// descriptors' fsync, close and release, and the directory is listed.
func TestAttributesBesideCommits(t *testing.T) {
	f := newFixture(t)
	ops := 1000
	if long() {
		ops = 100_000
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // where it happens most
	f.write("f", pattern(1, 9000))
	f.write("other", nil)
	f.write("third", nil)
	over := make(chan struct{})
	var beside sync.WaitGroup
	crowd := []func() error{f.syncs, f.closes, f.closes, f.closes, f.closes, f.listsAnew, f.changesAnother, f.changesAnother, f.changesAnother}
	for _, do := range crowd {
		beside.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if err := do(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	file, err := os.OpenFile(f.path("f"), os.O_RDWR, 0)
	must(t, err)
	defer file.Close()
	for i := range ops {
		if !f.setsAttributes(file, i) {
			break
		}
	}
	close(over)
	beside.Wait()
}

// setsAttributes sets size and time, by descriptor and by name in turn, and
// compares.
func (f *fixture) setsAttributes(file *os.File, i int) bool {
	f.t.Helper()
	size, when := int64(1000+i%7000), time.Unix(int64(1_000_000+i), int64(i))
	switch i % 3 {
	case 0:
		must(f.t, file.Truncate(size))
	case 1:
		must(f.t, os.Truncate(f.path("f"), size))
	case 2:
		must(f.t, file.Truncate(size-1))
		_, err := file.WriteAt([]byte("x"), size-1)
		must(f.t, err)
	}
	var st unix.Stat_t
	must(f.t, unix.Fstat(int(file.Fd()), &st))
	if st.Size != size {
		f.t.Errorf("step %d: fstat tells %d bytes, want %d", i, st.Size, size)
		return false
	}
	must(f.t, os.Chtimes(f.path("f"), time.Time{}, when))
	must(f.t, unix.Stat(f.path("f"), &st))
	if got := time.Unix(st.Mtim.Unix()); !got.Equal(when) || st.Size != size {
		f.t.Errorf("step %d: stat tells %d bytes of %s, want %d of %s", i, st.Size, got, size, when)
		return false
	}
	return true
}

// syncs commits by a descriptor of its own.
func (f *fixture) syncs() error {
	file, err := os.OpenFile(f.path("f"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}

// closes commits by close, and by the kernel's later RELEASE.
func (f *fixture) closes() error {
	file, err := os.OpenFile(f.path("f"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	return file.Close()
}

// listsAnew has the kernel ask for the directory and all attributes in it.
func (f *fixture) listsAnew() error {
	if err := os.Rename(f.path("other"), f.path("another")); err != nil {
		return err
	}
	if err := os.Rename(f.path("another"), f.path("other")); err != nil {
		return err
	}
	list, err := os.ReadDir(f.Dir)
	for _, e := range list {
		if _, ierr := e.Info(); ierr != nil && !os.IsNotExist(ierr) {
			return ierr
		}
	}
	return err
}

// changesAnother has the index busy: who gives its lock to one that waits long
// is put off, and a commit overtakes it.
func (f *fixture) changesAnother() error { return os.Chmod(f.path("third"), 0o600) }
