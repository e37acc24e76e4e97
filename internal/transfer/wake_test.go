package transfer

import (
	"bytes"
	"runtime"
	"sync"
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

// TestARenameBesideAnAttemptKeepsItsUpload: an attempt that read the temporary
// name of a file must not put its upload off once the file has its last name.
func TestARenameBesideAnAttemptKeepsItsUpload(t *testing.T) {
	ix, err := index.Open(t.TempDir(), index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	in, err := ix.Create(index.Root, ".f.Ab12Cd", index.NewInode{Mode: syscall.S_IFREG | 0o644})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ix.SetContent(in.Ino, index.Content{Staged: ix.NextStaged(), Size: 1}); err != nil {
		t.Fatal(err)
	}
	var x *Transfer
	rename := sync.OnceFunc(func() { // as rsync does, now that the name was read
		if _, err := ix.Rename(index.Root, ".f.Ab12Cd", index.Root, "f", 0); err != nil {
			t.Error(err)
		}
		x.Wake(in.Ino)
	})
	x = New(Config{Index: ix, LocalOnly: func(name string) time.Duration {
		rename()
		if name == "f" {
			return 0
		}
		return time.Hour
	}})
	u := &x.uploads
	u.add(in.Ino, time.Now())
	j := u.next(t.Context())
	what, err := x.attempt(j)
	x.finish(j, what, err)
	if len(u.due) != 1 || time.Until(u.due[0].due) > time.Minute || j.local {
		t.Errorf("outcome %d, %d due, in %v, local %v", what, len(u.due), time.Until(j.due), j.local)
	}
}
