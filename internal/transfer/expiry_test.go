package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/entity"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
	"chatfs/remote"
	"chatfs/remote/service"
)

const day = 24 * time.Hour

// A weekly is a service that forgets after seven days, and a profile of it, on
// one clock that a test moves on.
type weekly struct {
	t       *testing.T
	dir     string
	passed  atomic.Int64 // what the clock is ahead of the true one, in nanoseconds
	bought  bool         // the service counts days anew for its users
	stored  string       // the service's directory, below dir
	cache   int64        // bytes it may take; 0 is the default
	service *service.Service
	client  *remote.Client
	blobs   *blob.Store
	index   *index.Index
	config  transfer.Config
	x       *transfer.Transfer
	files   map[string][]byte
	strays  int // that file made
}

func newWeekly(t *testing.T, keep transfer.KeepMode, bought bool) *weekly {
	t.Helper()
	fusetest.Guard(t)
	w := &weekly{t: t, dir: t.TempDir(), bought: bought, stored: "service", files: map[string][]byte{}}
	w.config = transfer.Config{Keep: keep, Retention: 7 * day, History: 30 * day, Now: w.now}
	w.serve()
	w.mount()
	t.Cleanup(func() { w.unmount(); w.stopService() })
	return w
}

func (w *weekly) now() time.Time { return time.Now().Add(time.Duration(w.passed.Load())) }

func (w *weekly) serve() {
	log := logrus.New()
	log.SetOutput(io.Discard)
	var err error
	w.service, err = service.Start(service.Config{Dir: filepath.Join(w.dir, w.stored), Org: "org", App: "app",
		ExpireAfter: 7 * day, Lifetime: w.bought, Now: w.now, Log: log.WithField("", "")})
	must(w.t, err)
	c := remote.Config{Base: w.service.Base(), MaxRPS: -1, MaxTries: 2, FirstPause: time.Millisecond}
	if w.bought {
		body := strings.NewReader(`{"username":"ann","password":"pw"}`)
		resp, err := http.Post(w.service.Base()+"/users", "application/json", body)
		must(w.t, err)
		resp.Body.Close()
		c.Username, c.Password = "ann", entity.NewSecret("pw")
	} else {
		c.ClientID, c.ClientSecret = w.service.Credentials()
	}
	w.client, err = remote.New(c)
	must(w.t, err)
	http.DefaultClient.CloseIdleConnections()
}

func (w *weekly) stopService() {
	must(w.t, w.client.Close())
	must(w.t, w.service.Shutdown(context.Background()))
}

func (w *weekly) mount() {
	var err error
	w.blobs, err = blob.Open(blob.Options{StateDir: w.dir, CacheDir: filepath.Join(w.dir, "cache"), CacheSize: w.cache})
	must(w.t, err)
	w.index, err = index.Open(w.dir, index.Options{})
	must(w.t, err)
	log := logrus.New()
	log.SetOutput(io.Discard)
	c := w.config
	c.Index, c.Blobs, c.Remote, c.Log = w.index, w.blobs, w.client, log.WithField("", "")
	w.x = transfer.New(c)
	must(w.t, w.x.Start())
}

func (w *weekly) unmount() {
	must(w.t, w.x.Close())
	if problems := w.index.Check(); len(problems) > 0 {
		w.t.Errorf("check: %v", problems)
	}
	must(w.t, w.index.Close())
	must(w.t, w.blobs.Close())
}

// put writes a file and has it uploaded.
func (w *weekly) put(name string, content []byte) {
	w.t.Helper()
	in, err := w.index.Resolve(name)
	if errors.Is(err, syscall.ENOENT) {
		in.Inode, err = w.index.Create(index.Root, name, index.NewInode{Mode: syscall.S_IFREG | 0o644})
	}
	must(w.t, err)
	id := w.index.NextStaged()
	file, err := w.blobs.CreateStaged(uint64(id))
	must(w.t, err)
	_, err = file.Write(content)
	must(w.t, errors.Join(err, file.Close()))
	_, err = w.index.SetContent(in.Inode.Ino, index.Content{Staged: id, Size: int64(len(content))})
	must(w.t, err)
	w.x.Wake(in.Inode.Ino)
	must(w.t, w.x.Wait(context.Background(), in.Inode.Ino))
	w.files[name] = content
}

