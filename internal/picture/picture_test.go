package picture

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"chatfs/internal/picture/picturetest"
)

// slack is what is allocated besides, in bytes: buffers, tables, headers.
const slack = 2 << 20

// allocated tells how many bytes f allocates, all told.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// TestMemoryIsWorkedOut holds what decoding takes against what was worked out
// from the header, for each way in which a form is decoded.
func TestMemoryIsWorkedOut(t *testing.T) {
	const w, h = 1500, 1100
	encoded := func(encode func(io.Writer) error) []byte {
		var b bytes.Buffer
		if err := encode(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	gray := image.NewGray(image.Rect(0, 0, w, h))
	deep := image.NewNRGBA64(image.Rect(0, 0, w, h))
	few := image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{color.Black, color.White})
	for name, b := range map[string][]byte{
		"jpeg":                     picturetest.JPEG{Width: w, Height: h, Components: 3}.Bytes(),
		"jpeg 4:2:0":               picturetest.JPEG{Width: w, Height: h, Components: 3, Sampling: 0x22}.Bytes(),
		"jpeg 4:1:0":               picturetest.JPEG{Width: w, Height: h, Components: 3, Sampling: 0x42}.Bytes(),
		"jpeg, one pixel wide":     picturetest.JPEG{Width: 1, Height: 60000, Components: 3, Sampling: 0x42, Progressive: true}.Bytes(),
		"jpeg gray":                picturetest.JPEG{Width: w, Height: h, Components: 1, Sampling: 0x44}.Bytes(),
		"jpeg CMYK":                picturetest.JPEG{Width: w, Height: h, Components: 4}.Bytes(),
		"jpeg CMYK 4:2:0:4":        picturetest.JPEG{Width: w, Height: h, Components: 4, Sampling: 0x22, Progressive: true}.Bytes(),
		"jpeg progressive":         picturetest.JPEG{Width: w, Height: h, Components: 3, Progressive: true}.Bytes(),
		"jpeg progressive, 4:2:0":  picturetest.JPEG{Width: w, Height: h, Components: 3, Sampling: 0x22, Progressive: true}.Bytes(),
		"png":                      picturetest.PNG(w, h, 8, false, 5000),
		"png of 16 bits":           picturetest.PNG(w, h, 16, false, 5000),
		"png interlaced":           picturetest.PNG(w, h, 8, true, 5000),
		"png of 16 bits, and that": picturetest.PNG(w, h, 16, true, 5000),
		"png gray":                 encoded(func(out io.Writer) error { return png.Encode(out, gray) }),
		"png of few colors":        encoded(func(out io.Writer) error { return png.Encode(out, few) }),
		"gif":                      picturetest.GIF(w, h, 3),
		"bmp":                      encoded(func(out io.Writer) error { return bmp.Encode(out, deep) }),
		"tiff":                     picturetest.TIFF(w, h, 5000),
		"tiff of 16 bits":          encoded(func(out io.Writer) error { return tiff.Encode(out, deep, &tiff.Options{Compression: tiff.Deflate}) }),
	} {
		src := bytes.NewReader(b)
		head, err := readHeader(src)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var failed error
		took := allocated(func() {
			failed = head.decode(context.Background(), src, 0, func(image.Image) error { return nil })
		})
		if failed != nil || took > growths*head.memory+slack {
			t.Errorf("%s: decoding took %d KiB, worked out were %d; %v", name, took>>10, head.memory>>10, failed)
		}
	}
}

// TestBombsAreRefused decodes what would take more than there may be: nothing
// of it is allocated.
func TestBombsAreRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"progressive JPEG":       picturetest.JPEG{Width: 8000, Height: 8000, Components: 3, Progressive: true}.Bytes(),
		"larger":                 picturetest.JPEG{Width: 20000, Height: 20000, Components: 3, Progressive: true}.Bytes(),
		"CMYK":                   picturetest.JPEG{Width: 8000, Height: 8000, Components: 4}.Bytes(),
		"progressive CMYK":       picturetest.JPEG{Width: 8000, Height: 8000, Components: 4, Progressive: true, Sampling: 0x22}.Bytes(),
		"PNG":                    picturetest.PNG(1, 1, 8, false, 5000)[:16],
		"interlaced PNG":         picturetest.PNG(7000, 7000, 8, true, 10),
		"GIF":                    picturetest.GIF(1, 1, 1),
		"WebP":                   picturetest.WebP(8000, 8000, 20<<10),
		"TIFF":                   picturetest.TIFF(5000, 5000, 10),
		"WebP that claims 2 GiB": append([]byte("RIFF\xff\xff\xff\x7fWEBPVP8 \xf0\xff\xff\x7f"), make([]byte, 1<<10)...),
	} {
		switch name {
		case "PNG":
			b = append(b, "\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x06\x00\x00\x00\x00\x00\x00\x00"...)
		case "GIF":
			copy(b[6:], "\xff\xff\xff\xff")
		}
		var err error
		took := allocated(func() { err = Thumbnail(context.Background(), io.Discard, bytes.NewReader(b), 170, 170) })
		if !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrNone) || took > slack {
			t.Errorf("%s of %d bytes: %v, after %d KiB", name, len(b), err, took>>10)
		}
	}
}

