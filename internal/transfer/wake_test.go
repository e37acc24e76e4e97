package transfer

import (
	"bytes"
	"runtime"
	"syscall"
	"testing"
	"time"

	"chatfs/index"
)

// TestACloseBesideARenameKeepsItsUpload: a rename's Wake that began before the
// close must not take out what the close has put in.
func TestACloseBesideARenameKeepsItsUpload(t *testing.T) {
	ix, err := index.Open(t.TempDir(), index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	in, err := ix.Create(index.Root, "f", index.NewInode{Mode: syscall.S_IFREG | 0o644})
	if err != nil {
		t.Fatal(err)
	}
	x := New(Config{Index: ix, Settle: time.Hour})
	u := &x.uploads
	u.mu.Lock()
	renamed := make(chan struct{})
	go func() { defer close(renamed); x.Wake(in.Ino) }()
	for !waitsForLock("transfer.(*Transfer).Wake") {
		runtime.Gosched()
	}
	if _, err := ix.SetContent(in.Ino, index.Content{Staged: ix.NextStaged(), Size: 1}); err != nil {
		t.Fatal(err)
	}
	u.schedule(u.job(in.Ino), time.Now()) // as the close's Wake does
	u.mu.Unlock()
	<-renamed
	if _, idle := u.idle(); idle {
		t.Error("the upload was forgotten")
	}
}

// waitsForLock tells whether a goroutine waits for a mutex within fn.
func waitsForLock(fn string) bool {
	buf := make([]byte, 1<<20)
	for _, g := range bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
		if bytes.Contains(g, []byte(fn)) && bytes.Contains(g, []byte("sync.Mutex.Lock")) {
			return true
		}
	}
	return false
}
