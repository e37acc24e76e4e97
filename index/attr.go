package index

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Bounds of extended attributes, in bytes: linux/limits.h. With more names the
// kernel could list none of them (E2BIG).
const (
	xattrNameMax = 255
	xattrSizeMax = 64 << 10
	xattrListMax = 64 << 10
)

// SetAttr changes an inode's mode, owner, group, times or size. What change does
// to other fields is ignored, and so is a new type; its error is returned and
// leaves all as it was. change sets Ctime itself, and must not call the index.
func (ix *Index) SetAttr(ino Ino, change func(*Inode) error) (n Inode, err error) {
	err = ix.store.update(func(t *tx) error {
		old, err := t.inode(ino)
		if err != nil {
			return err
		}
		c := old
		if err := change(&c); err != nil {
			return err
		}
		n = old
		n.Mode = old.Mode&syscall.S_IFMT | c.Mode&^syscall.S_IFMT
		n.UID, n.GID, n.Size = c.UID, c.GID, c.Size
		n.Atime, n.Mtime, n.Ctime, n.Btime = c.Atime, c.Mtime, c.Ctime, c.Btime
		if n != old {
			t.putInode(&n)
		}
		return nil
	})
	return n, err
}

func xattrKey(ino Ino, name string) []byte { return append(inoKey(ino), name...) }

// GetXattr reads an extended attribute. ENODATA if there is none.
func (ix *Index) GetXattr(ino Ino, name string) (value []byte, err error) {
	err = ix.store.view(func(t *tx) error {
		if _, err := t.inode(ino); err != nil {
			return err
		}
		v := t.get(bucketXattrs, xattrKey(ino, name))
		if v == nil {
			return syscall.ENODATA
		}
		value = append([]byte{}, v[1:]...)
		return nil
	})
	return value, err
}

// SetXattr sets an extended attribute, and the inode's ctime. flags: 0,
// XATTR_CREATE (EEXIST if there is one), XATTR_REPLACE (ENODATA if there is
// none). Names of 1 to 255 bytes without NUL, values up to 64 KiB: ERANGE, E2BIG.
// All names of an inode, with a NUL each, take 64 KiB at most: ENOSPC.
func (ix *Index) SetXattr(ino Ino, name string, value []byte, flags uint32) error {
	switch {
	case name == "" || len(name) > xattrNameMax || strings.Contains(name, "\x00"):
		return syscall.ERANGE
	case len(value) > xattrSizeMax:
		return syscall.E2BIG
	}
	return ix.store.update(func(t *tx) error {
		n, err := t.inode(ino)
		if err != nil {
			return err
		}
		key := xattrKey(ino, name)
		there := t.has(bucketXattrs, key)
		switch {
		case flags&unix.XATTR_CREATE != 0 && there:
			return syscall.EEXIST
		case flags&unix.XATTR_REPLACE != 0 && !there:
			return syscall.ENODATA
		case !there && t.xattrNames(ino)+len(name)+1 > xattrListMax:
			return syscall.ENOSPC
		}
		t.put(bucketXattrs, key, append([]byte{recordVersion}, value...))
		n.Ctime = Now()
		t.putInode(&n)
		return nil
	})
}

// xattrNames is how many bytes a list of an inode's names takes.
func (t *tx) xattrNames(ino Ino) (size int) {
	t.scan(bucketXattrs, string(inoKey(ino)), "", func(k string, _ []byte) bool {
		size += len(k) - 8 + 1
		return true
	})
	return size
}

// ListXattr lists the names, in the order of their bytes.
func (ix *Index) ListXattr(ino Ino) (names []string, err error) {
	err = ix.store.view(func(t *tx) error {
		if _, err := t.inode(ino); err != nil {
			return err
		}
		for _, k := range t.keys(bucketXattrs, inoKey(ino)) {
			names = append(names, k[8:])
		}
		return nil
	})
	return names, err
}

// RemoveXattr removes an extended attribute. ENODATA if there is none.
func (ix *Index) RemoveXattr(ino Ino, name string) error {
	return ix.store.update(func(t *tx) error {
		n, err := t.inode(ino)
		if err != nil {
			return err
		}
		key := xattrKey(ino, name)
		if !t.has(bucketXattrs, key) {
			return syscall.ENODATA
		}
		t.del(bucketXattrs, key)
		n.Ctime = Now()
		t.putInode(&n)
		return nil
	})
}
