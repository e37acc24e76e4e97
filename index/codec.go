package index

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"chatfs/internal/entity"
)

// recordVersion opens every value that may grow fields one day.
const recordVersion = 1

// errRecord says that a key or value is not as it was written.
var errRecord error = &ErrDamaged{File: FileName, What: "a record can't be read"}

// A decoder reads a value's fields in turn; after the first that is missing,
// all are zero and bad is set.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || len(d.b) < n {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) bytes() []byte { return d.take(int(min(d.uint(), 1<<31))) }

func (d *decoder) uuid() (u entity.UUID) {
	copy(u[:], d.take(len(u)))
	return u
}

func (d *decoder) time() Time { return Time{d.int(), uint32(d.uint())} }

func (d *decoder) version() {
	if d.byte() != recordVersion {
		d.bad, d.b = true, nil
	}
}

func (d *decoder) err() error {
	if d.bad {
		return errRecord
	}
	return nil
}

func putTime(b []byte, t Time) []byte {
	return binary.AppendUvarint(binary.AppendVarint(b, t.Sec), uint64(t.Nsec))
}

func putBytes[T string | []byte](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

func be64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

func inoKey(ino Ino) []byte { return be64(make([]byte, 0, 8), uint64(ino)) }

func keyIno(k []byte) Ino {
	if len(k) < 8 {
		return 0
	}
	return Ino(binary.BigEndian.Uint64(k))
}

// Flags of an inode's record.
const (
	flagImage = 1 << iota
	flagUUID
)

func encodeInode(n *Inode) []byte {
	b := make([]byte, 0, 96+len(n.Target))
	b = append(b, recordVersion)
	for _, v := range [...]uint64{uint64(n.Mode), uint64(n.UID), uint64(n.GID), uint64(n.Nlink), uint64(n.Rdev),
		uint64(n.Size), n.Version, uint64(n.Staged)} {
		b = binary.AppendUvarint(b, v)
	}
	for _, t := range [...]Time{n.Atime, n.Mtime, n.Ctime, n.Btime} {
		b = putTime(b, t)
	}
	b = putBytes(b, n.Target)
	var flags byte
	if n.Image {
		flags |= flagImage
	}
	if n.UUID.IsZero() {
		return append(b, flags)
	}
	return append(append(b, flags|flagUUID), n.UUID[:]...)
}

func decodeInode(ino Ino, v []byte) (Inode, error) {
	d := decoder{b: v}
	d.version()
	n := Inode{Ino: ino}
	n.Mode, n.UID, n.GID = uint32(d.uint()), uint32(d.uint()), uint32(d.uint())
	n.Nlink, n.Rdev = uint32(d.uint()), uint32(d.uint())
	n.Size, n.Version, n.Staged = int64(d.uint()), d.uint(), StagedID(d.uint())
	n.Atime, n.Mtime, n.Ctime, n.Btime = d.time(), d.time(), d.time(), d.time()
	n.Target = string(d.bytes())
	flags := d.byte()
	n.Image = flags&flagImage != 0
	if flags&flagUUID != 0 {
		n.UUID = d.uuid()
	}
	return n, d.err()
}

// A direntRecord is a dirent as it is stored.
type direntRecord struct {
	ino    Ino
	typ    byte   // S_IFMT >> 12
	hidden uint64 // the inode's Version whose thumbnail is hidden here; 0: none
}

func encodeDirent(r direntRecord) []byte {
	b := make([]byte, 0, 16)
	b = binary.AppendUvarint(append(b, recordVersion), uint64(r.ino))
	return binary.AppendUvarint(append(b, r.typ), r.hidden)
}

func decodeDirent(v []byte) (direntRecord, error) {
	d := decoder{b: v}
	d.version()
	r := direntRecord{ino: Ino(d.uint()), typ: d.byte(), hidden: d.uint()}
	return r, d.err()
}

// An entityRecord is an entity with what the index knows about it beyond.
type entityRecord struct {
	entity.Entity
	image   bool
	expired bool
	thumb   int64 // size in bytes of the thumbnail, which was found to be a picture; -1: not known
	renewed int64 // when the service last began to count its days anew, in Unix seconds; 0: at the upload
}

// since is when the service began to count the entity's days.
func (e *entityRecord) since() time.Time {
	uploaded := e.UUID.Time()
	if renewed := time.Unix(e.renewed, 0); e.renewed != 0 && renewed.After(uploaded) {
		return renewed
	}
	return uploaded
}

// Flags of an entity's record.
const (
	flagEntityImage = 1 << iota
	flagEntityExpired
	// The thumbnail was looked at. Sizes from before that may be those of a
	// gateway's page, and are not known.
	flagEntityThumb
)

func encodeEntity(e *entityRecord) []byte {
	b := append(make([]byte, 0, 96), recordVersion)
	b = putBytes(b, e.Secret.Reveal())
	b = binary.AppendVarint(b, e.Size)
	b = append(b, e.Digest[:]...)
	var flags byte
	if e.image {
		flags |= flagEntityImage
	}
	if e.expired {
		flags |= flagEntityExpired
	}
	if e.thumb >= 0 {
		flags |= flagEntityThumb
	}
	b = binary.AppendVarint(append(b, flags), e.thumb)
	b = binary.AppendVarint(b, e.renewed)
	return putBytes(b, e.Sums.Bytes())
}

func decodeEntity(u entity.UUID, v []byte) (entityRecord, error) {
	d := decoder{b: v}
	d.version()
	var e entityRecord
	e.UUID = u
	e.Secret = entity.NewSecret(string(d.bytes()))
	e.Size = d.int()
	copy(e.Digest[:], d.take(len(e.Digest)))
	flags := d.byte()
	e.image, e.expired = flags&flagEntityImage != 0, flags&flagEntityExpired != 0
	if e.thumb = d.int(); flags&flagEntityThumb == 0 {
		e.thumb = -1
	}
	if len(d.b) > 0 { // written since entities can be renewed
		e.renewed = d.int()
	}
	if len(d.b) > 0 { // written since blocks have sums
		e.Sums = entity.ParseSums(d.bytes(), e.Size)
	}
	return e, d.err()
}

// Flags of a queue entry's record.
const (
	flagQueueNever = 1 << iota
	flagQueueSummed
)

func encodeQueueEntry(q *QueueEntry) []byte {
	b := append(make([]byte, 0, 48+len(q.Failed)+len(q.Reason)), recordVersion)
	b = binary.AppendUvarint(b, q.Version)
	b = binary.AppendUvarint(b, uint64(q.Staged))
	b = binary.AppendVarint(b, q.Size)
	b = binary.AppendVarint(b, q.Queued.UnixNano())
	b = binary.AppendVarint(b, int64(q.Attempts))
	b = putBytes(putBytes(b, q.Failed), q.Reason)
	var flags byte
	if q.Never {
		flags |= flagQueueNever
	}
	if q.summed {
		flags |= flagQueueSummed
	}
	b = binary.AppendUvarint(append(b, flags), q.place)
	return binary.BigEndian.AppendUint32(b, q.sum)
}

func decodeQueueEntry(ino Ino, v []byte) (QueueEntry, error) {
	d := decoder{b: v}
	d.version()
	q := QueueEntry{Ino: ino, Version: d.uint(), Staged: StagedID(d.uint()), Size: d.int()}
	q.Queued = time.Unix(0, d.int())
	q.Attempts = int(d.int())
	q.Failed, q.Reason = string(d.bytes()), string(d.bytes())
	flags := d.byte()
	q.Never, q.summed = flags&flagQueueNever != 0, flags&flagQueueSummed != 0
	if len(d.b) > 0 { // written since the queue has places
		q.place = d.uint()
		if sum := d.take(4); sum != nil {
			q.sum = binary.BigEndian.Uint32(sum)
		}
	}
	return q, d.err()
}

// Keys of the history are path, NUL, time in nanoseconds, uuid. A path that
// makes the key longer than the database takes is cut in it, with a digest of
// the whole for its end; then the value ends with the path.
const (
	versionTail    = 8 + 16 // bytes, after the NUL
	historyPathMax = keyMax - 1 - versionTail
	pathDigestSize = 2 * sha256.Size
)

// historyPath is a path as it is in the history's keys.
func historyPath(path string) string {
	if len(path) <= historyPathMax {
		return path
	}
	sum := sha256.Sum256([]byte(path))
	return path[:historyPathMax-pathDigestSize] + hex.EncodeToString(sum[:])
}

// historyPrefix begins the keys of a path's versions.
func historyPrefix(path string) string { return historyPath(path) + "\x00" }

func encodeVersion(v *Version) (key, value []byte) {
	key = append(make([]byte, 0, len(v.Path)+1+versionTail), historyPrefix(v.Path)...)
	key = append(be64(key, uint64(v.Replaced.UnixNano())), v.UUID[:]...)
	value = binary.AppendVarint([]byte{recordVersion}, v.Size)
	value = binary.AppendUvarint(putTime(value, v.Mtime), uint64(v.Mode))
	if len(v.Path) > historyPathMax {
		value = putBytes(value, v.Path)
	}
	return key, value
}

func decodeVersion(key, value []byte) (Version, error) {
	path, rest := len(key)-versionTail-1, len(key)-versionTail
	if path < 0 {
		return Version{}, errRecord
	}
	d := decoder{b: value}
	d.version()
	v := Version{Path: string(key[:path]), Size: d.int(), Mtime: d.time(), Mode: uint32(d.uint())}
	if len(d.b) > 0 { // the whole of a long one
		v.Path = string(d.bytes())
	}
	v.Replaced = time.Unix(0, int64(binary.BigEndian.Uint64(key[rest:])))
	copy(v.UUID[:], key[rest+8:])
	return v, d.err()
}

// possibleForm gives an entry of the history whose key no database takes, as
// older versions wrote it into the journal, the key that it has now.
func possibleForm(c change) change {
	if bucket(c.key[0]) != bucketHistory || len(c.key)-1 <= keyMax || c.value == nil {
		return c
	}
	v, err := decodeVersion([]byte(c.key[1:]), c.value)
	if err != nil {
		return c
	}
	key, value := encodeVersion(&v)
	return change{key: string(append([]byte{byte(bucketHistory)}, key...)), value: value}
}
