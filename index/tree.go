package index

import (
	"slices"
	"strings"
	"syscall"
)

const (
	nameMax   = 255   // bytes: limits.h NAME_MAX
	targetMax = 4095  // bytes: limits.h PATH_MAX without its NUL
	linkMax   = 65000 // ext4's EXT4_LINK_MAX
	dirSize   = 4096  // bytes, as most file systems say of a small directory
)

// CheckName tells whether a dirent may have this name: EINVAL for none, for
// "." and "..", and for names with '/' or NUL; ENAMETOOLONG over 255 bytes.
func CheckName(name string) error {
	switch {
	case len(name) > nameMax:
		return syscall.ENAMETOOLONG
	case name == "", name == ".", name == "..", strings.ContainsAny(name, "/\x00"):
		return syscall.EINVAL
	}
	return nil
}

// inode reads one; ENOENT if there is none.
func (t *tx) inode(ino Ino) (Inode, error) {
	var b [8]byte
	v := t.get(bucketInodes, be64(b[:0], uint64(ino)))
	if v == nil {
		return Inode{}, syscall.ENOENT
	}
	return decodeInode(ino, v)
}

func (t *tx) putInode(n *Inode) { t.put(bucketInodes, inoKey(n.Ino), encodeInode(n)) }

// dir reads a directory: ENOTDIR if it is none, ENOENT if it was removed.
func (t *tx) dir(ino Ino) (Inode, error) {
	n, err := t.inode(ino)
	switch {
	case err != nil:
		return n, err
	case !n.IsDir():
		return n, syscall.ENOTDIR
	case n.Nlink == 0:
		return n, syscall.ENOENT
	}
	return n, nil
}

// dirent reads one; ok is false if there is none.
func (t *tx) dirent(parent Ino, name string) (r direntRecord, ok bool, err error) {
	v := t.get(bucketDirents, direntKey(parent, name))
	if v == nil {
		return r, false, nil
	}
	r, err = decodeDirent(v)
	return r, err == nil, err
}

func (t *tx) putDirent(parent Ino, name string, n *Inode, hidden uint64) {
	t.put(bucketDirents, direntKey(parent, name), encodeDirent(direntRecord{n.Ino, byte(n.Mode >> 12), hidden}))
	t.put(bucketLinks, linkKey(n.Ino, parent, name), present)
}

func (t *tx) delDirent(parent Ino, name string, ino Ino) {
	t.del(bucketDirents, direntKey(parent, name))
	t.del(bucketLinks, linkKey(ino, parent, name))
}

// touch notes a change of dir's entries, and of its subdirectories' number.
func (t *tx) touch(dir *Inode, now Time, subdirs int) {
	dir.Mtime, dir.Ctime = now, now
	dir.Nlink = uint32(int(dir.Nlink) + subdirs)
	t.putInode(dir)
}

// place is what an operation on parent/name starts from: the directory, and
// what the name leads to now.
type place struct {
	dir    Inode
	name   string
	found  bool
	record direntRecord
	inode  Inode
}

// at looks a place up. A name that is not there is no error.
func (t *tx) at(parent Ino, name string) (p place, err error) {
	if err := CheckName(name); err != nil {
		return p, err
	}
	p.name = name
	if p.dir, err = t.dir(parent); err != nil {
		return p, err
	}
	if p.record, p.found, err = t.dirent(parent, name); err != nil || !p.found {
		return p, err
	}
	p.inode, err = t.inode(p.record.ino)
	return p, err
}

// existing is at, with ENOENT for a name that is not there.
func (t *tx) existing(parent Ino, name string) (place, error) {
	p, err := t.at(parent, name)
	if err == nil && !p.found {
		err = syscall.ENOENT
	}
	return p, err
}

// missing is at, with EEXIST for a name that is there.
func (t *tx) missing(parent Ino, name string) (place, error) {
	p, err := t.at(parent, name)
	if err == nil && p.found {
		err = syscall.EEXIST
	}
	return p, err
}

// Create makes a file, directory, symlink, fifo, socket or device. In a setgid
// directory it inherits the group, and a directory the bit as well (inode(7)).
// Errors: EEXIST, ENOENT, ENOTDIR, EINVAL, ENAMETOOLONG.
func (ix *Index) Create(parent Ino, name string, n NewInode) (made Inode, err error) {
	err = ix.store.update(func(t *tx) error { made, err = t.create(parent, name, n); return err })
	return made, err
}

func (t *tx) create(parent Ino, name string, n NewInode) (made Inode, err error) {
	p, err := t.missing(parent, name)
	if err != nil {
		return made, err
	}
	made, err = newInode(n, &p.dir)
	if err != nil {
		return made, err
	}
	made.Ino = t.allocIno()
	t.putInode(&made)
	t.putDirent(parent, name, &made, 0)
	t.touch(&p.dir, made.Ctime, subdir(&made))
	t.addStats(func(st *Stats) { st.Inodes++ })
	return made, nil
}

func subdir(n *Inode) int {
	if n.IsDir() {
		return 1
	}
	return 0
}

func newInode(n NewInode, dir *Inode) (Inode, error) {
	now := Now()
	made := Inode{Mode: n.Mode, UID: n.UID, GID: n.GID, Nlink: 1, Version: 1, Atime: now, Mtime: now, Ctime: now, Btime: now}
	if dir.Mode&syscall.S_ISGID != 0 {
		made.GID = dir.GID
	}
	switch n.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		made.Nlink, made.Size = 2, dirSize
		made.Mode |= dir.Mode & syscall.S_ISGID
	case syscall.S_IFLNK:
		if n.Target == "" {
			return made, syscall.ENOENT // as symlink(2) says
		} else if len(n.Target) > targetMax {
			return made, syscall.ENAMETOOLONG
		}
		made.Target, made.Size = n.Target, int64(len(n.Target))
	case syscall.S_IFBLK, syscall.S_IFCHR:
		made.Rdev = n.Rdev
	case syscall.S_IFREG, syscall.S_IFIFO, syscall.S_IFSOCK:
	default:
		return made, syscall.EINVAL
	}
	return made, nil
}

