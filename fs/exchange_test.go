package fs_test

import (
	"strings"
	"testing"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"

	"chatfs/fs"
	"chatfs/internal/transfer"
)

// TestExchangeSendsBoth has a file get its name by an exchange, as some
// programs save.
func TestExchangeSendsBoth(t *testing.T) {
	f := newFixture(t, func(c *fs.Config, _ *transfer.Config) {
		c.LocalOnly = func(name string) bool { return strings.HasSuffix(name, ".part") }
	})
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
