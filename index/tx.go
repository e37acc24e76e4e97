package index

import (
	"bytes"
	"encoding/binary"
	"sort"
	"strings"
	"unsafe"

	"github.com/tidwall/btree"
	bolt "go.etcd.io/bbolt"
)

// An overlay holds what bbolt does not have yet: bucket byte and key → value.
// A nil value says that the key was deleted. Stored values are never empty.
type overlay = btree.Map[string, []byte]

// present is the value of keys that say all by being there.
var present = []byte{1}

// A change is one key's new value; nil deletes it.
type change struct {
	key   string // bucket byte, then the key
	value []byte
}

// A tx sees the overlays over bbolt and, in an update, its own changes over
// both. It lives inside one store.view or store.update.
type tx struct {
	s              *store
	active, frozen *overlay
	alone          bool // it holds no lock, so commits go on
	snapshot            // opened when first needed
	keyBuf         []byte
	changes        []change   // sorted by key
	named          []StagedID // contents that an inode has from here on
	unnamed        []StagedID // and those that none has any more
	after          []func()   // run once the changes are applied
	err            error      // bbolt could not be read
}

// bucket opens a table of bbolt, nil if it can't be.
func (t *tx) bucket(b bucket) *bolt.Bucket {
	if t.buckets[b] != nil {
		return t.buckets[b]
	}
	if t.bolt == nil && !t.open() {
		return nil
	}
	if t.buckets[b] == nil {
		t.buckets[b] = t.bolt.Bucket(bucketNames[b])
	}
	return t.buckets[b]
}

// open takes a snapshot of bbolt, or makes one.
func (t *tx) open() bool {
	if t.shares() {
		if s, ok := t.s.idle.take(); ok {
			t.snapshot = s
			return true
		}
	}
	if t.bolt, t.err = t.s.db.Begin(false); t.err != nil {
		t.bolt = nil
		return false
	}
	return true
}

// shares tells whether the snapshot is as good for another tx: no commit is
// under way, and none can begin while this one holds store.mu.
func (t *tx) shares() bool { return !t.alone && t.frozen.Len() == 0 }

// done lets go of bbolt's pages; values read before are invalid from here on.
func (t *tx) done() {
	if t.bolt == nil || t.shares() && t.s.idle.put(t.snapshot) {
		return
	}
	_ = t.bolt.Rollback() // a read transaction: nothing can be lost
}

// view of b and key as one string, valid until the next call.
func (t *tx) key(b bucket, key []byte) string {
	t.keyBuf = append(append(t.keyBuf[:0], byte(b)), key...)
	return unsafe.String(&t.keyBuf[0], len(t.keyBuf))
}

// get is the value, nil if there is none. It is valid until the tx ends.
func (t *tx) get(b bucket, key []byte) []byte {
	k := t.key(b, key)
	if i, ok := t.findChange(k); ok {
		return t.changes[i].value
	}
	if v, ok := t.active.Get(k); ok {
		return v
	}
	if v, ok := t.frozen.Get(k); ok {
		return v
	}
	return t.getBolt(b, key)
}

// getBolt seeks with one cursor a table: bbolt's own Get makes one each time.
func (t *tx) getBolt(b bucket, key []byte) []byte {
	bk := t.bucket(b)
	if bk == nil {
		return nil
	}
	c := t.cursors[b]
	if c == nil {
		c = bk.Cursor()
		t.cursors[b] = c
	}
	if k, v := c.Seek(key); bytes.Equal(k, key) && k != nil {
		return v
	}
	return nil
}

func (t *tx) has(b bucket, key []byte) bool { return t.get(b, key) != nil }

func (t *tx) findChange(k string) (int, bool) {
	if len(t.changes) == 0 {
		return 0, false
	}
	return sort.Find(len(t.changes), func(i int) int { return strings.Compare(k, t.changes[i].key) })
}

// put sets a value; the tx keeps it, so it must not be changed afterwards.
func (t *tx) put(b bucket, key, value []byte) { t.change(t.key(b, key), value) }

