// Package picturetest makes pictures for tests: large ones of few bytes.
package picturetest

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
)

// A JPEG says how one is made.
type JPEG struct {
	Width, Height int
	Components    int // 1, 3 or 4 (CMYK)
	Progressive   bool
	Sampling      byte // of the first component and the fourth: 0x11, 0x22 …; 0 is 0x11
}

// Bytes makes a valid picture of one shade, of two bits a block at most.
func (j JPEG) Bytes() []byte {
	if j.Sampling == 0 {
		j.Sampling = 0x11
	}
	b := bytes.NewBufferString("\xff\xd8")
	if j.Components == 4 {
		segment(b, 0xee, append([]byte("Adobe"), make([]byte, 7)...))
	}
	segment(b, 0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...))
	frame := []byte{8, byte(j.Height >> 8), byte(j.Height), byte(j.Width >> 8), byte(j.Width), byte(j.Components)}
	scan := []byte{byte(j.Components)}
	blocks := 0
	for i := range j.Components {
		sampling := byte(0x11)
		if i == 0 || i == 3 {
			sampling = j.Sampling
		}
		blocks += int(sampling>>4) * int(sampling&15)
		frame = append(frame, byte(i+1), sampling, 0)
		scan = append(scan, byte(i+1), 0)
	}
	kind, bits, last := byte(0xc0), 2, byte(63)
	if j.Progressive {
		kind, bits, last = 0xc2, 1, 0
	}
	segment(b, kind, frame)
	for _, class := range []byte{0x00, 0x10} { // one code of one bit, which stands for 0
		segment(b, 0xc4, append([]byte{class, 1}, make([]byte, 16)...))
	}
	segment(b, 0xda, append(scan, 0, last, 0))
	across, down := int(j.Sampling>>4)*8, int(j.Sampling&15)*8
	mcus := ((j.Width + across - 1) / across) * ((j.Height + down - 1) / down)
	b.Write(make([]byte, mcus*blocks*bits/8+1))
	b.WriteString("\xff\xd9")
	return b.Bytes()
}

func segment(b *bytes.Buffer, marker byte, content []byte) {
	n := len(content) + 2
	b.Write([]byte{0xff, marker, byte(n >> 8), byte(n)})
	b.Write(content)
}

// PNG makes a picture of one shade, interlaced or not, of 8 or 16 bits a
// channel, with an alpha channel. It ends after so many rows at most.
func PNG(width, height, depth int, interlaced bool, most int) []byte {
	b := bytes.NewBufferString("\x89PNG\r\n\x1a\n")
	header := binary.BigEndian.AppendUint32(nil, uint32(width))
	header = binary.BigEndian.AppendUint32(header, uint32(height))
	header = append(header, byte(depth), 6, 0, 0, 0)
	var data bytes.Buffer
	z := zlib.NewWriter(&data)
	rows := [][2]int{{width, height}}
	if interlaced {
		header[12] = 1
		rows = nil
		for _, p := range [][4]int{{8, 8, 0, 0}, {8, 8, 4, 0}, {4, 8, 0, 4}, {4, 4, 2, 0}, {2, 4, 0, 2}, {2, 2, 1, 0}, {1, 2, 0, 1}} {
			if w, h := (width-p[2]+p[0]-1)/p[0], (height-p[3]+p[1]-1)/p[1]; w > 0 && h > 0 {
				rows = append(rows, [2]int{w, h})
			}
		}
	}
	for _, pass := range rows {
		row := make([]byte, 1+pass[0]*depth/2)
		for range min(pass[1], most) {
			z.Write(row)
		}
		most -= min(pass[1], most)
	}
	z.Close()
	for _, c := range []struct {
		kind string
		data []byte
	}{{"IHDR", header}, {"IDAT", data.Bytes()}, {"IEND", nil}} {
		binary.Write(b, binary.BigEndian, uint32(len(c.data)))
		body := append([]byte(c.kind), c.data...)
		b.Write(body)
		binary.Write(b, binary.BigEndian, crc32.ChecksumIEEE(body))
	}
	return b.Bytes()
}

// GIF makes a picture of black frames, each as large as the whole.
func GIF(width, height, frames int) []byte {
	size := []byte{byte(width), byte(width >> 8), byte(height), byte(height >> 8)}
	b := bytes.NewBufferString("GIF89a")
	b.Write(size)
	b.Write([]byte{0x80, 0, 0, 0, 0, 0, 255, 255, 255})
	lzw := zeros(width * height)
	for range frames {
		b.Write([]byte{0x2c, 0, 0, 0, 0})
		b.Write(size)
		b.Write([]byte{0x40, 2}) // interlaced
		for rest := lzw; len(rest) > 0; {
			n := min(len(rest), 255)
			b.WriteByte(byte(n))
			b.Write(rest[:n])
			rest = rest[n:]
		}
		b.WriteByte(0)
	}
	b.WriteByte(0x3b)
	return b.Bytes()
}

// zeros is n pixels of color 0 in GIF's LZW: of literals alone, with a clear
// code before codes become longer.
func zeros(n int) []byte {
	const clear, end, width = 4, 5, 3
	var out []byte
	var acc, bits uint32
	put := func(code uint32) {
		acc |= code << bits
		for bits += width; bits >= 8; bits -= 8 {
			out = append(out, byte(acc))
			acc >>= 8
		}
	}
	for i := range n {
		if i%2 == 0 {
			put(clear)
		}
		put(0)
	}
	put(end)
	return append(out, byte(acc))
}

// WebP makes the header of a picture without loss, of so many bytes.
func WebP(width, height, size int) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WEBPVP8L\x00\x00\x00\x00\x2f")
	binary.LittleEndian.PutUint32(b[4:], uint32(size-8))
	binary.LittleEndian.PutUint32(b[16:], uint32(size-20))
	b = binary.LittleEndian.AppendUint32(b, uint32(width-1)|uint32(height-1)<<14)
	return append(b, make([]byte, size-len(b))...)
}

// TIFF makes a picture of one shade, gray of 8 bits, in one strip, deflated. It
// ends after so many rows at most.
func TIFF(width, height, most int) []byte {
	var strip bytes.Buffer
	z := zlib.NewWriter(&strip)
	row := make([]byte, width)
	for range min(height, most) {
		z.Write(row)
	}
	z.Close()
	b := []byte("II\x2a\x00\x08\x00\x00\x00")
	tags := [][4]uint32{{256, 4, 1, uint32(width)}, {257, 4, 1, uint32(height)}, {258, 3, 1, 8}, {259, 3, 1, 8}, {262, 3, 1, 1},
		{273, 4, 1, 0}, {277, 3, 1, 1}, {278, 4, 1, uint32(height)}, {279, 4, 1, uint32(strip.Len())}}
	tags[5][3] = uint32(8 + 2 + 12*len(tags) + 4)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(tags)))
	for _, t := range tags {
		b = binary.LittleEndian.AppendUint16(b, uint16(t[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(t[1]))
		b = binary.LittleEndian.AppendUint32(b, t[2])
		b = binary.LittleEndian.AppendUint32(b, t[3])
	}
	return append(append(b, 0, 0, 0, 0), strip.Bytes()...)
}
