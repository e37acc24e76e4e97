package index

import (
	"strings"
	"syscall"
)

// Get reads an inode by its number. ENOENT if there is none.
func (ix *Index) Get(ino Ino) (n Inode, err error) {
	err = ix.store.view(func(t *tx) error { n, err = t.inode(ino); return err })
	return n, err
}

// Changes is a number that is another one once anything has changed; it goes on
// from one opening to the next.
func (ix *Index) Changes() uint64 {
	ix.store.mu.RLock()
	defer ix.store.mu.RUnlock()
	return ix.store.changed
}

// Lookup finds a name in a directory. ENOENT if it is not there.
func (ix *Index) Lookup(parent Ino, name string) (d Dirent, err error) {
	err = ix.store.view(func(t *tx) error { d, err = t.lookup(parent, name); return err })
	return d, err
}

func (t *tx) lookup(parent Ino, name string) (Dirent, error) {
	if len(name) > nameMax {
		return Dirent{}, syscall.ENAMETOOLONG
	}
	r, ok, err := t.dirent(parent, name)
	if err != nil {
		return Dirent{}, err
	}
	if !ok {
		if _, err := t.dir(parent); err != nil {
			return Dirent{}, err
		}
		return Dirent{}, syscall.ENOENT
	}
	return t.fill(name, r)
}

// fill adds the inode to a dirent.
func (t *tx) fill(name string, r direntRecord) (Dirent, error) {
	n, err := t.inode(r.ino)
	return Dirent{Name: name, Inode: n, ThumbHidden: r.hidden != 0 && r.hidden == n.Version}, err
}

// ReadDir lists the names after the given one ("" for all) in the order of
// their bytes, n of them at most (all if n is not positive).
func (ix *Index) ReadDir(parent Ino, after string, n int) (list []Dirent, err error) {
	err = ix.store.view(func(t *tx) error {
		dir, err := t.inode(parent)
		if err == nil && !dir.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return err
		}
		list, err = t.readDir(parent, after, n)
		return err
	})
	return list, err
}

func (t *tx) readDir(parent Ino, after string, n int) (list []Dirent, err error) {
	prefix := string(inoKey(parent))
	from := prefix
	if after != "" {
		from += after + "\x00" // the first key behind it: names hold no NUL
	}
	t.scan(bucketDirents, prefix, from, func(k string, v []byte) bool {
		var r direntRecord
		if r, err = decodeDirent(v); err != nil {
			return false
		}
		var d Dirent
		if d, err = t.fill(strings.Clone(k[8:]), r); err != nil {
			return false
		}
		list = append(list, d)
		return n <= 0 || len(list) < n
	})
	return list, err
}

// Parent is the directory that dir is in; Root's is Root. ENOENT for one that
// was removed, ENOTDIR for what is none.
func (ix *Index) Parent(dir Ino) (up Ino, err error) {
	err = ix.store.view(func(t *tx) error {
		if _, err := t.dir(dir); err != nil {
			return err
		}
		up, _, err = t.parent(dir)
		return err
	})
	return up, err
}

// parent is the directory that has a directory, and its name there.
func (t *tx) parent(dir Ino) (up Ino, name string, err error) {
	if dir == Root {
		return Root, "", nil
	}
	err = syscall.ENOENT
	t.scan(bucketLinks, string(inoKey(dir)), "", func(k string, _ []byte) bool {
		up, name, err = linkOf(k)
		return false
	})
	return up, name, err
}

// linkOf takes a key of the links apart.
func linkOf(k string) (parent Ino, name string, err error) {
	if len(k) < 17 {
		return 0, "", errRecord
	}
	return keyIno([]byte(k[8:16])), strings.Clone(k[16:]), nil
}

// pathOf is the path of a name in a directory.
func (t *tx) pathOf(parent Ino, name string) (string, error) {
	parts := []string{name}
	for dir := parent; dir != Root; {
		up, part, err := t.parent(dir)
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
		dir = up
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(parts[i])
	}
	return b.String(), nil
}

// Paths lists every path that leads to an inode: "/a/b", "/" for Root, none for
// one that has lost its last name.
func (ix *Index) Paths(ino Ino) (paths []string, err error) {
	err = ix.store.view(func(t *tx) error {
		if _, err := t.inode(ino); err != nil {
			return err
		}
		paths, err = t.paths(ino, 0)
		return err
	})
	return paths, err
}

// paths lists at most limit of them, all if it is 0.
func (t *tx) paths(ino Ino, limit int) (paths []string, err error) {
	if ino == Root {
		return []string{"/"}, nil
	}
	t.scan(bucketLinks, string(inoKey(ino)), "", func(k string, _ []byte) bool {
		var parent Ino
		var name, path string
		if parent, name, err = linkOf(k); err != nil {
			return false
		}
		if path, err = t.pathOf(parent, name); err != nil {
			return false
		}
		paths = append(paths, path)
		return limit == 0 || len(paths) < limit
	})
	return paths, err
}

// Resolve walks a path from Root, through directories alone: symlinks are not
// followed. Empty parts are skipped. Errors: ENOENT, ENOTDIR.
func (ix *Index) Resolve(path string) (d Dirent, err error) {
	err = ix.store.view(func(t *tx) error {
		n, err := t.inode(Root)
		d = Dirent{Inode: n}
		for name := range strings.SplitSeq(path, "/") {
			if name == "" || err != nil {
				continue
			}
			d, err = t.lookup(d.Inode.Ino, name)
		}
		return err
	})
	return d, err
}
