package transfer_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
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

// A queue is a profile with its uploader, without a mount.
type queue struct {
	t     testing.TB
	dir   string
	ix    *index.Index
	blobs *blob.Store
	x     *transfer.Transfer
	conf  transfer.Config

	commit time.Duration // the index's interval
}

func newQueue(t testing.TB, r transfer.Remote, adjust ...func(*transfer.Config)) *queue {
	t.Helper()
	q := &queue{t: t, dir: t.TempDir(), conf: transfer.Config{Remote: r, Log: quiet()}}
	for _, a := range adjust {
		a(&q.conf)
	}
	q.open()
	t.Cleanup(q.close)
	return q
}

func quiet() *logrus.Entry {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return logrus.NewEntry(log)
}

func (q *queue) open() {
	q.t.Helper()
	var err error
	q.blobs, err = blob.Open(blob.Options{StateDir: q.dir, CacheDir: filepath.Join(q.dir, "cache")})
	must(q.t, err)
	q.ix, err = index.Open(q.dir, index.Options{CommitInterval: q.commit})
	must(q.t, err)
	q.conf.Index, q.conf.Blobs = q.ix, q.blobs
	q.x = transfer.New(q.conf)
	must(q.t, q.x.Start())
}

func (q *queue) close() {
	must(q.t, q.x.Close())
	must(q.t, q.ix.Close())
	must(q.t, q.blobs.Close())
}

// write gives a file content as a close does, and makes the file if need be.
func (q *queue) write(name, content string) index.Ino {
	q.t.Helper()
	d, err := q.ix.Lookup(index.Root, name)
	in := d.Inode
	if errors.Is(err, syscall.ENOENT) {
		in, err = q.ix.Create(index.Root, name, index.NewInode{Mode: syscall.S_IFREG | 0o644})
	}
	must(q.t, err)
	q.x.Hold(in.Ino)
	id := q.ix.NextStaged()
	file, err := q.blobs.CreateStaged(uint64(id))
	must(q.t, err)
	_, err = file.WriteString(content)
	must(q.t, errors.Join(err, file.Close()))
	_, err = q.ix.SetContent(in.Ino, index.Content{Staged: id, Size: int64(len(content))})
	must(q.t, err)
	q.x.Unhold(in.Ino)
	return in.Ino
}

func (q *queue) drain() {
	q.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), fusetest.Patience)
	defer cancel()
	must(q.t, q.x.Drain(ctx, nil))
}

func (q *queue) wantState(ino index.Ino, want transfer.State) {
	q.t.Helper()
	if got := q.x.State(ino); got != want {
		q.t.Errorf("inode %d is %s, want %s: %s", ino, got, want, q.x.ErrorOf(ino))
	}
}

// A script is a Remote that a test writes.
type script struct {
	mu      sync.Mutex
	uploads []string // contents, in the order of their beginning
	answer  func(ctx context.Context, content string) error
}

func (s *script) Upload(ctx context.Context, u remote.UploadRequest) (entity.Entity, error) {
	body, err := u.Open()
	if err != nil {
		return entity.Entity{}, err
	}
	defer body.Close()
	var content strings.Builder
	if _, err := io.Copy(&content, body); err != nil {
		return entity.Entity{}, err
	}
	s.mu.Lock()
	s.uploads = append(s.uploads, content.String())
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, content.String()); err != nil {
			return entity.Entity{}, err
		}
	}
	id, err := entity.NewUUID()
	return entity.Entity{UUID: id, Secret: entity.NewSecret("secret of " + id.String())}, err
}

func (s *script) Download(context.Context, entity.UUID, entity.Secret, bool) (*remote.Body, error) {
	return nil, remote.ErrUnavailable
}

func (s *script) Refresh(context.Context, []entity.UUID) ([]entity.UUID, error) {
	return nil, remote.ErrForbidden
}

func (s *script) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.uploads...)
}

func (s *script) become(answer func(context.Context, string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// unreachable is what a client says of a service that is not there.
func unreachable(context.Context, string) error {
	return &remote.Error{Kind: remote.ErrUnavailable, Method: "POST", Path: "/org/app/chatfiles", Err: errors.New("connection refused")}
}

// startService serves on an address.
func startService(t testing.TB, dir, listen string) (*service.Service, *remote.Client) {
	t.Helper()
	c := service.Config{Dir: dir, Org: "org", App: "app", Listen: listen, Log: quiet()}
	served, err := service.Start(c)
	must(t, err)
	id, secret := served.Credentials()
	client, err := remote.New(remote.Config{Base: served.Base(), ClientID: id, ClientSecret: secret, MaxRPS: -1,
		FirstPause: time.Millisecond, Log: quiet()})
	must(t, err)
	return served, client
}

// shutDown ends a service as a fault does: requests under way are cut off.
func shutDown(t testing.TB, served *service.Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := served.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
