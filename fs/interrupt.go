package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"chatfs/internal/transfer"
)

// The kernel tells of any signal that its caller gets, once and not which. To
// give an operation up for a timer's or a child's would be an EINTR that no
// program expects of a file. So what is waited for is waited for on, until a
// signal is pending that ends programs.

// ending are the signals by which programs are ended. Where one's action is the
// default, the kernel has KILL pending on each thread.
var ending = mask(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGKILL, unix.SIGTERM)

func mask(signals ...unix.Signal) (set uint64) {
	for _, s := range signals {
		set |= 1 << (s - 1)
	}
	return set
}

// endLook is how often an interrupted caller is looked at.
const endLook = 50 * time.Millisecond

// whileWanted is ctx for a wait of at most limit, 0 being for ever, that no
// other signal of the caller ends than one that ends programs. The end of the
// connection ends it too.
func whileWanted(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	wait, cancel := context.WithCancel(context.WithoutCancel(ctx))
	end := cancel
	if limit > 0 {
		wait, cancel = context.WithTimeout(wait, limit)
	}
	stop := context.AfterFunc(ctx, func() {
		for !isEnding(ctx) {
			select {
			case <-time.After(endLook):
			case <-wait.Done():
				return
			}
		}
		end()
	})
	return wait, func() { stop(); cancel(); end() }
}

// patiently calls wait, for bytes of r, with a bound that begins anew for as
// long as bytes come: a content that can be read only when it is whole takes
// as long as its way does.
func (f *filesystem) patiently(ctx context.Context, r *transfer.Reader, wait func(context.Context) error) error {
	for {
		before := r.Arrived()
		limited, cancel := whileWanted(ctx, f.ReadTimeout)
		err := wait(limited)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || r.Arrived() == before {
			return err
		}
	}
}

// isEnding tells whether the caller is about to end, waits no more, as the
// kernel gave the connection up, or can't be looked at.
func isEnding(ctx context.Context) bool {
	caller, ok := fuse.FromContext(ctx)
	if !ok {
		return true
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", caller.Pid))
	if err != nil {
		return true
	}
	return !waits(string(status)) || pending(string(status))&ending != 0
}

// waits tells of a thread's status whether it may wait for an answer of ours
// still: once it was interrupted, it does so in state D alone, or is about to.
func waits(status string) bool {
	_, state, _ := strings.Cut(status, "\nState:\t")
	return strings.HasPrefix(state, "D") || strings.HasPrefix(state, "R")
}

// pending reads the signals that wait for a thread, and that it neither blocks
// nor ignores, from its status: see proc(5).
func pending(status string) uint64 {
	var set, kept uint64
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		bits, _ := strconv.ParseUint(strings.TrimSpace(value), 16, 64) // of other lines it is nothing
		switch name {
		case "SigPnd", "ShdPnd":
			set |= bits
		case "SigBlk", "SigIgn":
			kept |= bits
		}
	}
	return set &^ kept
}
