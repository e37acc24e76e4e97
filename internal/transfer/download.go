package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"chatfs/internal/blob"
	"chatfs/internal/entity"
)

// A download is one content that is arriving, for all its readers. What its
// readers see was compared first: a block with its sum, so that it is right
// whatever answer it came from, or else the whole with its digest. Of a content
// without either, as a thumbnail is, the whole is what there is.
type download struct {
	k      blob.Key
	secret entity.Secret
	size   int64 // bytes; negative where that is not known
	digest entity.Digest
	sums   entity.Sums // none: nothing is readable before the whole is
	dst    *blob.Download
	spoilt bool        // blocks that were right make another whole; the fetching goroutine's
	wanted atomic.Bool // somebody waits for it

	mu    sync.Mutex
	have  int64         // bytes from the start that may be read
	came  int64         // bytes, in all answers
	least int64         // of have, that somebody waits for; noBytes if nobody does
	over  bool          // no more will come
	err   error         // why, if not all came
	ended time.Time     // when over was set
	news  chan struct{} // closed and replaced when the above change
	users int           // readers and the fetching goroutine
}

// newDownload makes one with a reader.
func newDownload(blobs *blob.Store, k blob.Key, e entity.Entity) (*download, error) {
	d := &download{k: k, secret: e.Secret, size: e.Size, digest: e.Digest, sums: e.Sums,
		least: noBytes, news: make(chan struct{}), users: 2}
	if k.Thumb {
		d.size, d.digest, d.sums = -1, entity.Digest{}, entity.Sums{}
	}
	var err error
	d.dst, err = blobs.NewDownload(k, d.size)
	return d, err
}

// maxThumb bounds a content whose size is not known, a thumbnail, in bytes:
// where the service makes none it answers the original, of at most
// entity.MaxSize unless a contract says otherwise.
const maxThumb = 64 << 20

// noBytes are more than any content has.
const noBytes = 1 << 62

// pieceSize of a content, in bytes, are read at once.
const pieceSize = entity.BlockSize

// pieces are what contents are read in.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// fits compares the length that an answer tells, if it does, before a byte of
// it is taken.
func (d *download) fits(length int64) error {
	if d.size >= 0 && length >= 0 && length != d.size {
		return d.wrong("its length is %d, and was %d bytes", length, d.size)
	}
	return nil
}

// wrong is an answer that is not the content.
func (d *download) wrong(format string, args ...any) error {
	return fmt.Errorf("entity %s: %s: %w", d.k, fmt.Sprintf(format, args...), ErrMalformed)
}

// take keeps an answer, a block at a time. Blocks that are here already are
// passed over: another answer's bytes never come over right ones.
func (d *download) take(body io.Reader) error {
	piece := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(piece)
	n, limit := d.resume(), int64(maxThumb)
	if d.size >= 0 {
		limit = d.size
	}
	if _, err := io.CopyN(io.Discard, body, n); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	src := io.LimitReader(body, limit-n+1)
	for {
		got, err := io.ReadFull(src, piece[:])
		over := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		switch end := n + int64(got); {
		case err != nil && !over:
			return err
		case end > limit:
			return d.wrong("it is longer than %d bytes", limit)
		case over && end < d.size:
			return d.wrong("its length is %d, and was %d bytes", end, d.size)
		}
		if err := d.keep(n, piece[:got]); err != nil || over {
			return err
		}
		n += int64(got)
	}
}

// resume tells where the content goes on with the next answer.
func (d *download) resume() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.have == 0 {
		d.dst.Restart()
	}
	return d.have
}

// keep takes the block that begins at n, if it is the right one, and lets it be
// read.
func (d *download) keep(n int64, block []byte) error {
	if len(block) == 0 {
		return nil
	}
	if !d.sums.IsZero() && !d.sums.Match(n/entity.BlockSize, block) {
		return d.wrong("its block %d is another", n/entity.BlockSize)
	}
	if _, err := d.dst.Write(block); err != nil {
		return err
	}
	d.arrived(int64(len(block)))
	return nil
}

// arrived counts n bytes more.
func (d *download) arrived(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.came += n
	if d.sums.IsZero() {
		return
	}
	d.have += n
	if d.have >= d.least {
		d.tell()
	}
}

// commit compares the whole with its digest, and caches it. Where each block
// was right and the whole is not, no other answer helps: somebody made one
// that has the same sums. What was given out of it is given out no more.
func (d *download) commit() error {
	err := d.dst.Commit(d.digest)
	if !errors.Is(err, blob.ErrDamaged) {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spoilt, d.have = d.have > 0, 0
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

func (d *download) end(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over, d.err, d.ended = true, err, time.Now()
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

// wait returns once n bytes may be read, or no more will come. The last bytes
// are given out only when the whole was compared with its digest.
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
		if enough {
			return nil
		}
		if over {
			return err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// failedFor is how long a failure is the answer to who reads on: the kernel asks
// twice for what it could not read ahead.
const failedFor = time.Second

// failed tells whether the download ended without the whole, and some time ago.
func (d *download) failed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over && d.err != nil && time.Since(d.ended) > failedFor
}

// arrivedSoFar is how many bytes have come, right or not, in all answers.
func (d *download) arrivedSoFar() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.came
}
