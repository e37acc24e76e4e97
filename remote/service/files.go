package service

import (
	"crypto/subtle"
	"errors"
	"io"
	"io/fs"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"chatfs/internal/entity"
)

// upload answers POST /chatfiles.
func (s *Service) upload(w http.ResponseWriter, r *http.Request) *failure {
	form, f := newForm(r)
	if f != nil {
		return f
	}
	file, name, f := form.file(s.MaxSize)
	if f != nil {
		return f
	}
	content, err := s.take(file, s.MaxSize)
	defer content.close()
	switch {
	case errors.As(err, new(errDisk)):
		s.Log.WithError(err).Error("upload")
		return errStorage
	case content.size > s.MaxSize:
		return errTooLarge
	case err != nil:
		return errCut
	}
	if f := form.rest(); f != nil {
		return f
	}
	if !s.quota.take(content.size) {
		return errPlan
	}
	f = s.accept(w, r, content, s.newRecord(r, form, content.size, name))
	if f != nil {
		s.quota.give(content.size)
	}
	return f
}

func (s *Service) newRecord(r *http.Request, form *form, size int64, name string) fileRecord {
	record := fileRecord{Size: size, Name: name}
	if s.restricted(r) {
		record.Secret = random(36) // 48 characters
	}
	if s.ExpireAfter > 0 {
		record.Expires = s.Now().Add(s.ExpireAfter)
	}
	record.ThumbWidth, record.ThumbHeight = thumbSide(r, form, "width"), thumbSide(r, form, "height")
	return record
}

// thumbSide is how large the uploader wants the thumbnail to be: a header in
// one document, a field of the form in another. 0 where it does not say.
func thumbSide(r *http.Request, form *form, side string) int {
	text := r.Header.Get("thumbnail-" + side)
	if text == "" {
		text = form.fields["thumbnail-"+side]
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 1 || n > maxThumbEdge {
		return 0
	}
	return n
}

// restricted tells whether a file is: by the header's presence, whatever it
// says, or as newer documents have it, unless it says false.
func (s *Service) restricted(r *http.Request) bool {
	values := r.Header.Values("restrict-access")
	return len(values) > 0 && !(s.FalseIsOpen && strings.EqualFold(values[0], "false"))
}

func (s *Service) accept(w http.ResponseWriter, r *http.Request, content *incoming, record fileRecord) *failure {
	u, err := entity.NewUUIDAt(s.Now())
	if err == nil && content.file != nil {
		err = s.store.keep(content.file, "files", u)
	}
	if err == nil {
		err = s.store.putFile(u, record, content.small)
	}
	if err != nil {
		s.Log.WithError(err).Error("upload")
		return errStorage
	}
	s.foresee(u, content)
	s.count(func(c *Counts) { c.Uploads++ })
	e := map[string]any{"uuid": u, "type": "chatfile"}
	if record.Secret != "" {
		e["share-secret"] = record.Secret
	}
	writeJSON(w, http.StatusOK, s.envelope(r, "/chatfiles", []any{e}))
	return nil
}

func (s *Service) expired(record fileRecord) bool {
	return !record.Expires.IsZero() && s.Now().After(record.Expires)
}

// unknown answers for an entity that has no record. The real service says of a
// file that it has forgotten that it has expired, and so do we without keeping
// anything of it: its uuid tells when it was uploaded. Choice: a uuid as old
// that was never given out has expired, too, and what expired sooner than
// Config.ExpireAfter now says was never there.
func (s *Service) unknown(u entity.UUID) *failure {
	at := u.Time()
	if s.ExpireAfter > 0 && !at.IsZero() && s.Now().After(at.Add(s.ExpireAfter)) {
		return errExpired
	}
	return errNoEntity
}

// find reads an entity's record and checks the share-secret.
func (s *Service) find(r *http.Request) (entity.UUID, fileRecord, *failure) {
	var record fileRecord
	u, err := entity.ParseUUID(r.PathValue("uuid"))
	if err != nil {
		return u, record, errNoEntity
	}
	found, err := s.store.get(bucketFiles, u[:], &record)
	switch {
	case err != nil:
		return u, record, errStorage
	case !found:
		return u, record, s.unknown(u)
	case s.expired(record):
		return u, record, errExpired
	}
	if record.Secret != "" && subtle.ConstantTimeCompare([]byte(header(r, "share-secret")), []byte(record.Secret)) != 1 {
		return u, record, errSecret
	}
	return u, record, nil
}

// header is a request's header or, as clients send it too, query parameter.
func header(r *http.Request, name string) string {
	if v := r.Header.Get(name); v != "" {
		return v
	}
	return r.URL.Query().Get(name)
}

// download answers GET /chatfiles/{uuid}, whatever the client accepts.
func (s *Service) download(w http.ResponseWriter, r *http.Request) *failure {
	u, record, f := s.find(r)
	if f != nil {
		return f
	}
	thumb := wantsThumbnail(r)
	s.count(func(c *Counts) {
		if thumb {
			c.Thumbnails++
		} else {
			c.Downloads++
		}
	})
	content, err := s.content(r.Context(), u, record, thumb)
	if errors.Is(err, fs.ErrNotExist) {
		if _, _, f := s.find(r); f != nil {
			return f // it was pruned meanwhile
		}
	}
	if errors.Is(err, errNoThumbnail) {
		return errNoEntity
	}
	if r.Context().Err() != nil {
		return nil // nobody waits for an answer
	}
	if err != nil {
		s.Log.WithError(err).Errorf("download of %s", u)
		return errStorage
	}
	defer content.Close()
	s.send(w, r, u, content)
	return nil
}

func wantsThumbnail(r *http.Request) bool {
	v := header(r, "thumbnail")
	return v == "true" || v == "1"
}

// slowWriter ends an answer whose client takes nothing for too long.
type slowWriter struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
}

