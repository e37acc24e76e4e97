package transfer

import (
	"context"
	"errors"
	"net/http"
	"time"

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
}

// Caps of the pause between probes. Nobody else is burdened by a try to reach
// what does not answer; credentials that are tried too often get an account
// blocked.
const (
	probeMost   = 5 * time.Second
	patientMost = time.Minute
)

// ofService tells whether a failure would have met any other file too.
func ofService(err error) bool {
	if errors.Is(err, remote.ErrUnauthorized) || errors.Is(err, remote.ErrThrottled) {
		return true
	}
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
	first := o.since.IsZero()
	if !ofService(err) || !first && o.prober != j {
		return
	}
	if first {
		o.since = now
	}
	o.err = err
	o.tries++
	most := probeMost
	if errors.Is(err, remote.ErrUnauthorized) {
		most = patientMost
	}
	o.probe = now.Add(min(pause(o.tries), most))
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

// networkWorks has all uploads tried at once that wait after failures.
func (t *Transfer) networkWorks() {
	t.uploads.mu.Lock()
	defer t.uploads.mu.Unlock()
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
		if j.attempts > 0 && j.at >= 0 && ofService(j.err) {
			j.attempts = 0
			u.schedule(j, now)
		}
	}
	u.tell()
}
