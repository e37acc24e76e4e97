package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
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
)

// entity is what the index knows of a file's content.
func (q *queue) entity(ino index.Ino) entity.Entity {
	q.t.Helper()
	in, err := q.ix.Get(ino)
	must(q.t, err)
	e, err := q.ix.Entity(in.UUID)
	must(q.t, err)
	return e
}

// hashed is a content's digest and sums.
func hashed(content []byte) (entity.Digest, entity.Sums) {
	var h entity.Hasher
	h.Write(content)
	return h.Digest(), h.Sums()
}

// TestUploadRecordsSums of each content that has more than one block.
func TestUploadRecordsSums(t *testing.T) {
	q := newQueue(t, &script{}, func(c *transfer.Config) { c.Settle = 0 })
	for name, content := range map[string]string{"small": "x", "large": strings.Repeat("0123456", 60_000)} {
		ino := q.write(name, content)
		q.drain()
		digest, sums := hashed([]byte(content))
		if e := q.entity(ino); e.Digest != digest || e.Sums != sums || e.Size != int64(len(content)) {
			t.Errorf("%s: recorded %+v", name, e)
		}
	}
}

// A rotten is a service's client before whose first upload a bit of what is
// staged changes, as a disk or memory that fails would have it.
type rotten struct {
	script
	dir string
	rot sync.Once
}

// Upload changes the bit and sends.
func (r *rotten) Upload(ctx context.Context, u remote.UploadRequest) (entity.Entity, error) {
	var err error
	r.rot.Do(func() {
		paths, _ := filepath.Glob(filepath.Join(r.dir, "staging", "*")) // the pattern is good
		for _, path := range paths {
			var b []byte
			if b, err = os.ReadFile(path); err == nil {
				b[len(b)/2] ^= 1
				err = os.WriteFile(path, b, 0o600)
			}
		}
	})
	if err != nil {
		return entity.Entity{}, err
	}
	return r.script.Upload(ctx, u)
}

// TestWhatIsSentWasExamined: the digest that is recorded is of the bytes that
// the service has got, so that they can be read again.
func TestWhatIsSentWasExamined(t *testing.T) {
	for _, size := range []int{100, 50_000, 100_000, 3 * entity.BlockSize, 500_000} {
		r := &rotten{}
		q := newQueue(t, r, func(c *transfer.Config) { c.Settle = time.Hour })
		r.dir = q.dir
		ino := q.write("a", strings.Repeat("x", size))
		q.drain()
		sent := r.sent()
		digest, _ := hashed([]byte(sent[len(sent)-1]))
		if e := q.entity(ino); e.Digest != digest || len(sent) != 1 {
			t.Errorf("%d bytes: %d contents were sent, and the digest is not of the last", size, len(sent))
		}
	}
}

// A downloads is a service that answers the n-th download, counted from 0, as
// a test says, and a profile that knows one file there.
type downloads struct {
	*queue
	content []byte
	ino     index.Ino
	log     bytes.Buffer

	mu     sync.Mutex
	asked  int
	answer func(n int, w http.ResponseWriter, r *http.Request)
}

// newDownloads has a content of three and a half blocks, of which know takes
// from the index what it shall not know.
func newDownloads(t *testing.T, know func(*entity.Entity)) *downloads {
	t.Helper()
	fusetest.Guard(t)
	d := &downloads{content: make([]byte, 7*entity.BlockSize/2)}
	for i := range d.content {
		d.content[i] = byte(i ^ i>>8 ^ i>>16)
	}
	server := httptest.NewServer(http.HandlerFunc(d.serve))
	t.Cleanup(server.Close)
	client, err := remote.New(remote.Config{Base: server.URL + "/org/app", Token: entity.NewSecret("t"), MaxRPS: -1, MaxTries: 1, ProgressTimeout: time.Hour, Log: quiet()})
	must(t, err)
	t.Cleanup(func() { client.Close() })
	log := logrus.New()
	log.SetOutput(&d.log)
	d.queue = newQueue(t, client, func(c *transfer.Config) { c.Log = logrus.NewEntry(log) })
	u, err := entity.NewUUID()
	must(t, err)
	e := entity.Entity{UUID: u, Secret: entity.NewSecret("hidden-secret"), Size: int64(len(d.content))}
	e.Digest, e.Sums = hashed(d.content)
	know(&e)
	in, err := d.ix.Create(index.Root, "a file", index.NewInode{Mode: syscall.S_IFREG | 0o644})
	must(t, err)
	in, err = d.ix.SetContent(in.Ino, index.Content{Staged: d.ix.NextStaged(), Size: e.Size})
	must(t, err)
	_, err = d.ix.Uploaded(in.Ino, in.Version, e, false)
	must(t, err)
	d.ino = in.Ino
	return d
}

