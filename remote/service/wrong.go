package service

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"go.etcd.io/bbolt"

	"chatfs/internal/entity"
)

// wrongBytes are the faults that answer a download of a content, or of a
// thumbnail where they are kept to those, with 200 and other bytes.
var wrongBytes = map[string]func(*Service, *wrongAnswer) error{
	"page":   (*Service).page,
	"gzip":   (*Service).gzip,
	"flip":   (*Service).flip,
	"swap":   (*Service).swap,
	"longer": (*Service).longer,
}

// A wrongAnswer is a right one that is held back until it is made a wrong one.
type wrongAnswer struct {
	entity entity.UUID
	thumb  bool
	header http.Header
	status int
	body   bytes.Buffer
	length bool // the answer tells its Content-Length
}

// Header is the answer's.
func (a *wrongAnswer) Header() http.Header { return a.header }

// WriteHeader keeps the status.
func (a *wrongAnswer) WriteHeader(status int) { a.status = status }

// Write keeps the bytes.
func (a *wrongAnswer) Write(p []byte) (int, error) { return a.body.Write(p) }

// wrong answers with what a fault makes of the right bytes. Other answers stay
// as they are.
func (s *Service) wrong(kind string, w http.ResponseWriter, r *http.Request, h handler) *failure {
	u, _ := entity.ParseUUID(r.PathValue("uuid")) // of none there is no content
	a := &wrongAnswer{entity: u, thumb: wantsThumbnail(r), header: make(http.Header), status: http.StatusOK, length: true}
	if f := h(a, r); f != nil {
		return f
	}
	if a.status == http.StatusOK {
		if err := wrongBytes[kind](s, a); err != nil {
			s.Log.WithError(err).Errorf("fault %s", kind)
			return errStorage
		}
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	if !a.length {
		w.Header().Del("Content-Length")
	}
	w.WriteHeader(a.status)
	if !a.length {
		_ = http.NewResponseController(w).Flush() // else a short body's is told
	}
	_, _ = w.Write(a.body.Bytes()) // a client that has left is no fault
	return nil
}

// page is what a gateway may say instead, as long as the content.
func (s *Service) page(a *wrongAnswer) error {
	const head, tail = "<html><body><h1>Please sign in to the network</h1><!--", "--></body></html>\n"
	pad := max(0, a.body.Len()-len(head)-len(tail))
	a.body.Reset()
	a.body.WriteString(head)
	a.body.Write(bytes.Repeat([]byte{' '}, pad))
	a.body.WriteString(tail)
	a.header.Set("Content-Type", "text/html")
	return nil
}

// gzip encodes, though nobody asked for it.
func (s *Service) gzip(a *wrongAnswer) error {
	plain := bytes.Clone(a.body.Bytes())
	a.body.Reset()
	a.header.Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(&a.body)
	if _, err := z.Write(plain); err != nil {
		return err
	}
	return z.Close()
}

// flip changes one bit.
func (s *Service) flip(a *wrongAnswer) error {
	if b := a.body.Bytes(); len(b) > 0 {
		bit := s.Faults.intN(8 * len(b))
		b[bit/8] ^= 1 << (bit % 8)
	}
	return nil
}

// swap answers another file's bytes: of the same length where there is such a
// file, none where there is no other.
func (s *Service) swap(a *wrongAnswer) error {
	size := int64(a.body.Len())
	a.body.Reset()
	u, record, found, err := s.store.another(a.entity, size)
	if err != nil || !found {
		return err
	}
	content, err := s.content(s.ctx, u, record, a.thumb)
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.Copy(&a.body, content)
	return err
}

// longer has bytes after the content's end, and tells no length.
func (s *Service) longer(a *wrongAnswer) error {
	a.length = false
	_, err := a.body.WriteString("and more")
	return err
}

// anotherLook is how many files are looked at to find one of a size.
const anotherLook = 1000

// another finds a file other than u, of the given size in bytes if one is near.
func (s *store) another(u entity.UUID, size int64) (other entity.UUID, record fileRecord, found bool, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketFiles).Cursor()
		k, v := c.Seek(u[:])
		for range anotherLook {
			if k == nil {
				k, v = c.First()
			}
			if k == nil {
				break
			}
			var r fileRecord
			if err := json.Unmarshal(v, &r); err != nil {
				return err
			}
			if at := entity.UUID(k); at != u && (!found || r.Size == size) {
				other, record, found = at, r, true
				if r.Size == size {
					break
				}
			}
			k, v = c.Next()
		}
		return nil
	})
	return other, record, found, err
}
