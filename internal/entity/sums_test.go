package entity

import (
	"bytes"
	"crypto/sha256"
	"hash/crc32"
	"math/rand/v2"
	"testing"
	"time"
)

// TestHasherIsOnePass compares it with two, for sizes about whole blocks and
// in pieces of all lengths.
func TestHasherIsOnePass(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var h Hasher
	for _, size := range []int{0, 1, BlockSize - 1, BlockSize, BlockSize + 1, 3*BlockSize - 1, 3 * BlockSize, 3*BlockSize + 1} {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(r.Uint32())
		}
		h.Reset()
		for rest := content; len(rest) > 0; {
			n := 1 + r.IntN(len(rest))
			h.Write(rest[:n])
			rest = rest[n:]
		}
		sums := h.Sums()
		if h.Digest() != Digest(sha256.Sum256(content)) || h.Size() != int64(size) || sums != h.Sums() {
			t.Errorf("%d bytes: another digest, or %d bytes", size, h.Size())
		}
		if size <= BlockSize != sums.IsZero() {
			t.Errorf("%d bytes: sums %x", size, sums.Bytes())
		}
		if back := ParseSums(sums.Bytes(), int64(size)); back != sums {
			t.Errorf("%d bytes: %x came back as %x", size, sums.Bytes(), back.Bytes())
		}
		if sums.IsZero() {
			continue
		}
		for n := int64(0); n*BlockSize < int64(size); n++ {
			block := bytes.Clone(content[n*BlockSize : min((n+1)*BlockSize, int64(size))])
			if !sums.Match(n, block) {
				t.Errorf("%d bytes: block %d is said to be another", size, n)
			}
			bit := r.IntN(8 * len(block))
			block[bit/8] ^= 1 << (bit % 8)
			if sums.Match(n, block) || sums.Match(n, block[:len(block)-1]) {
				t.Errorf("%d bytes: another block %d was taken", size, n)
			}
		}
		if sums.Match(-1, nil) || sums.Match(int64(size/BlockSize)+1, nil) {
			t.Errorf("%d bytes: a block that it has not was taken", size)
		}
	}
}

// TestSumsAreCastagnoli, as written down: an index outlives the process.
func TestSumsAreCastagnoli(t *testing.T) {
	var h Hasher
	h.Write(bytes.Repeat([]byte("123456789"), BlockSize))
	block := bytes.Repeat([]byte("123456789"), BlockSize)[:BlockSize]
	want := crc32.Checksum(block, crc32.MakeTable(0x82f63b78))
	if got := h.Sums().Bytes(); len(got) != 9*4 || !bytes.Equal(got[:4], []byte{byte(want >> 24), byte(want >> 16), byte(want >> 8), byte(want)}) {
		t.Errorf("%x, want %x first", got, want)
	}
}

// TestStrangeSumsAreNone: what a damaged record has is not compared with.
func TestStrangeSumsAreNone(t *testing.T) {
	for _, c := range []struct {
		size int64
		n    int
	}{{BlockSize, 4}, {BlockSize + 1, 4}, {BlockSize + 1, 9}, {2 * BlockSize, 12}, {-1, 0}, {0, 4}} {
		if s := ParseSums(make([]byte, c.n), c.size); !s.IsZero() {
			t.Errorf("%d bytes of sums were taken for a content of %d", c.n, c.size)
		}
	}
}
