package fs_test

import (
	"os"
	"syscall"
	"testing"

	"chatfs/fs"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

// TestTombstoneLetsNobodyIn: where a picture's thumbnail was, another user may
// read what he might have read before, and make a file where he might.
func TestTombstoneLetsNobodyIn(t *testing.T) {
	fusetest.NeedsRoot(t, "act as another user, whom --allow-other lets in")
	f := newFixture(t, func(c *fs.Config, _ *transfer.Config) { c.AllowOther = true })
	f.openTo(t)
	must(t, os.Chmod(f.Dir, 0o755))
	const album = "[moved.jpg moved.jpg.thumb open.jpg open.jpg.thumb secret.jpg secret.jpg.thumb]"
	for i, name := range []string{"secret.jpg", "open.jpg", "moved.jpg"} {
		f.write(name, picture(t, 300, 300+i))
	}
	must(t, os.Chmod(f.path("secret.jpg"), 0o600))
	f.drain()
	waitListed(t, f.Dir, album)
	must(t, os.Remove(f.path("secret.jpg")))
	must(t, os.Remove(f.path("open.jpg")))
	must(t, os.Rename(f.path("moved.jpg"), f.path("elsewhere.jpg")))
	must(t, os.Chmod(f.path("elsewhere.jpg"), 0o600))

	a := startActor(t)
	defer a.stop()
	try := func(step, want string) {
		t.Helper()
		if got := a.one(f.Dir, ann+step); got != want {
			t.Errorf("%s answers %q, want %q", step, got, want)
		}
	}
	try("open secret.jpg.thumb rdonly", "EACCES")
	try("open moved.jpg.thumb rdonly", "EACCES")
	try("open open.jpg.thumb rdonly", "")
	for _, flags := range []string{"wronly,creat 0644", "rdwr,creat,trunc 0644"} {
		try("open open.jpg.thumb "+flags, "EACCES")
	}
	try("open open.jpg.thumb wronly,trunc", "ENOENT")
	try("unlink secret.jpg.thumb", "EACCES")
	for _, name := range []string{"secret.jpg.thumb", "open.jpg.thumb"} { // by its owner, none the less
		_, err := os.ReadFile(f.path(name))
		must(t, err)
	}
	waitListed(t, f.Dir, "[elsewhere.jpg elsewhere.jpg.thumb]")

	must(t, os.Chmod(f.Dir, 0o777))
	try("open secret.jpg.thumb wronly,creat 0644", "")
	info, err := os.Stat(f.path("secret.jpg.thumb"))
	must(t, err)
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid == 0 || info.Size() != 0 {
		t.Errorf("the file made is of user %d and has %d bytes", uid, info.Size())
	}
}
