package cli

import (
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"chatfs/index"
)

// TestThinKeepsHoursDaysAndMonths lives through 400 days of a backup an hour.
func TestThinKeepsHoursDaysAndMonths(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 5, 0, 0, time.UTC)
	var list []copyFile
	now := start
	for hour := range 400 * 24 {
		now = start.Add(time.Duration(hour) * time.Hour)
		list = append(list, copyFile{made: now})
		gone := map[time.Time]bool{}
		for _, c := range thin(list) {
			gone[c.made] = true
		}
		var left []copyFile
		for _, c := range list {
			if !gone[c.made] {
				left = append(left, c)
			}
		}
		if list = left; len(list) > 24+14+12+2 || !list[len(list)-1].made.Equal(now) {
			t.Fatalf("hour %d: %d are left, the last of %v", hour, len(list), list[len(list)-1].made)
		}
	}
	for what, at := range map[string][2]time.Duration{"hour": {time.Hour, 24}, "day": {24 * time.Hour, 13}, "month": {31 * 24 * time.Hour, 11}} {
		for i := range int(at[1]) {
			if oldest := now.Add(-time.Duration(i+1) * at[0]); !hasBetween(list, oldest, oldest.Add(at[0])) {
				t.Errorf("none of %s %d before the end", what, i+1)
			}
		}
	}
	if first := list[0].made; now.Sub(first) > 366*24*time.Hour {
		t.Errorf("one of %v is left", first)
	}
}

func hasBetween(list []copyFile, from, to time.Time) bool {
	for _, c := range list {
		if c.made.After(from) && !c.made.After(to) {
			return true
		}
	}
	return false
}

// TestClockStepsLoseNoBackup has the clock go wrong for an hour, back and
// forth: what was there stays, and the newest state does in any case.
func TestClockStepsLoseNoBackup(t *testing.T) {
	start := time.Date(2026, 5, 5, 5, 50, 0, 0, time.UTC)
	for what, step := range map[string]time.Duration{"an hour and a bit back": -70 * time.Minute, "a day back": -24 * time.Hour,
		"years back": -56 * 365 * 24 * time.Hour, "two years ahead": 2 * 365 * 24 * time.Hour} {
		var list []copyFile
		for hour := range 10 * 24 {
			list = append(list, copyFile{changes: uint64(hour), made: start.Add(time.Duration(hour-240) * time.Hour)})
			list = without(list, thin(list))
		}
		before := len(list)
		for i, made := range []time.Time{start.Add(step), start.Add(step + time.Hour), start.Add(time.Hour)} {
			list = append(list, copyFile{changes: uint64(1000 + i), made: made})
			if drop := thin(list); len(drop) > 0 && drop[0].changes == uint64(1000+i) {
				t.Errorf("%s: the newest state is given up", what)
			}
			list = without(list, thin(list))
		}
		if len(list) < before-3 {
			t.Errorf("%s: %d backups are left of %d", what, len(list), before)
		}
	}
}

func without(list, drop []copyFile) []copyFile {
	return slices.DeleteFunc(slices.Clone(list), func(c copyFile) bool { return slices.Contains(drop, c) })
}

func TestAutoBackupIsMadeWhereSomethingChanged(t *testing.T) {
	x, err := index.Open(t.TempDir(), index.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	b := &autoBackup{dir: t.TempDir() + "/backups", index: x, log: logrus.NewEntry(logrus.New())}
	now := time.Date(2026, 5, 5, 5, 5, 5, 0, time.UTC)
	look := func(after time.Duration, want int) {
		t.Helper()
		now = now.Add(after)
		if err := b.look(now); err != nil {
			t.Fatal(err)
		}
		if list, err := listCopies(b.dir); err != nil || len(list) != want {
			t.Errorf("%d backups, %v; want %d", len(list), err, want)
		}
	}
	change := func(name string) {
		if _, err := x.Create(index.Root, name, index.NewInode{Mode: syscall.S_IFREG}); err != nil {
			t.Fatal(err)
		}
	}
	look(0, 0)
	change("a")
	look(time.Minute, 1)
	look(2*time.Hour, 1) // nothing changed
	change("b")
	look(time.Minute, 2)
	change("c")
	look(59*time.Minute, 2) // too soon
	look(time.Minute, 3)
	look(-24*time.Hour, 3) // a clock that was set back
	change("d")
	look(0, 4)
	change("e")
	look(time.Minute, 4) // too soon, whatever names of the future are there
	if err := os.WriteFile(b.dir+"/.new-123", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.clean()
	if left, err := os.ReadDir(b.dir); err != nil || len(left) != 4 {
		t.Errorf("%d are left, %v", len(left), err)
	}
}
