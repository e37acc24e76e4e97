package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"runtime/debug"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"chatfs/internal/transfer"
)

// errnoOf is the table of what a failure's kind is to a program. An errno in
// the chain wins where no kind of ours does; the rest is EIO.
var errnoOf = []struct {
	kind  error
	errno syscall.Errno
}{
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.ETIMEDOUT},
	{transfer.ErrTooLarge, syscall.EFBIG},
	{transfer.ErrExpired, syscall.ESTALE},
	{transfer.ErrNotFound, syscall.ESTALE},
	{transfer.ErrPlanLimit, syscall.EDQUOT},
	{transfer.ErrForbidden, syscall.EACCES},
	{transfer.ErrUnauthorized, syscall.EACCES},
	// EAGAIN would say it as well, but Go's programs (rclone, restic) wait at it
	// for what poll(2) tells of the file: nothing, for ever.
	{transfer.ErrThrottled, syscall.EBUSY},
	{transfer.ErrUnavailable, syscall.EHOSTUNREACH},
	{transfer.ErrMalformed, syscall.EIO},
}

// errno turns err into what the program is told, and logs what was not the
// program's own doing: op on ino failed, and why.
func (f *filesystem) errno(op string, ino uint64, err error) syscall.Errno {
	if err == nil {
		return 0
	}
	e := toErrno(err)
	var plain syscall.Errno
	if !errors.As(err, &plain) && e != syscall.EINTR {
		f.Log.WithError(err).WithField("errno", e.Error()).Warnf("%s: %s", f.describe(ino), op)
	}
	return e
}

func toErrno(err error) syscall.Errno {
	for _, row := range errnoOf {
		if errors.Is(err, row.kind) {
			return row.errno
		}
	}
	var e syscall.Errno
	if errors.As(err, &e) && e != 0 {
		return e
	}
	if errors.Is(err, iofs.ErrNotExist) {
		return syscall.ENOENT
	}
	return syscall.EIO
}

// panicked answers EIO for an operation that panicked; the mount lives on.
func (f *filesystem) panicked(v any) fuse.Status {
	if f.Panicked != nil {
		f.Panicked(v)
	} else {
		f.Log.WithField("stack", string(debug.Stack())).Errorf("an operation panicked: %v", v)
	}
	return fuse.EIO
}

// describe names an inode for the log: by path where it still has one.
func (f *filesystem) describe(ino uint64) string {
	in := inoOf(ino)
	if paths, err := f.Index.Paths(in); err == nil && len(paths) > 0 {
		return paths[0]
	}
	return fmt.Sprintf("inode %d (no name)", in)
}
