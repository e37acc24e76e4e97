package index

import (
	"fmt"
	"strings"
	"syscall"

	"chatfs/internal/entity"
)

// Kind is what sort of disagreement a Problem is.
type Kind string

// The kinds of problems. Repair mends all but the first three.
const (
	Unreadable    Kind = "unreadable"     // a record or the database can't be read
	EntityMissing Kind = "entity-missing" // an inode's entity, and so its secret, is not there
	NoContent     Kind = "no-content"     // a file has a size and no content
	NoRoot        Kind = "no-root"        // the top directory is missing
	DirentBroken  Kind = "dirent-broken"  // a name leads to no inode, or is in no directory
	LinkMissing   Kind = "link-missing"   // a name is not among its inode's names
	LinkExtra     Kind = "link-extra"     // an inode's name is in no directory
	Unreachable   Kind = "unreachable"    // no name leads to the inode from the top
	WrongNlink    Kind = "wrong-nlink"    // the number of names is another
	OrphanExtra   Kind = "orphan-extra"   // an inode with a name, or none, is to be forgotten
	QueueExtra    Kind = "queue-extra"    // a queue entry is not of its inode's content
	QueueMissing  Kind = "queue-missing"  // a staged content is not queued
	UserMissing   Kind = "user-missing"   // an inode is not among its entity's users
	UserExtra     Kind = "user-extra"     // a user of an entity does not use it
	DigestMissing Kind = "digest-missing" // an entity is not found by its digest
	DigestExtra   Kind = "digest-extra"   // a digest leads to another entity, or none
	WrongCounts   Kind = "wrong-counts"   // the counts of Stats are others
)

// A Problem is one disagreement that Check found.
type Problem struct {
	Kind Kind
	Ino  Ino // 0 where it is about no inode
	Text string

	key string // of the record at fault
}

// String is one line for a person.
func (p Problem) String() string { return fmt.Sprintf("%s: %s", p.Kind, p.Text) }

// A checker walks the tables of one snapshot.
type checker struct {
	*tx
	found   []Problem
	counts  Stats
	reached map[Ino]bool // directories, whether they lead up to Root
}

// Check compares every table with those that it must agree with, on a snapshot;
// the index stays in use. No problem: nil.
func (ix *Index) Check() []Problem {
	c := checker{reached: map[Ino]bool{Root: true}}
	if c.checkPages(ix.store); len(c.found) > 0 {
		return c.found // what can't be read can't be compared
	}
	err := ix.store.snapshot(func(t *tx) {
		c.tx = t
		c.checkInodes()
		c.checkDirents()
		c.checkLinks()
		c.checkOrphans()
		c.checkQueue()
		c.checkEntities()
		c.checkDigests()
		c.checkUsers()
		c.checkCounts()
	})
	if err != nil {
		c.add(Unreadable, 0, "", "%v", err)
	}
	return c.found
}

// checkPages reads the whole database, with no commit under way.
func (c *checker) checkPages(s *store) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if err := s.db.verify(); err != nil {
		c.add(Unreadable, 0, "", "the database: %v", err)
	}
}

func (c *checker) add(k Kind, ino Ino, key, format string, args ...any) {
	c.found = append(c.found, Problem{Kind: k, Ino: ino, Text: fmt.Sprintf(format, args...), key: strings.Clone(key)})
}

// each scans a whole table.
func (c *checker) each(b bucket, fn func(k string, v []byte)) {
	c.scan(b, "", "", func(k string, v []byte) bool { fn(k, v); return true })
}

func (c *checker) checkInodes() {
	if !c.has(bucketInodes, inoKey(Root)) {
		c.add(NoRoot, Root, "", "the top directory is missing")
	}
	c.each(bucketInodes, func(k string, v []byte) {
		c.counts.Inodes++
		n, err := decodeInode(keyIno([]byte(k)), v)
		if err != nil {
			c.add(Unreadable, n.Ino, k, "inode %d can't be read", n.Ino)
			return
		}
		c.checkNames(&n)
		c.checkContent(&n)
	})
}

// checkNames compares an inode with the names that lead to it.
func (c *checker) checkNames(n *Inode) {
	names := uint32(len(c.keys(bucketLinks, inoKey(n.Ino))))
	orphan := c.has(bucketOrphans, inoKey(n.Ino))
	want := names
	if n.IsDir() && !orphan {
		want = 2 + c.subdirs(n.Ino)
	}
	switch {
	case n.Ino != Root && names == 0 && !orphan:
		c.add(Unreachable, n.Ino, "", "inode %d has no name", n.Ino)
	case n.IsDir() && names > 0 && !c.reaches(n.Ino):
		c.add(Unreachable, n.Ino, "", "directory %d is not below the top", n.Ino)
	case n.IsDir() && names > 1:
		c.add(Unreachable, n.Ino, "", "directory %d has %d names", n.Ino, names)
	case n.Nlink != want:
		c.add(WrongNlink, n.Ino, "", "inode %d has %d links and says %d", n.Ino, want, n.Nlink)
	}
}

func (c *checker) subdirs(dir Ino) (count uint32) {
	c.scan(bucketDirents, string(inoKey(dir)), "", func(_ string, v []byte) bool {
		if r, err := decodeDirent(v); err == nil && r.typ == syscall.S_IFDIR>>12 {
			count++
		}
		return true
	})
	return count
}