// TestLargePhotosAreMadeSmall: what cameras make is no bomb.
func TestLargePhotosAreMadeSmall(t *testing.T) {
	for name, j := range map[string]picturetest.JPEG{
		"50 megapixels":             {Width: 8160, Height: 6120, Components: 3, Sampling: 0x22},
		"24 megapixels, web's form": {Width: 6000, Height: 4000, Components: 3, Sampling: 0x22, Progressive: true},
	} {
		var out bytes.Buffer
		if err := Thumbnail(context.Background(), &out, bytes.NewReader(j.Bytes()), 170, 170); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c, err := jpeg.DecodeConfig(&out)
		if err != nil || c.Width != 170 || c.Height != j.Height*170/j.Width {
			t.Errorf("%s: %d x %d, %v", name, c.Width, c.Height, err)
		}
	}
}

// TestFirstFrameIsEnough: of a GIF of many frames one is decoded.
func TestFirstFrameIsEnough(t *testing.T) {
	b := picturetest.GIF(1000, 1000, 20)
	if all, err := gif.DecodeAll(bytes.NewReader(b)); err != nil || len(all.Image) != 20 {
		t.Fatalf("%v", err)
	}
	var err error
	if took := allocated(func() { err = Check(context.Background(), bytes.NewReader(b)) }); err != nil || took > 2_000_000+slack {
		t.Errorf("%d KiB were taken; %v", took>>10, err)
	}
}

// TestCheckTellsPictures looks at pictures, at parts of them, and at what a
// gateway says instead.
func TestCheckTellsPictures(t *testing.T) {
	webp := sample(t)
	photo := picturetest.JPEG{Width: 300, Height: 200, Components: 3}.Bytes()
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"JPEG": {photo, nil}, "PNG": {picturetest.PNG(30, 20, 8, false, 5000), nil}, "WebP": {webp, nil}, "GIF": {picturetest.GIF(30, 20, 1), nil},
		"TIFF": {picturetest.TIFF(30, 20, 5000), nil}, "nothing": {nil, ErrNone}, "HTML": {[]byte("<html><body>sign in</body></html>"), ErrNone},
		"JSON": {[]byte(`{"error":"entity_not_found"}`), ErrNone}, "a cut JPEG": {photo[:len(photo)/2], ErrNone},
		"a cut WebP": {webp[:len(webp)-100], ErrNone}, "a PNG's beginning": {picturetest.PNG(30, 20, 8, false, 5000)[:40], ErrNone},
		"gzip": {append([]byte("\x1f\x8b\x08"), photo...), ErrNone}, "two bytes": {[]byte("BM"), ErrNone},
	} {
		if err := Check(context.Background(), bytes.NewReader(c.content)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	flipped := picturetest.PNG(30, 20, 8, false, 5000)
	flipped[50] ^= 4
	if err := Check(context.Background(), bytes.NewReader(flipped)); !errors.Is(err, ErrNone) {
		t.Errorf("a PNG with a flipped bit: %v", err)
	}
}

// TestPanicOfADecoderIsNoPicture: the process lives on.
func TestPanicOfADecoderIsNoPicture(t *testing.T) {
	sound := decoders[GIF]
	defer func() { decoders[GIF] = sound }()
	decoders[GIF] = func(io.Reader) (image.Image, error) { panic("index out of range") }
	if err := Check(context.Background(), bytes.NewReader(picturetest.GIF(3, 2, 1))); !errors.Is(err, ErrNone) {
		t.Errorf("%v", err)
	}
	if !room.TryAcquire(MaxMemory) {
		t.Fatal("the memory that it was to take is not given back")
	}
	room.Release(MaxMemory)
}

// sample is a WebP file of x/image's own.
func sample(t *testing.T) []byte {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/image").Output()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "testdata", "yellow_rose.lossy.webp"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzThumbnail looks for what makes a decoder panic, or take more than was
// worked out.
func FuzzThumbnail(f *testing.F) {
	f.Add(picturetest.JPEG{Width: 30, Height: 20, Components: 3, Progressive: true, Sampling: 0x22}.Bytes())
	f.Add(picturetest.PNG(30, 20, 16, true, 5000))
	f.Add(picturetest.GIF(30, 20, 2))
	f.Add(picturetest.TIFF(30, 20, 5000))
	f.Add(picturetest.WebP(30, 20, 200))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := Thumbnail(context.Background(), io.Discard, bytes.NewReader(b), 170, 170)
		if err != nil && !errors.Is(err, ErrNone) && !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
	})
}
