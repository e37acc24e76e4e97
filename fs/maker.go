package fs

import (
	"fmt"
	"os"
	"sync"
	"time"

	"chatfs/index"
)

// makers know which threads are filling which directories. To such a thread
// the thumbnails there do not exist: cp -a of a folder that has pictures and
// files of their thumbnails' names creates these with O_EXCL, also where the
// pictures, first in order, are at the service already. A thread that lists
// the directory, or rests, sees them.
type makers struct {
	mu      sync.Mutex
	threads map[uint32]*maker
}

type maker struct {
	last time.Time // that it made a name
	dirs map[index.Ino]struct{}
}

// makerTime is longer than a copying program takes for one file.
const makerTime = 15 * time.Second

// maxMakers is from when on those that rest are looked for.
const maxMakers = 256

// note takes note that a thread made a name in dir.
func (m *makers) note(thread uint32, dir index.Ino) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.threads[thread]
	if k == nil || now.Sub(k.last) > makerTime {
		m.prune(now)
		k = &maker{dirs: make(map[index.Ino]struct{})}
		m.threads[thread] = k
	}
	k.last = now
	k.dirs[dir] = struct{}{}
}

// prune drops those that rest, and makes the table. The caller holds mu.
func (m *makers) prune(now time.Time) {
	if m.threads == nil {
		m.threads = make(map[uint32]*maker)
	}
	if len(m.threads) < maxMakers {
		return
	}
	for thread, k := range m.threads {
		if now.Sub(k.last) > makerTime {
			delete(m.threads, thread)
		}
	}
}

// fills tells whether a thread is filling dir.
func (m *makers) fills(thread uint32, dir index.Ino) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.threads[thread]
	if k == nil || time.Since(k.last) > makerTime {
		return false
	}
	_, is := k.dirs[dir]
	return is
}

// listed takes note that a thread listed dir, for all of its process.
func (m *makers) listed(thread uint32, dir index.Ino) {
	m.mu.Lock()
	var fill []uint32
	for id, k := range m.threads {
		if _, is := k.dirs[dir]; is {
			fill = append(fill, id)
		}
	}
	m.mu.Unlock()
	for _, id := range fill {
		if id == thread || sameProcess(thread, id) {
			m.forget(id, dir)
		}
	}
}

func (m *makers) forget(thread uint32, dir index.Ino) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.threads[thread]; k != nil {
		delete(k.dirs, dir)
	}
}

func sameProcess(a, b uint32) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", a, b))
	return err == nil
}
