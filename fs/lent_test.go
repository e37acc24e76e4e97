package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chatfs/fs"
	"chatfs/internal/blob"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

// deleted counts the descriptors of files below dir that have no name any more,
// or never had one.
func deleted(t *testing.T, dir string) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	n := 0
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if err == nil && strings.HasPrefix(target, dir) && strings.HasSuffix(target, " (deleted)") {
			n++
		}
	}
	return n
}

// TestFileWrittenAnewUnderItsReader: who has a file open for days, which is
// written anew all the time, costs a descriptor and not one for each version.
func TestFileWrittenAnewUnderItsReader(t *testing.T) {
	for _, sent := range []bool{false, true} {
		t.Run(fmt.Sprintf("sent %v", sent), func(t *testing.T) {
			f := newFixture(t, func(c *fs.Config, _ *transfer.Config) { c.Passthrough = false })
			f.write("log", pattern(0, 5000))
			reader, err := os.Open(f.path("log"))
			must(t, err)
			defer reader.Close()
			const rounds = 100
			for i := 1; i <= rounds; i++ {
				want := pattern(i, 5000+i)
				f.write("log", want)
				if sent {
					f.drain()
				}
				got := make([]byte, len(want))
				_, err := reader.ReadAt(got, 0)
				must(t, err)
				if string(got) != string(want) {
					t.Fatalf("round %d: the reader sees other bytes", i)
				}
			}
			fusetest.Eventually(t, "few descriptors", func() error {
				if n := deleted(t, filepath.Dir(f.state)); n > blob.SpareCount+rounds/10 {
					return fmt.Errorf("%d descriptors of deleted files", n)
				}
				return nil
			})
		})
	}
}
