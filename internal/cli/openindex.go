package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"chatfs/index"
	"chatfs/internal/blob"
)

// An index that is not there opens as an empty tree, and an old one that was
// copied back opens as what was once. Beside files that say that there was
// more, neither is what anybody wants: they are refused, with the way out.

var (
	errNoIndex  = errors.New("the index is missing")
	errOldIndex = errors.New("the index is older than its backups")
)

// openIndex opens a profile's index. With mend it takes one that is older than
// its backups, makes one where there is no backup to go back to, and takes what
// comes before a journal's damage.
func (p *profile) openIndex(blobs *blob.Store, log *logrus.Logger, mend bool) (*index.Index, error) {
	copies, err := listCopies(p.backupsDir())
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", p.name, err)
	}
	anew, err := p.wantIndex(copies, mend)
	if err != nil {
		return nil, err
	}
	o := index.Options{SyncStaged: syncStaged(blobs), SumStaged: sumStaged(blobs), Salvage: mend, Log: log.WithField("area", "index")}
	x, err := p.openWith(o)
	if err != nil {
		return nil, err
	}
	last := lastCopy(copies, time.Now())
	old, behind := x.Changes() < last.changes, highest(copies) > x.Changes()
	switch {
	case old && !mend:
		err = fail(exitIndex, "%w: %s has seen less than %s: chatfs restore goes back to a backup, and chatfs check --repair takes the index as it is",
			errOldIndex, filepath.Join(p.state, index.FileName), last.path)
	case old || anew:
		err = p.skipNumbers(x, copies)
	}
	if err == nil && !behind {
		return x, nil
	}
	if err = errors.Join(err, x.Close()); err != nil {
		return nil, err
	}
	o.After = highest(copies) + 1
	return p.openWith(o)
}

func (p *profile) openWith(o index.Options) (*index.Index, error) {
	x, err := index.Open(p.state, o)
	var damaged *index.ErrDamaged
	switch { // exit.go knows the kinds
	case errors.As(err, &damaged):
		return nil, fmt.Errorf("profile %s: %w, and `chatfs restore` lists the backups to go back to", p.name, err)
	case err != nil:
		return nil, fmt.Errorf("index in %s: %w", p.state, err)
	}
	return x, nil
}

func syncStaged(blobs *blob.Store) func([]index.StagedID) error {
	return func(ids []index.StagedID) error {
		raw := make([]uint64, len(ids))
		for i, id := range ids {
			raw[i] = uint64(id)
		}
		return blobs.SyncStaged(raw)
	}
}

func sumStaged(blobs *blob.Store) func(index.StagedID, int64) (uint32, error) {
	return func(id index.StagedID, size int64) (uint32, error) { return blobs.SumStaged(uint64(id), size) }
}

// wantIndex refuses an index that is missing, or empty, where it can't be that
// there never was one. anew: opening it makes one.
func (p *profile) wantIndex(copies []copyFile, mend bool) (anew bool, err error) {
	path := filepath.Join(p.state, index.FileName)
	info, err := os.Stat(path)
	if err == nil && info.Size() > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, nil // opening it tells what is wrong with it, if anything
	}
	sign := p.signOfIndex(copies)
	switch {
	case sign == "":
		return false, nil // a new profile
	case len(copies) > 0:
		return false, fail(exitIndex, "%w: there is no %s, and there is %s: chatfs restore %s goes back to the newest backup; to begin anew, move %s away",
			errNoIndex, path, sign, lastCopy(copies, time.Now()).path, p.state)
	case !mend:
		return false, fail(exitIndex, "%w: there is no %s, and there is %s: chatfs restore FILE goes back to a backup; chatfs check --repair begins an empty tree; or move %s away",
			errNoIndex, path, sign, p.state)
	}
	return true, nil
}

// signOfIndex is a file that only a profile with an index has; "" if there is
// none.
func (p *profile) signOfIndex(copies []copyFile) string {
	if len(copies) > 0 {
		return copies[len(copies)-1].path
	}
	for _, pattern := range []string{"service", "journal-*", "staging/*", "pinned/*/*"} {
		if found, err := filepath.Glob(filepath.Join(p.state, pattern)); err == nil && len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

// lastCopy is the newest of the automatic backups, by a clock that may have run
// ahead once; without any it is a zero one.
func lastCopy(copies []copyFile, now time.Time) (last copyFile) {
	if len(copies) > 0 {
		last = copies[len(copies)-1]
	}
	past := slices.DeleteFunc(slices.Clone(copies), func(c copyFile) bool { return c.made.After(now) })
	if len(past) > 0 {
		last = slices.MaxFunc(past, func(a, b copyFile) int { return a.made.Compare(b.made) })
	}
	return last
}

// highest is the most that a backup counts of changes. An index that counts less
// and is not old was restored by a version that did not go on from there.
func highest(copies []copyFile) uint64 {
	if n := len(copies); n > 0 {
		return copies[n-1].changes
	}
	return 0
}

// What an index can have given, at most, between its last automatic backup and
// its loss: inodes for hours of writing, and ids in far larger numbers.
const (
	skipInodes = 1 << 24
	skipStaged = 1 << 32
)

// skipNumbers has an index that was put back to an earlier state give no inode
// number and no staged id that was given since.
func (p *profile) skipNumbers(x *index.Index, copies []copyFile) error {
	ino, staged := x.Numbers()
	if most := highest(copies); most > x.Changes() {
		ino += index.Ino(most - x.Changes()) // a change makes one inode at most
	}
	if err := x.Skip(ino+skipInodes, staged+skipStaged); err != nil {
		return fmt.Errorf("index in %s: %w", p.state, err)
	}
	return nil
}
