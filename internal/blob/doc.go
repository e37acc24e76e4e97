// Package blob keeps bytes on the local disk: staged content, which exists
// nowhere else, cached copies of entities, and pinned ones, which stay when the
// service forgets the entity.
//
// # Promises
//
// A cached file stands under its name only when it is whole. Staged files are
// removed by RemoveStaged and Adopt alone, never by eviction. Cached files
// are evicted, those used longest ago first, so that they take at most
// Options.CacheSize and leave Options.MinFree of the disk. A file that is
// open stays readable when it is evicted. Pinned files are neither evicted nor
// counted with the cache; one is durable once Pin has returned.
//
// # Errors
//
// Those of the operating system; a name that is absent is fs.ErrNotExist.
//
// # Lock order
//
// Store.mu alone, never held over a write or fsync.
//
// # Limitations
//
// One process works on a store at a time; its owner sees to that. The disk
// must know files without a name (O_TMPFILE), as ext4, XFS, Btrfs and tmpfs do.
package blob
