package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"chatfs/internal/transfer"
)

// serve says that the tree is there and serves it until a signal, a chatfs
// umount or a fusermount3 -u; then it finishes the uploads, in bounds, and
// closes everything. Its error tells what is left.
func (s *session) serve(ctx context.Context) error {
	signals, release := endSignals()
	defer release()
	s.sayReady()
	select {
	case <-s.unmounted:
		s.say("unmounted from outside")
	case sig := <-signals:
		s.say("%s: unmounting", sig)
	case reason := <-s.stop:
		s.say("%s: unmounting", reason)
	case <-ctx.Done():
	}
	s.ending.Store(true)
	hurry, done := s.hurry(signals)
	defer done()
	left := s.end(hurry)
	s.outcome = left.err()
	if err := s.close(); err != nil {
		return errors.Join(err, s.outcome)
	}
	return s.outcome
}

// hurry is a context that a second signal or request ends; a third ends the
// process there and then, for a close that hangs. A SIGHUP asks for no hurry:
// a terminal that is closed sends it more than once.
func (s *session) hurry(signals <-chan os.Signal) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(context.Background(), s.options.drainTimeout)
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for asked := 0; ; {
			select {
			case sig := <-signals:
				if sig == syscall.SIGHUP {
					continue
				}
			case <-s.stop:
			case <-over:
				return
			}
			if asked++; asked > 1 {
				os.Exit(exitWaiting)
			}
			s.say("leaving at once")
			cancel()
		}
	})
	return ctx, func() { close(over); watch.Wait(); cancel() }
}

// end unmounts, and uploads what can be until ctx ends.
func (s *session) end(ctx context.Context) remains {
	s.unmount(ctx)
	if ctx.Err() == nil {
		err := s.transfer.Drain(ctx, s.showProgress())
		if err != nil && ctx.Err() == nil {
			s.log.WithError(err).Error("uploads")
		}
	}
	return s.remains()
}

// unmount takes the tree down. If somebody uses it, it vanishes from the
// directory at once, and they have until ctx ends to close what they have
// open. Copies of the mount that others made, by a bind or in a mount
// namespace of their own, are not waited for: they end with the process.
func (s *session) unmount(ctx context.Context) {
	if err := s.takeDown(); err != nil {
		s.say("can't unmount %s: %v", s.mountpoint, err)
	}
	select {
	case <-s.unmounted:
		return
	case <-ctx.Done():
		return
	case <-time.After(copyPatience):
	}
	if copies := copiesOf(s.device); len(copies) > 0 {
		s.say("%s is mounted elsewhere too, %s: that ends with this process", s.mountpoint, strings.Join(copies, ", "))
		return
	}
	select {
	case <-s.unmounted:
	case <-ctx.Done():
	}
}

// copyPatience is what the kernel has to end a connection whose last mount is
// gone, before somebody is looked for who holds it.
const copyPatience = 200 * time.Millisecond

// takeDown removes the mount from its directory: for good if nobody uses it,
// else out of sight. A later mount at the same place is left alone.
func (s *session) takeDown() error {
	if !s.isMounted() {
		return nil
	}
	for pause := time.Millisecond; pause < busyPatience; pause *= 2 {
		if unmount(s.mountpoint) == nil {
			return nil
		}
		time.Sleep(pause)
	}
	s.say("%s is in use%s: it vanishes now, and closes when they do", s.mountpoint, usersOf(s.mountpoint))
	return detach(s.mountpoint)
}

// busyPatience is what a program that has just ended has to let go of the
// tree: twice this at most.
const busyPatience = 200 * time.Millisecond

// isMounted tells whether what is mounted at the mount point is this
// session's. The kernel gives its device number to another mount once all is
// unmounted.
func (s *session) isMounted() bool {
	select {
	case <-s.unmounted:
		return false
	default:
	}
	m, err := mountAt(s.mountpoint)
	return err == nil && m != nil && deviceOf(m) == s.device
}

// say tells a person, and whoever asked for the end.
func (s *session) say(format string, args ...any) {
	line := plain(fmt.Sprintf(format, args...))
	fmt.Fprintf(s.out, "chatfs: %s\n", line)
	s.lines.publish(line)
}

// showProgress prints the progress of the uploads.
func (s *session) showProgress() func(transfer.Progress) {
	show := progressLines(s.out)
	return func(p transfer.Progress) {
		line := progressLine(p)
		if show(line, p.Files == 0) {
			s.lines.publish(line)
		}
	}
}

func progressLine(p transfer.Progress) string {
	switch {
	case p.Files == 0 && p.Failed == 0:
		return "everything is uploaded"
	case p.Files == 0:
		return "everything that can be uploaded is"
	}
	return fmt.Sprintf("uploading: %s (%s) to go", plural(p.Files, "file"), formatSize(p.Bytes))
}

// remains is what is not at the service when a session ends.
type remains struct {
	waiting, failed int
	waitingBytes    int64
	problem         error // the queue can't be read
}

// remains counts the queue: local files wait for their rename, not for us.
func (s *session) remains() remains {
	queue, err := s.index.Queue()
	r := remains{problem: err}
	for _, e := range queue {
		switch {
		case e.Failed != "":
			r.failed++
		case s.transfer.State(e.Ino) == "local":
		default:
			r.waiting++
			r.waitingBytes += e.Size
		}
	}
	return r
}

// err is the session's outcome: nil when all is at the service.
func (r remains) err() error {
	failed := fmt.Sprintf("%s could not be uploaded and %s on this computer (chatfs status tells why)",
		plural(r.failed, "file"), number(r.failed, "stays", "stay"))
	waiting := fmt.Sprintf("%s (%s) %s at the next mount", plural(r.waiting, "file"), formatSize(r.waitingBytes),
		number(r.waiting, "waits for upload; it resumes", "wait for upload; they resume"))
	switch {
	case r.problem != nil:
		return fmt.Errorf("what is left to upload can't be told: %w", r.problem)
	case r.waiting > 0 && r.failed > 0:
		return fail(exitWaiting, "%s; %s", waiting, failed)
	case r.waiting > 0:
		return fail(exitWaiting, "%s", waiting)
	case r.failed > 0:
		return fail(exitFailed, "%s", failed)
	}
	return nil
}
