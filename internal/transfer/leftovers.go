package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"

	"chatfs/index"
	"chatfs/internal/blob"
)

// What a process leaves that was killed: content that was written and not
// closed becomes its file's, as it would be on a local disk. What the index has
// given up is removed. What no record names, though none says that it was given
// up, is lost to the tree, and goes to rescued/.

// settle mends what an earlier process left, before anything is sent or shown.
func (t *Transfer) settle() error {
	c := &diskCheck{index: t.Index, blobs: t.Blobs, mount: true}
	rescued := false
	for _, step := range []func() error{c.checkWritings, c.checkLong, c.checkStrays} {
		if err := step(); err != nil {
			return fmt.Errorf("staged content: %w", err)
		}
		for _, f := range c.found {
			if err := f.Mend(); err != nil {
				return fmt.Errorf("%s: %w", f.Text, err)
			}
			level := logrus.WarnLevel
			if f.Note && f.Kind == StagedStray {
				level = logrus.DebugLevel // nobody misses it
			}
			t.Log.Logf(level, "%s: %s", f.Text, *f.done)
			rescued = rescued || !f.Note
		}
		c.found = nil
	}
	if rescued { // what is settled is taken for given up where it is found again
		if err := t.Blobs.SyncRescued(); err != nil {
			return err
		}
	}
	return t.Index.Settled()
}

// addNote notes what the next mount mends by itself; mend's word is what it
// did.
func (c *diskCheck) addNote(k FaultKind, mend func() (done string, err error), format string, args ...any) {
	done := new(string)
	c.found = append(c.found, Fault{Kind: k, Text: fmt.Sprintf(format, args...), Note: true, done: done,
		Mend: func() (err error) { *done, err = mend(); return err }})
}

// checkWritings looks for content that was written and not closed.
func (c *diskCheck) checkWritings() error {
	list, err := c.index.Writings()
	for _, w := range list {
		if err == nil {
			err = c.checkWriting(w)
		}
	}
	return err
}

func (c *diskCheck) checkWriting(w index.Writing) error {
	info, err := c.blobs.StatStaged(uint64(w.Staged))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	n, gone := c.index.Get(w.Ino)
	path := pathOf(c.index, w.Ino)
	own := n.Staged == w.Staged
	switch {
	case err != nil || gone != nil || n.Nlink == 0 || !info.Touched || info.Size == 0:
		if c.mount { // nothing was written, or nobody wants it
			return c.index.EndWriting(w.Ino, w.Staged)
		}
	case n.Version != w.Version:
		c.addWriting(w, path, info, func() (string, error) { return c.rescueWriting(w, path, "the file got other content meanwhile") })
	case w.SameBoot:
		c.addWriting(w, path, info, func() (string, error) { return "they are its content now", c.adopt(w, info.Size, info) })
	case own:
		c.addWriting(w, path, info, func() (string, error) { return c.cutWriting(w, n, path, info) })
	default:
		c.addWriting(w, path, info, func() (string, error) {
			return c.rescueWriting(w, path, "written and not closed when the machine stopped: parts may be missing")
		})
	}
	return nil
}

func (c *diskCheck) addWriting(w index.Writing, path string, info blob.StagedInfo, mend func() (string, error)) {
	c.addNote(StagedOpen, mend, "%s: it was open when chatfs ended, with %d bytes (staged content %d)", path, info.Size, w.Staged)
}

// adopt makes what was written the file's content, under the time when it was.
func (c *diskCheck) adopt(w index.Writing, size int64, info blob.StagedInfo) error {
	mtime := index.FromTime(info.Modified)
	_, err := c.index.SetContent(w.Ino, index.Content{Staged: w.Staged, Size: size, Mtime: &mtime, Failed: w.Failed})
	return err
}

// rescueWriting puts aside what was written.
func (c *diskCheck) rescueWriting(w index.Writing, path, why string) (string, error) {
	to, err := c.blobs.Rescue(c.blobs.StagedPath(uint64(w.Staged)), blob.Lost{Path: path, Why: why})
	if err == nil {
		err = errors.Join(c.blobs.SyncRescued(), c.index.EndWriting(w.Ino, w.Staged))
	}
	return why + "; what is there is in " + to, err
}

// cutWriting leaves a file the length that the index has, after the machine
// stopped while it was written in place. Its bytes may be others than they
// were, so its time is not the old one.
func (c *diskCheck) cutWriting(w index.Writing, n index.Inode, path string, info blob.StagedInfo) (done string, err error) {
	done = "the machine stopped meanwhile: what was not synced may be missing"
	if info.Size > n.Size {
		const why = "appended to and not synced when the machine stopped: parts may be missing"
		to, err := c.blobs.RescueCopy(c.blobs.StagedPath(uint64(w.Staged)), blob.Lost{Path: path, Why: why})
		if err == nil {
			err = errors.Join(c.blobs.SyncRescued(), c.blobs.CutStaged(uint64(w.Staged), n.Size))
		}
		if err != nil {
			return "", err
		}
		done += "; it ends where it was synced, and all that is there is in " + to
	}
	return done, c.adopt(w, min(n.Size, info.Size), info)
}

