package fs_test

import (
	"context"
	"fmt"
	"image"
	_ "image/jpeg" // the decoder
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chatfs/fs"
	"chatfs/internal/entity"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
	"chatfs/remote"
)

// A thumbGate holds requests for thumbnails up until it is open.
type thumbGate struct {
	transfer.Remote
	open chan struct{}
	once sync.Once
}

func (g *thumbGate) Download(ctx context.Context, u entity.UUID, secret entity.Secret, thumb bool) (*remote.Body, error) {
	if thumb {
		select {
		case <-g.open:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return g.Remote.Download(ctx, u, secret, thumb)
}

func (g *thumbGate) letThrough() { g.once.Do(func() { close(g.open) }) }

// TestListingWaitsForNoThumbnail has a service that takes its time over
// thumbnails: they are listed when they are here, and whoever asks for one by
// name waits for that one, in bounds.
func TestListingWaitsForNoThumbnail(t *testing.T) {
	const bound = 3 * time.Second
	gate := &thumbGate{open: make(chan struct{})}
	f := newFixture(t, func(c *fs.Config, x *transfer.Config) {
		gate.Remote, x.Remote = x.Remote, gate
		c.ReadTimeout = bound
	})
	t.Cleanup(gate.letThrough)
	want := ""
	for i := range 5 {
		f.write(fmt.Sprintf("%d.jpg", i), picture(t, 300, 200+i))
		want += fmt.Sprintf(" %d.jpg %[1]d.jpg.thumb", i)
	}
	f.drain()
	if got := entries(t, f.Dir); got != "[0.jpg 1.jpg 2.jpg 3.jpg 4.jpg]" {
		t.Errorf("listed while no thumbnail has come: %s", got)
	}
	began := time.Now()
	_, err := os.Stat(f.path("3.jpg.thumb"))
	took := time.Since(began)
	wantErrno(t, "stat of a thumbnail that does not come", err, syscall.ETIMEDOUT)
	if most := bound*6/5 + time.Second; took > most {
		t.Errorf("that took %v, wanted at most %v", took, most)
	}
	gate.letThrough()
	waitListed(t, f.Dir, "["+want[1:]+"]")
	f.wantThumbs(5)

	asked := f.service.Counts().Thumbnails
	f.forgetCache()
	if got := entries(t, f.Dir); got != "["+want[1:]+"]" {
		t.Errorf("listed after a remount: %s", got)
	}
	if n := f.service.Counts().Thumbnails; n != asked {
		t.Errorf("%d requests for thumbnails that are known", n-asked)
	}
}

// wantThumbs wants so many thumbnails listed, each a picture of the size that
// stat tells.
func (f *fixture) wantThumbs(n int) {
	f.t.Helper()
	list, err := filepath.Glob(f.path("*.thumb"))
	must(f.t, err)
	if len(list) != n {
		f.t.Errorf("%d thumbnails: %q", len(list), list)
	}
	for _, path := range list {
		file, err := os.Open(path)
		must(f.t, err)
		_, _, err = image.Decode(file)
		must(f.t, err)
		must(f.t, file.Close())
	}
}

// TestThumbnailsOutliveWrongAnswers has the service answer with other bytes
// than a thumbnail's, now and then and then always.
func TestThumbnailsOutliveWrongAnswers(t *testing.T) {
	f := newFixture(t, func(_ *fs.Config, x *transfer.Config) { x.ThumbRetry = 20 * time.Millisecond })
	must(t, f.faults.Become("thumbnail.page=25%,thumbnail.gzip=10%,thumbnail.flip=10%,thumbnail.longer=5%,thumbnail.swap=5%"))
	const pictures = 20
	for i := range pictures {
		f.write(fmt.Sprintf("%d.jpg", i), picture(t, 300, 200+i))
	}
	f.drain()
	fusetest.Eventually(t, "all thumbnails", func() error {
		if n := strings.Count(entries(t, f.Dir), ".thumb"); n != pictures {
			return fmt.Errorf("%d are listed", n)
		}
		return nil
	})
	f.wantThumbs(pictures)

	must(t, f.faults.Become("thumbnail.page=100%"))
	f.write("p.jpg", picture(t, 320, 320))
	f.drain()
	if got := entries(t, f.Dir); strings.Contains(got, "p.jpg.thumb") {
		t.Errorf("a page is listed as a thumbnail: %s", got)
	}
	_, err := os.Stat(f.path("p.jpg.thumb"))
	wantErrno(t, "stat of a thumbnail that is a page", err, syscall.ENOENT)
	must(t, f.faults.Become("thumbnail.page=0"))
	fusetest.Eventually(t, "the thumbnail itself", func() error {
		if got := entries(t, f.Dir); !strings.Contains(got, "p.jpg.thumb") {
			return fmt.Errorf("%s is listed", got)
		}
		return nil
	})
	f.wantThumbs(pictures + 1)
}

// TestThumbnailsFromBeforeAreLookedAt puts pages where an older version kept
// them, whose sizes count as unknown.
func TestThumbnailsFromBeforeAreLookedAt(t *testing.T) {
	ask := false
	f := newFixture(t, func(_ *fs.Config, x *transfer.Config) { x.Thumbs = ask })
	const page = "<html><body>sign in</body></html>"
	put := func(name, dir string) (path string) {
		f.write(name, picture(t, 300, 200+len(name)))
		f.drain()
		uuid := f.xattr(name, "uuid")
		path = filepath.Join(dir, uuid[:2], uuid+".thumb")
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(page), 0o600))
		return path
	}
	put("cached.jpg", filepath.Join(f.cache, "entities"))
	pinned := put("pinned.jpg", filepath.Join(f.state, "pinned"))
	ask = true
	f.remount()
	entries(t, f.Dir) // has them asked for
	waitListed(t, f.Dir, "[cached.jpg cached.jpg.thumb pinned.jpg pinned.jpg.thumb]")
	f.wantThumbs(2)
	kept, err := os.ReadFile(pinned + ".damaged")
	if string(kept) != page {
		t.Errorf("the pinned page is not put aside: %v", err)
	}
}
