package index

import (
	"sync"

	bolt "go.etcd.io/bbolt"
)

// A snapshot is a read transaction of bbolt, with the tables and cursors that
// were opened in it.
type snapshot struct {
	bolt    *bolt.Tx
	buckets [bucketCount]*bolt.Bucket
	cursors [bucketCount]*bolt.Cursor // for get alone
}

// snapshots keeps read transactions for the next tx: to begin one costs as
// much as the reads of a lookup. They are good until the next commit, which
// they would hold up, and would not see. So they are kept only while nothing
// is frozen, and given up before a commit writes.
type snapshots struct {
	mu   sync.Mutex
	idle []snapshot
}

// maxIdle is how many are kept: as many tx as may well be open at once.
const maxIdle = 16

func (p *snapshots) take() (s snapshot, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		s, p.idle = p.idle[n-1], p.idle[:n-1]
		return s, true
	}
	return s, false
}

func (p *snapshots) put(s snapshot) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) >= maxIdle {
		return false
	}
	p.idle = append(p.idle, s)
	return true
}

// drop gives all up.
func (p *snapshots) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.idle {
		_ = s.bolt.Rollback() // a read transaction: nothing can be lost
	}
	p.idle = nil
}
