package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Handler answers one request: it sends events, and its error, if any, is
// sent as the last. Its context ends when the client goes away or the server
// closes.
type Handler func(ctx context.Context, r Request, send func(Event) error) error

// A Coded error tells the exit code that the client is to end with.
type Coded interface{ ExitCode() int }

// A Server answers on the socket of a state directory.
type Server struct {
	handle   Handler
	listener *net.UnixListener
	path     string
	stop     context.CancelFunc
	ctx      context.Context
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// Listen serves the socket in stateDir. The caller holds the profile's lock,
// so a socket that is there already is a dead one, and is replaced.
func Listen(stateDir string, handle Handler) (*Server, error) {
	path := filepath.Join(stateDir, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	listener, err := listen(stateDir, path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{handle: handle, listener: listener, path: path, ctx: ctx, stop: stop, conns: make(map[net.Conn]bool)}
	s.running.Go(s.accept)
	return s, nil
}

func listen(stateDir, path string) (*net.UnixListener, error) {
	addr, done, err := address(stateDir)
	if err != nil {
		return nil, err
	}
	defer done()
	listener, err := net.ListenUnix("unix", addr)
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // its name dies with the descriptor; Close removes it
	// The directory is 0700, so nobody comes in between.
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// Shutdown takes no more requests, gives those that run the grace to end by
// themselves, and closes the server.
func (s *Server) Shutdown(grace time.Duration) error {
	err := s.listener.Close()
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }() // ends with Close at the latest
	select {
	case <-done:
	case <-time.After(grace):
	}
	if e := s.Close(); !errors.Is(e, net.ErrClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// Close ends the requests that run, waits for them and removes the socket.
func (s *Server) Close() error {
	s.stop()
	err := s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
	if e := os.Remove(s.path); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
			s.pause() // a descriptor will be closed somewhere
			continue
		}
		if err != nil {
			return // closed
		}
		if !s.keep(conn) {
			conn.Close()
			return
		}
		s.running.Go(func() { s.answer(conn) })
	}
}

// pause keeps accept from spinning while descriptors are short.
func (s *Server) pause() {
	select {
	case <-s.ctx.Done():
	case <-time.After(100 * time.Millisecond):
	}
}

// keep remembers a connection for Close; false after Close.
func (s *Server) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.conns[conn] = true
	return true
}

func (s *Server) forget(conn net.Conn) {
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
	conn.Close()
}

func (s *Server) answer(conn net.Conn) {
	defer s.forget(conn)
	in := bufio.NewReader(io.LimitReader(conn, maxRequest))
	line, err := in.ReadBytes('\n')
	if err != nil {
		return
	}
	send := sender(conn)
	var r Request
	if err := json.Unmarshal(line, &r); err != nil {
		_ = send(Event{Error: "no request: " + err.Error(), Code: 1, Done: true})
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.running.Go(func() { // the client says no more: what ends here is the client
		_, _ = in.ReadByte()
		cancel()
	})
	last := Event{Done: true}
	if err := s.handle(ctx, r, send); err != nil {
		last.Error, last.Code = err.Error(), 1
		var coded Coded
		if errors.As(err, &coded) {
			last.Code = coded.ExitCode()
		}
	}
	_ = send(last) // the client may have left
}

// sender writes events as lines, for several goroutines.
func sender(conn net.Conn) func(Event) error {
	var mu sync.Mutex
	enc := json.NewEncoder(conn)
	return func(e Event) error {
		mu.Lock()
		defer mu.Unlock()
		return enc.Encode(e)
	}
}
