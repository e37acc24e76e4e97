// Package remote is the client of the chatfiles REST API, which Easemob and
// Agora Chat offer.
//
// # Promises
//
// No token, password or share-secret is in an error, a log or an address; a
// redirect to another host carries neither Authorization nor share-secret.
// Plain http is spoken to loopback alone, unless the configuration says
// otherwise. Token requests are shared by all requests of a Client and never
// come in storms. When the service asks to slow down, all requests do.
//
// Every wait ends with its context; besides, the service has a bounded time
// to accept a connection, to begin its answer and to send or take the next
// byte, while a whole body may take as long as it needs.
//
// # Errors
//
// Failures are *Error values, of a kind that errors.Is tells: ErrNotFound,
// ErrThrottled and so on. Temporary tells whether trying again may help.
//
// # Lock order
//
// tokens.mu and throttle.mu are never held together, nor over the network.
//
// # Limitations
//
// Downloads begin at the start: the service promises no ranges.
package remote