// Link gives ino another name. Errors: EPERM for a directory, EMLINK, ENOENT
// for an inode that has lost its last name, and those of Create.
func (ix *Index) Link(ino, parent Ino, name string) (n Inode, err error) {
	err = ix.store.update(func(t *tx) error {
		if n, err = t.inode(ino); err != nil {
			return err
		}
		switch {
		case n.IsDir():
			return syscall.EPERM
		case n.Nlink == 0:
			return syscall.ENOENT
		case n.Nlink >= linkMax:
			return syscall.EMLINK
		}
		p, err := t.missing(parent, name)
		if err != nil {
			return err
		}
		n.Ctime = Now()
		n.Nlink++
		t.putInode(&n)
		t.putDirent(parent, name, &n, 0)
		t.touch(&p.dir, n.Ctime, 0)
		return nil
	})
	return n, err
}

// Unlink removes a name of anything but a directory (EISDIR).
func (ix *Index) Unlink(parent Ino, name string) (gone Removed, err error) {
	err = ix.store.update(func(t *tx) error {
		p, err := t.existing(parent, name)
		if err != nil {
			return err
		}
		if p.inode.IsDir() {
			return syscall.EISDIR
		}
		now := Now()
		if gone, err = t.dropName(&p, now); err != nil {
			return err
		}
		t.touch(&p.dir, now, 0)
		return nil
	})
	return gone, err
}

// Rmdir removes an empty directory. Errors: ENOTDIR, ENOTEMPTY, ENOENT. Its
// inode stays readable until Forget, as after Unlink.
func (ix *Index) Rmdir(parent Ino, name string) (gone Removed, err error) {
	err = ix.store.update(func(t *tx) error {
		p, err := t.existing(parent, name)
		if err != nil {
			return err
		}
		if !p.inode.IsDir() {
			return syscall.ENOTDIR
		}
		now := Now()
		if gone, err = t.dropName(&p, now); err != nil {
			return err
		}
		t.touch(&p.dir, now, -1)
		return nil
	})
	return gone, err
}

// dropName takes p's inode its name, and if that was the last, its place in the
// queue; its entity goes to the history. p.dir is left to the caller.
func (t *tx) dropName(p *place, now Time) (Removed, error) {
	n := &p.inode
	if n.IsDir() && t.any(bucketDirents, inoKey(n.Ino)) {
		return Removed{}, syscall.ENOTEMPTY
	}
	path, err := "", error(nil)
	last := n.IsDir() || n.Nlink <= 1
	if last && !n.UUID.IsZero() {
		if path, err = t.pathOf(p.dir.Ino, p.name); err != nil {
			return Removed{}, err
		}
		t.addHistory(path, n)
	}
	t.delDirent(p.dir.Ino, p.name, n.Ino)
	n.Ctime = now
	if !last {
		n.Nlink--
		t.putInode(n)
		return Removed{}, nil
	}
	n.Nlink = 0
	t.unname(n)
	t.putInode(n)
	t.put(bucketOrphans, inoKey(n.Ino), present)
	return Removed{Inode: *n, Gone: true}, t.unqueue(n.Ino)
}

// forgetBatch inodes, at most, are forgotten in one record of the journal.
const forgetBatch = 1000

// Forget drops inodes that have lost their last names, for good. It returns the
// staged contents to delete, those of a part of the inodes if there is an error.
// Inodes that have a name, or are forgotten already, are left alone.
func (ix *Index) Forget(inos ...Ino) (ids []StagedID, err error) {
	for some := range slices.Chunk(inos, forgetBatch) {
		more, err := ix.forget(some)
		if err != nil {
			return ids, err
		}
		ids = append(ids, more...)
	}
	return ids, nil
}

func (ix *Index) forget(inos []Ino) (ids []StagedID, err error) {
	err = ix.store.update(func(t *tx) error {
		for _, ino := range inos {
			n, err := t.inode(ino)
			if err == syscall.ENOENT || err == nil && n.Nlink > 0 {
				continue
			}
			if err == nil {
				err = t.dropInode(&n)
			}
			if err != nil {
				return err
			}
			if n.Staged != 0 {
				ids = append(ids, n.Staged)
			}
		}
		return nil
	})
	return ids, err
}

func (t *tx) dropInode(n *Inode) error {
	key := inoKey(n.Ino)
	for _, k := range t.keys(bucketXattrs, key) {
		t.del(bucketXattrs, []byte(k))
	}
	t.del(bucketInodes, key)
	t.del(bucketOrphans, key)
	t.dropUser(n)
	t.endWriting(n.Ino)
	t.addStats(func(st *Stats) { st.Inodes-- })
	return t.unqueue(n.Ino)
}

// HideThumb notes that the thumbnail beside parent/name was unlinked; it stays
// hidden until the content changes.
func (ix *Index) HideThumb(parent Ino, name string) error {
	return ix.store.update(func(t *tx) error {
		p, err := t.existing(parent, name)
		if err != nil {
			return err
		}
		t.putDirent(parent, name, &p.inode, p.inode.Version)
		return nil
	})
}
