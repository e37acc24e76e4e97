package cli

import (
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// isTerminal tells whether f is one.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// hideInput stops a terminal's echo until restore, or until a signal ends the
// process, which gives the terminal back first.
func hideInput(in io.Reader) (restore func()) {
	f, ok := in.(*os.File)
	if !ok {
		return func() {}
	}
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {} // no terminal
	}
	signals, release := endSignals()
	answered := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case sig := <-signals:
			_ = unix.IoctlSetTermios(fd, unix.TCSETS, old)
			signal.Reset(sig)
			_ = unix.Kill(os.Getpid(), sig.(syscall.Signal)) // ends as it would have
		case <-answered:
		}
	})
	quiet := *old
	quiet.Lflag &^= unix.ECHO
	_ = unix.IoctlSetTermios(fd, unix.TCSETS, &quiet)
	return func() {
		close(answered)
		watch.Wait()
		release()
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, old)
	}
}
