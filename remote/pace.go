package remote

import "time"

// A pace is how many requests a second the service takes, as its answers tell.
// It rises while requests have to wait and none is refused, and falls to what
// was taken in the last second, or to half if that is more, once more are
// refused than chance explains: a limit that others use as well refuses one
// now and then whatever our rate. It never falls below slowest nor rises above
// most.
type pace struct {
	rate, most float64 // requests a second

	credit  float64   // refusals that are borne; below 0 the pace falls
	streak  int       // refusals in a row
	falls   int       // so far; a request that was sent before one tells nothing of the pace since
	since   time.Time // the last change
	taken   int       // requests since then
	wanted  bool      // a request had to wait since then
	gain    float64   // of the next rise
	unknown bool      // nothing was taken in the second before the last fall

	took, sent perSecond
}

const (
	// slowest keeps asking a service that takes nothing.
	slowest = 0.2 // requests a second
	// Three refusals in a row are the limit's, and so is more than one of seven for
	// long.
	mostStreak  = 3
	mostCredit  = 4
	takenCredit = 1.0 / 6
	// A rise needs so many requests taken at the pace that it goes from, and time.
	riseAfter = 8
	riseTime  = 2 * time.Second
	firstGain = 1.05
	mostGain  = 2
)

func newPace(most float64) pace {
	return pace{rate: most, most: most, credit: mostCredit, gain: mostGain}
}

// request notes that a request is sent, and answers what its answer is given
// to accepted or refused with.
func (p *pace) request(now time.Time) (falls int) {
	p.sent.add(now)
	return p.falls
}

// accepted notes a request that was taken.
func (p *pace) accepted(now time.Time, falls int) {
	p.took.add(now)
	if falls != p.falls {
		return
	}
	p.credit = min(p.credit+takenCredit, mostCredit)
	p.taken++
	p.streak = 0
	switch {
	case !p.wanted || p.rate >= p.most:
	case p.unknown:
		p.change(now, p.rate*mostGain)
	case p.taken >= riseAfter && now.Sub(p.since) >= riseTime:
		p.change(now, p.rate*p.gain)
		p.gain = min(1+2*(p.gain-1), mostGain)
	}
}

// refused notes a request that was not, and tells whether the pace falls.
func (p *pace) refused(now time.Time, falls int) bool {
	if falls != p.falls {
		return false
	}
	p.credit--
	if p.streak++; p.credit >= 0 && p.streak < mostStreak {
		return false
	}
	took := p.took.count(now)
	p.change(now, max(min(p.rate, p.sent.count(now))/2, took))
	p.streak = 0
	p.falls++
	p.credit, p.gain, p.unknown = mostCredit, firstGain, took == 0
	return true
}

func (p *pace) change(now time.Time, rate float64) {
	p.rate = max(min(rate, p.most), min(slowest, p.most))
	p.since, p.taken, p.wanted = now, 0, false
}

// perSecond counts what happened within the last second, by tenths.
type perSecond struct {
	tenths [10]int
	newest int64 // tenth, since 1970
}

func (c *perSecond) move(now time.Time) *int {
	n := int64(len(c.tenths))
	tenth := now.UnixMilli() / 100
	for i := max(c.newest+1, tenth-n+1); i <= tenth; i++ {
		c.tenths[i%n] = 0
	}
	c.newest = max(c.newest, tenth)
	return &c.tenths[c.newest%n]
}

func (c *perSecond) add(now time.Time) { *c.move(now)++ }

func (c *perSecond) count(now time.Time) float64 {
	c.move(now)
	sum := 0
	for _, n := range c.tenths {
		sum += n
	}
	return float64(sum)
}