func (w *slowWriter) deadline() { w.control.SetWriteDeadline(time.Now().Add(w.patience)) }

// Write sets the deadline anew.
func (w *slowWriter) Write(p []byte) (int, error) {
	w.deadline()
	return w.ResponseWriter.Write(p)
}

// ReadFrom lets the kernel copy, a piece at a time. net sends a file by itself
// below one limit, not below two: a limit of src gives way to the piece's.
func (w *slowWriter) ReadFrom(src io.Reader) (int64, error) {
	const piece = 1 << 20
	from, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	whole, ok := src.(*io.LimitedReader)
	if !ok {
		whole = &io.LimitedReader{R: src, N: math.MaxInt64}
	}
	var n int64
	for {
		w.deadline()
		want := min(piece, whole.N)
		got, err := from.ReadFrom(&io.LimitedReader{R: whole.R, N: want})
		whole.N -= got
		n += got
		if err != nil || got < want || whole.N == 0 {
			return n, err
		}
	}
}

// lifetime answers the call of that name, which is bought extra.
func (s *Service) lifetime(w http.ResponseWriter, r *http.Request) *failure {
	user, f := s.authorize(r)
	if f != nil {
		return f
	}
	if !s.Lifetime || user == "" || user != strings.ToLower(r.PathValue("user")) {
		return fail(http.StatusForbidden, "forbidden_op", "the lifetime of files cannot be changed")
	}
	var in struct {
		Lifetime string        `json:"lifetime"`
		IDs      []entity.UUID `json:"chatfile_ids"`
	}
	if f := readJSON(r, &in); f != nil {
		return f
	}
	if len(in.IDs) > 100 {
		return fail(http.StatusBadRequest, "illegal_argument", "at most 100 files at once")
	}
	result := make(map[string]string)
	for _, u := range in.IDs {
		result[u.String()] = "success"
		if err := s.prolong(u, in.Lifetime); err != nil {
			result[u.String()] = "failed"
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"data": result})
	return nil
}

var errLifetime = errors.New("no such file or lifetime")

func (s *Service) prolong(u entity.UUID, lifetime string) error {
	return s.store.changeFile(u, func(record *fileRecord) error {
		if s.expired(*record) {
			return errLifetime
		}
		switch lifetime {
		case "forever":
			record.Expires = time.Time{}
		case "default", "refresh":
			if s.ExpireAfter > 0 {
				record.Expires = s.Now().Add(s.ExpireAfter)
			}
		default:
			return errLifetime
		}
		return nil
	})
}
