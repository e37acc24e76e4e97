package index

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Rename moves a name, over what stands there if POSIX allows, or exchanges two
// (RENAME_EXCHANGE), or refuses to replace (RENAME_NOREPLACE): rename(2). Two
// names of one inode: nothing happens. A directory moves with all below it by
// changing one key.
// Errors: ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL (other flags, or a
// directory into itself), ENAMETOOLONG.
func (ix *Index) Rename(oldParent Ino, oldName string, newParent Ino, newName string, flags uint32) (gone Removed, err error) {
	if flags&unix.RENAME_WHITEOUT != 0 {
		return gone, syscall.EINVAL
	}
	return ix.rename(oldParent, oldName, newParent, newName, flags, nil)
}

// RenameWhiteout is Rename with RENAME_WHITEOUT: in the same step the old name
// becomes a whiteout of this owner, a character device 0:0 by which an overlay
// file system knows that a name of a lower layer is gone.
func (ix *Index) RenameWhiteout(oldParent Ino, oldName string, newParent Ino, newName string, flags, uid, gid uint32) (gone Removed, err error) {
	whiteout := NewInode{Mode: syscall.S_IFCHR, UID: uid, GID: gid}
	return ix.rename(oldParent, oldName, newParent, newName, flags&^unix.RENAME_WHITEOUT, &whiteout)
}

// rename is Rename; what is to be left under the old name is nil for nothing.
func (ix *Index) rename(oldParent Ino, oldName string, newParent Ino, newName string, flags uint32, left *NewInode) (gone Removed, err error) {
	switch {
	case flags == unix.RENAME_EXCHANGE && left == nil, flags == unix.RENAME_NOREPLACE, flags == 0:
	default:
		return gone, syscall.EINVAL
	}
	err = ix.store.update(func(t *tx) error {
		from, err := t.existing(oldParent, oldName)
		if err != nil {
			return err
		}
		to, err := t.at(newParent, newName)
		if err != nil {
			return err
		}
		switch {
		case flags == unix.RENAME_EXCHANGE && !to.found:
			return syscall.ENOENT
		case flags == unix.RENAME_NOREPLACE && to.found:
			return syscall.EEXIST
		case to.found && to.inode.Ino == from.inode.Ino:
			return nil
		case flags == unix.RENAME_EXCHANGE:
			return t.exchange(&from, &to)
		}
		gone, err = t.move(&from, &to)
		if err == nil && left != nil {
			_, err = t.create(oldParent, oldName, *left)
		}
		return err
	})
	return gone, err
}

// move takes from's name to to's, and to's inode loses its own.
func (t *tx) move(from, to *place) (gone Removed, err error) {
	n := &from.inode
	if err := t.mayEnter(n, to.dir.Ino); err != nil {
		return gone, err
	}
	now := Now()
	lost := 0
	if to.found {
		if err := replaceable(n, &to.inode); err != nil {
			return gone, err
		}
		lost = subdir(&to.inode)
		if gone, err = t.dropName(to, now); err != nil {
			return gone, err
		}
	}
	t.delDirent(from.dir.Ino, from.name, n.Ino)
	n.Ctime = now
	t.putInode(n)
	t.putDirent(to.dir.Ino, to.name, n, from.record.hidden)
	t.touchBoth(from, to, now, -subdir(n), subdir(n)-lost)
	return gone, nil
}

// touchBoth is touch for the directories of two places, which may be one.
func (t *tx) touchBoth(from, to *place, now Time, subdirsFrom, subdirsTo int) {
	if from.dir.Ino == to.dir.Ino {
		t.touch(&from.dir, now, subdirsFrom+subdirsTo)
		return
	}
	t.touch(&from.dir, now, subdirsFrom)
	t.touch(&to.dir, now, subdirsTo)
}

// replaceable tells whether rename(2) lets old stand in for what is replaced.
func replaceable(n, replaced *Inode) error {
	switch {
	case n.IsDir() && !replaced.IsDir():
		return syscall.ENOTDIR
	case !n.IsDir() && replaced.IsDir():
		return syscall.EISDIR
	}
	return nil
}

// exchange swaps what two names lead to.
func (t *tx) exchange(a, b *place) error {
	if err := t.mayEnter(&a.inode, b.dir.Ino); err != nil {
		return err
	}
	if err := t.mayEnter(&b.inode, a.dir.Ino); err != nil {
		return err
	}
	now := Now()
	t.delDirent(a.dir.Ino, a.name, a.inode.Ino)
	t.delDirent(b.dir.Ino, b.name, b.inode.Ino)
	a.inode.Ctime, b.inode.Ctime = now, now
	t.putInode(&a.inode)
	t.putInode(&b.inode)
	t.putDirent(a.dir.Ino, a.name, &b.inode, b.record.hidden)
	t.putDirent(b.dir.Ino, b.name, &a.inode, a.record.hidden)
	moved := subdir(&b.inode) - subdir(&a.inode)
	// The two directories can be the exchanged inodes' own parents only, never
	// the inodes themselves: mayEnter has seen to that.
	t.touchBoth(a, b, now, moved, -moved)
	return nil
}

// mayEnter is EINVAL if dir is n or below it.
func (t *tx) mayEnter(n *Inode, dir Ino) error {
	if !n.IsDir() {
		return nil
	}
	for {
		if dir == n.Ino {
			return syscall.EINVAL
		}
		if dir == Root {
			return nil
		}
		up, _, err := t.parent(dir)
		if err != nil {
			return err
		}
		dir = up
	}
}
