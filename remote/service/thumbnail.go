package service

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"chatfs/internal/entity"
	"chatfs/internal/picture"
)

const (
	thumbEdge    = 170      // pixels, of the API's documents
	smallEnough  = 10 << 10 // bytes: such an image is its own thumbnail
	maxThumbEdge = 1024     // pixels, that an uploader may ask for
	// originalMost is up to what size, in bytes, a picture whose decoding would
	// take too much is its own thumbnail. A larger one has none.
	originalMost = 256 << 10
)

// thumbnail opens an entity's thumbnail, once it is made. Choice: of what is no
// picture, or a damaged one, it is the original.
func (s *Service) thumbnail(ctx context.Context, u entity.UUID, record fileRecord) (content, error) {
	if record.Size <= smallEnough {
		return s.original(u, record)
	}
	path := s.store.path("thumbs", u)
	if f, err := os.Open(path); err == nil {
		return f, nil
	}
	err := s.thumbs.wait(ctx, u)
	switch {
	case err == nil:
		return os.Open(path)
	case errors.Is(err, picture.ErrTooLarge) && record.Size > originalMost:
		return nil, errNoThumbnail
	case errors.Is(err, picture.ErrNone), errors.Is(err, picture.ErrTooLarge):
		return s.original(u, record)
	}
	return nil, err
}

// errNoThumbnail is of a picture that has none.
var errNoThumbnail = errors.New("it has no thumbnail")

// foresee has the thumbnail made of what was uploaded just now, if that begins
// as a picture does.
func (s *Service) foresee(u entity.UUID, c *incoming) {
	head := c.small
	if c.file != nil {
		head = make([]byte, 16)
		if _, err := c.file.ReadAt(head, 0); err != nil {
			return
		}
	}
	if c.size > smallEnough && picture.FormOf(head) != "" {
		s.thumbs.ask(u)
	}
}

// makeThumbnail makes an entity's thumbnail and keeps it.
func (s *Service) makeThumbnail(u entity.UUID) error {
	var record fileRecord
	found, err := s.store.get(bucketFiles, u[:], &record)
	if err == nil && !found {
		err = fs.ErrNotExist
	}
	if err != nil {
		return err
	}
	src, err := s.original(u, record)
	if err != nil {
		return err
	}
	defer src.Close()
	tmp, err := s.store.temp()
	if err != nil {
		return err
	}
	defer tmp.Close()
	if err = picture.Thumbnail(s.ctx, tmp, src, cmp.Or(record.ThumbWidth, thumbEdge), cmp.Or(record.ThumbHeight, thumbEdge)); err == nil {
		err = s.store.keep(tmp, "thumbs", u)
	}
	if errors.Is(err, fs.ErrExist) { // of an earlier time
		return nil
	}
	if err != nil {
		return err
	}
	// Its entity may have been pruned, and its thumbnail not found, meanwhile.
	if found, err := s.store.has(bucketFiles, u[:]); found || err != nil {
		return err
	}
	return removeIfThere(s.store.path("thumbs", u))
}

// content is what is sent.
type content interface {
	picture.Source
	io.Closer
}
