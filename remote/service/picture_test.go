package service_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"chatfs/internal/fusetest"
	"chatfs/internal/picture/picturetest"
)

// picture is of four colors, a quarter each, with noise so that it stays
// larger than what is its own thumbnail.
func picture(w, h int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	r := rand.New(rand.NewPCG(1, 2))
	for y := range h {
		for x := range w {
			n := uint8(r.Uint32() % 32)
			c := color.NRGBA{n, n, n, 255}
			switch {
			case x < w/2 && y < h/2:
				c.R += 200
			case y < h/2:
				c.G += 200
			case x < w/2:
				c.B += 200
			}
			img.SetNRGBA(x, y, c)
		}
	}
	return img
}

// noise is of few colors, so that a GIF is made without ado.
func noise(w, h int) *image.Paletted {
	img := image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{color.Black, color.White, color.RGBA{255, 0, 0, 255}, color.RGBA{0, 255, 0, 255}})
	for i := range img.Pix {
		img.Pix[i] = uint8(rand.N(4))
	}
	return img
}

func jpegPicture(t *testing.T, w, h int) []byte {
	var b bytes.Buffer
	must(t, jpeg.Encode(&b, picture(w, h), &jpeg.Options{Quality: 95}))
	return b.Bytes()
}

// size tells a picture's form and size.
func size(t *testing.T, b []byte) string {
	c, form, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return fmt.Sprintf("%d bytes: %v", len(b), err)
	}
	return fmt.Sprintf("%s %dx%d", form, c.Width, c.Height)
}

func (s *served) thumb(content []byte) []byte {
	s.t.Helper()
	return []byte(s.get(s.put("a", string(content)), "thumbnail", "true"))
}

// TestThumbnailsOfEachForm are at most 170x170, of the picture's proportions.
func TestThumbnailsOfEachForm(t *testing.T) {
	s := serve(t)
	img := picture(400, 200)
	encode := map[string]func(*bytes.Buffer) error{
		"jpeg": func(b *bytes.Buffer) error { return jpeg.Encode(b, img, nil) },
		"png":  func(b *bytes.Buffer) error { return png.Encode(b, img) },
		"gif":  func(b *bytes.Buffer) error { return gif.Encode(b, noise(400, 200), nil) },
		"bmp":  func(b *bytes.Buffer) error { return bmp.Encode(b, img) },
		"tiff": func(b *bytes.Buffer) error { return tiff.Encode(b, img, &tiff.Options{Compression: tiff.Deflate}) },
	}
	for name, f := range encode {
		var b bytes.Buffer
		must(t, f(&b))
		if b.Len() <= 10<<10 {
			t.Fatalf("%s: %d bytes are their own thumbnail", name, b.Len())
		}
		if got := size(t, s.thumb(b.Bytes())); got != "jpeg 170x85" {
			t.Errorf("%s: %s", name, got)
		}
	}
	see := picture(400, 200)
	for i := 3; i < len(see.Pix); i += 4 {
		see.Pix[i] = uint8(i)
	}
	var b bytes.Buffer
	must(t, png.Encode(&b, see))
	if got := size(t, s.thumb(b.Bytes())); got != "png 170x85" {
		t.Errorf("one that shines through: %s", got)
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/image").Output()
	must(t, err)
	photo, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "testdata", "yellow_rose.lossy.webp"))
	must(t, err)
	want, err := webp.DecodeConfig(bytes.NewReader(photo))
	must(t, err)
	if got := size(t, s.thumb(photo)); !strings.HasPrefix(got, "jpeg ") || !strings.Contains(got, "170") || want.Width < 171 {
		t.Errorf("webp of %dx%d: %s", want.Width, want.Height, got)
	}
}

// TestThumbnailIsTheOriginal of small pictures, of what is no picture, and of
// pictures that cannot or must not be decoded.
func TestThumbnailIsTheOriginal(t *testing.T) {
	s := serve(t)
	var small bytes.Buffer
	must(t, jpeg.Encode(&small, picture(60, 40), nil))
	photo := jpegPicture(t, 400, 200)
	for name, content := range map[string][]byte{
		"small": small.Bytes(), "text": bytes.Repeat([]byte("no picture "), 5000), "cut": photo[:len(photo)/2][:12<<10],
		"a bomb": append(bomb(t, 50000, 50000), make([]byte, 20<<10)...), "a deep bomb": append(bomb(t, 1<<31-1, 1<<31-1), make([]byte, 20<<10)...),
		"out of its palette": tiffOutOfPalette(),
	} {
		if got := s.thumb(content); !bytes.Equal(got, content) {
			t.Errorf("%s of %d bytes: %s", name, len(content), size(t, got))
		}
	}
}

