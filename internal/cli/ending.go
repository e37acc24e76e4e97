package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"chatfs/fs"
	"chatfs/internal/transfer"
)

// serve says that the tree is there and serves it until a signal, a chatfs
// umount or a fusermount3 -u; then it finishes the uploads, in bounds, and
// closes everything. Its error tells what is left.
func (s *session) serve(ctx context.Context) error {
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	unmounted := make(chan struct{})
	go func() { s.server.Load().Wait(); close(unmounted) }() // ends with the mount
	s.sayReady()
	select {
	case <-unmounted:
		s.say("unmounted from outside")
	case sig := <-signals:
		s.say("%s: unmounting", sig)
	case reason := <-s.stop:
		s.say("%s: unmounting", reason)
	case <-ctx.Done():
	}
	hurry, done := s.hurry(signals)
	defer done()
	left := s.end(hurry, unmounted)
	s.outcome = left.err()
	if err := s.close(); err != nil {
		return errors.Join(err, s.outcome)
	}
	return s.outcome
}

// hurry is a context that a second signal or request ends; a third ends the
// process there and then, for a close that hangs.
func (s *session) hurry(signals <-chan os.Signal) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(context.Background(), s.options.drainTimeout)
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for asked := 0; ; asked++ {
			select {
			case <-signals:
			case <-s.stop:
			case <-over:
				return
			}
			if asked > 0 {
				os.Exit(exitWaiting)
			}
			s.say("leaving at once")
			cancel()
		}
	})
	return ctx, func() { close(over); watch.Wait(); cancel() }
}

// end unmounts, and uploads what can be until ctx ends.
func (s *session) end(ctx context.Context, unmounted <-chan struct{}) remains {
	s.unmount(ctx, unmounted)
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
// open.
func (s *session) unmount(ctx context.Context, unmounted <-chan struct{}) {
	select {
	case <-unmounted:
		return
	default:
	}
	if err := s.server.Load().Unmount(); err != nil {
		s.say("%s is in use%s: it vanishes now, and closes when they do", s.mountpoint, usersOf(s.mountpoint))
		if err := detach(s.mountpoint); err != nil && !errors.Is(err, unix.EINVAL) {
			s.say("can't unmount %s: %v", s.mountpoint, err)
		}
	}
	select {
	case <-unmounted:
	case <-ctx.Done():
	}
}

// unmountForGood is for a session that ends before or after serve: whatever
// is still mounted is detached.
func (s *session) unmountForGood(server *fs.Server) error {
	m, err := mountAt(s.mountpoint)
	if err != nil || m == nil || m.FSType != "fuse.chatfs" {
		return err
	}
	if server.Unmount() == nil {
		return nil
	}
	return detach(s.mountpoint)
}

// say tells a person, and whoever asked for the end.
func (s *session) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
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
