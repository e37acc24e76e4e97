// Package transfer moves bytes between the local disk and the service: the
// uploader works off the index's queue, the fetcher fills the cache.
//
// # Promises
//
// A staged content is given up only when the index has recorded uuid and
// share-secret of its entity. The newest content of a file alone is sent; a
// file that is held, because it is open for writing, is not. Failures that
// may pass are retried for ever, with pauses of at most a minute; others are
// recorded in the index with their reason. Identical content is sent once.
//
// An entity is downloaded once, however many read it; each read is answered
// as soon as its bytes are here. A download goes on when its readers are
// gone, so that the next one finds it.
//
// # Lock order
//
// Uploader.mu, then nothing; download.mu, then nothing. Neither is held over
// the network, the disk or a call of the index.
//
// # Limitations
//
// A download that is cut begins anew, as the service promises no ranges.
package transfer
