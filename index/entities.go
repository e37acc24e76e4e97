package index

import (
	"syscall"
	"time"

	"chatfs/internal/entity"
)

// Uploaded records an entity that the service has taken, and if the inode still
// has this version of its content, turns its content from staged to that entity
// and takes it off the queue: one record. Version, mtime and ctime stay, since
// the content is the same. If the version has passed, the entity goes to the
// history and committed is false.
func (ix *Index) Uploaded(ino Ino, version uint64, e entity.Entity, image bool) (committed bool, err error) {
	err = ix.store.update(func(t *tx) error {
		committed = false
		if err := t.putEntity(e, image); err != nil {
			return err
		}
		n, err := t.inode(ino)
		if err != nil && err != syscall.ENOENT {
			return err
		}
		now := Now()
		if err != nil || n.Version != version || n.Staged == 0 {
			if n.UUID == e.UUID {
				return nil // told twice
			}
			path, err := t.somePath(ino)
			old := Inode{UUID: e.UUID, Size: e.Size, Mode: n.Mode, Mtime: now}
			t.addHistory(path, &old)
			return err
		}
		t.unname(&n)
		n.Staged, n.UUID, n.Image = 0, e.UUID, image
		t.putInode(&n)
		t.addUser(&n)
		if n.Nlink == 0 {
			t.addHistory("", &n)
		}
		committed = true
		return t.unqueue(ino)
	})
	return committed, err
}

// putEntity records e. What is known already and e lacks is kept: the secret
// above all.
func (t *tx) putEntity(e entity.Entity, image bool) error {
	r := entityRecord{Entity: e, image: image, thumb: -1}
	old, err := t.entity(e.UUID)
	if err != nil && err != syscall.ENOENT {
		return err
	}
	if err == nil {
		r.thumb, r.expired, r.renewed = old.thumb, old.expired, old.renewed
		if e.Secret.IsZero() {
			r.Secret = old.Secret
		}
		if e.Digest.IsZero() {
			r.Digest = old.Digest
		}
		if e.Sums.IsZero() && r.Digest == old.Digest {
			r.Sums = old.Sums
		}
	}
	if r.since().IsZero() { // its uuid tells no time
		r.renewed = time.Now().Unix()
	}
	t.storeEntity(&r)
	return nil
}

func (t *tx) storeEntity(r *entityRecord) {
	t.put(bucketEntities, r.UUID[:], encodeEntity(r))
	if r.Digest.IsZero() {
		return
	}
	key := digestKey(r.Digest, r.Restricted(), r.UUID)
	if r.expired {
		t.del(bucketDigests, key)
	} else {
		t.put(bucketDigests, key, present)
	}
}

func digestPrefix(d entity.Digest, restricted bool) []byte {
	b := append(make([]byte, 0, 49), d[:]...)
	if restricted {
		return append(b, 1)
	}
	return append(b, 0)
}

func digestKey(d entity.Digest, restricted bool, u entity.UUID) []byte {
	return append(digestPrefix(d, restricted), u[:]...)
}

func (t *tx) entity(u entity.UUID) (entityRecord, error) {
	v := t.get(bucketEntities, u[:])
	if v == nil {
		return entityRecord{}, syscall.ENOENT
	}
	return decodeEntity(u, v)
}

// Entity reads an entity with its secret. ENOENT if the index has none such.
func (ix *Index) Entity(u entity.UUID) (entity.Entity, error) {
	r, err := ix.entity(u)
	return r.Entity, err
}

func (ix *Index) entity(u entity.UUID) (r entityRecord, err error) {
	err = ix.store.view(func(t *tx) error { r, err = t.entity(u); return err })
	return r, err
}

// ByDigest finds the entity of a content that the service will keep longest,
// but none that has expired as far as SetExpired was told.
func (ix *Index) ByDigest(d entity.Digest, restricted bool) (e Known, ok bool, err error) {
	err = ix.store.view(func(t *tx) error {
		for _, k := range t.keys(bucketDigests, digestPrefix(d, restricted)) {
			r, err := t.entity(entity.UUID([]byte(k[len(k)-16:])))
			if err != nil {
				return err
			}
			if !ok || r.since().After(e.Since) {
				e, ok = r.known(), true
			}
		}
		return nil
	})
	return e, ok, err
}

// changeEntity changes what is noted of an entity. ENOENT if there is none.
func (ix *Index) changeEntity(u entity.UUID, change func(*entityRecord)) error {
	return ix.store.update(func(t *tx) error {
		r, err := t.entity(u)
		if err != nil {
			return err
		}
		change(&r)
		t.storeEntity(&r)
		return nil
	})
}

// ThumbSize is the size of the entity's thumbnail in bytes, if it is known.
func (ix *Index) ThumbSize(u entity.UUID) (int64, bool) {
	r, err := ix.entity(u)
	return r.thumb, err == nil && r.thumb >= 0
}

// SetThumbSize notes the size of the entity's thumbnail in bytes.
func (ix *Index) SetThumbSize(u entity.UUID, size int64) error {
	return ix.changeEntity(u, func(r *entityRecord) { r.thumb = size })
}

// SetDigest notes the digest and the sums of an entity's content, once all of
// it was here. A digest that is known already stays, and another is EINVAL.
func (ix *Index) SetDigest(u entity.UUID, d entity.Digest, sums entity.Sums) error {
	return ix.store.update(func(t *tx) error {
		r, err := t.entity(u)
		switch {
		case err != nil:
			return err
		case !r.Digest.IsZero() && r.Digest != d:
			return syscall.EINVAL
		}
		r.Digest, r.Sums = d, sums
		t.storeEntity(&r)
		return nil
	})
}

// References tells whether an inode's content is this entity.
func (ix *Index) References(u entity.UUID) (used bool, err error) {
	err = ix.store.view(func(t *tx) error { used = t.any(bucketUsers, u[:]); return nil })
	return used, err
}

// Users lists inodes whose content is this entity: at most so many, or all if
// most is 0. What it costs follows the number listed, not those there are.
func (ix *Index) Users(u entity.UUID, most int) (inos []Ino, err error) {
	err = ix.store.view(func(t *tx) error {
		t.scan(bucketUsers, string(u[:]), "", func(k string, _ []byte) bool {
			inos = append(inos, keyIno([]byte(k[16:])))
			return len(inos) != most
		})
		return nil
	})
	return inos, err
}
