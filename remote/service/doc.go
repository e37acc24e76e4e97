// Package service serves the chatfiles REST API: the embedded service of a
// mount without an account, chatfs serve, and the counterpart of the tests.
//
// # Promises
//
// An upload appears whole or not at all, also after kill -9 and a loss of
// power: it is written to a file without a name, which is named and synced
// before its record is committed, or, if it is small, committed with its
// record. Only the app and its registered users may upload or download; a
// restricted file needs its share-secret, which is compared in constant time.
// Secrets come from crypto/rand and appear in no log. A message that is posted
// is in its hour's history from then on. The thumbnail of a picture is made when
// it is uploaded, a few at once, after the answer; who asks for it waits for it.
// Decoding takes bounded memory (package picture): of a picture that would take
// more, the thumbnail is the original if that is small, else there is none.
// A client that sends or takes no byte for Config.Patience loses its connection;
// what it may send is bounded.
//
// Files, tokens and messages that have expired are removed from the disk at
// start and every Config.PruneEvery: the record first, then the bytes, so that
// no record is ever without its bytes. Bytes without a record, which a kill
// leaves, are removed at a start once they would have expired. A download under
// way goes on to its end; who asks later is told that the file has expired.
//
// # Lock order
//
// Service.mu and thumbnailer.mu, each alone, never held over the disk.
//
// # Limitations
//
// Where the real service's behaviour is not documented the choice made here
// stands in a comment that begins with "Choice:". Group files and video frames
// are not served, and messages reach nobody. The database does not shrink: room
// of what was removed is used for what comes.
package service
