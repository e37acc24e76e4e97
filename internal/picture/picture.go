package picture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"time"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
	"golang.org/x/sync/semaphore"
)

// MaxMemory bounds, in bytes, what all decoding of the process takes at once:
// what a photo of 50 megapixels takes, the most that cameras of phones make as
// a rule.
const MaxMemory = 300 << 20

// MaxTime bounds one decoding: some files of a few MB have a decoder work for
// hours.
const MaxTime = time.Minute

// Kinds of refusal.
var (
	ErrNone     = errors.New("not a picture that can be decoded")
	ErrTooLarge = errors.New("a picture that would take too much memory")
)

// A Source is the bytes of what may be a picture, from the start.
type Source interface {
	io.ReadSeeker
	io.ReaderAt
}

// A Form is how a picture is encoded; "" is none that is known.
type Form string

// The forms.
const (
	JPEG Form = "jpeg"
	PNG  Form = "png"
	GIF  Form = "gif"
	WebP Form = "webp"
	BMP  Form = "bmp"
	TIFF Form = "tiff"
)

// magic is how the forms begin; a ? stands for any byte.
var magic = []struct {
	begin string
	form  Form
}{
	{"\xff\xd8", JPEG}, {"\x89PNG\r\n\x1a\n", PNG}, {"GIF8?a", GIF}, {"RIFF????WEBP", WebP},
	{"BM????\x00\x00\x00\x00", BMP}, {"II\x2a\x00", TIFF}, {"MM\x00\x2a", TIFF},
}

// FormOf tells a content's form by its first bytes; 16 are enough.
func FormOf(head []byte) Form {
	for _, m := range magic {
		if begins(head, m.begin) {
			return m.form
		}
	}
	return ""
}

func begins(head []byte, with string) bool {
	for i := range len(with) {
		if i >= len(head) || with[i] != '?' && head[i] != with[i] {
			return false
		}
	}
	return true
}

// decoders of the forms. What a header says the others read by themselves.
var decoders = map[Form]func(io.Reader) (image.Image, error){
	JPEG: jpeg.Decode, PNG: png.Decode, GIF: gif.Decode, WebP: webp.Decode, BMP: bmp.Decode, TIFF: tiff.Decode,
}

// room is shared by all that is decoded at once.
var room = semaphore.NewWeighted(MaxMemory)

// Check decodes a picture whole and keeps nothing of it. The error is ErrNone,
// ErrTooLarge, ctx's or one of reading.
func Check(ctx context.Context, src Source) error {
	h, err := readHeader(src)
	if err != nil {
		return err
	}
	return h.decode(ctx, src, 0, func(image.Image) error { return nil })
}

// decode decodes the picture that h is of, once there is room for it and for
// scratch bytes more, and has use work with it while it is there.
func (h *header) decode(ctx context.Context, src Source, scratch int64, use func(image.Image) error) (err error) {
	defer refuse(&err)
	takes := h.memory + scratch
	if takes > MaxMemory {
		return fmt.Errorf("%w: %s, %d x %d pixels, some %d MiB", ErrTooLarge, h.form, h.width, h.height, takes>>20)
	}
	if err := room.Acquire(ctx, takes); err != nil {
		return err
	}
	defer room.Release(takes)
	if _, err = src.Seek(0, io.SeekStart); err != nil {
		return err
	}
	from := &timed{ctx: ctx, src: src, end: time.Now().Add(MaxTime)}
	var r io.Reader = from
	if h.form != TIFF { // which reads here and there
		r = bufio.NewReader(from)
	}
	img, err := decoders[h.form](r)
	switch {
	case from.err != nil:
		return from.err
	case err != nil:
		return fmt.Errorf("%w: %s: %v", ErrNone, h.form, err)
	}
	return use(img)
}

// refuse makes an error of a decoder's panic: it runs where nobody else
// recovers, on bytes of strangers.
func refuse(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: its decoder panicked: %v", ErrNone, p)
	}
}

// A timed source ends at a time, and with its context.
type timed struct {
	ctx context.Context
	src Source
	end time.Time
	err error // of reading, but for the file's end
}

// over tells whether no more may be read, and why.
func (t *timed) over() error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	if time.Now().After(t.end) {
		return fmt.Errorf("%w: it takes too long", ErrNone)
	}
	return nil
}

func (t *timed) note(n int, err error) (int, error) {
	if err != nil && !errors.Is(err, io.EOF) {
		t.err = err
	}
	return n, err
}

// Read reads on.
func (t *timed) Read(p []byte) (int, error) {
	if err := t.over(); err != nil {
		return t.note(0, err)
	}
	return t.note(t.src.Read(p))
}

// ReadAt reads anywhere. Offsets are what the file says, so any.
func (t *timed) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	if err := t.over(); err != nil {
		return t.note(0, err)
	}
	return t.note(t.src.ReadAt(p, off))
}
