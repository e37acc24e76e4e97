package fs

import (
	"io"
	"os"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A lent is what a reply may still be read from after Read has returned: a
// staged file, or a reader of an entity. Its owner puts it away when another
// takes its place, and it is closed with the last reply that needs it, so a file
// that is written anew and again under a reader holds one descriptor and not all
// it ever had.
type lent[T io.Closer] struct {
	what T
	uses atomic.Int32 // the owner and who borrowed it
}

// lend makes one, of which the caller is the owner.
func lend[T io.Closer](what T) *lent[T] {
	l := &lent[T]{what: what}
	l.uses.Store(1)
	return l
}

// borrow keeps it open until put. The owner has not put it away: who borrows
// holds the lock under which that is done.
func (l *lent[T]) borrow() *lent[T] {
	l.uses.Add(1)
	return l
}

// put gives it back, or away.
func (l *lent[T]) put() {
	if l.uses.Add(-1) == 0 {
		l.what.Close() // it was read from alone, or is written anew by another descriptor
	}
}

// A reply is a part of a file that go-fuse hands to the kernel, spliced where it
// can, and is Done with then.
type reply struct {
	fuse.ReadResult
	file *os.File
	off  int64
	done func()
}

// replyFrom answers a read of n bytes at off. done is called once the kernel has
// them.
func replyFrom(file *os.File, off int64, n int, done func()) fuse.ReadResult {
	return &reply{fuse.ReadResultFd(file.Fd(), off, n), file, off, done}
}

// Seekable lets go-fuse splice: it is asked for by an interface of its own.
func (r *reply) Seekable() (fd uintptr, off int64, size int) { return r.file.Fd(), r.off, r.Size() }

// Done is called by go-fuse, once.
func (r *reply) Done() { r.done() }
