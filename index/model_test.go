package index

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// A node of the model is an inode; a directory has children.
type node struct {
	children map[string]*node // nil: a file
	content  StagedID
	xattrs   map[string]string
	ino      Ino
}

// A model does on maps what the index does on disk.
type model struct {
	t    *testing.T
	dir  string
	ix   *Index
	root *node
}

func newModel(t *testing.T) *model {
	dir, err := os.MkdirTemp(t.TempDir(), "ix")
	noError(t, err)
	return &model{t: t, dir: dir, ix: open(t, dir, byHand), root: &node{children: map[string]*node{}, ino: Root}}
}

var modelNames = []string{"a", "b", "c", "d.jpg"}

func name(r *rapid.T) string { return rapid.SampledFrom(modelNames).Draw(r, "name") }

// folder draws one of the directories.
func (m *model) folder(r *rapid.T) *node {
	dirs := []*node{m.root}
	for i := 0; i < len(dirs); i++ {
		for _, k := range slices.Sorted(maps.Keys(dirs[i].children)) {
			if c := dirs[i].children[k]; c.children != nil {
				dirs = append(dirs, c)
			}
		}
	}
	return dirs[rapid.IntRange(0, len(dirs)-1).Draw(r, "dir")]
}

func (n *node) above(other *node) bool {
	if n == other {
		return true
	}
	for _, c := range n.children {
		if c.children != nil && c.above(other) {
			return true
		}
	}
	return false
}

// agree compares the index's error with the model's.
func agree(r *rapid.T, got error, want error) {
	if !errors.Is(got, want) {
		r.Fatalf("the index says %v, the model %v", got, want)
	}
}

func (m *model) Create(r *rapid.T) {
	d, k := m.folder(r), name(r)
	c := &node{xattrs: map[string]string{}}
	mode := uint32(regular)
	if rapid.Bool().Draw(r, "isDir") {
		c.children, mode = map[string]*node{}, directory
	}
	n, err := m.ix.Create(d.ino, k, NewInode{Mode: mode})
	if d.children[k] != nil {
		agree(r, err, syscall.EEXIST)
		return
	}
	agree(r, err, nil)
	c.ino = n.Ino
	d.children[k] = c
}

func (m *model) Link(r *rapid.T) {
	from, fk, to, tk := m.folder(r), name(r), m.folder(r), name(r)
	c := from.children[fk]
	if c == nil {
		return
	}
	_, err := m.ix.Link(c.ino, to.ino, tk)
	switch {
	case c.children != nil:
		agree(r, err, syscall.EPERM)
	case to.children[tk] != nil:
		agree(r, err, syscall.EEXIST)
	default:
		agree(r, err, nil)
		to.children[tk] = c
	}
}

func (m *model) Remove(r *rapid.T) {
	d, k := m.folder(r), name(r)
	c := d.children[k]
	_, unlink := m.ix.Unlink(d.ino, k)
	switch {
	case c == nil:
		agree(r, unlink, syscall.ENOENT)
		return
	case c.children == nil:
		agree(r, unlink, nil)
	default:
		agree(r, unlink, syscall.EISDIR)
		_, err := m.ix.Rmdir(d.ino, k)
		if len(c.children) > 0 {
			agree(r, err, syscall.ENOTEMPTY)
			return
		}
		agree(r, err, nil)
	}
	delete(d.children, k)
	if _, err := m.ix.Forget(c.ino); err != nil {
		r.Fatal(err)
	}
}

func (m *model) Rename(r *rapid.T) {
	from, fk, to, tk := m.folder(r), name(r), m.folder(r), name(r)
	flags := rapid.SampledFrom([]uint32{0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}).Draw(r, "flags")
	want := renameError(from.children[fk], to.children[tk], from, to, flags)
	_, err := m.ix.Rename(from.ino, fk, to.ino, tk, flags)
	agree(r, err, want)
	if want != nil || from.children[fk] == to.children[tk] {
		return
	}
	if flags == unix.RENAME_EXCHANGE {
		from.children[fk], to.children[tk] = to.children[tk], from.children[fk]
		return
	}
	to.children[tk] = from.children[fk]
	delete(from.children, fk)
}

func renameError(src, dst, from, to *node, flags uint32) error {
	switch {
	case src == nil, flags == unix.RENAME_EXCHANGE && dst == nil:
		return syscall.ENOENT
	case flags == unix.RENAME_NOREPLACE && dst != nil:
		return syscall.EEXIST
	case src == dst:
		return nil
	case src.children != nil && src.above(to):
		return syscall.EINVAL
	case flags == unix.RENAME_EXCHANGE && dst.children != nil && dst.above(from):
		return syscall.EINVAL
	case dst == nil || flags == unix.RENAME_EXCHANGE:
		return nil
	case src.children != nil && dst.children == nil:
		return syscall.ENOTDIR
	case src.children == nil && dst.children != nil:
		return syscall.EISDIR
	case len(dst.children) > 0:
		return syscall.ENOTEMPTY
	}
	return nil
}

