package fs_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"chatfs/internal/entity"
)

func TestOverTheLimitIsEFBIG(t *testing.T) {
	f := newFixture(t)
	f.write("most", pattern(5, entity.MaxSize))
	err := os.WriteFile(f.path("more"), pattern(6, entity.MaxSize+1), 0o644)
	wantErrno(t, "write over the limit", err, syscall.EFBIG)
	wantErrno(t, "truncate over the limit", os.Truncate(f.path("most"), entity.MaxSize+1), syscall.EFBIG)
	file, err := os.Create(f.path("allocated"))
	must(t, err)
	wantErrno(t, "fallocate over the limit", unix.Fallocate(int(file.Fd()), 0, 0, entity.MaxSize+1), syscall.EFBIG)
	wantErrno(t, "ftruncate over the limit", file.Truncate(entity.MaxSize+1), syscall.EFBIG)
	must(t, file.Close())
	f.drain()
	for name, want := range map[string]string{"most": "uploaded", "more": "failed", "allocated": "empty"} {
		if got := f.state_(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if why := f.xattr("more", "error"); !strings.Contains(why, "too large") {
		t.Errorf("the reason is %q", why)
	}
	if got := f.service.Counts().Uploads; got != 1 {
		t.Errorf("%d uploads, want 1", got)
	}
	f.remount()
	if got := f.state_("more"); got != "failed" {
		t.Errorf("after a remount: %s", got)
	}
	file, err = os.OpenFile(f.path("more"), os.O_RDWR, 0)
	must(t, err)
	_, err = file.WriteAt([]byte("x"), 5)
	must(t, err)
	must(t, file.Close())
	f.drain()
	if got := f.state_("more"); got != "failed" {
		t.Errorf("a change inside the cut content made it %s", got)
	}
	f.write("more", []byte("short"))
	f.drain()
	if got := f.state_("more"); got != "uploaded" {
		t.Errorf("written anew, it is %s", got)
	}
}
