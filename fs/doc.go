// Package fs is the tree that the kernel sees. It turns FUSE requests into
// operations on the index, on staged and cached content and, through package
// transfer, on the service. It alone imports go-fuse.
//
// # Promises
//
// Operations on names and attributes never wait for the network. A read of
// content that is not on the local disk, the first write into such content,
// and a look by name at a thumbnail that is not known do; each such wait is bounded by
// Config.ReadTimeout, ends when the caller gets a signal that ends programs and
// at no other, or the connection is given up (interrupt.go), and ends in an errno
// of the table in errno.go.
//
// A name always leads to complete content: what a writer changes becomes the
// file's content in one index operation, at close, fsync or release. What the
// disk refuses at release is tried again until the mount ends, and is then
// taken by the next mount from where the index has noted it (noted.go). A write waits for room on
// the disk where uploads can make it, in bounds, and ends in ENOSPC (room.go).
//
// A directory lists the thumbnails that are known, and asks for the others in
// the background: no listing waits for one. What was listed opens, for every
// thread but that which has just made the picture itself (maker.go).
//
// # State
//
// No truth lives in a node: the kernel forgets nodes as it likes. What an
// open file has that the index does not know yet (bytes written since the
// last close) is in its openFile, which lives as long as a handle does. An
// inode that has lost its last name is kept for as long as a handle is open or
// the kernel knows its node.
//
// # Lock order
//
// openFile.turn (taken by writers; it may be held over the network, and is
// given up when the caller is to end), then openTable.mu, then
// openFile.mu. The last two are never held over the network, a commit or a
// Notify; every Notify is sent by the invalidator's goroutine. dropper.one is
// held over an operation of the index and before dropper.mu, which nothing
// follows.
//
// # Limitations
//
// Times of last access are kept as set and not updated by reading. POSIX
// ACLs, and xattrs outside "user.", are refused with ENOTSUP.
//
// Passthrough (see passthrough.go): a read-only mapping that outlives its
// descriptor shows the content of the time even if the file is changed later.
// A file that is being read by passthrough, and whose content another file has
// come to share and is open as well, gets its writer after two seconds at
// most, or EBUSY. What is stored into a mapping of it after the unmount is
// lost.
package fs