func (d *downloads) serve(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	n := d.asked
	d.asked++
	d.mu.Unlock()
	d.answer(n, w, r)
}

// times is how often the service was asked.
func (d *downloads) times() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// sends answers a content as it is.
func sends(w http.ResponseWriter, content []byte) {
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	w.Write(content)
}

// cuts answers its first n bytes, and ends the connection.
func cuts(w http.ResponseWriter, content []byte, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	w.Write(content[:n])
	http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// changed is the content with one bit of a byte changed.
func (d *downloads) changed(at int) []byte {
	b := bytes.Clone(d.content)
	b[at] ^= 4
	return b
}

// reader opens the file's content.
func (d *downloads) reader() *transfer.Reader {
	d.t.Helper()
	r, err := d.x.Open(context.Background(), d.entity(d.ino))
	must(d.t, err)
	d.t.Cleanup(func() { r.Close() })
	return r
}

// wantAt reads n bytes at off, which must be right.
func (d *downloads) wantAt(r *transfer.Reader, off, n int) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), fusetest.Patience)
	defer cancel()
	b := make([]byte, n)
	if got, err := r.ReadAt(ctx, b, int64(off)); got < n || !bytes.Equal(b, d.content[off:off+n]) {
		d.t.Errorf("%d bytes at %d: %d came, wrong or with %v", n, off, got, err)
	}
}

// wantWrong reads n bytes at off, which must fail.
func (d *downloads) wantWrong(r *transfer.Reader, off, n int) {
	d.t.Helper()
	got, err := r.ReadAt(context.Background(), make([]byte, n), int64(off))
	if got != 0 || !errors.Is(err, transfer.ErrMalformed) {
		d.t.Errorf("%d bytes at %d: %d came, and %v", n, off, got, err)
	}
}

// forget drops the cached copy.
func (d *downloads) forget() {
	d.t.Helper()
	must(d.t, d.blobs.DropCached(blob.Key{UUID: d.entity(d.ino).UUID}))
}

func all(*entity.Entity)      {}
func noSums(e *entity.Entity) { e.Sums = entity.Sums{} }
func nothing(e *entity.Entity) {
	e.Sums, e.Digest = entity.Sums{}, entity.Digest{}
}

// TestOneDownloadOfSeveralAnswers: what was right of an answer that was cut, or
// went wrong, stays, and the next answers add to it what is right of them.
func TestOneDownloadOfSeveralAnswers(t *testing.T) {
	const block = entity.BlockSize
	d := newDownloads(t, all)
	d.answer = func(n int, w http.ResponseWriter, _ *http.Request) {
		switch n {
		case 0:
			cuts(w, d.content, 3*block/2) // the half of block 1 is not taken
		case 1:
			sends(w, d.changed(2*block)) // but 0 is passed over, and 1 is right
		case 2:
			sends(w, d.changed(100)) // in what is here already
		default:
			t.Error("asked once more")
		}
	}
	r := d.reader()
	d.wantAt(r, 0, len(d.content))
	if n := d.times(); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
	d.wantAt(d.reader(), 0, len(d.content)) // the cached copy
}

// TestWrongBlockNeverLeaves: it is asked for again, then the reader is told;
// the blocks before it are right and stay so, and the next reader asks anew.
func TestWrongBlockNeverLeaves(t *testing.T) {
	const block = entity.BlockSize
	d := newDownloads(t, all)
	d.answer = func(_ int, w http.ResponseWriter, _ *http.Request) { sends(w, d.changed(2*block+5)) }
	r := d.reader()
	d.wantWrong(r, 2*block, 10)
	if n := d.times(); n < 2 {
		t.Errorf("asked %d times only", n)
	}
	d.wantAt(r, block, block)
	d.wantWrong(r, 0, len(d.content))
	d.answer = func(_ int, w http.ResponseWriter, _ *http.Request) { sends(w, d.content) }
	d.wantAt(d.reader(), 0, len(d.content))
}

// TestBlockIsReadBeforeTheNextCame: no reader waits for more than its block.
func TestBlockIsReadBeforeTheNextCame(t *testing.T) {
	d := newDownloads(t, all)
	read := make(chan struct{})
	d.answer = func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(d.content)))
		w.Write(d.content[:entity.BlockSize])
		http.NewResponseController(w).Flush()
		<-read
		w.Write(d.content[entity.BlockSize:])
	}
	r := d.reader()
	d.wantAt(r, 0, 4096)
	close(read)
	d.wantAt(r, 0, len(d.content))
}

