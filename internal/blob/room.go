package blob

import (
	"math"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Space is what a file system has, in bytes.
type Space struct{ Total, Avail int64 }

// Free tells what staging can still take: what is free, but for the share
// that stays free (1 GiB at most), and what eviction can give.
func (s *Store) Free() (Space, error) {
	total, free, err := diskSpace(s.staging)
	if err != nil {
		return Space{}, err
	}
	return Space{total, max(free+s.evictable()-s.floor(total), 0)}, nil
}

// evictable is what eviction can give to staging.
func (s *Store) evictable() int64 {
	if !s.oneDisk {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used.bytes - s.used.inUse
}

// reserve is what stays free of a disk, in bytes.
func (s *Store) reserve(total int64) int64 { return int64(s.o.MinFree * float64(total)) }

// floorMost bounds what staging leaves of the reserve, in bytes: 5 % of a large
// disk are no reason to refuse a file, and the index needs far less.
const floorMost = 1 << 30

// floor is what staging leaves free of a disk, in bytes.
func (s *Store) floor(total int64) int64 { return min(s.reserve(total), floorMost) }

// A budget is what may be written before the disk is asked again.
type budget struct {
	mu     sync.Mutex
	bytes  int64
	until  time.Time
	free   int64 // above the floor, when last asked
	narrow int64 // below this writers are slowed
}

// Bounds of a budget: other programs fill the disk too, so it is small
// against what is free, and short.
const (
	budgetShare = 8
	budgetMost  = 64 << 20
	budgetFor   = 200 * time.Millisecond
	// slowest is the pause of a writer when the room is all but gone.
	slowest = time.Second
)

// Admit asks for room for n bytes of staged content. It never blocks: pause is
// how long the writer should hold back, so that uploads can make room, and
// grows as the room shrinks. ENOSPC: there is none, and eviction can make
// none.
func (s *Store) Admit(n int64) (pause time.Duration, err error) {
	b := &s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes < n || time.Now().After(b.until) {
		if err := s.ask(b); err != nil {
			return 0, err
		}
		if b.bytes < n {
			return 0, &os.PathError{Op: "write", Path: s.staging, Err: syscall.ENOSPC}
		}
	}
	b.bytes -= n
	b.free -= n
	if b.free >= b.narrow {
		return 0, nil
	}
	gone := 1 - float64(b.free)/float64(b.narrow)
	return time.Duration(math.Pow(gone, 2) * float64(slowest)), nil
}

// ask looks at the disk, has room made, and sets the budget. b.mu is held.
func (s *Store) ask(b *budget) error {
	total, free, err := diskSpace(s.staging)
	if err != nil {
		return err
	}
	b.narrow = s.floor(total)
	if short := b.narrow + s.floor(total) - free; s.oneDisk && short > 0 && s.makeRoom(short) {
		// Content whose staged name is not removed yet has freed nothing.
		if total, free, err = diskSpace(s.staging); err != nil {
			return err
		}
	}
	b.free = free - s.floor(total)
	b.bytes = b.free
	if share := b.free / budgetShare; share > 1<<20 {
		b.bytes = min(share, budgetMost)
	}
	b.until = time.Now().Add(budgetFor)
	return nil
}

// makeRoom evicts n bytes, as far as there are as many, and tells whether it
// evicted any.
func (s *Store) makeRoom(n int64) bool {
	before := n
	for n > 0 {
		size, ok := s.evictOne()
		if !ok {
			break
		}
		n -= size
	}
	return n < before
}

func diskSpace(dir string) (total, free int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize, nil
}

// sameDisk tells whether two directories share their free space.
func sameDisk(a, b string) (bool, error) {
	var sa, sb unix.Stat_t
	if err := unix.Stat(a, &sa); err != nil {
		return false, &os.PathError{Op: "stat", Path: a, Err: err}
	}
	if err := unix.Stat(b, &sb); err != nil {
		return false, &os.PathError{Op: "stat", Path: b, Err: err}
	}
	return sa.Dev == sb.Dev, nil
}
