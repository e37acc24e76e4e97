// Package transfer moves bytes between the local disk and the service: the
// uploader works off the index's queue, the fetcher fills the cache.
//
// # Promises
//
// A staged content is given up only when the index has recorded uuid and
// share-secret of its entity. The newest content of a file alone is sent; a
// file that is held, because it is open for writing, is not. Failures that
// may pass are retried for ever, with pauses of at most a minute; others are
// recorded in the index with their reason. While the service answers nobody,
// refuses the credentials or fails several files in a row, one upload probes it
// and the others wait; any success sets all going. Identical content is sent once.
//
// Start makes what a killed process had written and not closed its files'
// content, removes what the index has given up, and puts all else that no record
// names into rescued/. After a new start of the machine nothing that was not
// committed becomes content.
//
// An entity is downloaded once, however many read it; each read is answered
// as soon as its bytes are here and right: a block of them by its sum, and all,
// before the last of them is given out, cached or pinned, by the digest. What is
// wrong is asked for again, and never seen. Where no sums are known the first
// byte waits for the whole, and the sums are recorded; where the digest is not
// known either, as of a thumbnail, the whole is what comes in the right length.
// A download goes on when its readers are gone, so that the next one finds it.
// Who opens a directory's files in its order finds the
// next ones fetched, at most Config.Prefetch bytes of them.
//
// The thumbnail of a picture that was uploaded is asked for in the background, a
// few at once, and Config.Changed is told when it is here. What is neither a
// picture nor the original is refused, and asked for again later. Sizes that the
// index knows are those of thumbnails that were looked at.
//
// Before the service forgets a file's entity, after half its time there, its
// content is pinned on the local disk, or the service is made to keep it: as
// Config.Keep says. That the service has forgotten an entity is believed when
// it says so, not because of the time, and when it has another of ours; until
// the entity's days are over it is asked again. What may be the last copy of a
// content is not evicted, but pinned.
//
// # Lock order
//
// prefetcher has none: its goroutine owns the streams. uploader.mu, flights.mu,
// thumbs.mu and download.mu, then nothing. keeper.one is held over a whole sweep,
// and by nobody else; witnesses.mu, by nobody who holds another. None of the
// others is held over the network, the disk or a call of the index.
//
// # Limitations
//
// A download that is cut is sent anew from its beginning, as the service promises
// no ranges; what was right of it is passed over.
//
// A service that means ill can make blocks that have the right sums. Who reads
// only some of them gets them; who reads to the end, or later, does not.
//
// A thumbnail has no digest: another picture's is not told from the right one,
// nor is a flipped bit where the form has no sums.
package transfer
