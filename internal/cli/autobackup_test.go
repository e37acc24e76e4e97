package cli

import (
	"os"
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
		for _, c := range thin(list, now) {
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

func TestThinKeepsWhatIsFromTheFuture(t *testing.T) {
	now := time.Date(2026, 5, 5, 5, 5, 5, 0, time.UTC)
	list := []copyFile{{made: now.Add(-time.Hour)}, {made: now.Add(48 * time.Hour)}}
	if drop := thin(list, now); len(drop) != 0 {
		t.Errorf("given up: %v", drop)
	}
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
	if err := os.WriteFile(b.dir+"/.new-123", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.clean()
	if left, err := os.ReadDir(b.dir); err != nil || len(left) != 3 {
		t.Errorf("%d are left, %v", len(left), err)
	}
}
