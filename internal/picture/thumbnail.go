package picture

import (
	"context"
	"image"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/draw"
)

// jpegQuality is of thumbnails, of 100.
const jpegQuality = 80

// Thumbnail writes a picture made smaller, so that it fits into width x height
// pixels, and turned as its camera was: PNG where something shines through,
// else JPEG. The error is as Check's, or w's.
func Thumbnail(ctx context.Context, w io.Writer, src Source, width, height int) error {
	h, err := readHeader(src)
	if err != nil {
		return err
	}
	if h.turned >= 5 { // it lies on its side
		width, height = height, width
	}
	width, height = fit(h.width, h.height, width, height)
	// The scaler keeps 4 floats for each pixel of the picture's height and the
	// thumbnail's width.
	scratch := area(width, h.height, 32)
	return h.decode(ctx, src, scratch, func(img image.Image) error {
		small := image.NewRGBA(image.Rect(0, 0, width, height))
		draw.BiLinear.Scale(small, small.Bounds(), img, img.Bounds(), draw.Src, nil)
		return encode(w, turn(small, h.turned))
	})
}

// fit gives the size, of the picture's proportions, that fits into a box, and
// is not larger than the picture.
func fit(width, height, boxWidth, boxHeight int) (w, h int) {
	switch {
	case width <= boxWidth && height <= boxHeight:
		return width, height
	case width*boxHeight > height*boxWidth:
		return boxWidth, max(height*boxWidth/width, 1)
	}
	return max(width*boxHeight/height, 1), boxHeight
}

// turn sets a picture upright.
func turn(img *image.RGBA, turned int) *image.RGBA {
	if turned <= 1 {
		return img
	}
	w, h := img.Rect.Dx(), img.Rect.Dy()
	to := image.Rect(0, 0, w, h)
	if turned >= 5 {
		to = image.Rect(0, 0, h, w)
	}
	out := image.NewRGBA(to)
	for y := range to.Dy() {
		for x := range to.Dx() {
			out.SetRGBA(x, y, img.RGBAAt(from(turned, x, y, w, h)))
		}
	}
	return out
}

// from is where in a picture of w x h pixels the pixel is that belongs to x, y
// once it is upright: EXIF 2.3, 4.6.4 A.
func from(turned, x, y, w, h int) (int, int) {
	switch turned {
	case 2:
		return w - 1 - x, y
	case 3:
		return w - 1 - x, h - 1 - y
	case 4:
		return x, h - 1 - y
	case 5:
		return y, x
	case 6:
		return y, h - 1 - x
	case 7:
		return w - 1 - y, h - 1 - x
	}
	return w - 1 - y, x
}

func encode(w io.Writer, img *image.RGBA) error {
	if img.Opaque() {
		return jpeg.Encode(w, img, &jpeg.Options{Quality: jpegQuality})
	}
	return png.Encode(w, img)
}
