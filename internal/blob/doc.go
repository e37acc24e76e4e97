// Package blob keeps bytes on the local disk: staged content, which exists
// nowhere else, cached copies of entities, and pinned ones, which stay when the
// service forgets the entity.
//
// # Promises
//
// A cached file stands under its name only when it is whole and has its digest.
// Since it is not synced, what is older than the machine's start is compared
// with the digest again before it is used; so is a pinned one, once after each
// start, as a disk loses bits over the years. Staged files are removed by
// RemoveStaged alone, never by eviction; what Rescue has put aside is removed by
// nobody. Cached files are evicted once EvictUnless was called, those used longest ago first, those that are open and
// last copies not at all, so that the others take at most Options.CacheSize and
// leave Options.MinFree of the disk. Admit keeps staged content from taking
// that share either, or 1 GiB where it is more. A full disk fails no download. Pinned files are
// neither evicted nor counted with the cache; one is durable once Pin has
// returned.
//
// # Errors
//
// Those of the operating system; a name that is absent is fs.ErrNotExist.
//
// # Lock order
//
// budget.mu, then Store.mu. The latter is never held over the disk, nor over
// EvictUnless's function, which budget.mu may be.
//
// # Limitations
//
// Content that was compared since the machine started is not compared again: a
// bit that the disk loses meanwhile is found by chatfs check, or after the next
// start. To compare at each open would cost as much as to read it twice.
// One process works on a store at a time; its owner sees to that. The disk
// must know files without a name (O_TMPFILE), as ext4, XFS, Btrfs and tmpfs do.
package blob
