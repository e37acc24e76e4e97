package index

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"chatfs/internal/entity"
)

// SetContent gives a regular file new content, in one record: pointer, size,
// times, version, and the queue. A staged content of an inode that still has a
// name is queued; an entity that is overwritten goes to the history. Deleting
// the staged bytes that were there before is the caller's.
// Errors: ENOENT, EISDIR, EINVAL (no regular file; ShareOf has staged content).
func (ix *Index) SetContent(ino Ino, c Content) (n Inode, err error) {
	c.sum, c.summed = ix.store.sum(c.Staged, c.Size)
	err = ix.store.update(func(t *tx) error {
		if n, err = t.inode(ino); err != nil {
			return err
		}
		if n.IsDir() {
			return syscall.EISDIR
		} else if !n.IsRegular() {
			return syscall.EINVAL
		}
		next, err := t.withContent(n, c)
		if err != nil {
			return err
		}
		if err := t.replaceContent(&n, &next); err != nil {
			return err
		}
		if n = next; c.Writing != 0 {
			t.putWriting(ino, c.Writing, n.Version, c.Failed)
		}
		return t.queueContent(&n, c)
	})
	return n, err
}

// withContent is n with content c.
func (t *tx) withContent(n Inode, c Content) (Inode, error) {
	now, was := Now(), n.Ctime
	n.Staged, n.UUID, n.Image, n.Size = c.Staged, entity.UUID{}, false, c.Size
	if c.Staged == 0 {
		n.Size = 0
	}
	if c.ShareOf != nil {
		src, err := t.inode(c.ShareOf.Ino)
		if err != nil {
			return n, err
		}
		if c.Staged != 0 || src.Staged != 0 || !src.IsRegular() {
			return n, syscall.EINVAL
		}
		n.UUID, n.Image, n.Size = src.UUID, src.Image, src.Size
	}
	n.Version++
	n.Mtime, n.Ctime = now, now
	if c.Mtime != nil {
		n.Mtime = *c.Mtime
	}
	if c.Ctime != nil {
		n.Ctime = *c.Ctime
		if n.Ctime.Before(was) { // a link or rename came after the write
			n.Ctime = was
		}
	}
	return n, nil
}

// replaceContent writes next in place of n, and keeps n's entity in the
// history. What was being written is in next, or given up.
func (t *tx) replaceContent(n, next *Inode) error {
	t.endWriting(n.Ino)
	if n.Staged != next.Staged {
		t.unname(n)
	}
	if next.Staged != 0 {
		t.named = append(t.named, next.Staged)
	}
	return t.moveTo(n, next)
}

// unname notes that no state of the index from here on needs n's staged bytes.
func (t *tx) unname(n *Inode) {
	if n.Staged != 0 {
		t.unnamed = append(t.unnamed, n.Staged)
	}
}

// somePath is one of the inode's paths, "" if it has none.
func (t *tx) somePath(ino Ino) (string, error) {
	paths, err := t.paths(ino, 1)
	if len(paths) == 0 {
		return "", err
	}
	return paths[0], err
}

func userKey(u entity.UUID, ino Ino) []byte {
	return be64(append(make([]byte, 0, 24), u[:]...), uint64(ino))
}

func (t *tx) addUser(n *Inode) {
	if !n.UUID.IsZero() {
		t.put(bucketUsers, userKey(n.UUID, n.Ino), present)
	}
}

func (t *tx) dropUser(n *Inode) {
	if !n.UUID.IsZero() {
		t.del(bucketUsers, userKey(n.UUID, n.Ino))
	}
}

// queueContent puts the inode's staged content into the queue in place of what
// it had there.
func (t *tx) queueContent(n *Inode, c Content) error {
	if err := t.unqueue(n.Ino); err != nil || n.Staged == 0 || n.Nlink == 0 {
		return err
	}
	t.enqueue(&QueueEntry{Ino: n.Ino, Version: n.Version, Staged: n.Staged, Size: n.Size,
		Queued: time.Now(), Failed: reasonFor(c.Failed), Never: c.Failed != "", place: t.s.seq + 1, sum: c.sum, summed: c.summed})
	t.noteClock()
	return nil
}

// queued reads the inode's queue entry.
func (t *tx) queued(ino Ino) (q QueueEntry, ok bool, err error) {
	v := t.get(bucketQueue, inoKey(ino))
	if v == nil {
		return q, false, nil
	}
	q, err = decodeQueueEntry(ino, v)
	return q, err == nil, err
}

func (st *Stats) count(q *QueueEntry, sign int64) {
	if q.Failed != "" {
		st.FailedCount += sign
		st.FailedBytes += sign * q.Size
		return
	}
	st.Queued += sign
	st.QueuedBytes += sign * q.Size
}

func (t *tx) enqueue(q *QueueEntry) {
	t.put(bucketQueue, inoKey(q.Ino), encodeQueueEntry(q))
	t.addStats(func(st *Stats) { st.count(q, 1) })
}