func (t *tx) del(b bucket, key []byte) { t.change(t.key(b, key), nil) }

func (t *tx) change(k string, value []byte) {
	i, ok := t.findChange(k)
	if ok {
		t.changes[i].value = value
		return
	}
	t.changes = append(t.changes, change{})
	copy(t.changes[i+1:], t.changes[i:])
	t.changes[i] = change{strings.Clone(k), value}
}

// A layer walks the keys of one of the tx's sources from a starting point on.
type layer struct {
	key   string // without the bucket byte
	value []byte // nil: deleted here
	ok    bool
	next  func(*layer)
}

func overlayLayer(o *overlay, start string) layer {
	it := o.Iter()
	load := func(l *layer, ok bool) {
		if l.ok = ok && it.Key()[0] == start[0]; l.ok {
			l.key, l.value = it.Key()[1:], it.Value()
		}
	}
	l := layer{next: func(l *layer) { load(l, it.Next()) }}
	load(&l, it.Seek(start))
	return l
}

func changesLayer(c []change, start string) layer {
	i := sort.Search(len(c), func(i int) bool { return c[i].key >= start })
	load := func(l *layer) {
		if l.ok = i < len(c) && c[i].key[0] == start[0]; l.ok {
			l.key, l.value = c[i].key[1:], c[i].value
		}
	}
	l := layer{next: func(l *layer) { i++; load(l) }}
	load(&l)
	return l
}

func boltLayer(b *bolt.Bucket, start string) layer {
	c := b.Cursor()
	load := func(l *layer, k, v []byte) {
		if l.ok = k != nil; l.ok {
			l.key, l.value = unsafe.String(unsafe.SliceData(k), len(k)), v
		}
	}
	l := layer{next: func(l *layer) { k, v := c.Next(); load(l, k, v) }}
	k, v := c.Seek([]byte(start[1:]))
	load(&l, k, v)
	return l
}

// layers are the sources that have something, the newest first.
func (t *tx) layers(b bucket, start string) []layer {
	ls := make([]layer, 0, 4)
	if len(t.changes) > 0 {
		ls = append(ls, changesLayer(t.changes, start))
	}
	for _, o := range [...]*overlay{t.active, t.frozen} {
		if o.Len() > 0 {
			ls = append(ls, overlayLayer(o, start))
		}
	}
	if bk := t.bucket(b); bk != nil {
		ls = append(ls, boltLayer(bk, start))
	}
	return ls
}

// scan calls fn for the keys ≥ from that begin with prefix, in byte order,
// until fn returns false. from "" is the prefix itself. Keys are valid within
// the call alone, values until the tx ends. fn must not change b.
func (t *tx) scan(b bucket, prefix, from string, fn func(key string, value []byte) bool) {
	ls := t.layers(b, string([]byte{byte(b)})+max(prefix, from))
	for {
		var first *layer
		for i := range ls {
			if l := &ls[i]; l.ok && (first == nil || l.key < first.key) {
				first = l
			}
		}
		if first == nil || !strings.HasPrefix(first.key, prefix) {
			return
		}
		key, value := first.key, first.value
		for i := range ls {
			if l := &ls[i]; l != first && l.ok && l.key == key {
				l.next(l)
			}
		}
		if value != nil && !fn(key, value) {
			return
		}
		first.next(first)
	}
}

// any tells whether a key begins with prefix.
func (t *tx) any(b bucket, prefix []byte) (found bool) {
	t.scan(b, string(prefix), "", func(string, []byte) bool { found = true; return false })
	return found
}

// keys collects the keys that begin with prefix.
func (t *tx) keys(b bucket, prefix []byte) (keys []string) {
	t.scan(b, string(prefix), "", func(k string, _ []byte) bool {
		keys = append(keys, strings.Clone(k))
		return true
	})
	return keys
}

func (t *tx) metaUint(name string) uint64 {
	v := t.get(bucketMeta, []byte(name))
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

func (t *tx) putMetaUint(name string, v uint64) { t.put(bucketMeta, []byte(name), be64(nil, v)) }
