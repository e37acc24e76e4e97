package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"

	"golang.org/x/sys/unix"
)

// A RemoteError is the other process's error.
type RemoteError struct {
	Text string
	Code int
}

func (e *RemoteError) Error() string { return e.Text }

// Ask sends a request to the process that serves stateDir's tree and calls
// event for each event but the last. ErrNobody means that there is none, a
// *RemoteError that it answered with an error, and io.ErrUnexpectedEOF that
// it ended in the middle.
func Ask(ctx context.Context, stateDir string, r Request, event func(Event) error) error {
	conn, err := dial(stateDir)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return asked(ctx, err)
	}
	for in := json.NewDecoder(conn); ; {
		var e Event
		if err := in.Decode(&e); err != nil {
			return asked(ctx, err)
		}
		if e.Error != "" {
			return &RemoteError{Text: e.Error, Code: e.Code}
		}
		if e.Done {
			return nil
		}
		if err := event(e); err != nil {
			return err
		}
	}
}

func asked(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("control socket: %w", err)
}

func dial(stateDir string) (net.Conn, error) {
	addr, done, err := address(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNobody
	}
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer done()
	conn, err := net.DialUnix("unix", nil, addr)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, ErrNobody
	}
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return conn, nil
}

// Answers tells whether a process serves stateDir's tree.
func Answers(stateDir string) bool {
	conn, err := dial(stateDir)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
