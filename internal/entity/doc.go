// Package entity holds the small types that the client, the service, the
// index and the local disk all speak of: UUID, Secret, Digest, Sums and Entity.
//
// Promises: every type but Hasher is a value, safe to copy, compare and share
// between goroutines. A Secret never prints, logs or marshals its text; Reveal alone
// gives it away.
//
// Limitations: nothing here does any I/O.
package entity