// evict removes every cached copy.
func (w *weekly) evict() { must(w.t, os.RemoveAll(filepath.Join(w.dir, "cache", "entities"))) }

// live lets days pass, with a sweep each six hours of it and a remount each
// day; the cache is lost on the way, and the service restarted.
func (w *weekly) live(days int) {
	w.t.Helper()
	for d := range days {
		for range 4 {
			w.passed.Add(int64(6 * time.Hour))
			must(w.t, w.x.Sweep(context.Background()))
		}
		w.unmount()
		if w.evict(); d%3 == 1 {
			w.stopService()
			w.serve()
		}
		w.mount()
	}
}

func (w *weekly) read(name string) ([]byte, error) {
	in, err := w.index.Resolve(name)
	must(w.t, err)
	e, err := w.index.Entity(in.Inode.UUID)
	must(w.t, err)
	r, err := w.x.Open(context.Background(), e)
	must(w.t, err)
	defer r.Close()
	b := make([]byte, e.Size)
	if err := r.WaitWhole(context.Background()); err != nil {
		return nil, err
	}
	_, err = r.ReadAt(context.Background(), b, 0)
	return b, err
}

func (w *weekly) wantAll() {
	w.t.Helper()
	for name, want := range w.files {
		if got, err := w.read(name); err != nil || !bytes.Equal(got, want) {
			w.t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
		}
	}
}

func (w *weekly) entity(name string) entity.Entity {
	w.t.Helper()
	in, err := w.index.Resolve(name)
	must(w.t, err)
	e, err := w.index.Entity(in.Inode.UUID)
	must(w.t, err)
	return e
}

// pinned counts what is pinned.
func (w *weekly) pinned() int {
	w.t.Helper()
	keys, err := w.blobs.Pinned()
	must(w.t, err)
	return len(keys)
}

func content(seed uint64, size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r.Read(b)
	return b
}

func picture(t *testing.T) []byte {
	img := image.NewNRGBA(image.Rect(0, 0, 300, 200))
	copy(img.Pix, content(77, len(img.Pix)))
	var b bytes.Buffer
	must(t, png.Encode(&b, img))
	return b.Bytes()
}

// TestKeepLocalOutlivesTheService has files of different ages read for ever.
func TestKeepLocalOutlivesTheService(t *testing.T) {
	w := newWeekly(t, transfer.KeepLocal, false)
	for i := range 5 {
		w.put(fmt.Sprint("old", i), content(uint64(i), 1000+i))
	}
	w.put("picture.png", picture(t))
	first := w.entity("old0")
	w.live(2)
	w.put("young", content(50, 5000))
	w.live(3)
	if n := w.pinned(); n != 7 { // the thumbnail too
		t.Errorf("%d contents are pinned after 5 days, want 7", n)
	}
	w.put("equal", w.files["old0"])
	if w.entity("equal").UUID == first.UUID {
		t.Error("a new file took an entity that expires soon")
	}
	w.live(8)
	w.wantAll()
	if _, err := w.client.Download(context.Background(), first.UUID, first.Secret, false); !errors.Is(err, remote.ErrExpired) {
		t.Errorf("the service has the file still: %v", err)
	}
	r, err := w.x.OpenThumb(context.Background(), w.entity("picture.png"))
	must(t, err)
	r.Close()
	gone, err := w.index.Unlink(index.Root, "old1")
	must(t, err)
	_, err = w.index.Forget(gone.Inode.Ino)
	must(t, err)
	must(t, w.x.Sweep(context.Background()))
	before := w.pinned()
	w.passed.Add(int64(31 * day))
	must(t, w.x.Sweep(context.Background()))
	if n := w.pinned(); before != 9 || n != 8 {
		t.Errorf("%d, then %d are pinned; want a deleted file's until it leaves the history", before, n)
	}
}

func mustIno(t *testing.T, w *weekly, name string) index.Ino {
	in, err := w.index.Resolve(name)
	must(t, err)
	return in.Inode.Ino
}

