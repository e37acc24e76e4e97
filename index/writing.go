package index

import (
	"encoding/binary"
	"hash/fnv"
	"strings"
)

// A Writing is a file that somebody writes, or wrote when the process ended:
// what its staged content has is more than the inode tells.
type Writing struct {
	Ino      Ino
	Staged   StagedID // takes what is written; it may be the inode's own
	Version  uint64   // the inode's, when the writing began
	Failed   string   // not "": the content must never be sent, for this reason
	SameBoot bool     // the machine was not started anew since: what was written is there
}

// metaWriting begins the keys of the writings, in the meta bucket; the inode's
// number follows. An index of an older program has none.
const metaWriting = "writing\x00"

// metaSettled, if it is there, says that every staged content below metaStaged
// that no inode and no Writing has was given up on purpose.
const metaSettled = "settled"

func writingKey(ino Ino) []byte { return be64([]byte(metaWriting), uint64(ino)) }

// bootMark tells one start of the machine from others, in 8 bytes.
func bootMark(bootID string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(bootID)) // never fails
	return h.Sum64()
}

func (t *tx) putWriting(ino Ino, id StagedID, version uint64, failed string) {
	b := append(make([]byte, 0, 32+len(failed)), recordVersion)
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(id)), version)
	b = putBytes(be64(b, bootMark(t.s.bootID)), failed)
	t.put(bucketMeta, writingKey(ino), b)
}

func (t *tx) decodeWriting(ino Ino, v []byte) (Writing, error) {
	d := decoder{b: v}
	d.version()
	w := Writing{Ino: ino, Staged: StagedID(d.uint()), Version: d.uint()}
	mark := d.take(8)
	w.Failed = string(d.bytes())
	w.SameBoot = string(mark) == string(be64(nil, bootMark(t.s.bootID)))
	return w, d.err()
}

// endWriting drops the inode's Writing, if it has one.
func (t *tx) endWriting(ino Ino) {
	if key := writingKey(ino); t.has(bucketMeta, key) {
		t.del(bucketMeta, key)
	}
}

// BeginWriting notes that what is written to a file goes to a staged content:
// to id, or, if that is 0, to one that never was, which it gives. SetContent
// ends it, as does all else that gives the file other content. It is to be told
// before the first byte is written, so that what a killed process leaves can be
// told apart: content that a file was about to have, and what was given up.
// ENOENT if there is no such inode.
func (ix *Index) BeginWriting(ino Ino, id StagedID, failed string) (StagedID, error) {
	err := ix.store.update(func(t *tx) error {
		n, err := t.inode(ino)
		if err != nil {
			return err
		}
		if id == 0 {
			id = t.allocStaged()
		}
		t.putWriting(ino, id, n.Version, failed)
		return nil
	})
	return id, err
}

// EndWriting notes that nothing was written to id, or that it was given up.
func (ix *Index) EndWriting(ino Ino, id StagedID) error {
	return ix.store.update(func(t *tx) error {
		v := t.get(bucketMeta, writingKey(ino))
		if v == nil {
			return nil
		}
		if w, err := t.decodeWriting(ino, v); err == nil && w.Staged == id {
			t.del(bucketMeta, writingKey(ino))
		}
		return nil
	})
}

// Writings lists the files that are being written, or were when the process
// ended, in the order of their inodes.
func (ix *Index) Writings() (list []Writing, err error) {
	err = ix.store.view(func(t *tx) error {
		t.scan(bucketMeta, metaWriting, "", func(k string, v []byte) bool {
			var w Writing
			if w, err = t.decodeWriting(keyIno([]byte(strings.TrimPrefix(k, metaWriting))), v); err != nil {
				return false
			}
			list = append(list, w)
			return true
		})
		return err
	})
	return list, err
}

// GivenUp tells whether a staged content that no inode and no Writing has was
// given up on purpose: its id was given by a state of the index that led to
// this one, and this one knows that all it does not name was given up. Else
// the state that named it may be lost.
func (ix *Index) GivenUp(id StagedID) (is bool) {
	err := ix.store.view(func(t *tx) error {
		is = t.has(bucketMeta, []byte(metaSettled)) && uint64(id) < t.metaUint(metaStaged)
		return nil
	})
	return is && err == nil
}

// Settled notes that whatever staged content nothing names was put where it is
// kept: from now on what is named no more was given up.
func (ix *Index) Settled() error {
	return ix.store.update(func(t *tx) error {
		if !t.has(bucketMeta, []byte(metaSettled)) {
			t.put(bucketMeta, []byte(metaSettled), present)
		}
		return nil
	})
}

// doubt has the staged contents that nothing names kept: a record that named
// them may have been lost.
func (ix *Index) doubt() error {
	return ix.store.update(func(t *tx) error {
		if t.has(bucketMeta, []byte(metaSettled)) {
			t.del(bucketMeta, []byte(metaSettled))
		}
		return nil
	})
}

// allocStaged gives an id that no staged content ever had. Its mark goes into
// the same record as its use.
func (t *tx) allocStaged() StagedID {
	id := t.s.nextStaged.Add(1) - 1
	t.putMetaUint(metaStaged, id+1)
	return StagedID(id)
}

// NextStaged gives an id that no staged content ever had. Should the journal
// fail, it is still unique within the process, and the naming of it fails.
func (ix *Index) NextStaged() (id StagedID) {
	_ = ix.store.update(func(t *tx) error { id = t.allocStaged(); return nil })
	if id == 0 {
		id = StagedID(ix.store.nextStaged.Add(1) - 1)
	}
	return id
}
