package fs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"

	"chatfs/fs"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

func partsStay(name string) time.Duration {
	if strings.HasSuffix(name, ".part") {
		return transfer.Forever
	}
	return 0
}

// TestExchangeSendsBoth has a file get its name by an exchange, as some
// programs save.
func TestExchangeSendsBoth(t *testing.T) {
	f := newFixture(t, func(_ *fs.Config, x *transfer.Config) { x.LocalOnly = partsStay })
	f.write("saved.part", []byte("new"))
	f.write("document", []byte("old"))
	f.drain()
	must(t, unix.Renameat2(unix.AT_FDCWD, f.path("document"), unix.AT_FDCWD, f.path("saved.part"), unix.RENAME_EXCHANGE))
	f.drain()
	state, err := xattr.Get(f.path("document"), "user.chatfs.state")
	must(t, err)
	if string(state) != "uploaded" {
		t.Errorf("state is %s, want uploaded", state)
	}
	f.wantContent("document", []byte("new"))
	f.wantContent("saved.part", []byte("old"))
}

// TestNameThatKeepsForAWhile: a file of a name that may be a temporary one
// waits, and is then sent like any other, also when a remount came between.
func TestNameThatKeepsForAWhile(t *testing.T) {
	wait := 700 * time.Millisecond
	f := newFixture(t, func(_ *fs.Config, x *transfer.Config) {
		x.LocalOnly = func(name string) time.Duration {
			if strings.HasPrefix(name, ".") {
				return wait
			}
			return 0
		}
	})
	written := time.Now()
	f.write(".bashrc.241125", []byte("the only copy"))
	f.drain()
	if got := f.xattr(".bashrc.241125", "state"); got != "local" && time.Since(written) < wait {
		t.Errorf("at once its state is %s, want local", got)
	}
	f.remount()
	fusetest.Eventually(t, "its upload", func() error {
		if got := f.xattr(".bashrc.241125", "state"); got != "uploaded" {
			return fmt.Errorf("state is %s", got)
		}
		return nil
	})
	if since := time.Since(written); since < wait {
		t.Errorf("it was sent after %v, want %v at least", since, wait)
	}
}
