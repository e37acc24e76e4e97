package picture

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"io"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

// A header is what is known of a picture before it is decoded.
type header struct {
	form          Form
	width, height int
	memory        int64 // bytes that decoding takes
	turned        int   // as EXIF has it, 1 to 8; 1 is upright
}

// readHeader reads the header at the start of src, in bounded memory.
func readHeader(src Source) (h *header, err error) {
	defer refuse(&err)
	size, err := src.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r := bufio.NewReader(src)
	head, err := r.Peek(33)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	h = &header{form: FormOf(head), turned: 1}
	switch h.form {
	case JPEG:
		err = h.readJPEG(r)
	case PNG:
		err = h.readPNG(head)
	case GIF:
		err = h.readGIF(head)
	case WebP:
		err = h.readWebP(r, head, size)
	case BMP:
		var c image.Config
		c, err = bmp.DecodeConfig(r)
		h.takes(c.Width, c.Height, 4)
	case TIFF:
		err = h.readTIFF(src)
	default:
		return nil, ErrNone
	}
	if err == nil && (h.width <= 0 || h.height <= 0) {
		err = errors.New("it has no pixels")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrNone, h.form, err)
	}
	return h, nil
}

// takes notes the dimensions, and that decoding takes that many bytes a pixel.
func (h *header) takes(width, height int, perPixel int64) {
	h.width, h.height = width, height
	h.memory = area(width, height, perPixel)
}

// area is a product of bounded size.
func area(width, height int, per int64) int64 {
	const most = 1 << 50
	if width <= 0 || height <= 0 {
		return 0
	}
	n := int64(width)
	for _, by := range []int64{int64(height), per} {
		if n > most/by {
			return most
		}
		n *= by
	}
	return n
}

var errShort = errors.New("it ends in its header")

// readPNG reads the chunk IHDR, which comes first (PNG, 11.2.2). A palette
// aside, the decoder makes 4 channels where a color shines through. Of an
// interlaced picture it has the passes beside the whole.
func (h *header) readPNG(head []byte) error {
	if len(head) < 29 {
		return errShort
	}
	width, height := be32(head[16:]), be32(head[20:])
	depth, kind, interlaced := head[24], head[25], head[28] != 0
	per := int64(4)
	switch {
	case depth == 16:
		per = 8
	case kind == 3:
		per = 1
	}
	if interlaced {
		per *= 2
	}
	h.takes(width, height, per)
	return nil
}

// readGIF reads the logical screen, within which frames are. A frame that is
// interlaced is put in order in a second copy.
func (h *header) readGIF(head []byte) error {
	if len(head) < 10 {
		return errShort
	}
	h.takes(int(head[6])|int(head[7])<<8, int(head[8])|int(head[9])<<8, 2)
	return nil
}

// trees are what the Huffman trees of a WebP without loss take at most: groups
// of 5 trees, one for each 16 pixels, up to 2,600; each up to 50 KB.
func trees(width, height int) int64 {
	const group, most = 50_000, 2600
	return min(area(width, height, 1)/16+1, most) * group
}

// readWebP: with loss 4:2:0 alone; else, or with an alpha channel, pixels of 4
// bytes twice, with the transforms, and the alpha channel. The decoder believes
// the length that the file claims, and holds that many bytes.
func (h *header) readWebP(r *bufio.Reader, head []byte, size int64) error {
	if len(head) < 16 {
		return errShort
	}
	if claims := int64(head[4]) | int64(head[5])<<8 | int64(head[6])<<16 | int64(head[7])<<24; claims+8 > size {
		return errors.New("it is cut")
	}
	lossy := string(head[12:16]) == "VP8 "
	c, err := webp.DecodeConfig(r)
	if err != nil {
		return err
	}
	if lossy {
		h.takes(c.Width, c.Height, 2)
	} else {
		h.takes(c.Width, c.Height, 11)
		h.memory += trees(c.Width, c.Height)
	}
	h.memory += size
	return nil
}

// readTIFF: the picture, and a strip or tile of at most 8 bytes a pixel whose
// buffer grows by doubling, from one into the next. A tile may be larger than the picture, up to 1,024
// pixels.
func (h *header) readTIFF(src Source) error {
	c, err := tiff.DecodeConfig(src)
	if err != nil {
		return err
	}
	h.takes(c.Width, c.Height, 8)
	h.memory += area(max(c.Width+16, 1024), max(c.Height+16, 1024), 24)
	return nil
}

func be16(b []byte) int { return int(b[0])<<8 | int(b[1]) }
func be32(b []byte) int { return be16(b)<<16 | be16(b[2:]) }
