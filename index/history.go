package index

import (
	"encoding/binary"
	"strings"
	"syscall"
	"time"

	"chatfs/internal/entity"
)

// moveTo writes next in place of n and keeps n's entity in the history, where
// the two differ.
func (t *tx) moveTo(n, next *Inode) error {
	if !n.UUID.IsZero() && n.UUID != next.UUID {
		path, err := t.somePath(n.Ino)
		if err != nil {
			return err
		}
		t.addHistory(path, n)
		t.dropUser(n)
	}
	t.addUser(next)
	t.putInode(next)
	return nil
}

func (t *tx) addHistory(path string, n *Inode) {
	key, value := encodeVersion(&Version{Path: path, UUID: n.UUID, Size: n.Size, Mtime: n.Mtime, Mode: n.Mode, Replaced: t.stamp(path)})
	t.put(bucketHistory, key, value)
	t.noteClock()
}

// History lists the contents that a path had, the oldest first. Path "" has
// those of files that were unlinked while their upload was under way.
func (ix *Index) History(path string) (list []Version, err error) {
	err = ix.store.view(func(t *tx) error {
		list, err = t.versions(historyPrefix(path), func(of string) bool { return of == path })
		return err
	})
	return list, err
}

// versions reads those whose keys begin with prefix and whose path is wanted.
func (t *tx) versions(prefix string, wanted func(path string) bool) (list []Version, err error) {
	t.scan(bucketHistory, prefix, "", func(k string, v []byte) bool {
		var ver Version
		if ver, err = decodeVersion([]byte(k), v); err != nil {
			return false
		}
		if wanted(ver.Path) {
			list = append(list, ver)
		}
		return true
	})
	return list, err
}

// HistoryBelow lists the contents that the paths below a directory had, of all
// depths, ordered by path and then time, the oldest first. "/" has all.
func (ix *Index) HistoryBelow(dir string) (list []Version, err error) {
	below := strings.TrimSuffix(dir, "/") + "/"
	prefix := below[:min(len(below), historyPathMax-pathDigestSize)]
	err = ix.store.view(func(t *tx) error {
		list, err = t.versions(prefix, func(of string) bool { return strings.HasPrefix(of, below) })
		return err
	})
	return list, err
}

// Restore makes a version the content of its path again, in one record. What is
// there goes to the history; what is not, the directories on the way included,
// is made, with the owner that the directory above has.
// Errors: EBUSY if the present content is not at the service yet, and would be
// lost; EISDIR; ENOTDIR; EINVAL for what is no regular file.
func (ix *Index) Restore(v Version) (n Inode, err error) {
	err = ix.store.update(func(t *tx) error {
		e, err := t.entity(v.UUID)
		if err != nil {
			return err
		}
		if n, err = t.place(v); err != nil || n.UUID == v.UUID {
			return err
		}
		switch {
		case n.IsDir():
			return syscall.EISDIR
		case !n.IsRegular():
			return syscall.EINVAL
		case n.Staged != 0:
			return syscall.EBUSY
		}
		next := n
		next.UUID, next.Image, next.Size, next.Mtime = v.UUID, e.image, v.Size, v.Mtime
		next.Ctime = Now()
		next.Version++
		err = t.replaceContent(&n, &next)
		n = next
		return err
	})
	return n, err
}

// place finds the inode at a version's path, made if need be.
func (t *tx) place(v Version) (n Inode, err error) {
	names := strings.Split(strings.TrimPrefix(v.Path, "/"), "/")
	if n, err = t.inode(Root); err != nil {
		return n, err
	}
	for i, name := range names {
		dir := n
		d, err := t.lookup(dir.Ino, name)
		if n = d.Inode; err == nil {
			continue
		}
		if err != syscall.ENOENT {
			return n, err
		}
		made := NewInode{Mode: dir.Mode, UID: dir.UID, GID: dir.GID}
		if i == len(names)-1 {
			made.Mode = v.Mode
		}
		if n, err = t.create(dir.Ino, name, made); err != nil {
			return n, err
		}
	}
	return n, nil
}

// purgeBatch versions are looked at under one lock.
const purgeBatch = 1000

// PurgeHistory removes the versions that were replaced before the given time,
// and tells how many. The entities and their secrets stay. While the computer's
// clock says more than [Index.Clock] believes, the time is as much earlier.
func (ix *Index) PurgeHistory(before time.Time) (purged int, err error) {
	earliest, latest := ix.Clock()
	before = before.Add(earliest.Sub(latest))
	if err := ix.store.update(func(t *tx) error { t.noteClock(); return nil }); err != nil {
		return 0, err
	}
	for from := ""; ; {
		var old []string
		seen := 0
		err := ix.store.view(func(t *tx) error {
			t.scan(bucketHistory, "", from, func(k string, _ []byte) bool {
				if seen++; replacedAt(k).Before(before) {
					old = append(old, strings.Clone(k))
				}
				from = strings.Clone(k) + "\x00"
				return seen < purgeBatch
			})
			return nil
		})
		if err != nil {
			return purged, err
		}
		err = ix.store.update(func(t *tx) error {
			for _, k := range old {
				t.del(bucketHistory, []byte(k))
			}
			return nil
		})
		if purged += len(old); err != nil || seen < purgeBatch {
			return purged, err
		}
	}
}

// replacedAt reads the time that a key of the history has.
func replacedAt(k string) time.Time {
	if len(k) < 24 {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64([]byte(k[len(k)-24:]))))
}

// InHistory tells which of some entities a version in the history has.
func (ix *Index) InHistory(some map[entity.UUID]bool) (map[entity.UUID]bool, error) {
	found := map[entity.UUID]bool{}
	err := ix.store.view(func(t *tx) error {
		t.scan(bucketHistory, "", "", func(k string, _ []byte) bool {
			if len(k) >= 16 {
				if u := entity.UUID([]byte(k[len(k)-16:])); some[u] {
					found[u] = true
				}
			}
			return len(found) < len(some)
		})
		return nil
	})
	return found, err
}
