// Package index holds the names: inodes, dirents, extended attributes, the
// entities with their share-secrets, the queue of uploads and the history of
// overwritten and deleted files, in one bbolt database behind a write-ahead
// journal.
//
// # How it works
//
// An operation reads what it needs, collects its changes, and appends them as
// one record to the journal: with one write(2) it is applied and outlives the
// process. Its changes then stand in an ordered map in memory, the overlay,
// until a background commit moves them into bbolt, at the latest a second
// later. Reads look into the overlay first and into bbolt second, so neither a
// reader nor a writer waits for a commit's fsync.
//
// # Promises
//
//   - An operation is all or nothing, and seen as a whole by every reader.
//   - When an operation has answered, it outlives kill -9. When [Index.Sync]
//     has returned, everything before it outlives the loss of power, and so do
//     the staged bytes that it names: they are made durable first.
//   - After a loss of power the index is as it was at some moment not before
//     the last Sync or commit; it never names staged bytes that may be missing.
//   - What is being written to a file, and in which staged content, is noted
//     before the first byte is (BeginWriting), so that of all staged content
//     that no inode has the index can tell whether somebody was writing it, it
//     was given up (GivenUp), or its record is lost.
//   - No share-secret is dropped by any operation, check or repair.
//   - Inode numbers and staged ids are never used twice.
//   - A failed operation changes nothing. When the journal can neither be
//     written nor cut back, the index turns read-only and answers EROFS.
//   - Opening costs the same with a million inodes as with ten.
//
// Failures that POSIX has an errno for are answered as that syscall.Errno.
//
// # Lock order
//
// commitMu (one commit at a time), then syncMu (one leader of a group of Syncs),
// then store.mu (the overlay and the journal's end), then a segment's own mutex.
// snapshots.mu comes last of all. store.mu is held over one write(2) of the journal, never over an fsync, a
// commit or SyncStaged.
//
// # Limitations
//
//   - Records of the last commit interval (a second) are dropped after a loss
//     of power if nothing synced them; that is what close mode "durable" is for.
//   - Damage to the journal's very last record can't be told from a torn one.
//   - A directory's entries are ordered by their bytes.
//   - The database is read by way of a memory map: if the disk fails a read of
//     it, the process ends. What was acknowledged is in the journal.
//   - When commits lag behind by 64 MiB of journal, writers wait for them.
package index
