package index

import (
	"fmt"
	"testing"
	"time"

	"chatfs/internal/entity"
)

// hands are a clock that a test sets.
type hands struct {
	wall   time.Time
	passed time.Duration
}

func (h *hands) read() (time.Time, time.Duration) { return h.wall, h.passed }

// pass has the time go on.
func (h *hands) pass(d time.Duration) { h.wall, h.passed = h.wall.Add(d), h.passed+d }

func (h *hands) options() Options {
	o := byHand
	o.hooks.clock = h.read
	return o
}

const day = 24 * time.Hour

// TestClockSteps: between which times the present is, in a clock's life.
func TestClockSteps(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	h := &hands{wall: noon}
	c := clock{read: h.read}
	c.start(uint64(noon.UnixNano()))
	want := func(what string, earliest, latest time.Time) {
		t.Helper()
		if e, l := c.now(); !e.Equal(earliest) || !l.Equal(latest) {
			t.Errorf("%s: between %v and %v, want %v and %v", what, e, l, earliest, latest)
		}
	}
	want("right", noon, noon)
	h.pass(3 * day)
	want("3 days later", noon.Add(3*day), noon.Add(3*day))
	h.wall = noon.AddDate(10, 0, 0)
	want("10 years ahead", noon.Add(4*day), noon.AddDate(10, 0, 0))
	h.wall = time.Unix(0, 0)
	want("at the epoch", noon, noon)
	h.wall = noon.Add(3 * day)
	want("right again", noon.Add(3*day), noon.Add(3*day))
}

// overwriteOften gives a file several contents and answers their entities.
func overwriteOften(t *testing.T, ix *Index, ino Ino, times int, between func()) (list []entity.UUID) {
	t.Helper()
	for i := range times {
		list = append(list, upload(t, ix, ino, byte(i+1)).UUID)
		between()
	}
	return list
}

// TestHistoryKeepsItsOrder, and loses nothing, when the clock is set back again
// and again, or stands still.
func TestHistoryKeepsItsOrder(t *testing.T) {
	for what, hours := range map[string][]int{"forth": {1, 2, 3, 4, 5, 6}, "back": {-1, -2, -3, -4, -5, -6},
		"far back": {-1e6, -2e6, 0, 0, -1e6, 0}, "still": {0, 0, 0, 0, 0, 0}, "to and fro": {9, 1, 12, 7, 2, 0}} {
		h := &hands{wall: time.Now()}
		start, i := h.wall, 0
		ix := open(t, t.TempDir(), h.options())
		f := touch(t, ix, Root, "f")
		list := overwriteOften(t, ix, f.Ino, 6, func() { h.wall = start.Add(time.Duration(hours[i]) * time.Hour); i++ })
		got := must[[]Version](t)(ix.History("/f"))
		if len(got) != 5 {
			t.Fatalf("%s: %d versions", what, len(got))
		}
		for i, v := range got {
			if v.UUID != list[i] {
				t.Errorf("%s: version %d is not the one that was", what, i)
			}
		}
	}
}

// TestAStepOfTheClockPurgesNothing: ahead by years, at one opening and at many;
// and once the time has really passed, the old is purged.
func TestAStepOfTheClockPurgesNothing(t *testing.T) {
	dir := t.TempDir()
	h := &hands{wall: time.Now()}
	kept := func(what string, want int) {
		t.Helper()
		ix := open(t, dir, h.options())
		for range 3 {
			must[int](t)(ix.PurgeHistory(h.wall.Add(-30 * day)))
		}
		if got := must[[]Version](t)(ix.History("/f")); len(got) != want {
			t.Errorf("%s: %d versions, want %d", what, len(got), want)
		}
		noError(t, ix.Close())
	}
	ix := open(t, dir, h.options())
	f := touch(t, ix, Root, "f")
	overwriteOften(t, ix, f.Ino, 3, func() { h.pass(time.Minute) })
	noError(t, ix.Close())
	right := h.wall
	kept("right", 2)
	h.wall = right.AddDate(10, 0, 0)
	for range 5 {
		kept("10 years ahead", 2)
	}
	h.wall = time.Unix(0, 0)
	kept("at the epoch", 2)
	h.wall = right
	kept("right again", 2)
	ix = open(t, dir, h.options())
	h.pass(40 * day)
	if n := must[int](t)(ix.PurgeHistory(h.wall.Add(-30 * day))); n != 2 {
		t.Errorf("purged %d after 40 days", n)
	}
}

// TestAVersionFromAClockAtTheEpochStays: a computer without a clock of its own
// starts at 1970, and is put right by the network.
func TestAVersionFromAClockAtTheEpochStays(t *testing.T) {
	dir := t.TempDir()
	h := &hands{wall: time.Now()}
	ix := open(t, dir, h.options())
	f := touch(t, ix, Root, "f")
	upload(t, ix, f.Ino, 1)
	noError(t, ix.Close())
	right := h.wall
	h.wall = time.Unix(60, 0)
	ix = open(t, dir, h.options())
	upload(t, ix, f.Ino, 2)
	h.wall = right
	if n := must[int](t)(ix.PurgeHistory(right.Add(-30 * day))); n != 0 {
		t.Errorf("purged %d", n)
	}
}

// TestQueueKeepsItsOrder whatever the clock says; what is tried anew goes to the
// end.
func TestQueueKeepsItsOrder(t *testing.T) {
	dir := t.TempDir()
	ix := open(t, dir, byHand)
	var want []Ino
	for i := range 5 {
		f := touch(t, ix, Root, fmt.Sprint(i))
		n := must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: ix.NextStaged(), Size: 1}))
		noError(t, ix.requeue(n.Ino, n.Version, func(q *QueueEntry) { q.Queued = q.Queued.Add(-time.Duration(i) * time.Hour) })) // a clock that is set back each time
		want = append(want, f.Ino)
	}
	noError(t, ix.Close())
	ix = open(t, dir, byHand)
	check := func() {
		t.Helper()
		for i, q := range must[[]QueueEntry](t)(ix.Queue()) {
			if q.Ino != want[i] {
				t.Errorf("place %d has inode %d, want %d", i, q.Ino, want[i])
			}
		}
	}
	check()
	q, _, err := ix.QueueEntry(want[0])
	noError(t, err)
	noError(t, ix.Failed(q.Ino, q.Version, "no"))
	check()
	must[int](t)(ix.RetryFailed())
	want = append(want[1:], want[0])
	check()
}

// TestOlderQueueEntryIsRead has a record from before the queue had places.
func TestOlderQueueEntryIsRead(t *testing.T) {
	q := QueueEntry{Ino: 5, Version: 3, Staged: 7, Size: 9, Queued: time.Unix(0, 12345), Attempts: 2, Failed: "f", Reason: "r", Never: true}
	b := encodeQueueEntry(&q)
	got := must[QueueEntry](t)(decodeQueueEntry(5, b[:len(b)-5]))
	if got != q {
		t.Errorf("read %+v, want %+v", got, q)
	}
}
