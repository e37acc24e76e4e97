package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
)

// bbolt reads its file by way of a memory map and takes what it finds there
// for sound: at a damaged page it panics, loops or dies by a signal. So the
// file is looked at first, by read(2), as bbolt lays it out (its
// internal/common/page.go and meta.go): pages of one size, the first two of
// which are meta pages, each the head of a state of the database; a page's
// header is
//
//	number(8) | flags(2) | count of elements(2) | pages that follow as its own(4)
//
// and numbers are in the machine's order of bytes.
const (
	pageHead      = 16 // bytes
	elementSize   = 16 // of a leaf or a branch
	bucketHead    = 16 // root page(8) | sequence(8); root 0: the page follows inline
	metaSize      = 64 // of what follows a meta page's header
	boltMagic     = 0xED0CDAED
	boltVersion   = 2
	noFreelist    = ^uint64(0)
	pageBranch    = 0x01
	pageLeaf      = 0x02
	pageFreelist  = 0x10
	leafIsBucket  = 0x01
	smallestPage  = 512
	largestPage   = 16 << 20
	verifyAlways  = 8 << 20 // bytes: a file up to this size is read whole at each open
	maxTreeLevels = 64
)

var native = binary.NativeEndian

// A head is what a meta page says.
type head struct {
	pageSize uint32
	root     uint64
	freelist uint64
	pages    uint64 // the numbers of all pages are below
	tx       uint64
}

// A pageFile is a database's file under examination.
type pageFile struct {
	f    io.ReaderAt
	name string
	size int64
	head
	halfHead bool   // one of the two meta pages can't be read
	reached  []bool // the pages that the tree or the list of free ones takes
}

// examine reads what opening the database rests on, at a cost that does not
// grow with the tree: the heads, that the file is as long as they say, and the
// list of free pages.
func examine(f *os.File, path string) (*pageFile, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	p := &pageFile{f: f, name: path, size: fi.Size()}
	if err := p.readHeads(); err != nil {
		return nil, err
	}
	switch {
	case p.pages < 4 || p.root < 2 || p.root >= p.pages:
		return nil, p.damaged("its head names no tree")
	case int64(p.pages) > p.size/int64(p.pageSize):
		return nil, p.damaged("it has %d bytes, and %d pages of %d bytes belong to it", p.size, p.pages, p.pageSize)
	}
	p.reached = make([]bool, p.pages)
	if _, err := p.page(p.root); err != nil {
		return nil, err
	}
	return p, p.readFreelist()
}

func (p *pageFile) damaged(format string, args ...any) error {
	return &ErrDamaged{File: p.name, What: fmt.Sprintf(format, args...)}
}

// readHeads takes the newer of the heads that are whole, as bbolt does.
func (p *pageFile) readHeads() error {
	first, ok := p.headAt(0)
	size := int64(first.pageSize)
	if !ok { // then the second tells how large a page is
		for size = 1 << 10; size <= largestPage; size *= 2 {
			if p.head, ok = p.headAt(size); ok && int64(p.pageSize) == size {
				p.halfHead = true
				return nil
			}
		}
		return p.damaged("it has %d bytes and no head that can be read", p.size)
	}
	second, ok := p.headAt(size)
	p.head, p.halfHead = first, !ok
	if ok && second.tx > first.tx {
		p.head = second
	}
	return nil
}

// headAt reads the meta page at off.
func (p *pageFile) headAt(off int64) (h head, ok bool) {
	var b [metaSize]byte
	if _, err := p.f.ReadAt(b[:], off+pageHead); err != nil {
		return h, false
	}
	sum := fnv.New64a()
	sum.Write(b[:56])
	if native.Uint32(b[:]) != boltMagic || native.Uint32(b[4:]) != boltVersion || native.Uint64(b[56:]) != sum.Sum64() {
		return h, false
	}
	h = head{native.Uint32(b[8:]), native.Uint64(b[16:]), native.Uint64(b[32:]), native.Uint64(b[40:]), native.Uint64(b[48:])}
	return h, h.pageSize >= smallestPage && h.pageSize <= largestPage && h.pageSize&(h.pageSize-1) == 0
}

// A page is one with all that follow as its own, read and within its bounds.
type page struct {
	id    uint64
	flags uint16
	count int
	b     []byte
}

