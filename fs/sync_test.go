package fs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"chatfs/internal/blob"
	"chatfs/internal/entity"
	"chatfs/internal/fusetest"
	"chatfs/remote"
	"chatfs/remote/service"
)

// losses is how often the power goes, each time with another part of what was
// not synced left.
const losses = 12

// lose takes the power from a disk, and gives it back.
func (d *diskHandle) lose() {
	d.t.Helper()
	seed := rand.Uint64()
	d.t.Logf("seed of the loss %d", seed)
	d.tell("lose %d", seed)
}

// aStore opens the store that lies on a disk, and caches a content in it.
func aStore(t *testing.T, dir string, content []byte) (*blob.Store, blob.Key) {
	t.Helper()
	s, err := blob.Open(blob.Options{StateDir: filepath.Join(dir, "state"), CacheDir: filepath.Join(dir, "cache")})
	must(t, err)
	u, err := entity.NewUUID()
	must(t, err)
	k := blob.Key{UUID: u}
	d, err := s.NewDownload(k, int64(len(content)))
	must(t, err)
	defer d.Close()
	_, err = d.Write(content)
	must(t, errors.Join(err, d.Commit(entity.Digest{})))
	return s, k
}

// wantFile wants a content at a path, whole.
func wantFile(t *testing.T, what, path string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes (%v), want %d; equal up to %d", what, len(got), err, len(want), common(got, want))
	}
}

// TestPinOutlivesPowerLoss takes the power the moment Pin has returned.
func TestPinOutlivesPowerLoss(t *testing.T) {
	fusetest.Guard(t)
	disk := newBadDisk(t)
	for i := range losses {
		content := pattern(i, 40_000)
		s, k := aStore(t, disk.dir, content)
		f, err := s.OpenCached(k, entity.Digest{})
		must(t, err)
		if i%2 == 1 { // evicted meanwhile: it is copied
			must(t, s.DropCached(k))
		}
		must(t, errors.Join(s.Pin(k, f.File), f.Close(), s.Close()))
		disk.lose()
		disk.tell("swap")
		wantFile(t, "pinned", filepath.Join(disk.dir, "state", blob.PinnedDir, k.String()[:2], k.String()), content)
	}
}

// TestPartOutlivesPowerLoss changes a file in place that others relied on, and
// takes the power then: they have their copy, durable as the file was.
func TestPartOutlivesPowerLoss(t *testing.T) {
	fusetest.Guard(t)
	disk := newBadDisk(t)
	for i := range losses {
		content := pattern(i, 40_000)
		s, k := aStore(t, disk.dir, content)
		f, err := s.OpenCached(k, entity.Digest{})
		must(t, err)
		staged, lease := uint64(2*i+1), uint64(2*i+2)
		must(t, s.Restage(f.File, staged))
		must(t, s.SyncStaged([]uint64{staged}))
		must(t, s.Restage(f.File, lease))
		must(t, s.Part(f, k, staged))
		own, err := s.OpenStaged(lease)
		must(t, err)
		_, err = own.WriteAt(pattern(i+100, 40_000), 0)
		must(t, errors.Join(err, own.Close(), f.Close(), s.Close()))
		disk.lose()
		disk.tell("swap")
		path := filepath.Join(disk.dir, "state", "staging", fmt.Sprintf("%016x", staged))
		wantFile(t, "the staged content that the index names", path, content)
	}
}

// TestUploadOutlivesPowerLoss takes the power from the service's disk the
// moment it has acknowledged uploads of all sizes.
func TestUploadOutlivesPowerLoss(t *testing.T) {
	fusetest.Guard(t)
	disk := newBadDisk(t)
	sizes := []int{100, 30_000, 40_000, 300_000}
	var sent []entity.Entity
	for i := range losses {
		served, client := serveOn(t, disk.dir)
		for j, size := range sizes {
			content := pattern(i*len(sizes)+j, size)
			e, err := client.Upload(context.Background(), remote.UploadRequest{Name: "f", Size: int64(size), Restricted: true,
				Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }})
			must(t, err)
			sent = append(sent, e)
		}
		disk.lose()
		must(t, errors.Join(client.Close(), served.Shutdown(context.Background())))
		disk.tell("swap")
		served, client = serveOn(t, disk.dir)
		for j, e := range sent {
			wantEntity(t, client, e, pattern(j, sizes[j%len(sizes)]))
		}
		must(t, errors.Join(client.Close(), served.Shutdown(context.Background())))
	}
}

func serveOn(t *testing.T, dir string) (*service.Service, *remote.Client) {
	t.Helper()
	logger := logrus.New()
	logger.SetOutput(io.Discard) // it tells of bbolt's file where the power is gone
	log := logrus.NewEntry(logger)
	served, err := service.Start(service.Config{Dir: filepath.Join(dir, "service"), Org: "org", App: "app", Log: log})
	must(t, err)
	id, secret := served.Credentials()
	client, err := remote.New(remote.Config{Base: served.Base(), ClientID: id, ClientSecret: secret, MaxRPS: -1, FirstPause: time.Millisecond, Log: log})
	must(t, err)
	return served, client
}

func wantEntity(t *testing.T, client *remote.Client, e entity.Entity, want []byte) {
	t.Helper()
	body, err := client.Download(context.Background(), e.UUID, e.Secret, false)
	if err != nil {
		t.Errorf("an entity of %d bytes: %v", len(want), err)
		return
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, want) {
		t.Errorf("an entity of %d bytes: %d came (%v), equal up to %d", len(want), len(got), err, common(got, want))
	}
}
