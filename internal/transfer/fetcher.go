package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"chatfs/internal/blob"
	"chatfs/internal/entity"
	"chatfs/remote"
)

// fetchTries bounds one download; the client repeats requests by itself, so
// these are for bodies that are cut, or wrong.
const fetchTries = 4

type fetcher struct {
	mu      sync.Mutex
	running map[blob.Key]*download
}

func (f *fetcher) init() { f.running = make(map[blob.Key]*download) }

// A Reader reads one content, cached or arriving.
type Reader struct {
	file *blob.CachedFile // whole on the disk, or nil
	d    *download        // else
	once sync.Once
}

// Open gives a reader of e's content; it begins a download if the content is
// neither cached nor arriving.
func (t *Transfer) Open(ctx context.Context, e entity.Entity) (*Reader, error) {
	return t.openFor(ctx, blob.Key{UUID: e.UUID}, e)
}

// openFor is open; whoever comes without forNobody has the download go first
// from now on.
func (t *Transfer) openFor(ctx context.Context, k blob.Key, e entity.Entity) (*Reader, error) {
	r, err := t.open(k, e)
	if err == nil && r.d != nil && !isForNobody(ctx) {
		r.d.wanted.Store(true)
	}
	return r, err
}

func (t *Transfer) open(k blob.Key, e entity.Entity) (*Reader, error) {
	f := &t.fetches
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.running[k]; d != nil {
		d.use()
		return &Reader{d: d}, nil
	}
	file, err := t.Blobs.OpenCached(k, digestOf(k, e))
	if err == nil {
		return &Reader{file: file}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if t.ctx.Err() != nil {
		return nil, fmt.Errorf("unmounting: %w", ErrUnavailable)
	}
	return t.begin(k, e)
}

// digestOf is the digest that k's content has, if that is known.
func digestOf(k blob.Key, e entity.Entity) entity.Digest {
	if k.Thumb {
		return entity.Digest{}
	}
	return e.Digest
}

// begin starts a download. The caller holds fetches.mu.
func (t *Transfer) begin(k blob.Key, e entity.Entity) (*Reader, error) {
	d, err := newDownload(t.Blobs, k, e)
	if err != nil {
		return nil, err
	}
	t.fetches.running[k] = d
	t.ended.Go(func() {
		defer d.drop()
		err := t.fetch(d)
		t.fetches.mu.Lock()
		delete(t.fetches.running, k)
		t.fetches.mu.Unlock()
		d.end(err)
	})
	return &Reader{d: d}, nil
}

// fetch downloads until the content is whole and right, within tries.
func (t *Transfer) fetch(d *download) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 100 * time.Millisecond
	var err error
	for try := range fetchTries {
		if try > 0 && !t.sleep(pause.NextBackOff()) {
			return t.ctx.Err()
		}
		if err = t.fetchOnce(d); errors.Is(err, ErrMalformed) {
			t.Log.WithError(err).Warnf("%s: what the service answered is not its content", t.whose(d.k))
		}
		if err == nil || !again(err) || d.spoilt || t.ctx.Err() != nil {
			break
		}
	}
	if !d.k.Thumb {
		err = t.noteGone(d.k.UUID, err)
	}
	return err
}

// whose is a path of the content's, for the log.
func (t *Transfer) whose(k blob.Key) string {
	users, err := t.Index.Users(k.UUID, 1)
	if err != nil || len(users) == 0 {
		return fmt.Sprintf("entity %s (no file has it now)", k)
	}
	path := pathOf(t.Index, users[0])
	if k.Thumb {
		path += " (thumbnail)"
	}
	return path
}

// again tells whether a download may be tried again at once. That the service
// asks to slow down, for longer than a reader waits, is for him to know.
func again(err error) bool { return remote.Temporary(err) && !errors.Is(err, remote.ErrThrottled) }

func (t *Transfer) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// fetchOnce asks for the content, and keeps what comes as far as it is right.
func (t *Transfer) fetchOnce(d *download) error {
	body, err := t.Remote.Download(remote.WithPriority(t.ctx, d.priority()), d.k.UUID, d.secret, d.k.Thumb)
	if err != nil {
		return err
	}
	defer body.Close()
	t.reached()
	if err = d.fits(body.Length); err == nil {
		err = d.take(body)
	}
	if err == nil && d.k.Thumb {
		err = t.checkCame(d)
	}
	if err == nil {
		err = d.commit()
	}
	if err == nil && !d.k.Thumb {
		t.noteSums(d)
	}
	return err
}

// noteSums records of a content that is whole what was not known of it.
func (t *Transfer) noteSums(d *download) {
	digest, sums := d.dst.Hash()
	if digest == d.digest && sums == d.sums {
		return
	}
	if err := t.Index.SetDigest(d.k.UUID, digest, sums); err != nil {
		t.Log.WithError(err).Warnf("%s: its digest could not be recorded; it is when it is fetched again", t.whose(d.k))
	}
}

// ReadAt reads like io.ReaderAt, as soon as the bytes are here and right. It ends early
// with ctx's error, or with the error that ended the download.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	file, err := r.FileFor(ctx, off+int64(len(p)))
	if err != nil {
		return 0, err
	}
	return file.ReadAt(p, off)
}

// FileFor gives a file that has the content's first n bytes, or all if it is
// shorter, as soon as they are here. It is open until Close.
func (r *Reader) FileFor(ctx context.Context, n int64) (*os.File, error) {
	if r.file != nil {
		return r.file.File, nil
	}
	if err := r.d.wait(ctx, n); err != nil {
		return nil, err
	}
	return r.d.dst.File(), nil
}

// Arrived is how many bytes of the content have come from the service so far,
// whether they may be read yet or not: while it grows, waiting helps.
func (r *Reader) Arrived() int64 {
	if r.file != nil {
		return 0
	}
	return r.d.arrivedSoFar()
}

// Failed tells whether the download failed a while ago, so that another reader
// may get what this one never will.
func (r *Reader) Failed() bool { return r.file == nil && r.d.failed() }

// WaitWhole returns once the whole content is here and checked.
func (r *Reader) WaitWhole(ctx context.Context) error {
	if r.file != nil {
		return nil
	}
	return r.d.wait(ctx, noBytes)
}

// content is the content's file, once it is whole.
func (r *Reader) content() *os.File {
	if r.file != nil {
		return r.file.File
	}
	return r.d.dst.File()
}

// Size is the content's size in bytes, once it is whole.
func (r *Reader) Size(ctx context.Context) (int64, error) {
	if err := r.WaitWhole(ctx); err != nil {
		return 0, err
	}
	info, err := r.content().Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Close gives the reader up. The download, if there is one, goes on.
func (r *Reader) Close() error {
	r.once.Do(func() {
		if r.file != nil {
			r.file.Close()
		} else {
			r.d.drop()
		}
	})
	return nil
}