// page reads one, and notes that it is taken.
func (p *pageFile) page(id uint64) (*page, error) {
	if id < 2 || id >= p.pages {
		return nil, p.damaged("a page %d is referred to, of %d", id, p.pages)
	}
	b := make([]byte, p.pageSize)
	if err := p.read(b, id); err != nil {
		return nil, err
	}
	g := &page{native.Uint64(b), native.Uint16(b[8:]), int(native.Uint16(b[10:])), b}
	more := uint64(native.Uint32(b[12:]))
	if g.id != id || more >= p.pages-id {
		return nil, p.damaged("page %d is not as it was written", id)
	}
	if more > 0 {
		g.b = make([]byte, (more+1)*uint64(p.pageSize))
		if err := p.read(g.b, id); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (p *pageFile) read(b []byte, id uint64) error {
	_, err := p.f.ReadAt(b, int64(id)*int64(p.pageSize))
	if errors.Is(err, io.EOF) {
		return p.damaged("it ends within page %d", id)
	}
	return err
}

// take notes that the tree, or the list of free pages, has a page.
func (p *pageFile) take(id, n uint64) error {
	for ; n > 0; id, n = id+1, n-1 {
		if p.reached[id] {
			return p.damaged("page %d is in use twice", id)
		}
		p.reached[id] = true
	}
	return nil
}

func (p *pageFile) takePage(g *page) error {
	return p.take(g.id, uint64(len(g.b))/uint64(p.pageSize))
}

// readFreelist reads the list of free pages, which bbolt loads at each open.
func (p *pageFile) readFreelist() error {
	if p.freelist == noFreelist {
		return nil
	}
	g, err := p.page(p.freelist)
	if err != nil {
		return err
	}
	count, b := uint64(g.count), g.b[pageHead:]
	if count == 0xFFFF { // too many for the header
		count, b = native.Uint64(b), b[8:]
	}
	if g.flags != pageFreelist || count > uint64(len(b)/8) {
		return p.damaged("the list of free pages is not as it was written")
	}
	last := uint64(1)
	for ; count > 0; count, b = count-1, b[8:] {
		id := native.Uint64(b)
		if id <= last || id >= p.pages {
			return p.damaged("the list of free pages names page %d", id)
		}
		last = id
		p.reached[id] = true
	}
	return p.takePage(g)
}

// verifyAll walks the whole tree: every page is what it should be, in its
// place, in order, and none is missing or in use twice. p is of no use then.
func (p *pageFile) verifyAll() error {
	seen := map[string]bool{}
	err := p.walk(p.root, nil, nil, maxTreeLevels, func(e element) error {
		if e.flags != leafIsBucket || len(e.value) < bucketHead {
			return p.damaged("a table can't be read")
		}
		seen[string(e.key)] = true
		return p.verifyBucket(e.value)
	})
	if err != nil {
		return err
	}
	for _, name := range bucketNames {
		if len(seen) > 0 && !seen[string(name)] { // none at all: made a moment ago
			return p.damaged("its table %s is missing", name)
		}
	}
	for id := uint64(2); id < p.pages; id++ {
		if !p.reached[id] {
			return p.damaged("page %d is in no use, and not free", id)
		}
	}
	return nil
}

func (p *pageFile) verifyBucket(value []byte) error {
	plain := func(e element) error {
		if e.flags != 0 {
			return p.damaged("a table holds another")
		}
		return nil
	}
	if root := native.Uint64(value); root != 0 {
		return p.walk(root, nil, nil, maxTreeLevels, plain)
	}
	value = value[bucketHead:]
	if len(value) < pageHead || native.Uint16(value[8:]) != pageLeaf {
		return p.damaged("a small table can't be read")
	}
	g := &page{flags: pageLeaf, count: int(native.Uint16(value[10:])), b: value}
	return p.elements(g, nil, nil, plain)
}

// walk visits the elements of all leaves below page id. The keys must be
// between from and to; nil is no bound.
func (p *pageFile) walk(id uint64, from, to []byte, levels int, visit func(element) error) error {
	g, err := p.page(id)
	if err != nil {
		return err
	}
	if err := p.takePage(g); err != nil {
		return err
	}
	if g.flags == pageLeaf {
		return p.elements(g, from, to, visit)
	}
	if g.flags != pageBranch || g.count == 0 || levels == 0 {
		return p.damaged("page %d is not as it was written", id)
	}
	var below []element
	err = p.elements(g, from, to, func(e element) error { below = append(below, e); return nil })
	for i := 0; i < len(below) && err == nil; i++ {
		end := to
		if i+1 < len(below) {
			end = below[i+1].key
		}
		err = p.walk(below[i].child, below[i].key, end, levels-1, visit)
	}
	return err
}

// An element is one of a page's entries.
type element struct {
	flags      uint32
	key, value []byte
	child      uint64 // of a branch
}

// elements visits those of one page, which must be within it and in order.
func (p *pageFile) elements(g *page, from, to []byte, visit func(element) error) error {
	if pageHead+g.count*elementSize > len(g.b) {
		return p.damaged("page %d says that it has %d entries", g.id, g.count)
	}
	last, first := from, true
	for i := range g.count {
		e, ok := g.element(i)
		if !ok {
			return p.damaged("entry %d of page %d reaches out of it", i, g.id)
		}
		switch c := bytes.Compare(e.key, last); {
		case c < 0, c == 0 && !first, to != nil && bytes.Compare(e.key, to) >= 0, len(e.key) > bolt.MaxKeySize:
			return p.damaged("entry %d of page %d is out of order", i, g.id)
		}
		last, first = e.key, false
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

// element reads one: its key and value lie behind all elements.
func (g *page) element(i int) (e element, ok bool) {
	at := pageHead + i*elementSize
	b := g.b[at:]
	var pos, key, value uint64
	if g.flags == pageBranch {
		pos, key, e.child = uint64(native.Uint32(b)), uint64(native.Uint32(b[4:])), native.Uint64(b[8:])
	} else {
		e.flags = native.Uint32(b)
		pos, key, value = uint64(native.Uint32(b[4:])), uint64(native.Uint32(b[8:])), uint64(native.Uint32(b[12:]))
	}
	if pos < uint64((g.count-i)*elementSize) || pos+key+value > uint64(len(b)) {
		return e, false
	}
	e.key, e.value = b[pos:pos+key], b[pos+key:pos+key+value]
	return e, true
}
