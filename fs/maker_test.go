package fs_test

import (
	"io"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestListedThumbnailOpens has a thread that makes files look at thumbnails
// of pictures that others made: what was listed opens, whatever the thread
// makes between.
func TestListedThumbnailOpens(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f := newFixture(t)
	write := make(chan struct{})
	go func() { // another thread
		defer close(write)
		for _, name := range []string{"p.jpg", "q.jpg"} {
			f.write(name, picture(t, 300, 300+len(name)))
		}
	}()
	<-write
	f.drain()
	waitListed(t, f.Dir, "[p.jpg p.jpg.thumb q.jpg q.jpg.thumb]")
	made := createHere(t, f.path("x"))
	defer made.Close()
	for _, name := range []string{"p.jpg.thumb", "q.jpg.thumb"} {
		var st unix.Stat_t
		if err := unix.Lstat(f.path(name), &st); err != nil {
			t.Errorf("stat of %s, which was listed: %v", name, err)
		}
		fd, err := unix.Open(f.path(name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatalf("open %s, which was listed: %v", name, err)
		}
		thumb := os.NewFile(uintptr(fd), name)
		b, err := io.ReadAll(thumb)
		must(t, err)
		must(t, thumb.Close())
		if int64(len(b)) != st.Size {
			t.Errorf("%s: read gave %d bytes, stat told %d", name, len(b), st.Size)
		}
	}
}

// TestMakerSeesNoThumbnailOfItsPicture: a thread that copies a folder makes
// pictures and then files of their thumbnails' names, also where the pictures
// are at the service before it gets there. Once it lists, it sees them.
func TestMakerSeesNoThumbnailOfItsPicture(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f := newFixture(t)
	photo := createHere(t, f.path("p.jpg"))
	_, err := photo.Write(picture(t, 300, 300))
	must(t, err)
	must(t, photo.Close())
	f.drain()
	var st unix.Stat_t
	wantErrno(t, "stat of a thumbnail of a picture of its own", unix.Lstat(f.path("p.jpg.thumb"), &st), syscall.ENOENT)
	must(t, createHere(t, f.path("p.jpg.thumb")).Close())
	must(t, os.Remove(f.path("p.jpg.thumb")))

	second := createHere(t, f.path("q.jpg"))
	_, err = second.Write(picture(t, 300, 200))
	must(t, err)
	must(t, second.Close())
	f.drain()
	listHere(t, f.Dir, 5*time.Second, "q.jpg.thumb")
	must(t, unix.Lstat(f.path("q.jpg.thumb"), &st))
}

// createHere makes a file by this very thread.
func createHere(t *testing.T, path string) *os.File {
	t.Helper()
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		t.Fatalf("create %s: %v", path, err)
	}
	return os.NewFile(uintptr(fd), path)
}

// listHere lists by this very thread until a name is there.
func listHere(t *testing.T, dir string, patience time.Duration, name string) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		r := openReader(t, dir, 32<<10)
		names := namesOf(r.rest())
		r.close()
		for _, n := range names {
			if n == name {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("%s is not listed: %q", name, names)
		}
	}
}
