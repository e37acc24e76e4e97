package index

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"chatfs/internal/entity"
)

// lostAndFound is the directory in Root that takes inodes without a name.
const lostAndFound = "lost+found"

// repairRounds bound the repairs that make other disagreements visible: a
// broken name that goes leaves an inode without one, whose directory then
// counts its links anew.
const repairRounds = 5

// Repair mends the problems, and what comes to light by that. It drops no
// secret and no inode: inodes without a name get one in /lost+found. What it
// can't mend is in the error. Staged content that nothing names is not taken
// for given up after it: see GivenUp.
func (ix *Index) Repair(problems []Problem) error {
	if err := ix.doubt(); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	for range repairRounds {
		mended := false
		for _, p := range problems {
			ok, err := ix.mend(p)
			if err != nil {
				return fmt.Errorf("repair %v: %w", p, err)
			}
			mended = mended || ok
		}
		if problems = ix.Check(); len(problems) == 0 || !mended {
			break
		}
	}
	var left []error
	for _, p := range problems {
		left = append(left, errors.New(p.String()))
	}
	return errors.Join(left...)
}

// mend is false for what can't be mended.
func (ix *Index) mend(p Problem) (bool, error) {
	mend, ok := map[Kind]func(*tx, Problem) error{
		NoRoot:        (*tx).mendRoot,
		DirentBroken:  (*tx).mendDirent,
		LinkMissing:   (*tx).mendLink,
		LinkExtra:     func(t *tx, p Problem) error { t.del(bucketLinks, []byte(p.key)); return nil },
		Unreachable:   (*tx).mendUnreachable,
		WrongNlink:    (*tx).mendNlink,
		OrphanExtra:   func(t *tx, p Problem) error { t.del(bucketOrphans, []byte(p.key)); return nil },
		QueueExtra:    (*tx).mendQueue,
		QueueMissing:  (*tx).mendQueue,
		UserMissing:   (*tx).mendUser,
		UserExtra:     func(t *tx, p Problem) error { t.del(bucketUsers, []byte(p.key)); return nil },
		DigestMissing: (*tx).mendDigest,
		DigestExtra:   func(t *tx, p Problem) error { t.del(bucketDigests, []byte(p.key)); return nil },
		WrongCounts:   (*tx).mendCounts,
	}[p.Kind]
	if !ok {
		return false, nil
	}
	return true, ix.store.update(func(t *tx) error { return mend(t, p) })
}

func (t *tx) mendRoot(Problem) error {
	now := Now()
	t.putInode(&Inode{Ino: Root, Mode: syscall.S_IFDIR | 0o755, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Nlink: 2,
		Size: dirSize, Atime: now, Mtime: now, Ctime: now, Btime: now, Version: 1})
	return nil
}

// mendDirent removes a name that leads nowhere; an inode that loses its last
// one by that is mended in the next round.
func (t *tx) mendDirent(p Problem) error {
	if len(p.key) >= 8 && p.Ino != 0 {
		t.del(bucketLinks, linkKey(p.Ino, keyIno([]byte(p.key)), p.key[8:]))
	}
	t.del(bucketDirents, []byte(p.key))
	return nil
}

func (t *tx) mendLink(p Problem) error {
	t.put(bucketLinks, linkKey(p.Ino, keyIno([]byte(p.key)), p.key[8:]), present)
	return nil
}

// mendUnreachable takes an inode its names, if it is a directory in a circle or
// has several, and gives it one in /lost+found.
func (t *tx) mendUnreachable(p Problem) error {
	n, err := t.inode(p.Ino)
	if err != nil {
		return err
	}
	for _, k := range t.keys(bucketLinks, inoKey(n.Ino)) {
		parent, name, err := linkOf(k)
		if err != nil {
			return err
		}
		t.delDirent(parent, name, n.Ino)
	}
	lost, err := t.lostAndFound()
	if err != nil {
		return err
	}
	if n.Nlink == 0 {
		n.Nlink = 1
		t.putInode(&n)
	}
	t.putDirent(lost, "inode-"+strconv.FormatUint(uint64(n.Ino), 10), &n, 0)
	return nil
}

func (t *tx) lostAndFound() (Ino, error) {
	p, err := t.at(Root, lostAndFound)
	if err != nil || p.found && p.inode.IsDir() {
		return p.inode.Ino, err
	}
	name := lostAndFound
	made, err := newInode(NewInode{Mode: syscall.S_IFDIR | 0o700, UID: p.dir.UID, GID: p.dir.GID}, &p.dir)
	if err != nil {
		return 0, err
	}
	made.Ino = t.allocIno()
	if p.found {
		name += "-" + strconv.FormatUint(uint64(made.Ino), 10)
	}
	t.putInode(&made)
	t.putDirent(Root, name, &made, 0)
	t.touch(&p.dir, made.Ctime, 1)
	t.addStats(func(st *Stats) { st.Inodes++ })
	return made.Ino, nil
}

func (t *tx) mendNlink(p Problem) error {
	n, err := t.inode(p.Ino)
	if err != nil {
		return err
	}
	c := checker{tx: t}
	n.Nlink = uint32(len(t.keys(bucketLinks, inoKey(n.Ino))))
	if n.IsDir() && !t.has(bucketOrphans, inoKey(n.Ino)) {
		n.Nlink = 2 + c.subdirs(n.Ino)
	}
	t.putInode(&n)
	return nil
}

// mendQueue makes the queue agree with the inode's content.
func (t *tx) mendQueue(p Problem) error {
	t.del(bucketQueue, inoKey(p.Ino))
	n, err := t.inode(p.Ino)
	if err == syscall.ENOENT {
		return nil
	} else if err != nil || n.Staged == 0 || n.Nlink == 0 {
		return err
	}
	q := QueueEntry{Ino: n.Ino, Version: n.Version, Staged: n.Staged, Size: n.Size, Queued: Now().Time(), place: t.s.seq + 1}
	t.put(bucketQueue, inoKey(n.Ino), encodeQueueEntry(&q))
	t.named = append(t.named, n.Staged)
	return nil
}

func (t *tx) mendUser(p Problem) error {
	n, err := t.inode(p.Ino)
	if err == nil {
		t.addUser(&n)
	}
	return err
}

func (t *tx) mendDigest(p Problem) error {
	r, err := t.entity(entity.UUID([]byte(p.key)))
	if err == nil {
		t.storeEntity(&r)
	}
	return err
}

func (t *tx) mendCounts(Problem) error {
	c := checker{tx: t, reached: map[Ino]bool{Root: true}}
	c.checkInodes()
	c.checkQueue()
	t.put(bucketMeta, []byte(metaCounts), encodeStats(c.counts))
	return nil
}
