// Package picture decodes pictures that strangers made: JPEG, PNG, GIF, WebP,
// BMP and TIFF, of the first frame alone.
//
// # Promises
//
// What decoding will take is worked out from the header before it begins:
// dimensions times what the decoder of the form keeps for each pixel. All
// decoding of a process together takes at most MaxMemory; a picture that would
// take more is refused with ErrTooLarge, and anything that is no picture, or is
// damaged so that it can be told, with ErrNone. A decoder that has had MaxTime
// gets no more bytes, and one that panics has found no picture.
//
// # Limitations
//
// What a decoder takes follows from the source of image/... and
// golang.org/x/image, as of Go 1.26 and x/image 0.47. JPEG, BMP, GIF and WebP
// have no sums: of a flipped bit they may show another picture, not an error.
// The orientation that cameras note is read in JPEG alone.
package picture
