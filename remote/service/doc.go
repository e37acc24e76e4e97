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
// is in its hour's history from then on.
//
// # Lock order
//
// Service.mu alone, never held over the disk.
//
// # Limitations
//
// Where the real service's behaviour is not documented the choice made here
// stands in a comment that begins with "Choice:". Group files are not served.
package service
