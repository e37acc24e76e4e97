package fs

import (
	"hash/fnv"
	"sync"
	"syscall"

	"chatfs/index"
)

// placeOf is where a directory's reader stands once it was given l: a hash of
// the name, as the kernel keeps places in a listing of its own, which any
// later handle may be asked to go on from. The lowest bit tells a thumbnail
// from its picture; the highest is the sign of an off_t.
func placeOf(l listed) uint64 {
	switch l.name {
	case ".":
		return 1
	case "..":
		return 2
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(l.name)) // never fails
	place := max(h.Sum64()>>2<<1, 4)
	if l.thumb {
		place |= 1
	}
	return place
}

// pictureBits clears what tells a thumbnail's place from its picture's.
const pictureBits = ^uint64(1)

// places knows the names that went from directories which are being read,
// since a reader may stand there.
type places struct {
	mu   sync.Mutex
	dirs map[index.Ino]*readDir
}

// A readDir is a directory with handles open.
type readDir struct {
	handles int
	lost    map[uint64]string // names by place
}

func (p *places) open(dir index.Ino) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dirs == nil {
		p.dirs = make(map[index.Ino]*readDir)
	}
	d := p.dirs[dir]
	if d == nil {
		d = &readDir{lost: make(map[uint64]string)}
		p.dirs[dir] = d
	}
	d.handles++
}

func (p *places) close(dir index.Ino) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.dirs[dir]; d != nil {
		if d.handles--; d.handles == 0 {
			delete(p.dirs, dir)
		}
	}
}

// lose keeps the place of a name that is about to go.
func (p *places) lose(dir index.Ino, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.dirs[dir]; d != nil {
		d.lost[placeOf(listed{name: name})] = name
	}
}

func (p *places) lostAt(dir index.Ino, place uint64) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.dirs[dir]
	if d == nil {
		return "", false
	}
	name, ok := d.lost[place&pictureBits]
	return name, ok
}

// findPlace gives the name at a place: one that went, or one that is there,
// for which the whole directory may have to be read. EINVAL if there is none.
func (f *filesystem) findPlace(dir index.Ino, place uint64) (string, error) {
	for after := ""; ; {
		if name, ok := f.places.lostAt(dir, place); ok {
			return name, nil
		}
		entries, err := f.Index.ReadDir(dir, after, batch)
		if err != nil {
			return "", err
		}
		for _, d := range entries {
			if placeOf(listed{name: d.Name}) == place&pictureBits {
				return d.Name, nil
			}
			after = d.Name
		}
		if len(entries) < batch {
			return "", syscall.EINVAL
		}
	}
}
