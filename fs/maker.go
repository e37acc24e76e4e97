package fs

import (
	"fmt"
	"os"
	"sync"
	"time"

	"chatfs/index"
)

// makers know which files each thread has just made. To such a thread the
// thumbnails of these do not exist: cp -a of a folder that has pictures and
// files of their thumbnails' names creates these with O_EXCL, also where the
// pictures, first in order, are at the service already. Other thumbnails it
// sees, and these too once its process lists their directory, or it rests.
type makers struct {
	mu      sync.Mutex
	threads map[uint32]*maker
	order   []making // all, the oldest first
}

type maker struct {
	last time.Time // that it made a file
	made map[index.Ino]map[index.Ino]struct{}
}

// A making is a thread's, of a file, in a directory.
type making struct {
	thread    uint32
	dir, file index.Ino
}

const (
	// makerTime is longer than a copying program takes for one file.
	makerTime = 15 * time.Second
	// maxMakings bounds the memory; the oldest is forgotten first.
	maxMakings = 100_000
)

// note takes note that a thread made a file in dir.
func (m *makers) note(thread uint32, dir, file index.Ino) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.threads[thread]
	if k == nil || now.Sub(k.last) > makerTime {
		m.prune(now)
		k = &maker{made: make(map[index.Ino]map[index.Ino]struct{})}
		m.threads[thread] = k
	}
	k.last = now
	if k.made[dir] == nil {
		k.made[dir] = make(map[index.Ino]struct{})
	}
	k.made[dir][file] = struct{}{}
	if m.order = append(m.order, making{thread, dir, file}); len(m.order) > maxMakings {
		m.forget(m.order[0])
		m.order = m.order[1:]
	}
}

// prune drops those that rest, and makes the table. The caller holds mu.
func (m *makers) prune(now time.Time) {
	if m.threads == nil {
		m.threads = make(map[uint32]*maker)
	}
	for thread, k := range m.threads {
		if now.Sub(k.last) > makerTime {
			delete(m.threads, thread)
		}
	}
	if len(m.threads) == 0 {
		m.order = nil
	}
}

// forget drops what was made longest ago. The caller holds mu.
func (m *makers) forget(o making) {
	if k := m.threads[o.thread]; k != nil {
		delete(k.made[o.dir], o.file)
	}
}

// made tells whether a thread has just made the file in dir.
func (m *makers) made(thread uint32, dir, file index.Ino) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.threads[thread]
	if k == nil || time.Since(k.last) > makerTime {
		return false
	}
	_, is := k.made[dir][file]
	return is
}

// listed takes note that a thread listed dir, for all of its process.
func (m *makers) listed(thread uint32, dir index.Ino) {
	for _, id := range m.of(dir) {
		if id == thread || sameProcess(thread, id) {
			m.saw(id, dir)
		}
	}
}

// of are the threads that have made files in dir.
func (m *makers) of(dir index.Ino) (threads []uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, k := range m.threads {
		if k.made[dir] != nil {
			threads = append(threads, id)
		}
	}
	return threads
}

// saw has all thumbnails in dir exist for a thread.
func (m *makers) saw(thread uint32, dir index.Ino) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.threads[thread]; k != nil {
		delete(k.made, dir)
	}
}

func sameProcess(a, b uint32) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", a, b))
	return err == nil
}
