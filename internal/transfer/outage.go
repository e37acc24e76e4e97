package transfer

import (
	"context"
	"errors"
	"net/http"
	"time"

	"chatfs/index"
	"chatfs/remote"
)

// An outage is what uploads know of a service that answers none of them: one
// probes it while the others wait, so that a long queue neither hammers the
// service nor has each file learn of its return by a pause of its own.
type outage struct {
	since  time.Time // zero: there is none
	err    error
	tries  int
	probe  time.Time // when the next is due
	prober *job      // that is sent now

	struck map[index.Ino]bool // files that failed since the last success
}

// manyFiles that fail one after the other, with nothing sent between, are no
// fault of theirs.
const manyFiles = 3

// Caps of the pause between probes. Nobody else is burdened by a try to reach
// what does not answer; a service that does is asked less: credentials that are
// tried too often get an account blocked.
const (
	probeMost   = 5 * time.Second
	patientMost = time.Minute
)

// ofService tells whether a failure would have met any other file too.
func ofService(err error) bool {
	return away(err) || errors.Is(err, remote.ErrUnauthorized) || errors.Is(err, remote.ErrThrottled) || errors.Is(err, remote.ErrNotFound)
}

// away tells whether the service was not reached.
func away(err error) bool {
	var answer *remote.Error
	if !errors.Is(err, remote.ErrUnavailable) || !errors.As(err, &answer) {
		return errors.Is(err, context.DeadlineExceeded)
	}
	switch answer.Status {
	case 0, http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// failed notes that j met err.
func (o *outage) failed(j *job, err error, now time.Time) {
	if !remote.Temporary(err) && !ofService(err) {
		return // of the file, or of the disk
	}
	if o.struck == nil {
		o.struck = make(map[index.Ino]bool)
	}
	if len(o.struck) < manyFiles {
		o.struck[j.ino] = true
	}
	first := o.since.IsZero()
	if first && !ofService(err) && len(o.struck) < manyFiles || !first && o.prober != j {
		return
	}
	if first {
		o.since = now
	}
	o.err = err
	o.tries++
	o.probe = now.Add(min(pause(o.tries), most(err)))
	if answer := (*remote.Error)(nil); errors.As(err, &answer) && answer.RetryAt.After(o.probe) {
		o.probe = answer.RetryAt
	}
}

// most caps the pause after err.
func most(err error) time.Duration {
	if away(err) || !ofService(err) {
		return probeMost
	}
	return patientMost
}

// prefers tells whether j probes rather than other: where the failures may be
// the files' own after all, one that has not failed yet.
func (o *outage) prefers(j, other *job) bool {
	return !o.since.IsZero() && !ofService(o.err) && j.attempts == 0 && other.attempts > 0
}

// mayProbe tells whether there is an outage, and a probe is due.
func (o *outage) mayProbe(now time.Time) bool {
	return !o.since.IsZero() && o.prober == nil && !now.Before(o.probe)
}

// admits tells whether j may run now, and else how long it waits at least.
func (o *outage) admits(j *job, now time.Time) (ok bool, wait time.Duration) {
	switch {
	case o.since.IsZero(), j.urgent:
		return true, 0
	case o.prober != nil:
		return false, time.Hour // its end tells
	case !now.Before(o.probe):
		o.prober = j
		return true, 0
	}
	return false, o.probe.Sub(now)
}

// ended notes the end of j's attempt.
func (o *outage) ended(j *job) {
	if o.prober == j {
		o.prober = nil
	}
}

// Outage tells since when, and why, the service takes no upload; ok is false
// while it does.
func (t *Transfer) Outage() (since time.Time, why error, ok bool) {
	t.uploads.mu.Lock()
	defer t.uploads.mu.Unlock()
	o := &t.uploads.out
	return o.since, o.err, !o.since.IsZero()
}

// reached has all tried at once that waits for the network: something
// was downloaded.
func (t *Transfer) reached() {
	t.thumbs.back()
	t.uploads.mu.Lock()
	defer t.uploads.mu.Unlock()
	if away(t.uploads.out.err) {
		t.uploads.revive()
	}
}

// uploaded has all uploads tried at once that wait for the service.
func (t *Transfer) uploaded() {
	t.thumbs.back()
	t.uploads.mu.Lock()
	defer t.uploads.mu.Unlock()
	clear(t.uploads.out.struck)
	t.uploads.revive()
}

// revive ends an outage. The caller holds mu.
func (u *uploader) revive() {
	if u.out.since.IsZero() {
		return
	}
	u.out = outage{}
	now := time.Now()
	for _, j := range u.jobs {
		if j.attempts > 0 && j.at >= 0 {
			j.attempts = 0
			u.schedule(j, now)
		}
	}
	u.tell()
}
