package entity

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/crc32"
)

// BlockSize is how many bytes of a content one of its sums is of; the last
// block may be shorter. It is what the kernel reads at once, so a reader waits
// for no byte that it has not asked for, but for the rest of one block.
const BlockSize = 128 << 10

// sumSize is how many bytes a block's sum has.
const sumSize = crc32.Size

// castagnoli is CRC-32C: processors compute it, at 10 GB/s and more, so that
// comparing costs a cold read nothing. Of what goes wrong by accident it finds
// each change of up to three bits and each burst of 32 in a block of this size,
// and of any other bytes all but one in 2^32 (Koopman, "32-bit cyclic redundancy
// codes for Internet applications", 2002).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sums are the CRC-32C of a content's blocks, by which a part of it is told
// from other bytes before the whole is here. The zero Sums are unknown, or of a
// content of one block at most, which its digest is enough for.
//
// They are no proof against a service that means ill, which can make other bytes
// of the same sum: that is the digest's part, which is compared before the last
// byte is given out, and before anything is cached or pinned.
type Sums struct{ packed string } // big-endian; a string, so that sums can be compared

// ParseSums reads what Bytes gave of a content of a size in bytes; whatever
// can't be that are no sums.
func ParseSums(b []byte, size int64) Sums {
	if size <= BlockSize || int64(len(b)) != (size+BlockSize-1)/BlockSize*sumSize {
		return Sums{}
	}
	return Sums{string(b)}
}

// Bytes are the sums as they are stored, four bytes a block.
func (s Sums) Bytes() []byte { return []byte(s.packed) }

// IsZero tells whether there are none.
func (s Sums) IsZero() bool { return s.packed == "" }

// Match tells whether a whole block, counted from 0, is what it was.
func (s Sums) Match(n int64, block []byte) bool {
	if n < 0 || (n+1)*sumSize > int64(len(s.packed)) {
		return false
	}
	sum := [sumSize]byte([]byte(s.packed[n*sumSize : (n+1)*sumSize]))
	return binary.BigEndian.Uint32(sum[:]) == crc32.Checksum(block, castagnoli)
}

// A Hasher computes a content's digest and sums in one pass. It is an
// io.Writer that never fails. The zero Hasher is of an empty content.
type Hasher struct {
	whole hash.Hash
	block uint32 // the sum of the block so far
	size  int64  // bytes
	sums  []byte // of whole blocks
}

// Write takes the content's next bytes.
func (h *Hasher) Write(p []byte) (int, error) {
	if h.whole == nil {
		h.whole = sha256.New()
	}
	h.whole.Write(p)
	for rest := p; len(rest) > 0; {
		part := rest[:min(int64(len(rest)), BlockSize-h.size%BlockSize)]
		h.block = crc32.Update(h.block, castagnoli, part)
		h.size += int64(len(part))
		if rest = rest[len(part):]; h.size%BlockSize == 0 {
			h.sums = binary.BigEndian.AppendUint32(h.sums, h.block)
			h.block = 0
		}
	}
	return len(p), nil
}

// Size is how many bytes were written.
func (h *Hasher) Size() int64 { return h.size }

// Digest is the SHA-256 of what was written.
func (h *Hasher) Digest() Digest {
	if h.whole == nil {
		return sha256.Sum256(nil)
	}
	return Digest(h.whole.Sum(nil))
}

// Sums are those of what was written.
func (h *Hasher) Sums() Sums {
	sums := h.sums
	if h.size%BlockSize > 0 {
		sums = binary.BigEndian.AppendUint32(sums[:len(sums):len(sums)], h.block)
	}
	return ParseSums(sums, h.size)
}

// Reset begins anew.
func (h *Hasher) Reset() { *h = Hasher{} }