// bomb is the beginning of a PNG of that size.
func bomb(t *testing.T, w, h uint32) []byte {
	var b bytes.Buffer
	must(t, png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 1, 1))))
	raw := b.Bytes()
	binary.BigEndian.PutUint32(raw[16:], w)
	binary.BigEndian.PutUint32(raw[20:], h)
	binary.BigEndian.PutUint32(raw[29:], crc(raw[12:29]))
	return raw
}

func crc(b []byte) uint32 {
	c := ^uint32(0)
	for _, x := range b {
		c ^= uint32(x)
		for range 8 {
			c = c>>1 ^ 0xedb88320&-(c&1)
		}
	}
	return ^c
}

// tiffOutOfPalette is a picture of 200x200 with pixels of color 200, and a
// palette of two.
func tiffOutOfPalette() []byte {
	const pixels, palette, entries = 8, 8 + 200*200, 8 + 200*200 + 12
	b := []byte("II\x2a\x00")
	b = binary.LittleEndian.AppendUint32(b, entries)
	b = append(b, bytes.Repeat([]byte{200}, 200*200)...)
	b = append(b, make([]byte, 12)...)
	tags := [][4]uint32{{256, 3, 1, 200}, {257, 3, 1, 200}, {258, 3, 1, 8}, {259, 3, 1, 1}, {262, 3, 1, 3}, {273, 4, 1, pixels},
		{277, 3, 1, 1}, {278, 3, 1, 200}, {279, 4, 1, 200 * 200}, {320, 3, 6, palette}}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(tags)))
	for _, t := range tags {
		b = binary.LittleEndian.AppendUint16(b, uint16(t[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(t[1]))
		b = binary.LittleEndian.AppendUint32(b, t[2])
		b = binary.LittleEndian.AppendUint32(b, t[3])
	}
	return append(b, 0, 0, 0, 0)
}

// TestPictureBombs uploads pictures of some KiB to MiB whose decoding would
// take GiB, and asks for their thumbnails: the service takes what a photo
// does, and answers with the original where that is small, else with none.
func TestPictureBombs(t *testing.T) {
	s := serve(t)
	for name, c := range map[string]struct {
		content []byte
		none    bool
	}{
		"progressive JPEG": {picturetest.JPEG{Width: 7000, Height: 7000, Components: 3, Progressive: true}.Bytes(), true},
		"CMYK JPEG":        {picturetest.JPEG{Width: 7900, Height: 7900, Components: 4, Progressive: true, Sampling: 0x22}.Bytes(), true},
		"interlaced PNG":   {picturetest.PNG(7500, 7500, 8, true, 40), false},
		"TIFF":             {picturetest.TIFF(7000, 7000, 40), false},
		"WebP":             {picturetest.WebP(7000, 7000, 300<<10), true},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c.content = append(c.content, make([]byte, 11<<10)...) // not small enough to be its own thumbnail at once
		e := s.put("bomb", string(c.content))
		answer := s.do("GET", "/chatfiles/"+e.UUID, "", "thumbnail", "true", "share-secret", e.secret())
		body, err := io.ReadAll(answer.Body)
		must(t, errors.Join(err, answer.Body.Close()))
		runtime.ReadMemStats(&after)
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 64 {
			t.Errorf("%s of %d KiB: %d MiB were allocated", name, len(c.content)>>10, took)
		}
		if status := answer.StatusCode; c.none && status != http.StatusNotFound || !c.none && (status != http.StatusOK || !bytes.Equal(body, c.content)) {
			t.Errorf("%s of %d KiB: answered %d, %d bytes", name, len(c.content)>>10, status, len(body))
		}
	}
}

// TestThumbnailIsMadeAtTheUpload: nobody has asked for it, and the answer to
// the upload did not wait for it.
func TestThumbnailIsMadeAtTheUpload(t *testing.T) {
	s := serve(t)
	u := s.put("photo.jpg", string(jpegPicture(t, 400, 300)))
	fusetest.Eventually(t, "a thumbnail that nobody asked for", func() error {
		found, err := filepath.Glob(filepath.Join(s.Dir, "thumbs", "*", u.UUID))
		if err == nil && len(found) != 1 {
			err = fmt.Errorf("there are %d", len(found))
		}
		return err
	})
	if got := size(t, []byte(s.get(u, "thumbnail", "true"))); got != "jpeg 170x127" {
		t.Errorf("it is %s", got)
	}
}
