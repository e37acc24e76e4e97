// Package remote is the client of the chatfiles REST API, which Easemob and
// Agora Chat offer.
//
// # Promises
//
// No token, password or share-secret is in an error, a log or an address; a
// redirect to another host carries neither Authorization nor share-secret, and
// none is followed but a download's. Plain http is spoken to loopback alone,
// unless the configuration says otherwise. Token requests are shared by all
// requests of a Client and never come in storms: a token is renewed in the
// background at half its life, and when the service refuses it.
//
// All requests but those for tokens go out at one rate, at most Config.MaxRPS,
// which falls to what the service takes when it refuses more than chance
// explains, and rises again; by Priority, and every eighth by age. A pause that
// the service asks for holds its direction, up, down or tokens, alone.
//
// Every wait ends with its context; besides, the service has a bounded time
// to accept a connection, to begin its answer and to send or take the next
// byte, while a whole body may take as long as it needs. What may pass is
// repeated within a bound; what a request was refused for is not.
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
// Downloads begin at the start: the service promises no ranges. Progress of an
// upload is seen in pieces of the connection's buffer, 64 KiB: a line that
// takes less than that in Config.ProgressTimeout counts as stalled.
//
// # Tests
//
// TestSuite runs on a real account where CHATFS_TEST_REMOTE is its address and
// the usual variables hold its credentials.
package remote
