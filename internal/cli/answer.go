package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"chatfs/index"
	"chatfs/internal/control"
	"chatfs/internal/transfer"
)

// ExitCode lets the code go over the control socket.
func (e *exitError) ExitCode() int { return e.code }

// answer answers a request on the control socket.
func (s *session) answer(ctx context.Context, r control.Request, send func(control.Event) error) error {
	switch r.Op {
	case control.OpStatus:
		return s.answerStatus(send)
	case control.OpSync:
		return s.answerSync(ctx, r.Retry, send)
	case control.OpBackup:
		return s.index.Backup(&pieces{send: func(b []byte) error { return send(control.Event{Data: b}) }})
	case control.OpHistory:
		return s.answerHistory(ctx, r, send)
	case control.OpUmount:
		return s.answerUmount(ctx, send)
	}
	return fail(exitUsage, "this chatfs knows no %q", r.Op)
}

func (s *session) answerStatus(send func(control.Event) error) error {
	report, err := s.report()
	if err != nil {
		return err
	}
	text, err := json.Marshal(report)
	if err != nil {
		return err
	}
	return send(control.Event{Status: text})
}

// answerSync waits until the queue is at rest, and tells of failures.
func (s *session) answerSync(ctx context.Context, retry bool, send func(control.Event) error) error {
	if retry {
		n, err := s.retryFailed()
		if err != nil {
			return err
		}
		if err := send(control.Event{Line: plural(n, "failed upload") + " started again"}); err != nil {
			return err
		}
	}
	var last time.Time
	open, err := s.transfer.DrainClosed(ctx, openPatience, func(p transfer.Progress) {
		if p.Files > 0 && time.Since(last) < progressEvery { // the end is always told
			return
		}
		last = time.Now()
		_ = send(control.Event{Line: progressLine(p)}) // ctx ends if they left
	})
	switch {
	case err != nil && s.ending.Load():
		return s.waitForEnd(ctx)
	case err != nil:
		return fmt.Errorf("uploads: %w", err)
	}
	if len(open) > 0 {
		return s.stillOpen(open)
	}
	return s.remains().err()
}

// openPatience is how long chatfs sync waits for files that are open when all
// else is sent: the kernel tells of a close a little after it has returned.
const openPatience = 5 * time.Second

// stillOpen names files that are open for writing.
func (s *session) stillOpen(open []index.Ino) error {
	var names []string
	for _, ino := range open[:min(len(open), maxListed)] {
		names = append(names, fmt.Sprintf("%q", pathOf(s.index, ino)))
	}
	if more := len(open) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fail(exitWaiting, "all else is uploaded; %s open for writing, and %s sent once closed: %s",
		number(len(open), "a file is", "files are"), number(len(open), "is", "are"), strings.Join(names, ", "))
}

// waitForEnd is the session's outcome, once it has ended.
func (s *session) waitForEnd(ctx context.Context) error {
	select {
	case <-s.ended:
		return s.outcome
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryFailed makes failed uploads wait again.
func (s *session) retryFailed() (int, error) {
	queue, err := s.index.Queue()
	if err != nil {
		return 0, err
	}
	n, err := s.index.RetryFailed()
	for _, e := range queue {
		if e.Failed != "" {
			s.transfer.Wake(e.Ino)
		}
	}
	return n, err
}

// answerUmount ends the session and stays until it has ended. Its client may
// leave before; the end goes on.
func (s *session) answerUmount(ctx context.Context, send func(control.Event) error) error {
	lines, stop := s.lines.listen()
	defer stop()
	select {
	case s.stop <- "chatfs umount":
	default: // it is ending
	}
	for {
		select {
		case line := <-lines:
			_ = send(control.Event{Line: line}) // ctx ends if they left
		case <-s.ended:
			return s.outcome
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
