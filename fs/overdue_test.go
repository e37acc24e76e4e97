package fs_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"chatfs/fs"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

// TestReadEndsWithinItsBoundOnce: the kernel repeats a readahead that failed, and
// its caller does not wait for both.
func TestReadEndsWithinItsBoundOnce(t *testing.T) {
	const bound = 3 * time.Second
	g := &gate{asked: make(chan struct{}), open: make(chan struct{})}
	f := newFixture(t, func(c *fs.Config, x *transfer.Config) {
		g.Remote, x.Remote = x.Remote, g
		c.Passthrough, c.ReadTimeout, x.Prefetch = false, bound, 0
	})
	content := pattern(1, 3<<20)
	f.write("f", content)
	f.drain()
	f.forgetCache()
	began := time.Now()
	_, err := os.ReadFile(f.path("f"))
	took := time.Since(began)
	wantErrno(t, "read while nothing comes", err, syscall.ETIMEDOUT)
	if most := bound*6/5 + time.Second; took > most || took < bound {
		t.Errorf("it took %v, wanted %v to %v", took, bound, most)
	}
	close(g.open)
	fusetest.Eventually(t, "a read once the service answers", func() error {
		got, err := os.ReadFile(f.path("f"))
		if err == nil && string(got) != string(content) {
			t.Error("other bytes")
		}
		return err
	})
}
