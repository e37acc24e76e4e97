package transfer_test

import (
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/entity"
	"chatfs/internal/transfer"
)

// TestSweepAfterSuspend lets four days pass on the wall clock alone: timers
// stand still while a machine sleeps.
func TestSweepAfterSuspend(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var slept atomic.Int64
		blobs, err := blob.Open(blob.Options{StateDir: dir, CacheDir: filepath.Join(dir, "cache")})
		must(t, err)
		x, err := index.Open(dir, index.Options{})
		must(t, err)
		now := func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
		u, err := entity.NewUUIDAt(now())
		must(t, err)
		in, err := x.Create(index.Root, "f", index.NewInode{Mode: syscall.S_IFREG})
		must(t, err)
		file, err := blobs.CreateStaged(1)
		must(t, err)
		must(t, file.Close())
		in, err = x.SetContent(in.Ino, index.Content{Staged: 1})
		must(t, err)
		_, err = x.Uploaded(in.Ino, in.Version, entity.Entity{UUID: u}, false)
		must(t, err)
		must(t, blobs.Adopt(1, blob.Key{UUID: u}, entity.Digest{}))
		k := transfer.New(transfer.Config{Index: x, Blobs: blobs, Retention: 7 * day, Now: now})
		must(t, k.Start())
		time.Sleep(2 * time.Hour)
		if blobs.HasPinned(blob.Key{UUID: u}) {
			t.Error("a young file is pinned")
		}
		synctest.Wait()
		slept.Store(int64(4 * day))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !blobs.HasPinned(blob.Key{UUID: u}) {
			t.Error("not pinned after the sleep")
		}
		must(t, k.Close())
		must(t, x.Close())
		must(t, blobs.Close())
	})
}
