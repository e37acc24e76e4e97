package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/entity"
)

// A FaultKind is what sort of disagreement a Fault is.
type FaultKind string

// The kinds of faults.
const (
	StagedMissing FaultKind = "staged-missing"   // a file's content, not uploaded yet, is not on the disk
	StagedSize    FaultKind = "staged-size"      // it is longer or shorter than the index says
	StagedOpen    FaultKind = "staged-open"      // a file was being written when the process ended
	StagedStray   FaultKind = "staged-stray"     // staged bytes that no file has
	CacheStray    FaultKind = "cache-stray"      // a copy of no entity that is known
	CacheDamaged  FaultKind = "cache-damaged"    // a copy of the wrong size or SHA-256
	PinDamaged    FaultKind = "pinned-damaged"   // the same of a pinned one
	EntityGone    FaultKind = "expired"          // the service has forgotten an entity, and the index does not know
	EntityBack    FaultKind = "entity-back"      // it has one that the index takes for forgotten
	EntityStrange FaultKind = "wrong-service"    // it has none of the entities that were asked for
	EntityRefused FaultKind = "entity-refused"   // the service refuses an entity to this account, or its share-secret
	EntityUnknown FaultKind = "entity-unsettled" // the service gave no answer about an entity
)

// A Fault is where index, local disk and service disagree.
type Fault struct {
	Kind FaultKind
	Text string
	Mend func() error // nil: it can't be mended
	Note bool         // what a killed process leaves, and the next mount mends by itself

	done *string // what Mend has done
}

// String is one line for a person.
func (f Fault) String() string { return fmt.Sprintf("%s: %s", f.Kind, f.Text) }

// A diskCheck compares the local disk with the index. Nobody else may use
// either meanwhile.
type diskCheck struct {
	index *index.Index
	blobs *blob.Store
	tell  func(done, of int)
	mount bool // what is found is mended at once
	found []Fault
}

// CheckDisk compares staged, cached and pinned files with the index, by size
// and SHA-256; tell hears how many of them were read. The error is of what
// could not be looked at.
func CheckDisk(x *index.Index, blobs *blob.Store, tell func(done, of int)) ([]Fault, error) {
	c := &diskCheck{index: x, blobs: blobs, tell: tell}
	for _, step := range []func() error{c.checkStaged, c.checkWritings, c.checkLong, c.checkStrays, c.checkCopies} {
		if err := step(); err != nil {
			return c.found, err
		}
	}
	return c.found, nil
}

func (c *diskCheck) add(k FaultKind, mend func() error, format string, args ...any) {
	c.found = append(c.found, Fault{Kind: k, Text: fmt.Sprintf(format, args...), Mend: mend})
}

// CheckStaged looks for the bytes of all that waits for its upload.
func CheckStaged(x *index.Index, blobs *blob.Store) ([]Fault, error) {
	c := &diskCheck{index: x, blobs: blobs}
	err := c.checkStaged()
	return c.found, err
}

// checkStaged is CheckStaged's work.
func (c *diskCheck) checkStaged() error {
	queue, err := c.index.Queue()
	if err != nil {
		return err
	}
	for _, q := range queue {
		size, err := c.blobs.StagedSize(uint64(q.Staged))
		switch path := pathOf(c.index, q.Ino); {
		case errors.Is(err, fs.ErrNotExist) && q.Never: // known, and listed by chatfs status
		case errors.Is(err, fs.ErrNotExist):
			c.add(StagedMissing, func() error { return c.index.GiveUp(q.Ino, q.Version, lostContent) },
				"%s: its content was not uploaded yet and is not on the disk", path)
		case err != nil:
			return err
		case size < q.Size:
			c.add(StagedSize, func() error { return c.shorten(q, size) }, "%s: only %d of its %d bytes are on the disk", path, size, q.Size)
		}
	}
	return nil
}

// lostContent is why a file without content is never uploaded.
const lostContent = "its content is lost: write it anew, bring an older version back (chatfs history), or remove it"

// shorten takes the bytes that are there for the file's content.
func (c *diskCheck) shorten(q index.QueueEntry, size int64) error {
	n, err := c.index.Get(q.Ino)
	if err != nil {
		return err
	}
	content := index.Content{Staged: q.Staged, Size: size, Mtime: &n.Mtime}
	if q.Never {
		content.Failed = q.Failed
	}
	_, err = c.index.SetContent(q.Ino, content)
	return err
}

func pathOf(x *index.Index, ino index.Ino) string {
	if paths, err := x.Paths(ino); err == nil && len(paths) > 0 {
		return paths[0]
	}
	return fmt.Sprintf("inode %d (no name)", ino)
}

// checkCopies reads all that is cached and pinned.
func (c *diskCheck) checkCopies() error {
	done, of := 0, 0
	if err := c.blobs.Files(func(blob.File) error { of++; return nil }); err != nil {
		return err
	}
	return c.blobs.Files(func(f blob.File) error {
		kind, what := c.copyFault(f)
		switch {
		case what == "":
		case kind == CacheStray:
			c.add(kind, func() error { return c.rescueCopy(f) }, "%s: %s", f.Path, what)
		default:
			c.add(kind, func() error { return c.blobs.Discard(f) }, "%s: %s", f.Path, what)
		}
		done++
		c.tell(done, of)
		return nil
	})
}

// copyFault is what is wrong with a copy; "" is nothing.
func (c *diskCheck) copyFault(f blob.File) (kind FaultKind, what string) {
	kind = CacheDamaged
	if f.Pinned {
		kind = PinDamaged
	}
	if !f.Known {
		return CacheStray, "it is the copy of no entity"
	}
	k, err := c.index.Known(f.Key.UUID)
	if err != nil && f.Pinned {
		return kind, "" // an index that was kept beside, at a restore, may know it
	} else if err != nil {
		return CacheStray, "the index knows no such entity"
	}
	want := k.Size
	if f.Key.Thumb {
		return kind, c.thumbFault(f, k.Entity)
	}
	if f.Size != want {
		return kind, fmt.Sprintf("it has %d bytes, the entity has %d", f.Size, want)
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return kind, err.Error()
	}
	defer file.Close()
	if err := blob.CheckDigest(f.Key, k.Digest, file); err != nil {
		return kind, err.Error()
	}
	return kind, ""
}

// thumbFault is what is wrong with the copy of a thumbnail; "" is nothing.
func (c *diskCheck) thumbFault(f blob.File, e entity.Entity) string {
	if size, known := c.index.ThumbSize(e.UUID); known && size != f.Size {
		return fmt.Sprintf("it has %d bytes, the thumbnail has %d", f.Size, size)
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if err := checkThumb(context.Background(), file, f.Size, e); err != nil {
		return err.Error()
	}
	return ""
}
