package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/remote"
)

// Exit codes, as docs/operations.md lists them.
const (
	exitOK          = 0
	exitFailure     = 1  // anything without a code of its own
	exitUsage       = 2  // a bad flag, argument, variable or configuration file
	exitMountpoint  = 3  // the mount point can't be used
	exitProfile     = 4  // another process works on the profile, or it belongs to another service
	exitIndex       = 5  // the index is newer than this command, or damaged
	exitFUSE        = 6  // no FUSE on this machine, or not for this user
	exitCredentials = 7  // the service refused the credentials
	exitWaiting     = 8  // some files still wait for their upload
	exitFailed      = 9  // some files can't be uploaded
	exitNotMounted  = 10 // nothing is mounted there
)

// An exitError is an error with the exit code of its kind. With said set,
// its words are on the terminal already.
type exitError struct {
	code int
	err  error
	said bool
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// fail makes an error that ends the command with code.
func fail(code int, format string, args ...any) error {
	return &exitError{code: code, err: fmt.Errorf(format, args...)}
}

// exitCode is the exit code of an error: its own, or that of its kind.
func exitCode(err error) int {
	var own *exitError
	var newer index.ErrNewerSchema
	var damaged *index.ErrDamaged
	var disk *blob.ErrDisk
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &newer), errors.As(err, &damaged):
		return exitIndex
	case errors.Is(err, index.ErrLocked), errors.As(err, &disk):
		return exitProfile
	case errors.Is(err, remote.ErrBadBase):
		return exitUsage
	case errors.Is(err, remote.ErrUnauthorized), errors.Is(err, remote.ErrForbidden):
		return exitCredentials
	}
	return exitFailure
}

// tell writes an error as one line and answers its exit code.
func tell(w io.Writer, err error) int {
	var own *exitError
	if err != nil && !(errors.As(err, &own) && own.said) {
		line := strings.Join(strings.Fields(err.Error()), " ")
		fmt.Fprintf(w, "chatfs: %s\n", plain(line))
	}
	return exitCode(err)
}
