package index

import (
	"encoding/binary"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The computer's clock may be wrong, and be put right by years, in either
// direction. So the index notes how late it has been, and does not believe a
// clock that says more than a day beyond what can have passed since: what is
// given up by age is given up by the earliest time that it can be, and nothing
// is stamped earlier than what was noted before.
const (
	// offFor is how long the computer can have been off between two openings, as
	// far as we believe.
	offFor = 24 * time.Hour
	// noteClockEvery is how old the noted time may grow.
	noteClockEvery = 10 * time.Minute
)

// A clock tells between which times the present is.
type clock struct {
	read func() (wall time.Time, passed time.Duration)

	mu     sync.Mutex
	floor  time.Time     // the present is not earlier
	passed time.Duration // when floor was set
	noted  time.Time     // what the index has on the disk
}

// readClocks reads the clock that people set, and the one that goes on while
// the machine sleeps and that nobody sets.
func readClocks() (wall time.Time, passed time.Duration) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Now(), 0
	}
	return time.Now(), time.Duration(ts.Nano())
}

// start takes what an earlier opening has noted, in nanoseconds; 0: nothing.
func (c *clock) start(noted uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, passed := c.read()
	c.passed, c.floor = passed, wall
	if noted != 0 {
		c.noted = time.Unix(0, int64(noted))
		c.floor = c.noted
	}
}

// now tells the bounds of the present: what was before the earliest has surely
// been, what is after the latest is surely to come, unless the clock has always
// been wrong.
func (c *clock) now() (earliest, latest time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, passed := c.read()
	since := max(passed-c.passed, 0)
	earliest, latest = c.floor, wall
	if wall.After(c.floor) {
		earliest = wall
	} else {
		latest = c.floor
	}
	if most := c.floor.Add(offFor + since); earliest.After(most) {
		earliest = most
	}
	return earliest, latest
}

// Clock tells between which times the present is, as the computer's clock may
// be wrong: give up by age what is old at the earliest, and trust what is young
// at the latest.
func (ix *Index) Clock() (earliest, latest time.Time) { return ix.store.clock.now() }

// noteClock has the index on the disk know how late it is, now and then.
func (t *tx) noteClock() {
	c := &t.s.clock
	earliest, _ := c.now()
	c.mu.Lock()
	due := earliest.Sub(c.noted) >= noteClockEvery
	c.mu.Unlock()
	if !due {
		return
	}
	t.putMetaUint(metaClock, uint64(earliest.UnixNano()))
	t.after = append(t.after, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.noted = earliest
	})
}

// stamp is the time for the history's next version of a path: behind all that
// it has, whatever the clock says.
func (t *tx) stamp(path string) time.Time {
	_, at := t.s.clock.now()
	prefix := historyPrefix(path)
	t.scan(bucketHistory, prefix, prefix+string(be64(nil, uint64(at.UnixNano()))), func(k string, _ []byte) bool {
		if len(k) == len(prefix)+versionTail {
			last := binary.BigEndian.Uint64([]byte(k[len(prefix):]))
			at = time.Unix(0, int64(last)+1)
		}
		return true
	})
	return at
}
