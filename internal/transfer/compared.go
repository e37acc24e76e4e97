package transfer

import (
	"errors"
	"fmt"
	"io"

	"chatfs/internal/entity"
)

// errOther says that a staged content is not what was examined.
var errOther = errors.New("it is not what was read before")

// compared is a content on its way to the service. It is read a second time for
// that, and a block that is not what was examined ends it: else the service would
// keep bytes of another digest than is recorded, which no reader is ever given.
type compared struct {
	io.ReadCloser
	sums  entity.Sums
	block []byte // the present one
	left  []byte // of it, not read yet
	next  int64  // block
}

// newCompared reads src, a content of more than one block.
func newCompared(src io.ReadCloser, sums entity.Sums) *compared {
	return &compared{ReadCloser: src, sums: sums, block: make([]byte, entity.BlockSize)}
}

// Read gives bytes that were compared.
func (c *compared) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		n, err := io.ReadFull(c.ReadCloser, c.block)
		if n == 0 || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, err
		}
		if c.left = c.block[:n]; !c.sums.Match(c.next, c.left) {
			return 0, fmt.Errorf("block %d of the staged content: %w", c.next, errOther)
		}
		c.next++
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}
