package fs_test

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"chatfs/fs"
	"chatfs/internal/transfer"
)

// A lockedBuffer keeps what a logger writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestSyncfsIsNotToldToUs holds what docs/semantics.md says of syncfs(2): it
// succeeds, and the kernel does not tell us of it, where fsync is told.
// A kernel that does tell is a reason to answer it.
func TestSyncfsIsNotToldToUs(t *testing.T) {
	var requests lockedBuffer
	f := newFixture(t, func(c *fs.Config, _ *transfer.Config) { c.Debug = true })
	f.log.Logger.SetOutput(&requests)
	f.log.Logger.SetLevel(logrus.DebugLevel)
	f.write("f", []byte("content"))
	file, err := os.OpenFile(f.path("f"), os.O_RDWR, 0)
	must(t, err)
	defer file.Close()
	must(t, unix.Syncfs(int(file.Fd())))
	must(t, file.Sync())
	if log := requests.String(); strings.Contains(log, "SYNCFS") || !strings.Contains(log, "FSYNC") {
		t.Errorf("of %d bytes of requests, SYNCFS is told: %v, FSYNC: %v", len(log), strings.Contains(log, "SYNCFS"), strings.Contains(log, "FSYNC"))
	}
}
