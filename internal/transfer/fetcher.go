package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
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
// these are for bodies that are cut.
const fetchTries = 4

type fetcher struct {
	mu      sync.Mutex
	running map[blob.Key]*download
}

func (f *fetcher) init() { f.running = make(map[blob.Key]*download) }

// A download is one content that is arriving, for all its readers.
type download struct {
	dst  *blob.Download
	size int64 // bytes; -1 where that is not known

	mu    sync.Mutex
	have  int64         // bytes from the start that are here
	least int64         // that somebody waits for; noBytes if nobody does
	over  bool          // no more will come
	err   error         // why, if not all came
	news  chan struct{} // closed and replaced when the above change
	users int           // readers and the fetching goroutine
}

// A Reader reads one content, cached or arriving.
type Reader struct {
	file *blob.CachedFile // whole on the disk, or nil
	d    *download        // else
	once sync.Once
}

// Open gives a reader of e's content; it begins a download if the content is
// neither cached nor arriving.
func (t *Transfer) Open(_ context.Context, e entity.Entity) (*Reader, error) {
	return t.open(blob.Key{UUID: e.UUID}, e)
}

// OpenThumb gives a reader of e's thumbnail, whole, and records its size.
func (t *Transfer) OpenThumb(ctx context.Context, e entity.Entity) (*Reader, error) {
	r, err := t.open(blob.Key{UUID: e.UUID, Thumb: true}, e)
	if err != nil {
		return nil, err
	}
	size, err := r.Size(ctx)
	if err == nil {
		err = t.Index.SetThumbSize(e.UUID, size)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
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
	size := e.Size
	if k.Thumb {
		size = -1
	}
	dst, err := t.Blobs.NewDownload(k, size)
	if err != nil {
		return nil, err
	}
	d := &download{dst: dst, size: size, least: noBytes, news: make(chan struct{}), users: 2}
	t.fetches.running[k] = d
	t.ended.Go(func() {
		defer d.drop()
		err := t.fetch(d, k, e)
		t.fetches.mu.Lock()
		delete(t.fetches.running, k)
		t.fetches.mu.Unlock()
		d.end(err)
	})
	return &Reader{d: d}, nil
}

// fetch downloads until the content is whole and checked, within tries.
func (t *Transfer) fetch(d *download, k blob.Key, e entity.Entity) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 100 * time.Millisecond
	var err error
	for try := range fetchTries {
		if try > 0 && !t.sleep(pause.NextBackOff()) {
			return t.ctx.Err()
		}
		if err = t.fetchOnce(d, k, e); err == nil || !remote.Temporary(err) || t.ctx.Err() != nil {
			break
		}
	}
	if !k.Thumb {
		err = t.noteGone(e.UUID, err)
	}
	if err != nil {
		return err
	}
	if err := d.dst.Commit(digestOf(k, e)); err != nil {
		if errors.Is(err, blob.ErrDamaged) {
			err = fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return err
	}
	return nil
}

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

// fetchOnce asks for the content and keeps what comes.
func (t *Transfer) fetchOnce(d *download, k blob.Key, e entity.Entity) error {
	body, err := t.Remote.Download(t.ctx, e.UUID, e.Secret, k.Thumb)
	if err != nil {
		return err
	}
	defer body.Close()
	t.networkWorks()
	d.dst.Restart()
	limit := int64(maxThumb)
	if !k.Thumb {
		limit = e.Size
	}
	n, err := d.copy(io.LimitReader(body, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("entity %s: more than the %d bytes it has: %w", k, limit, ErrMalformed)
	}
	if err == nil && !k.Thumb && n < limit {
		err = fmt.Errorf("entity %s: %d of %d bytes came: %w", k, n, limit, ErrUnavailable)
	}
	return err
}

// maxThumb bounds a thumbnail, in bytes: where the service makes none it
// answers the original, of at most entity.MaxSize unless a contract says
// otherwise.
const maxThumb = 64 << 20

// noBytes are more than any content has.
const noBytes = 1 << 62

// pieceSize of a content, in bytes, are read at once.
const pieceSize = 128 << 10

// pieces are what contents are read in.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// copy takes bytes as they come and tells the readers.
func (d *download) copy(src io.Reader) (int64, error) {
	piece := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(piece)
	buf := piece[:]
	var n int64
	for {
		got, rerr := src.Read(buf)
		if _, err := d.dst.Write(buf[:got]); err != nil {
			return n, err
		}
		n += int64(got)
		d.arrived(n)
		if errors.Is(rerr, io.EOF) {
			return n, nil
		}
		if rerr != nil {
			return n, rerr
		}
	}
}

func (d *download) arrived(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.have = max(d.have, n)
	if d.have >= d.least {
		d.tell()
	}
}

func (d *download) end(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over, d.err = true, err
	d.tell()
}

// tell wakes whoever waits. The caller holds mu.
func (d *download) tell() {
	d.least = noBytes
	close(d.news)
	d.news = make(chan struct{})
}

func (d *download) use() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users++
}

// drop closes the file with its last user.
func (d *download) drop() {
	d.mu.Lock()
	d.users--
	last := d.users == 0
	d.mu.Unlock()
	if last {
		d.dst.Close()
	}
}

// wait returns once n bytes are here, or no more will come. The last bytes
// are given out only when the whole was checked.
func (d *download) wait(ctx context.Context, n int64) error {
	if d.size >= 0 && n >= d.size {
		n = noBytes
	}
	for {
		d.mu.Lock()
		enough, news, over, err := d.have >= n, d.news, d.over, d.err
		if !enough && !over {
			d.least = min(d.least, n)
		}
		d.mu.Unlock()
		if over {
			return err
		}
		if enough {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ReadAt reads like io.ReaderAt, as soon as the bytes are here. It ends early
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