// checkLong looks for staged content that is longer than the index says. No
// writing is noted of it, so what is longer was never acknowledged.
func (c *diskCheck) checkLong() error {
	queue, err := c.index.Queue()
	if err != nil {
		return err
	}
	open, err := c.writingIDs()
	if err != nil {
		return err
	}
	for _, q := range queue {
		info, err := c.blobs.StatStaged(uint64(q.Staged))
		if err == nil && info.Size > q.Size && !open[q.Staged] {
			c.addNote(StagedSize, func() (string, error) { return "they are cut", c.blobs.CutStaged(uint64(q.Staged), q.Size) },
				"%s: its content has %d bytes after its end, which nothing names", pathOf(c.index, q.Ino), info.Size-q.Size)
		}
	}
	return nil
}

// writingIDs are the staged contents that files are being written in.
func (c *diskCheck) writingIDs() (map[index.StagedID]bool, error) {
	open := map[index.StagedID]bool{}
	list, err := c.index.Writings()
	for _, w := range list {
		open[w.Staged] = true
	}
	return open, err
}

// checkStrays looks for staged bytes that nothing names.
func (c *diskCheck) checkStrays() error {
	used, err := c.index.StagedInUse()
	if err != nil {
		return err
	}
	ids, err := c.blobs.ListStaged()
	if err != nil {
		return err
	}
	open, err := c.writingIDs()
	if err != nil {
		return err
	}
	s := strays{check: c, seen: map[[2]uint64]bool{}}
	for id := range used {
		s.see(id)
	}
	for id := range open {
		s.see(id)
	}
	for _, raw := range ids {
		id := index.StagedID(raw)
		if _, named := used[id]; !named && !open[id] {
			s.add(id)
		}
	}
	s.tell()
	return c.checkForeign()
}

// strays are the staged contents that nothing names.
type strays struct {
	check    *diskCheck
	seen     map[[2]uint64]bool // files that are known by another name, by device and number
	unwanted []index.StagedID
}

// see notes which file a staged content is.
func (s *strays) see(id index.StagedID) (again bool) {
	info, err := s.check.blobs.StatStaged(uint64(id))
	key := [2]uint64{info.Dev, info.Ino}
	again = s.seen[key]
	s.seen[key] = err == nil
	return again
}

func (s *strays) add(id index.StagedID) {
	c := s.check
	if c.index.GivenUp(id) || s.see(id) || c.kept(id) {
		s.unwanted = append(s.unwanted, id)
		return
	}
	path := c.doubtfulPath(id)
	c.addNote(StagedStray, func() (string, error) {
		const why = "no record names it: it may have been lost"
		to, err := c.blobs.Rescue(c.blobs.StagedPath(uint64(id)), blob.Lost{Path: path, Why: why})
		return "it is kept as " + to, err
	}, "staged content %d belongs to no file, and nothing says that it was given up", id)
	c.found[len(c.found)-1].Note = false
}

// doubtfulPath is the path that a dropped record gives a staged content, if
// the index found one when it was opened.
func (c *diskCheck) doubtfulPath(id index.StagedID) string {
	for _, d := range c.index.Recovery().Doubtful {
		if d.Staged == id {
			return d.Path
		}
	}
	return ""
}

// kept tells whether the bytes are here as well as a copy of an entity that
// the index knows, or are none.
func (c *diskCheck) kept(id index.StagedID) bool {
	file, err := os.Open(c.blobs.StagedPath(uint64(id)))
	if err != nil {
		return false
	}
	defer file.Close()
	return c.hasCopy(file)
}

func (c *diskCheck) hasCopy(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return err == nil
	}
	digest, err := blob.DigestOf(file)
	for _, restricted := range []bool{true, false} {
		e, known, ierr := c.index.ByDigest(digest, restricted)
		if err == nil && ierr == nil && known && c.blobs.HasCached(blob.Key{UUID: e.UUID}) {
			return true
		}
	}
	return false
}

// tell notes what was given up, all of it in a line.
func (s *strays) tell() {
	if len(s.unwanted) == 0 {
		return
	}
	s.check.addNote(StagedStray, func() (string, error) {
		for _, id := range s.unwanted {
			if err := s.check.blobs.RemoveStaged(uint64(id)); err != nil {
				return "", err
			}
		}
		return "they are removed", nil
	}, "%d staged contents were replaced or deleted and are still there", len(s.unwanted))
}

// checkForeign looks for what lies among the staged files and is none.
func (c *diskCheck) checkForeign() error {
	paths, err := c.blobs.StrayStaged()
	for _, path := range paths {
		// A copy that was to take a content's place: see blob.Store.Part.
		if id, is := strings.CutSuffix(filepath.Base(path), blob.NextSuffix); is {
			if _, err := os.Lstat(filepath.Join(filepath.Dir(path), id)); err == nil {
				c.addNote(StagedStray, func() (string, error) { return "it is removed", os.Remove(path) },
					"%s is a copy that was not finished", path)
				continue
			}
		}
		if c.mount { // it is no business of a mount's
			continue
		}
		c.add(StagedStray, func() error { return c.rescueFile(path) }, "%s is no staged content", path)
	}
	return err
}

// rescueFile keeps a file that nothing names.
func (c *diskCheck) rescueFile(path string) error {
	_, err := c.blobs.Rescue(path, blob.Lost{Why: "no record names it"})
	return errors.Join(err, c.blobs.SyncRescued())
}

// rescueCopy discards the copy of an entity that the index does not know, or
// keeps it, as no other copy may be left.
func (c *diskCheck) rescueCopy(f blob.File) error {
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	if f.Key.Thumb || c.hasCopy(file) {
		return c.blobs.Discard(f)
	}
	return c.rescueFile(f.Path)
}
