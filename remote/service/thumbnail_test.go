package service_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"testing"
)

// corner is a photo of 300x200 pixels, too large to be its own thumbnail,
// whose top left quarter is white and the rest dark.
func corner(t *testing.T) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 300, 200))
	random := rand.New(rand.NewPCG(3, 4))
	for y := range 200 {
		for x := range 300 {
			shade := uint8(random.IntN(60))
			if x < 150 && y < 100 {
				shade = 255 - shade
			}
			img.SetGray(x, y, color.Gray{Y: shade})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// oriented puts an EXIF segment with an orientation alone behind a JPEG's
// first marker.
func oriented(photo []byte, orientation byte) []byte {
	exif := append([]byte("Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00"), orientation, 0, 0, 0, 0, 0, 0)
	head := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(exif)+2))
	return bytes.Join([][]byte{photo[:2], head, exif, photo[2:]}, nil)
}

// TestThumbnailsStandUpright: EXIF 2.3, 4.6.4 A, names the corner that the
// first row and column are at.
func TestThumbnailsStandUpright(t *testing.T) {
	f := start(t)
	photo := corner(t)
	whiteAt := map[byte]string{1: "top left", 2: "top right", 3: "bottom right", 4: "bottom left",
		5: "top left", 6: "top right", 7: "bottom right", 8: "bottom left"}
	for orientation, want := range whiteAt {
		f.put("photo.jpg", oriented(photo, orientation))
		e := f.upload(`curl -sS -H "Authorization: Bearer $TOKEN" -F file=@photo.jpg $BASE/chatfiles`)
		f.sh(`curl -sS -f -H "Authorization: Bearer $TOKEN" "$BASE/chatfiles/$UUID?thumbnail=true" -o thumb`, e.env()...)
		img, _, err := image.Decode(bytes.NewReader(f.get("thumb")))
		if err != nil {
			t.Fatalf("orientation %d: %v", orientation, err)
		}
		size := img.Bounds().Size()
		wantSize := image.Pt(170, 113)
		if orientation >= 5 {
			wantSize = image.Pt(113, 170)
		}
		if got := whiteCorner(img); size != wantSize || got != want {
			t.Errorf("orientation %d: %v with white at the %s, want %v and %s", orientation, size, got, wantSize, want)
		}
	}
}

func whiteCorner(img image.Image) string {
	b := img.Bounds()
	for name, at := range map[string]image.Point{"top left": {b.Dx() / 4, b.Dy() / 4}, "top right": {b.Dx() * 3 / 4, b.Dy() / 4},
		"bottom left": {b.Dx() / 4, b.Dy() * 3 / 4}, "bottom right": {b.Dx() * 3 / 4, b.Dy() * 3 / 4}} {
		if color.GrayModel.Convert(img.At(at.X, at.Y)).(color.Gray).Y > 128 {
			return name
		}
	}
	return "none"
}

// TestNoThumbnailOfWhatIsNone: of what is no image, or claims to be one of
// absurd size, the thumbnail is the original.
func TestNoThumbnailOfWhatIsNone(t *testing.T) {
	f := start(t)
	for name, content := range map[string][]byte{
		"text":          bytes.Repeat([]byte("no picture "), 2000),
		"cut":           corner(t)[:12_000],
		"a huge header": hugePNG(),
	} {
		f.put("file", content)
		e := f.upload(`curl -sS -H "Authorization: Bearer $TOKEN" -F file=@file $BASE/chatfiles`)
		f.sh(`curl -sS -f -H 'thumbnail: 1' -H "Authorization: Bearer $TOKEN" $BASE/chatfiles/$UUID -o thumb`, e.env()...)
		if !bytes.Equal(f.get("thumb"), content) {
			t.Errorf("%s: its thumbnail has %d bytes, want the %d of the original", name, len(f.get("thumb")), len(content))
		}
	}
}

// hugePNG says that it has 100,000 x 100,000 pixels.
func hugePNG() []byte {
	header := []byte("IHDR\x00\x01\x86\xa0\x00\x01\x86\xa0\x08\x02\x00\x00\x00")
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d" + string(header))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(header))
	return append(b, bytes.Repeat([]byte("padding "), 2000)...)
}
