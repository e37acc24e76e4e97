package fs

import (
	"golang.org/x/sys/unix"

	"chatfs/index"
	"chatfs/internal/blob"
)

// Before the first byte is written to a staged file the index notes for which
// inode that is, so that what was written outlives this process also where no
// close came. Whether anything was, the file's own time of modification tells,
// which is the content's: see blob.MarkUntouched and setTimes.

// A noted is what the index has noted of an open file's writing.
type noted struct {
	staged index.StagedID // 0: nothing
	failed string
}

// note has the index know of what is about to be written into the staged file.
// The caller has the turn.
func (of *openFile) note() error {
	of.mu.Lock()
	now := noted{of.staged, of.failed}
	done, fresh, file := of.noted == now, of.noted.staged != now.staged, of.file
	of.mu.Unlock()
	if done {
		return nil
	}
	if fresh { // the index has the content, as it is
		if err := blob.MarkUntouched(file.what); err != nil {
			return err
		}
	}
	if _, err := of.fs.Index.BeginWriting(of.ino, now.staged, now.failed); err != nil {
		return err
	}
	of.mu.Lock()
	of.noted = now
	of.mu.Unlock()
	return nil
}

// noteNew notes that a new staged file is about to be written, and gives its
// id.
func (of *openFile) noteNew() (index.StagedID, error) {
	of.mu.Lock()
	failed := of.failed
	of.mu.Unlock()
	id, err := of.fs.Index.BeginWriting(of.ino, 0, failed)
	if err == nil {
		of.mu.Lock()
		of.noted = noted{id, failed}
		of.mu.Unlock()
	}
	return id, err
}

// unnote takes the note back, after the last handle: nothing was written since
// the last commit. What could not be committed stays noted.
func (of *openFile) unnote() {
	of.mu.Lock()
	id, dirty := of.noted.staged, of.dirty
	of.mu.Unlock()
	if id == 0 || dirty {
		return
	}
	if err := of.fs.Index.EndWriting(of.ino, id); err != nil {
		of.fs.Log.WithError(err).Warnf("%s: cannot note that it is written no more; the next mount will", of.fs.describe(uint64(of.ino)))
	}
}

// setModified gives the staged file the time of modification that a program
// has set, as it is the content's until the index has it. of.mu is held.
func (of *openFile) setModified() {
	at := unix.Timespec{Sec: of.mtime.Sec, Nsec: int64(of.mtime.Nsec)}
	if of.file == nil || at == blob.Untouched {
		return
	}
	if err := blob.SetModified(of.file.what, at); err != nil { // a crash before the commit makes it the time of the last write
		of.fs.Log.WithError(err).Debugf("staged content %d: cannot set its time", of.staged)
	}
}
