package picture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// Markers of JPEG (ITU T.81, table B.1).
const (
	markSOF0, markSOF1, markSOF2 = 0xc0, 0xc1, 0xc2
	markRST0, markRST7           = 0xd0, 0xd7
	markEOI, markSOS             = 0xd9, 0xda
	markAPP1                     = 0xe1
)

// readJPEG walks over the segments up to the frame's header, in the very way
// of image/jpeg, so that both find the same one.
func (h *header) readJPEG(r *bufio.Reader) error {
	if _, err := r.Discard(2); err != nil {
		return err
	}
	for {
		marker, err := nextMarker(r)
		if err != nil {
			return err
		}
		if marker >= markRST0 && marker <= markRST7 {
			continue
		}
		if marker == markEOI || marker == markSOS {
			return errors.New("it has no frame")
		}
		segment, err := readSegment(r)
		if err != nil {
			return err
		}
		switch marker {
		case markSOF0, markSOF1, markSOF2:
			return h.readFrame(segment, marker == markSOF2)
		case markAPP1:
			h.readEXIF(segment)
		}
	}
}

// nextMarker skips what stands before a marker.
func nextMarker(r *bufio.Reader) (byte, error) {
	var b [2]byte
	for {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return 0, err
		}
		for b[0] != 0xff {
			next, err := r.ReadByte()
			if err != nil {
				return 0, err
			}
			b[0], b[1] = b[1], next
		}
		for b[1] == 0xff { // fill bytes
			next, err := r.ReadByte()
			if err != nil {
				return 0, err
			}
			if b[1] = next; next == 0 {
				return 0, errors.New("a marker is missing")
			}
		}
		if b[1] != 0 {
			return b[1], nil
		}
	}
}

func readSegment(r *bufio.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := be16(length[:]) - 2
	if n < 0 {
		return nil, errors.New("a segment is too short")
	}
	segment := make([]byte, n)
	_, err := io.ReadFull(r, segment)
	return segment, err
}

// readFrame works out what a frame takes (T.81, B.2.2): planes of whole MCUs,
// one byte a sample; of a progressive one all coefficients, 4 bytes a sample,
// until the end; and 4 bytes a pixel where the planes become RGB or CMYK.
func (h *header) readFrame(b []byte, progressive bool) error {
	if len(b) < 6 || len(b) != 6+3*int(b[5]) {
		return errors.New("its frame is damaged")
	}
	h.height, h.width = be16(b[1:]), be16(b[3:])
	parts := int(b[5])
	var across, down [4]int // sampling factors
	if parts != 1 && parts != 3 && parts != 4 {
		return errors.New("it has an odd number of components")
	}
	for i := range parts {
		across[i], down[i] = int(b[7+3*i]>>4), int(b[7+3*i]&15)
		if across[i] < 1 || across[i] > 4 || down[i] < 1 || down[i] > 4 {
			return errors.New("its sampling factors are damaged")
		}
	}
	if parts == 1 {
		across[0], down[0] = 1, 1 // whatever it says: T.81, A.2.2
	}
	perSample := int64(1)
	if progressive {
		perSample = 1 + 4
	}
	columns, rows := blocks(h.width, across[0]), blocks(h.height, down[0])
	for i := range parts {
		h.memory += area(columns*across[i]*8, rows*down[i]*8, perSample)
	}
	if parts > 1 {
		h.memory += area(h.width, h.height, 4)
	}
	return nil
}

// blocks is how many MCUs of so many blocks of 8 samples n pixels need.
func blocks(n, factor int) int { return (n + 8*factor - 1) / (8 * factor) }

// readEXIF reads how the camera was held: tag 274 of the first directory
// (EXIF 2.3, 4.6.4 A). What is damaged says nothing.
func (h *header) readEXIF(segment []byte) {
	const mark, entry, tagTurned = "Exif\x00\x00", 12, 274
	if len(segment) < len(mark)+8 || string(segment[:len(mark)]) != mark {
		return
	}
	b := segment[len(mark):]
	var order binary.ByteOrder = binary.BigEndian
	if b[0] == 'I' {
		order = binary.LittleEndian
	}
	at := int64(order.Uint32(b[4:]))
	if at+2 > int64(len(b)) {
		return
	}
	n := int(order.Uint16(b[at:]))
	for b = b[at+2:]; n > 0 && len(b) >= entry; n, b = n-1, b[entry:] {
		if order.Uint16(b) != tagTurned {
			continue
		}
		if turned := int(order.Uint16(b[8:])); turned >= 1 && turned <= 8 {
			h.turned = turned
		}
		return
	}
}
