package index

import (
	"time"

	"chatfs/internal/entity"
)

// A Known is an entity with what the index knows of its life at the service.
type Known struct {
	entity.Entity
	Image   bool
	Expired bool      // the service has forgotten it
	Since   time.Time // when the service began to count its days: its upload, or its last renewal
}

func (e *entityRecord) known() Known { return Known{e.Entity, e.image, e.expired, e.since()} }

// Known reads what is known of an entity. ENOENT if the index has none such.
func (ix *Index) Known(u entity.UUID) (Known, error) {
	r, err := ix.entity(u)
	return r.known(), err
}

// Entities lists all entities that come after the given uuid, n at most, in the
// order of their uuids' bytes.
func (ix *Index) Entities(after entity.UUID, n int) (list []Known, err error) {
	err = ix.store.view(func(t *tx) error {
		t.scan(bucketEntities, "", string(after[:])+"\x00", func(k string, v []byte) bool {
			var r entityRecord
			if r, err = decodeEntity(entity.UUID([]byte(k)), v); err != nil {
				return false
			}
			list = append(list, r.known())
			return len(list) < n
		})
		return err
	})
	return list, err
}

// SetExpired notes whether the service has forgotten an entity; ByDigest leaves
// out those that it has. The secret is kept.
func (ix *Index) SetExpired(u entity.UUID, expired bool) error {
	if r, err := ix.entity(u); err == nil && r.expired == expired {
		return nil
	}
	return ix.changeEntity(u, func(r *entityRecord) { r.expired = expired })
}

// SetRenewed notes that the service began to count an entity's days anew.
func (ix *Index) SetRenewed(u entity.UUID, at time.Time) error {
	return ix.changeEntity(u, func(r *entityRecord) { r.renewed, r.expired = at.Unix(), false })
}

// replaceBatch inodes, at most, are given another entity in one record of the
// journal.
const replaceBatch = 1000

// Replace makes e the content of all inodes whose content is the entity old,
// which has the same bytes. Their versions, times and staged content stay; old
// goes to the history of each. It takes records of a bounded size: after an
// error, or a crash, some inodes have e and the rest old.
func (ix *Index) Replace(old entity.UUID, e entity.Entity) error {
	for more := true; more; {
		err := ix.store.update(func(t *tx) (err error) { more, err = t.replaceSome(old, e); return err })
		if err != nil {
			return err
		}
	}
	return nil
}

// replaceSome is a part of Replace; it tells whether there is more to do.
func (t *tx) replaceSome(old entity.UUID, e entity.Entity) (more bool, err error) {
	was, err := t.entity(old)
	if err != nil {
		return false, err
	}
	if err := t.putEntity(e, was.image); err != nil || old == e.UUID {
		return false, err
	}
	users := t.keys(bucketUsers, old[:])
	more = len(users) > replaceBatch
	for _, k := range users[:min(len(users), replaceBatch)] {
		n, err := t.inode(keyIno([]byte(k[16:])))
		if err != nil {
			return false, err
		}
		next := n
		next.UUID = e.UUID
		if err := t.moveTo(&n, &next); err != nil {
			return false, err
		}
	}
	return more, nil
}