// TestOldContentIsReadWhole: without sums the first byte waits for the whole,
// compared with the digest; then the sums are known, and serve the next time.
func TestOldContentIsReadWhole(t *testing.T) {
	for _, c := range []struct {
		what string
		know func(*entity.Entity)
	}{{"no sums", noSums}, {"neither digest nor sums", nothing}} {
		t.Run(c.what, func(t *testing.T) {
			d := newDownloads(t, c.know)
			last := len(d.content) - 1
			d.answer = func(n int, w http.ResponseWriter, _ *http.Request) {
				switch {
				case n == 0 && !d.entity(d.ino).Digest.IsZero():
					sends(w, d.changed(last))
				case n == 0:
					cuts(w, d.changed(last), last)
				default:
					sends(w, d.content)
				}
			}
			r := d.reader()
			d.wantAt(r, 0, 10)
			if n := d.times(); n != 2 {
				t.Errorf("the first bytes were given out after %d answers", n)
			}
			digest, sums := hashed(d.content)
			if e := d.entity(d.ino); e.Digest != digest || e.Sums != sums {
				t.Errorf("the digest or the sums are not recorded: %+v", e)
			}
			d.forget()
			d.answer = func(_ int, w http.ResponseWriter, _ *http.Request) { cuts(w, d.content, entity.BlockSize) }
			d.wantAt(d.reader(), 0, 10)
		})
	}
}

// TestOldContentThatIsWrongIsNotRead, not even where its beginning is right.
func TestOldContentThatIsWrongIsNotRead(t *testing.T) {
	d := newDownloads(t, noSums)
	d.answer = func(_ int, w http.ResponseWriter, _ *http.Request) { sends(w, d.changed(len(d.content)-1)) }
	d.wantWrong(d.reader(), 0, 10)
	if e := d.entity(d.ino); !e.Sums.IsZero() || d.blobs.HasCached(blob.Key{UUID: e.UUID}) {
		t.Error("it is cached, or its sums are recorded")
	}
}

// TestForgedBlocksAreNotCached: where each sum is right and the whole is not,
// somebody made it so. What is left of it is given to nobody.
func TestForgedBlocksAreNotCached(t *testing.T) {
	d := newDownloads(t, func(e *entity.Entity) { e.Digest = entity.Digest{1} })
	d.answer = func(_ int, w http.ResponseWriter, _ *http.Request) { sends(w, d.content) }
	r := d.reader()
	d.wantWrong(r, 0, len(d.content))
	d.wantWrong(r, 0, 10)
	if d.blobs.HasCached(blob.Key{UUID: d.entity(d.ino).UUID}) {
		t.Error("it is cached")
	}
	if n := d.times(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestWrongAnswersAreTold by path and kind, and without a byte of them or a
// secret.
func TestWrongAnswersAreTold(t *testing.T) {
	for what, c := range map[string]struct {
		tells  string
		answer func(d *downloads, w http.ResponseWriter)
	}{
		"shorter": {"its length is 5, and was 458752 bytes", func(d *downloads, w http.ResponseWriter) { sends(w, []byte("<html")) }},
		"chunked": {"its length is 5, and was 458752 bytes", func(d *downloads, w http.ResponseWriter) {
			http.NewResponseController(w).Flush()
			w.Write([]byte("<html"))
		}},
		"longer": {"it is longer than 458752 bytes", func(d *downloads, w http.ResponseWriter) {
			w.Write(d.content)
			w.Write([]byte("<html"))
		}},
		"encoded": {"its Content-Encoding is gzip", func(d *downloads, w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			sends(w, d.content)
		}},
		"block": {"its block 3 is another", func(d *downloads, w http.ResponseWriter) { sends(w, d.changed(len(d.content)-1)) }},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDownloads(t, all)
			d.answer = func(_ int, w http.ResponseWriter, _ *http.Request) { c.answer(d, w) }
			d.wantWrong(d.reader(), 0, len(d.content))
			log := d.log.String()
			if !strings.Contains(log, "/a file: ") || !strings.Contains(log, c.tells) {
				t.Errorf("the log says\n%s", log)
			}
			if strings.Contains(log, "html") || strings.Contains(log, "hidden") {
				t.Errorf("the log tells bytes or a secret\n%s", log)
			}
		})
	}
}

// TestWrongLengthIsRefusedAtOnce, before a byte of it comes.
func TestWrongLengthIsRefusedAtOnce(t *testing.T) {
	d := newDownloads(t, noSums)
	d.answer = func(n int, w http.ResponseWriter, r *http.Request) {
		if n > 0 {
			sends(w, d.content)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(d.content)+1))
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	d.wantAt(d.reader(), 0, len(d.content))
	if n := d.times(); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
}