func (t *tx) unqueue(ino Ino) error {
	q, ok, err := t.queued(ino)
	if ok {
		t.del(bucketQueue, inoKey(ino))
		t.addStats(func(st *Stats) { st.count(&q, -1) })
	}
	return err
}

// requeue changes the entry of a version; one of another version is left alone.
func (ix *Index) requeue(ino Ino, version uint64, change func(*QueueEntry)) error {
	return ix.store.update(func(t *tx) error {
		q, ok, err := t.queued(ino)
		if err != nil || !ok || q.Version != version {
			return err
		}
		if err := t.unqueue(ino); err != nil {
			return err
		}
		change(&q)
		t.enqueue(&q)
		return nil
	})
}

// Queue lists all that is queued, the failed included, in the order in which it
// came to be, whatever the clock said.
func (ix *Index) Queue() (list []QueueEntry, err error) {
	err = ix.store.view(func(t *tx) error {
		list, err = t.queue()
		return err
	})
	slices.SortStableFunc(list, func(a, b QueueEntry) int {
		return cmp.Or(cmp.Compare(a.place, b.place), a.Queued.Compare(b.Queued))
	})
	return list, err
}

func (t *tx) queue() (list []QueueEntry, err error) {
	t.scan(bucketQueue, "", "", func(k string, v []byte) bool {
		var q QueueEntry
		if q, err = decodeQueueEntry(keyIno([]byte(k)), v); err != nil {
			err = fmt.Errorf("queue entry %x: %w", k, err)
			return false
		}
		list = append(list, q)
		return true
	})
	return list, err
}

// QueueEntry reads the inode's entry; ok is false if it has none.
func (ix *Index) QueueEntry(ino Ino) (q QueueEntry, ok bool, err error) {
	err = ix.store.view(func(t *tx) error { q, ok, err = t.queued(ino); return err })
	return q, ok, err
}

// Failed notes that the version can't be uploaded, and why.
func (ix *Index) Failed(ino Ino, version uint64, reason string) error {
	return ix.requeue(ino, version, func(q *QueueEntry) { q.Attempts++; q.Failed, q.Reason = reasonFor(reason), "" })
}

// GiveUp notes that the version can never be uploaded, whatever is tried, and
// why.
func (ix *Index) GiveUp(ino Ino, version uint64, reason string) error {
	return ix.requeue(ino, version, func(q *QueueEntry) { q.Failed, q.Reason, q.Never = reasonFor(reason), "", true })
}

// Attempted notes an upload that failed for a while, and why.
func (ix *Index) Attempted(ino Ino, version uint64, reason string) error {
	return ix.requeue(ino, version, func(q *QueueEntry) { q.Attempts++; q.Reason = reasonFor(reason) })
}

// reasonMax is how long a reason can be in bytes: a service may answer anything.
const reasonMax = 1000

// reasonFor is as much of a reason as the index keeps.
func reasonFor(reason string) string {
	if len(reason) <= reasonMax {
		return reason
	}
	return strings.ToValidUTF8(reason[:reasonMax], "") + "…"
}

// retryBatch entries, at most, are changed in one record of the journal.
const retryBatch = 1000

// RetryFailed makes all that failed wait for its upload again, but for what can
// never be sent, and tells how many these are.
func (ix *Index) RetryFailed() (retried int, err error) {
	list, err := ix.Queue()
	list = slices.DeleteFunc(list, func(q QueueEntry) bool { return q.Failed == "" || q.Never })
	for some := range slices.Chunk(list, retryBatch) {
		if err != nil {
			break
		}
		done := 0
		err = ix.store.update(func(t *tx) (err error) { done, err = t.retry(some); return err })
		if err == nil {
			retried += done
		}
	}
	return retried, err
}

// retry makes those of some that failed still wait again.
func (t *tx) retry(some []QueueEntry) (retried int, err error) {
	for _, was := range some {
		q, ok, err := t.queued(was.Ino)
		if err == nil && (!ok || q.Failed == "" || q.Never) {
			continue
		}
		if err == nil {
			err = t.unqueue(q.Ino)
		}
		if err != nil {
			return retried, err
		}
		q.Failed, q.Reason, q.Attempts, q.Queued, q.place = "", "", 0, time.Now(), t.s.seq+1
		t.enqueue(&q)
		retried++
	}
	return retried, nil
}

// StagedInUse maps each staged content that an inode has to that inode. Of what
// else is staged see Writings and GivenUp.
func (ix *Index) StagedInUse() (map[StagedID]Ino, error) {
	used := map[StagedID]Ino{}
	err := ix.store.view(func(t *tx) (err error) {
		for _, b := range [...]bucket{bucketQueue, bucketOrphans} {
			t.scan(b, "", "", func(k string, _ []byte) bool {
				var n Inode
				if n, err = t.inode(keyIno([]byte(k))); err != nil {
					return false
				}
				if n.Staged != 0 {
					used[n.Staged] = n.Ino
				}
				return true
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return used, err
}
