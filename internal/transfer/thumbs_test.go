package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/entity"
	"chatfs/internal/transfer"
	"chatfs/remote"
)

// A gateway answers every download with 200 and the bytes that a test gives.
type gateway struct {
	answer atomic.Pointer[[]byte]
	asked  atomic.Int32
}

func newGateway(t *testing.T) (*gateway, *remote.Client) {
	t.Helper()
	g := &gateway{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		g.asked.Add(1)
		w.Write(*g.answer.Load())
	}))
	t.Cleanup(server.Close)
	client, err := remote.New(remote.Config{Base: server.URL + "/org/app", Token: entity.NewSecret("t"), MaxRPS: -1, FirstPause: time.Millisecond, Log: quiet()})
	must(t, err)
	t.Cleanup(func() { must(t, client.Close()) })
	return g, client
}

func (g *gateway) become(b []byte) { g.answer.Store(&b) }

// picture makes a file whose content is a picture at the service.
func (q *queue) picture(name string, content []byte) entity.Entity {
	q.t.Helper()
	in, err := q.ix.Create(index.Root, name, index.NewInode{Mode: syscall.S_IFREG | 0o644})
	must(q.t, err)
	u, err := entity.NewUUID()
	must(q.t, err)
	e := entity.Entity{UUID: u, Size: int64(len(content)), Digest: sha256.Sum256(content)}
	in, err = q.ix.SetContent(in.Ino, index.Content{Staged: q.ix.NextStaged(), Size: e.Size})
	must(q.t, err)
	_, err = q.ix.Uploaded(in.Ino, in.Version, e, true)
	must(q.t, err)
	return e
}

func photo(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 90, 60)), nil))
	return b.Bytes()
}

// TestOnlyPicturesAreThumbnails: whatever comes with a 200 and is neither a
// picture nor the original is not taken, and not kept.
func TestOnlyPicturesAreThumbnails(t *testing.T) {
	g, client := newGateway(t)
	q := newQueue(t, client)
	good := photo(t)
	original := []byte("what the service makes no thumbnail of, and so its own")
	for name, c := range map[string]struct {
		answer []byte
		want   error
	}{
		"page":     {[]byte("<!DOCTYPE html><html><body><h1>Please sign in to the network</h1></body></html>\n"), transfer.ErrMalformed},
		"json":     {[]byte(`{"error":"entity_not_found","timestamp":1}`), transfer.ErrMalformed},
		"nothing":  {nil, transfer.ErrMalformed},
		"cut":      {good[:len(good)*2/3], transfer.ErrMalformed},
		"other":    {bytes.ToUpper(original), transfer.ErrMalformed},
		"picture":  {good, nil},
		"original": {original, nil},
	} {
		e := q.picture(name, original)
		g.become(c.answer)
		r, err := q.x.OpenThumb(context.Background(), e)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err == nil {
			must(t, r.Close())
		}
		size, known := q.ix.ThumbSize(e.UUID)
		cached := q.blobs.HasCached(blob.Key{UUID: e.UUID, Thumb: true})
		if want := c.want == nil; known != want || cached != want || known && size != int64(len(c.answer)) {
			t.Errorf("%s: its size is %d, known %v, and it is cached: %v", name, size, known, cached)
		}
	}
}

// TestRefusedThumbnailIsAskedForAgain: not at once, however often somebody
// looks, but after a while.
func TestRefusedThumbnailIsAskedForAgain(t *testing.T) {
	g, client := newGateway(t)
	g.become([]byte("<html>"))
	came := make(chan index.Ino, 1)
	q := newQueue(t, client, func(c *transfer.Config) {
		c.Thumbs, c.ThumbRetry = true, time.Hour
		c.Changed = func(ino index.Ino) { came <- ino }
	})
	e := q.picture("p.jpg", []byte("some picture"))
	var asked int32
	for i := range 20 {
		q.x.WantThumb(e.UUID)
		if _, err := q.x.OpenThumb(context.Background(), e); !errors.Is(err, transfer.ErrNoThumb) {
			t.Errorf("look %d: %v", i, err)
		}
		if i == 1 { // the background's may have been under way at the first
			asked = g.asked.Load()
		}
	}
	if n := g.asked.Load(); n != asked || n > 8 {
		t.Errorf("%d requests, %d after the first looks", n, asked)
	}
	q.close()
	g.become(photo(t))
	q.conf.ThumbRetry = time.Millisecond
	q.open()
	g.become([]byte("<html>"))
	q.x.WantThumb(e.UUID)
	for before := g.asked.Load(); g.asked.Load() < before+5; { // it is tried again by itself
		time.Sleep(time.Millisecond)
	}
	g.become(photo(t))
	select {
	case <-came:
	case <-time.After(time.Minute):
		t.Fatal("it does not come")
	}
	if _, known := q.ix.ThumbSize(e.UUID); !known {
		t.Error("it has come, and is not known")
	}
}

// TestThumbnailComesByItself after an upload, and after the service was away.
func TestThumbnailComesByItself(t *testing.T) {
	g, client := newGateway(t)
	away := &faultyThumbs{Client: client}
	away.down.Store(true)
	g.become(photo(t))
	came := make(chan index.Ino, 1)
	q := newQueue(t, away, func(c *transfer.Config) {
		c.Thumbs = true
		c.Changed = func(ino index.Ino) { came <- ino }
	})
	e := q.picture("p.jpg", []byte("some picture"))
	q.x.WantThumb(e.UUID)
	for away.tries.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	away.down.Store(false)
	select {
	case <-came:
	case <-time.After(time.Minute):
		t.Fatal("it does not come")
	}
}

// faultyThumbs is a client whose service is away for a while.
type faultyThumbs struct {
	*remote.Client
	down  atomic.Bool
	tries atomic.Int32
}

func (f *faultyThumbs) Download(ctx context.Context, u entity.UUID, s entity.Secret, thumb bool) (*remote.Body, error) {
	f.tries.Add(1)
	if f.down.Load() {
		return nil, &remote.Error{Kind: remote.ErrUnavailable, Method: "GET", Path: "/org/app/chatfiles", Err: errors.New("connection refused")}
	}
	return f.Client.Download(ctx, u, s, thumb)
}
