package transfer_test

import (
	"strings"
	"testing"

	"chatfs/index"
	"chatfs/internal/entity"
	"chatfs/internal/transfer"
)

// entity is what the index knows of a file's content.
func (q *queue) entity(ino index.Ino) entity.Entity {
	q.t.Helper()
	in, err := q.ix.Get(ino)
	must(q.t, err)
	e, err := q.ix.Entity(in.UUID)
	must(q.t, err)
	return e
}

// hashed is a content's digest and sums.
func hashed(content string) (entity.Digest, entity.Sums) {
	var h entity.Hasher
	h.Write([]byte(content))
	return h.Digest(), h.Sums()
}

// TestUploadRecordsSums of each content that has more than one block.
func TestUploadRecordsSums(t *testing.T) {
	q := newQueue(t, &script{}, func(c *transfer.Config) { c.Settle = 0 })
	for name, content := range map[string]string{"small": "x", "large": strings.Repeat("0123456", 60_000)} {
		ino := q.write(name, content)
		q.drain()
		digest, sums := hashed(content)
		if e := q.entity(ino); e.Digest != digest || e.Sums != sums || e.Size != int64(len(content)) {
			t.Errorf("%s: recorded %+v", name, e)
		}
	}
}
