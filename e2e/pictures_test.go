package e2e

import (
	"bytes"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/draw"
	"golang.org/x/image/tiff"
	_ "golang.org/x/image/webp" // a decoder
)

// testdata reads a file that a module we depend on has among its test data.
func testdata(t *testing.T, module, name string) []byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("%s: %v", module, err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// makePictures writes a picture of each form that the service makes
// thumbnails of to dir, most of 600x400 pixels, and gives their names.
func makePictures(t *testing.T, dir string) []string {
	t.Helper()
	rose := testdata(t, "golang.org/x/image", "yellow_rose.lossless.webp")
	img := scaled(t, rose, 600, 400)
	photo := encoded(t, func(b *bytes.Buffer) error { return jpeg.Encode(b, img, nil) })
	pictures := map[string][]byte{
		"photo.jpg":  photo,
		"turned.jpg": oriented(photo, 6),
		"tiny.jpg":   encoded(t, func(b *bytes.Buffer) error { return jpeg.Encode(b, scaled(t, rose, 70, 50), nil) }),
		"rose.webp":  rose,
		"photo.png":  encoded(t, func(b *bytes.Buffer) error { return png.Encode(b, img) }),
		"photo.gif":  encoded(t, func(b *bytes.Buffer) error { return gif.Encode(b, img, nil) }),
		"photo.bmp":  encoded(t, func(b *bytes.Buffer) error { return bmp.Encode(b, img) }),
		"photo.tiff": encoded(t, func(b *bytes.Buffer) error { return tiff.Encode(b, img, nil) }),
	}
	var names []string
	for name, content := range pictures {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// scaled is a picture in another size.
func scaled(t *testing.T, picture []byte, width, height int) image.Image {
	t.Helper()
	src, _, err := image.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	dst := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.BiLinear.Scale(dst, dst.Bounds(), src, src.Bounds(), draw.Src, nil)
	return dst
}

func encoded(t *testing.T, encode func(*bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// oriented puts an EXIF segment that has the orientation alone behind a
// JPEG's first marker.
func oriented(jpeg []byte, orientation byte) []byte {
	tiff := []byte{'M', 'M', 0, 42, 0, 0, 0, 8, // big-endian, the directory at 8
		0, 1, // of one entry:
		1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, // Orientation, one SHORT
		0, 0, 0, 0} // and no further directory
	segment := append([]byte("Exif\x00\x00"), tiff...)
	head := []byte{0xff, 0xe1, 0, byte(len(segment) + 2)}
	return bytes.Join([][]byte{jpeg[:2], head, segment, jpeg[2:]}, nil)
}

func dimensions(t *testing.T, path string) (width, height int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return c.Width, c.Height
}
