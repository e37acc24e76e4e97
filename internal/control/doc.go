// Package control is how one chatfs process asks another that has a tree
// mounted: a unix socket in the profile's state directory, on which a
// request is one line of JSON, and so is each event of its answer, the last
// of which is marked done.
//
// It promises that the socket is its owner's alone (0600, in a 0700
// directory), that one request is answered on a connection, that a client
// that goes away ends its request's context, and that Close waits for all.
//
// Its one lock guards the set of connections, and is held over no call.
//
// Limitations: no version is agreed upon, since both ends are one build or
// nearly so; fields that an end does not know are left out.
package control