func (m *model) Write(r *rapid.T) {
	c := m.folder(r).children[name(r)]
	if c == nil || c.children != nil {
		return
	}
	id := StagedID(0)
	if rapid.Bool().Draw(r, "staged") {
		id = m.ix.NextStaged()
	}
	n, err := m.ix.SetContent(c.ino, Content{Staged: id, Size: int64(id)})
	agree(r, err, nil)
	c.content = id
	if id != 0 && rapid.Bool().Draw(r, "uploaded") {
		_, err := m.ix.Uploaded(c.ino, n.Version, newEntity(m.t, byte(id)), false)
		agree(r, err, nil)
		c.content = 0
	}
}

func (m *model) Xattr(r *rapid.T) {
	c, k := m.folder(r).children[name(r)], name(r)
	if c == nil {
		return
	}
	if rapid.Bool().Draw(r, "set") {
		v := rapid.String().Draw(r, "value")
		agree(r, m.ix.SetXattr(c.ino, k, []byte(v), 0), nil)
		c.xattrs[k] = v
		return
	}
	err := m.ix.RemoveXattr(c.ino, k)
	if _, ok := c.xattrs[k]; !ok {
		agree(r, err, syscall.ENODATA)
		return
	}
	agree(r, err, nil)
	delete(c.xattrs, k)
}

func (m *model) Commit(r *rapid.T) { agree(r, m.ix.store.commit(), nil) }

func (m *model) Sync(r *rapid.T) { agree(r, m.ix.Sync(), nil) }

// Restart closes the index, or kills its process, and opens it anew.
func (m *model) Restart(r *rapid.T) {
	if rapid.Bool().Draw(r, "kill") {
		m.dir = copyDir(m.t, m.dir)
	}
	agree(r, m.ix.Close(), nil)
	m.ix = open(m.t, m.dir, byHand)
	for _, p := range m.ix.Check() {
		r.Fatalf("check: %v", p)
	}
}

// Check compares everything that can be seen.
func (m *model) Check(r *rapid.T) {
	names := map[*node]uint32{}
	m.countNames(m.root, names)
	m.compare(r, m.root, names)
}

func (m *model) countNames(d *node, names map[*node]uint32) {
	for _, c := range d.children {
		names[c]++
		if c.children != nil {
			names[d]++
			names[c]++
			m.countNames(c, names)
		}
	}
}

func (m *model) compare(r *rapid.T, d *node, names map[*node]uint32) {
	list, err := m.ix.ReadDir(d.ino, "", 0)
	agree(r, err, nil)
	var got []string
	for _, e := range list {
		got = append(got, e.Name)
	}
	if want := slices.Sorted(maps.Keys(d.children)); !slices.Equal(got, want) {
		r.Fatalf("directory %d has %q, want %q", d.ino, got, want)
	}
	for _, e := range list {
		c := d.children[e.Name]
		seen := fmt.Sprint(e.Inode.Ino, e.Inode.IsDir(), e.Inode.Staged, e.Inode.Nlink, m.xattrs(r, c.ino))
		want := fmt.Sprint(c.ino, c.children != nil, c.content, names[c], c.xattrs)
		if seen != want {
			r.Fatalf("%q is %s, want %s", e.Name, seen, want)
		}
		if c.children != nil {
			m.compare(r, c, names)
		}
	}
}

func (m *model) xattrs(r *rapid.T, ino Ino) map[string]string {
	got := map[string]string{}
	list, err := m.ix.ListXattr(ino)
	agree(r, err, nil)
	for _, k := range list {
		v, err := m.ix.GetXattr(ino, k)
		agree(r, err, nil)
		got[k] = strings.Clone(string(v))
	}
	return got
}

// TestModel does random operations on the index and on maps; rapid prints the
// seed of a failure.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := newModel(t)
		defer func() { _ = m.ix.Close() }()
		r.Repeat(map[string]func(*rapid.T){
			"create": m.Create, "create2": m.Create, "create3": m.Create, "link": m.Link, "remove": m.Remove, "rename": m.Rename,
			"rename2": m.Rename, "write": m.Write, "xattr": m.Xattr, "commit": m.Commit, "sync": m.Sync, "restart": m.Restart,
			"": m.Check,
		})
	})
}
