package fs_test

import (
	"os"
	"testing"
	"time"

	"chatfs/fs"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

// TestOpenHandlesOutliveTheMount ends a mount while a file is open for
// writing, so that neither FLUSH nor RELEASE ever comes.
func TestOpenHandlesOutliveTheMount(t *testing.T) {
	fusetest.NeedsAbort(t)
	f := newFixture(t, func(_ *fs.Config, x *transfer.Config) { x.Settle = time.Hour })
	for _, name := range []string{"written", "unlinked", "read"} {
		f.write(name, []byte("before"))
	}
	f.write("p.jpg", picture(t, 300, 300))
	f.drain()
	f.forgetCache()
	thumb, err := os.Open(f.path("p.jpg.thumb"))
	must(t, err)
	written, err := os.OpenFile(f.path("written"), os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	_, err = written.WriteString("after")
	must(t, err)
	unlinked, err := os.OpenFile(f.path("unlinked"), os.O_RDWR|os.O_APPEND, 0)
	must(t, err)
	_, err = unlinked.WriteString("more")
	must(t, err)
	must(t, os.Remove(f.path("unlinked")))
	read, err := os.Open(f.path("read"))
	must(t, err)
	_, err = read.Read(make([]byte, 1))
	must(t, err)

	fusetest.Abort(t, f.Dir) // then only the name is left to take away
	f.server.Wait()
	for _, file := range []*os.File{written, unlinked, read, thumb} {
		file.Close() // ENOTCONN
	}
	must(t, fusetest.Detach(f.Dir))
	f.closeProfile()
	if left, err := os.ReadDir(f.state + "/staging"); err != nil || len(left) != 1 {
		t.Errorf("staging holds %v (%v), want the content of written alone", left, err)
	}
	f.mount()
	f.wantContent("written", []byte("after"))
	f.wantContent("read", []byte("before"))
}