func TestKeepRenewUploadsAgain(t *testing.T) {
	w := newWeekly(t, transfer.KeepRenew, false)
	w.put("a", content(1, 3000))
	w.put("picture.png", picture(t))
	first := w.entity("a")
	w.live(20)
	w.evict()
	w.wantAll()
	if w.entity("a").UUID == first.UUID || w.pinned() != 0 {
		t.Errorf("it is entity %s still, %d pinned", first.UUID, w.pinned())
	}
	h, err := w.index.History("/a")
	must(t, err)
	if len(h) != 5 || h[0].UUID != first.UUID { // each 3.5 days
		t.Errorf("history: %+v", h)
	}
}

func TestKeepRenewRefreshesWhereItMay(t *testing.T) {
	w := newWeekly(t, transfer.KeepRenew, true)
	for i := range 5 {
		w.put(fmt.Sprint(i), content(uint64(i), 2000))
	}
	first := w.entity("1")
	w.live(20)
	w.evict()
	w.wantAll()
	if w.entity("1").UUID != first.UUID {
		t.Error("it was uploaded again")
	}
	at, ok := w.x.Expires(first.UUID)
	if left := at.Sub(w.now()); !ok || left < 3*day || left > 7*day {
		t.Errorf("expires in %s, %v", left, ok)
	}
}

func TestKeepNoneTellsWhatIsLost(t *testing.T) {
	w := newWeekly(t, transfer.KeepNone, false)
	w.put("evicted", content(1, 1000))
	w.live(8)
	w.put("cached", content(2, 1000))
	w.passed.Add(int64(8 * day))
	must(t, w.x.Sweep(context.Background()))
	w.put("young", content(3, 1000)) // by which the service is known to be the right one
	if _, err := w.read("evicted"); !errors.Is(err, transfer.ErrExpired) {
		t.Errorf("read: %v", err)
	}
	if s := w.x.State(mustIno(t, w, "evicted")); s != transfer.StateExpired {
		t.Errorf("state %s", s)
	}
	lost, err := transfer.Lost(w.index, w.blobs)
	must(t, err)
	if len(lost) != 1 || lost[0] != mustIno(t, w, "evicted") {
		t.Errorf("lost: %v", lost)
	}
	if _, err := w.read("cached"); err != nil {
		t.Errorf("the cached one: %v", err)
	}
	w.put("again", content(1, 1000))
	if s := w.x.State(mustIno(t, w, "again")); s != transfer.StateUploaded {
		t.Errorf("the same content anew is %s", s)
	}
}

// TestDamagedCopyIsNotPinned has the true content fetched instead.
func TestDamagedCopyIsNotPinned(t *testing.T) {
	w := newWeekly(t, transfer.KeepLocal, false)
	w.put("a", content(1, 1000))
	e := w.entity("a").UUID.String()
	must(t, os.WriteFile(filepath.Join(w.dir, "cache", "entities", e[:2], e), content(2, 1000), 0o600))
	w.passed.Add(int64(4 * day))
	must(t, w.x.Sweep(context.Background()))
	w.evict()
	w.passed.Add(int64(4 * day))
	w.wantAll()
}

// TestSweepGoesOnWithoutTheService keeps what is here while the service is away,
// and the rest once it is back.
func TestSweepGoesOnWithoutTheService(t *testing.T) {
	w := newWeekly(t, transfer.KeepLocal, false)
	for i := range 4 {
		w.put(fmt.Sprint("evicted", i), content(uint64(i), 1000))
	}
	w.evict()
	w.put("here", content(9, 1000))
	must(t, w.service.Shutdown(context.Background()))
	w.passed.Add(int64(4 * day))
	if err := w.x.Sweep(context.Background()); !errors.Is(err, transfer.ErrUnavailable) || w.pinned() != 1 {
		t.Errorf("a sweep without a service: %v, %d pinned, want what is here", err, w.pinned())
	}
	w.stopTransfer()
	w.serve()
	w.mount()
	must(t, w.x.Sweep(context.Background()))
	if n := w.pinned(); n != 5 {
		t.Errorf("%d are pinned", n)
	}
	w.wantAll()
}

func (w *weekly) stopTransfer() {
	w.unmount()
	must(w.t, w.client.Close())
}
