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
//     After kill -9 and an orderly start of the machine it is as it was at the
//     end. The two look alike, so a queued content has a CRC-32C in the journal
//     ([Options.SumStaged]): the longest row of records is taken after which
//     every content that they gave a file proves whole. So a content that was
//     overwritten in place, and not closed, within the last commit interval
//     before the kill ends the row.
//   - Nothing is dropped unsaid: [Recovery] has how many changes, since when and
//     for which files, and the log has it as a warning.
//   - Every key and value that the journal takes, the database takes: what is
//     impossible fails its own operation. What an older version wrote into the
//     journal in spite of that is passed over and told.
//   - A damaged database is told as [*ErrDamaged]; it ends no process. Before
//     bbolt maps the file, its length, heads, root and list of free pages are
//     looked at; every page of a file up to 8 MiB, of one that a loss of power
//     may have spoiled, and by [Index.Check]. A page that is damaged, or
//     that the disk does not give, while the index is in use fails what reads it
//     and leaves the index read-only; the journal keeps what was acknowledged.
//   - A step of the computer's clock, in either direction, removes no version
//     from the history that is not nearly due, and changes no order in the
//     history of a path or in the queue: see [Index.Clock].
//   - What is being written to a file, and in which staged content, is noted
//     before the first byte is (BeginWriting), so that of all staged content
//     that no inode has the index can tell whether somebody was writing it, it
//     was given up (GivenUp), or its record is lost.
//   - No share-secret is dropped by any operation, check or repair.
//   - Inode numbers and staged ids are never used twice.
//   - A failed operation changes nothing. When the journal can neither be
//     written nor cut back, the index turns read-only and answers EROFS.
//   - Opening costs the same with a million inodes as with ten, but for the list
//     of free pages, and after a loss of power.
//
// Failures that POSIX has an errno for are answered as that syscall.Errno.
//
// # Lock order
//
// commitMu (one commit at a time), then syncMu (one leader of a group of Syncs),
// then store.mu (the overlay and the journal's end), then a segment's own mutex.
// snapshots.mu, clock.mu and database.mu come last of all. store.mu is held over one write(2) of the journal, never over an fsync, a
// commit or SyncStaged.
//
// # Limitations
//
//   - Records of the last commit interval (a second) may be dropped after a loss
//     of power if nothing synced them; that is what close mode "durable" is for.
//   - Damage to the journal's very last record can't be told from a torn one
//     after a loss of power.
//   - bbolt's pages have no sums: a key or value that is another, and fits its
//     page, is damage only where two tables disagree or a record can't be read.
//   - In a database above 8 MiB a branch page that leads back to itself is found
//     by check, not at open.
//   - A directory's entries are ordered by their bytes.
//   - When commits lag behind by 64 MiB of journal, writers wait for them.
package index
