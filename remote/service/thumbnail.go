package service

import (
	"cmp"
	"errors"
	"image"
	"image/color"
	_ "image/gif" // decoders by side effect, here and below
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"os"

	"github.com/disintegration/imaging"
	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"

	"chatfs/internal/entity"
)

const (
	thumbEdge   = 170      // pixels, of the API's documents
	smallEnough = 10 << 10 // bytes: such an image is its own thumbnail
	jpegQuality = 80

	maxDecoded   = 256 << 20 // bytes in memory; an image of more is not decoded
	thumbsAtOnce = 2         // are made
	maxThumbEdge = 1024      // pixels, that an uploader may ask for
)

// thumbnail opens an entity's thumbnail, which is made at the first request
// and kept. Choice: of what is no image, or none that can be decoded, it is
// the original.
func (s *Service) thumbnail(u entity.UUID, record fileRecord) (io.ReadSeekCloser, error) {
	if record.Size <= smallEnough {
		return s.content(u, record, false)
	}
	path := s.store.path("thumbs", u)
	if f, err := os.Open(path); err == nil {
		return f, nil
	}
	s.thumbs <- struct{}{}
	defer func() { <-s.thumbs }()
	original, err := s.content(u, record, false)
	if err != nil {
		return nil, err
	}
	if err = s.makeThumbnail(u, original, record); errors.Is(err, errNoImage) {
		_, err = original.Seek(0, io.SeekStart)
		return original, err
	}
	original.Close()
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

var errNoImage = errors.New("no image")

func (s *Service) makeThumbnail(u entity.UUID, original io.ReadSeeker, record fileRecord) error {
	img, err := decode(original)
	if err != nil {
		return err
	}
	tmp, err := s.store.temp()
	if err != nil {
		return err
	}
	defer tmp.Close()
	if err = encode(tmp, imaging.Fit(img, cmp.Or(record.ThumbWidth, thumbEdge), cmp.Or(record.ThumbHeight, thumbEdge), imaging.Box)); err == nil {
		err = s.store.keep(tmp, "thumbs", u)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // made at the same time
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

// decode reads an image of bounded size, turned as its EXIF data says.
func decode(src io.ReadSeeker) (image.Image, error) {
	config, _, err := image.DecodeConfig(src)
	if err != nil || config.Width <= 0 || config.Height <= 0 || config.Width > maxDecoded/config.Height/bytesPerPixel(config.ColorModel) {
		return nil, errNoImage
	}
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	img, err := imaging.Decode(src, imaging.AutoOrientation(true))
	if err != nil {
		return nil, errNoImage
	}
	return img, nil
}

func bytesPerPixel(m color.Model) int {
	if m == color.RGBA64Model || m == color.NRGBA64Model {
		return 8
	}
	return 4
}

// encode writes PNG where something shines through, else JPEG.
func encode(w io.Writer, img *image.NRGBA) error {
	if img.Opaque() {
		return jpeg.Encode(w, img, &jpeg.Options{Quality: jpegQuality})
	}
	return png.Encode(w, img)
}
