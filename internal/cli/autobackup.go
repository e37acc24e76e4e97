package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"chatfs/index"
)

const (
	// backupEvery is the pause between two automatic backups, at least.
	backupEvery = time.Hour
	// backupLook is how often the clock is looked at: timers stand still while
	// the machine sleeps.
	backupLook = time.Minute
)

// An autoBackup copies the index beside itself, now and then while it is
// mounted, if it was changed. The copies are as private as the index, and in
// the clear as it is.
type autoBackup struct {
	dir     string
	service string
	index   *index.Index
	log     *logrus.Entry
}

// A copyFile is an automatic backup on the disk.
type copyFile struct {
	path    string
	made    time.Time
	changes uint64 // of the index, when it was made
	size    int64
}

const copyTime = "20060102T150405Z"

func (p *profile) backupsDir() string { return filepath.Join(p.state, "backups") }

// listCopies lists the automatic backups, the oldest first, by what the index
// counted: clocks go wrong.
func listCopies(dir string) ([]copyFile, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var list []copyFile
	for _, e := range entries {
		c := copyFile{path: filepath.Join(dir, e.Name())}
		stamp, rest, _ := strings.Cut(strings.TrimPrefix(e.Name(), "index-"), "-")
		made, terr := time.Parse(copyTime, stamp)
		if _, serr := fmt.Sscanf(rest, "%x.gz", &c.changes); terr != nil || serr != nil {
			continue
		}
		if info, err := e.Info(); err == nil {
			c.size = info.Size()
		}
		c.made = made
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b copyFile) int {
		return cmp.Or(cmp.Compare(a.changes, b.changes), a.made.Compare(b.made))
	})
	return list, err
}

// run looks until ctx ends.
func (b *autoBackup) run(ctx context.Context) {
	tick := time.NewTicker(backupLook)
	defer tick.Stop()
	b.clean()
	for {
		if err := b.look(time.Now()); err != nil {
			b.log.WithError(err).Warn("the index could not be backed up beside itself; it is tried again")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// clean removes what a killed process was writing.
func (b *autoBackup) clean() {
	left, _ := filepath.Glob(filepath.Join(b.dir, ".new-*"))
	for _, path := range left {
		_ = os.Remove(path) // the next mount tries again
	}
}

// look makes a copy if one is due, and thins the old ones.
func (b *autoBackup) look(now time.Time) error {
	list, err := listCopies(b.dir)
	if err != nil {
		return err
	}
	changes := b.index.Changes()
	if changes == 0 {
		return nil // a new tree
	}
	if len(list) > 0 {
		last := list[len(list)-1]
		if since := now.Sub(last.made); last.changes == changes || since >= 0 && since < backupEvery {
			return nil
		}
	}
	path := filepath.Join(b.dir, fmt.Sprintf("index-%s-%x.gz", now.UTC().Format(copyTime), changes))
	err = writePrivate(path, func(w io.Writer) error { return writeArchive(w, b.service, nil, b.index.Backup) })
	if err != nil {
		return err
	}
	list = append(list, copyFile{path: path, made: now, changes: changes})
	for _, c := range thin(list) {
		err = errors.Join(err, os.Remove(c.path))
	}
	return err
}

// keepHours, keepDays and keepMonths are in how many of them, in which something
// changed, thin keeps the newest.
const (
	keepHours  = 24
	keepDays   = 14
	keepMonths = 12
)

// thin tells which backups to give up: all but the newest of each of the last
// 24 hours, 14 days and 12 months, by UTC, that have one. list is in the order
// of the changes: that is the true one, whatever the clock said, and a clock
// that was wrong once takes no more than one place.
func thin(list []copyFile) (drop []copyFile) {
	bounds := map[string]int{"2006-01-02T15": keepHours, "2006-01-02": keepDays, "2006-01": keepMonths}
	seen := map[string]map[string]bool{}
	for layout := range bounds {
		seen[layout] = map[string]bool{}
	}
	for _, c := range slices.Backward(list) {
		keep := false
		for layout, bound := range bounds {
			slot := c.made.UTC().Format(layout)
			if slots := seen[layout]; !slots[slot] && len(slots) < bound {
				slots[slot], keep = true, true
			}
		}
		if !keep {
			drop = append(drop, c)
		}
	}
	return drop
}

// openBackups starts the automatic backups.
func (s *session) openBackups() error {
	b := &autoBackup{dir: s.profile.backupsDir(), service: s.service.name, index: s.index, log: s.log.WithField("area", "backup")}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); b.run(ctx) }()
	s.onClose(func() error { stop(); <-ended; return nil })
	return nil
}
