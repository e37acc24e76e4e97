package index

// A bucket is one of the tables. Its number is part of the journal's format:
// never give one a new meaning.
type bucket byte

const (
	bucketMeta     bucket = iota // name → value, see meta.go
	bucketInodes                 // ino → inode
	bucketDirents                // parent, name → dirent
	bucketLinks                  // ino, parent, name → nothing: the dirents the other way round
	bucketXattrs                 // ino, name → value
	bucketEntities               // uuid → secret, size, digest …
	bucketDigests                // digest, restricted, uuid → nothing
	bucketQueue                  // ino → queue entry
	bucketOrphans                // ino → nothing
	bucketUsers                  // uuid, ino → nothing: the inodes whose content the entity is
	bucketHistory                // path, NUL, time, uuid → version
	bucketCount
)

var bucketNames = [bucketCount][]byte{
	[]byte("meta"), []byte("inodes"), []byte("dirents"), []byte("links"), []byte("xattrs"), []byte("entities"),
	[]byte("digests"), []byte("queue"), []byte("orphans"), []byte("users"), []byte("history"),
}

func (b bucket) String() string { return string(bucketNames[b]) }

func direntKey(parent Ino, name string) []byte {
	return append(be64(make([]byte, 0, 8+len(name)), uint64(parent)), name...)
}

func linkKey(ino, parent Ino, name string) []byte {
	return append(be64(be64(make([]byte, 0, 16+len(name)), uint64(ino)), uint64(parent)), name...)
}
