package transfer_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/transfer"
	"chatfs/remote"
	"chatfs/remote/service"
)

// BenchmarkUpload sends staged files of a size to the embedded service, all
// in this process, until they are entities.
func BenchmarkUpload(b *testing.B) {
	for _, size := range []int{4 << 10, 9728 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) { benchUpload(b, size) })
	}
}

func benchUpload(b *testing.B, size int) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	dir := b.TempDir()
	served, err := service.Start(service.Config{Dir: filepath.Join(dir, "service"), Org: "org", App: "app", Log: log.WithField("", "")})
	must(b, err)
	defer served.Shutdown(context.Background())
	id, secret := served.Credentials()
	client, err := remote.New(remote.Config{Base: served.Base(), ClientID: id, ClientSecret: secret, MaxRPS: -1})
	must(b, err)
	defer client.Close()
	blobs, err := blob.Open(blob.Options{StateDir: dir, CacheDir: filepath.Join(dir, "cache")})
	must(b, err)
	defer blobs.Close()
	ix, err := index.Open(dir, index.Options{SyncStaged: func(ids []index.StagedID) error {
		raw := make([]uint64, len(ids))
		for i, id := range ids {
			raw[i] = uint64(id)
		}
		return blobs.SyncStaged(raw)
	}})
	must(b, err)
	defer ix.Close()
	x := transfer.New(transfer.Config{Index: ix, Blobs: blobs, Remote: client, Settle: time.Hour, Log: log.WithField("", "")})
	must(b, x.Start())
	defer x.Close()
	b.SetBytes(int64(size))
	for i := range b.N {
		stage(b, ix, blobs, x, fmt.Sprint(i), size)
	}
	b.ResetTimer()
	must(b, x.Drain(context.Background(), nil))
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
}

func stage(b *testing.B, ix *index.Index, blobs *blob.Store, x *transfer.Transfer, name string, size int) {
	in, err := ix.Create(index.Root, name, index.NewInode{Mode: syscall.S_IFREG | 0o644})
	must(b, err)
	id := ix.NextStaged()
	file, err := blobs.CreateStaged(uint64(id))
	must(b, err)
	defer file.Close()
	_, err = io.CopyN(file, rand.Reader, int64(size))
	must(b, err)
	_, err = ix.SetContent(in.Ino, index.Content{Staged: id, Size: int64(size)})
	must(b, err)
	x.Wake(in.Ino)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
