package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// endSignals are the signals that end a mount or a service, until stop. One
// that was ignored when the process began stays ignored, as nohup wants of
// SIGHUP, and a shell without job control of SIGINT for what it starts in the
// background.
func endSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 3)
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(sig) {
			signal.Notify(c, sig)
		}
	}
	return c, func() { signal.Stop(c) }
}

// outliveReaders lets the process go on when nobody reads what it says any
// more, as after "| head": a write to a closed pipe is an error that nobody
// needs, and not the end.
func outliveReaders() { signal.Ignore(syscall.SIGPIPE) }
