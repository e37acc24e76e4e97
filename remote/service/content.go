package service

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"chatfs/internal/entity"
)

// smallSize is up to what size, in bytes, a content is kept with its record,
// in the database: one commit makes many such uploads durable, where a file
// needs two fsyncs of its own.
const smallSize = 32 << 10

// An incoming is a content on its way in: in memory while it is small, else a
// file without a name.
type incoming struct {
	size  int64
	small []byte
	file  *os.File
}

func (c *incoming) close() {
	if c.file != nil {
		c.file.Close()
	}
}

// take reads a content of at most limit bytes, and one byte more to tell that
// it has more.
func (s *Service) take(src io.Reader, limit int64) (*incoming, error) {
	src = io.LimitReader(src, limit+1)
	head, err := io.ReadAll(io.LimitReader(src, smallSize+1))
	c := &incoming{size: int64(len(head)), small: head}
	if err != nil || len(head) <= smallSize {
		return c, err
	}
	c.small = nil
	if c.file, err = s.store.temp(); err != nil {
		return c, errDisk{err}
	}
	n, err := copyOut(c.file, io.MultiReader(bytes.NewReader(head), src))
	c.size = n
	return c, err
}

// errDisk is an error of ours, not of the client's.
type errDisk struct{ error }

// pieceSize of a large content are read and written at once: multipart hands
// out 4 KiB at a time.
const pieceSize = 256 << 10

var pieces = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, pieceSize) }}

// copyOut writes src to dst in large pieces, and has the disk begin with each
// at once, so that the fsync at the end finds little left to do.
func copyOut(dst *os.File, src io.Reader) (int64, error) {
	w := pieces.Get().(*bufio.Writer)
	defer pieces.Put(w)
	w.Reset(&earlyWriter{file: dst})
	defer w.Reset(nil)
	n, err := io.Copy(w, src)
	if ferr := w.Flush(); ferr != nil {
		return n, errDisk{ferr}
	}
	return n, err
}

type earlyWriter struct {
	file *os.File
	n    int64
}

// Write writes and starts the writing back.
func (w *earlyWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	if err != nil {
		return n, errDisk{err}
	}
	// A hint: fsync is what counts.
	_ = unix.SyncFileRange(int(w.file.Fd()), w.n, int64(n), unix.SYNC_FILE_RANGE_WRITE)
	w.n += int64(n)
	return n, nil
}

// content opens an entity's content, or its thumbnail.
func (s *Service) content(ctx context.Context, u entity.UUID, record fileRecord, thumb bool) (content, error) {
	if thumb {
		return s.thumbnail(ctx, u, record)
	}
	return s.original(u, record)
}

// original opens an entity's content.
func (s *Service) original(u entity.UUID, record fileRecord) (content, error) {
	if record.Size <= smallSize {
		if small, err := s.store.small(u); small != nil || err != nil {
			return memory{bytes.NewReader(small)}, err
		}
	}
	return os.Open(s.store.path("files", u))
}

// memory is a content that needs no closing.
type memory struct{ *bytes.Reader }

// Close does nothing.
func (memory) Close() error { return nil }

// send answers a content.
func (s *Service) send(w http.ResponseWriter, r *http.Request, u entity.UUID, content io.ReadSeeker) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+u.String()+`"`)
	http.ServeContent(&slowWriter{w, http.NewResponseController(w), s.Patience}, r, "", time.Time{}, content)
}
