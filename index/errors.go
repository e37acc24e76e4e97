package index

import (
	"errors"
	"fmt"
)

// ErrLocked says that another process has the index open.
var ErrLocked = errors.New("another process has this index open")

// ErrClosed says that the index was used after Close.
var ErrClosed = errors.New("the index is closed")

// ErrNewerSchema says that a newer version of the program wrote the index.
type ErrNewerSchema struct {
	Found uint64 // in the index
	Known uint64 // the newest that this program reads
}

func (e ErrNewerSchema) Error() string {
	return fmt.Sprintf("the index has schema version %d, this program knows up to %d: use a newer chatfs", e.Found, e.Known)
}

// ErrDamaged says that the index or its journal is not as it was written, and
// that this can't be a torn tail.
type ErrDamaged struct {
	File string
	What string
	Err  error
}

func (e *ErrDamaged) Error() string {
	return fmt.Sprintf("%s is damaged: %s; run `chatfs check`", e.File, e.What)
}

func (e *ErrDamaged) Unwrap() error { return e.Err }