// reaches tells whether dir's parents lead to Root.
func (c *checker) reaches(dir Ino) bool {
	var way []Ino
	ok, known := false, false
	for ino := dir; ; {
		if ok, known = c.reached[ino]; known {
			break
		}
		way = append(way, ino)
		c.reached[ino] = false // a way that comes here again is a circle
		up, _, err := c.parent(ino)
		if err != nil {
			break
		}
		ino = up
	}
	for _, ino := range way {
		c.reached[ino] = ok
	}
	return ok
}

// checkContent compares an inode with what has its bytes.
func (c *checker) checkContent(n *Inode) {
	_, queued, err := c.queued(n.Ino)
	if err != nil {
		c.add(Unreadable, n.Ino, "", "the queue entry of inode %d can't be read", n.Ino)
		return
	}
	switch {
	case n.Staged != 0 && n.Nlink > 0 && !queued:
		c.add(QueueMissing, n.Ino, "", "inode %d has staged content %d that is not queued", n.Ino, n.Staged)
	case !n.UUID.IsZero() && !c.has(bucketEntities, n.UUID[:]):
		c.add(EntityMissing, n.Ino, "", "inode %d is entity %s that is not known", n.Ino, n.UUID)
	case n.IsRegular() && n.Size > 0 && n.Staged == 0 && n.UUID.IsZero():
		c.add(NoContent, n.Ino, "", "inode %d has %d bytes and no content", n.Ino, n.Size)
	}
	if !n.UUID.IsZero() && !c.has(bucketUsers, userKey(n.UUID, n.Ino)) {
		c.add(UserMissing, n.Ino, "", "inode %d is not noted as a user of entity %s", n.Ino, n.UUID)
	}
}

func (c *checker) checkDirents() {
	c.each(bucketDirents, func(k string, v []byte) {
		r, err := decodeDirent(v)
		parent := keyIno([]byte(k))
		switch {
		case err != nil || len(k) < 9:
			c.add(DirentBroken, 0, k, "a name in directory %d can't be read", parent)
		case !c.has(bucketInodes, inoKey(r.ino)):
			c.add(DirentBroken, r.ino, k, "name %q in directory %d leads to inode %d that is not there", k[8:], parent, r.ino)
		case !c.isDir(parent):
			c.add(DirentBroken, r.ino, k, "name %q is in directory %d that is not there", k[8:], parent)
		case !c.has(bucketLinks, linkKey(r.ino, parent, k[8:])):
			c.add(LinkMissing, r.ino, k, "name %q in directory %d is not among the names of inode %d", k[8:], parent, r.ino)
		}
	})
}

func (c *checker) isDir(ino Ino) bool {
	n, err := c.inode(ino)
	return err == nil && n.IsDir()
}

func (c *checker) checkLinks() {
	c.each(bucketLinks, func(k string, _ []byte) {
		ino := keyIno([]byte(k))
		parent, name, err := linkOf(k)
		if err == nil {
			if r, ok, err := c.dirent(parent, name); err == nil && ok && r.ino == ino {
				return
			}
		}
		c.add(LinkExtra, ino, k, "inode %d has name %q in directory %d, which has it not", ino, name, parent)
	})
}

func (c *checker) checkOrphans() {
	c.each(bucketOrphans, func(k string, _ []byte) {
		ino := keyIno([]byte(k))
		if n, err := c.inode(ino); err != nil || n.Nlink > 0 {
			c.add(OrphanExtra, ino, k, "inode %d is to be forgotten and has a name, or is not there", ino)
		}
	})
}

func (c *checker) checkQueue() {
	c.each(bucketQueue, func(k string, v []byte) {
		ino := keyIno([]byte(k))
		q, err := decodeQueueEntry(ino, v)
		n, nerr := c.inode(ino)
		if err != nil || nerr != nil || n.Staged == 0 || n.Staged != q.Staged || n.Version != q.Version {
			c.add(QueueExtra, ino, k, "the queue entry of inode %d is not of its content", ino)
		}
		if err == nil {
			c.counts.count(&q, 1)
		}
	})
}

func (c *checker) checkEntities() {
	c.each(bucketEntities, func(k string, v []byte) {
		u := entity.UUID([]byte(k))
		r, err := decodeEntity(u, v)
		if err != nil {
			c.add(Unreadable, 0, k, "entity %s can't be read", u)
			return
		}
		if !r.Digest.IsZero() && !r.expired && !c.has(bucketDigests, digestKey(r.Digest, r.Restricted(), u)) {
			c.add(DigestMissing, 0, k, "entity %s is not found by its digest", u)
		}
	})
}

func (c *checker) checkDigests() {
	c.each(bucketDigests, func(k string, _ []byte) {
		u := entity.UUID([]byte(k[len(k)-16:]))
		r, err := c.entity(u)
		if err != nil || r.expired || string(digestKey(r.Digest, r.Restricted(), u)) != k {
			c.add(DigestExtra, 0, k, "a digest leads to entity %s, which has another or is expired", u)
		}
	})
}

func (c *checker) checkUsers() {
	c.each(bucketUsers, func(k string, _ []byte) {
		ino := keyIno([]byte(k[16:]))
		if n, err := c.inode(ino); err != nil || string(n.UUID[:]) != k[:16] {
			c.add(UserExtra, ino, k, "inode %d is noted as a user of an entity that it does not use", ino)
		}
	})
}

func (c *checker) checkCounts() {
	if st := c.stats(); st != c.counts {
		c.add(WrongCounts, 0, "", "there are %+v and the counts say %+v", c.counts, st)
	}
}
