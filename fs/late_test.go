package fs_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"chatfs/internal/fusetest"
)

// TestRefusedCommitIsMadeLater closes files while the disk has no room for
// the journal: close tells, and once there is room all are there.
func TestRefusedCommitIsMadeLater(t *testing.T) {
	disk := fusetest.SmallDisk(t, 8<<20)
	f := newFixture(t)
	f.log.Logger.SetOutput(io.Discard)
	f.on(disk)
	const many = 100
	files := make([]*os.File, many)
	for i := range files {
		var err error
		files[i], err = os.Create(f.path(fmt.Sprint(i)))
		must(t, err)
		_, err = files[i].WriteString(fmt.Sprint("content of ", i))
		must(t, err)
	}
	full := filepath.Join(disk, "full")
	must(t, fill(full))
	refused := 0
	for _, file := range files {
		if err := file.Close(); err != nil {
			wantErrno(t, "close on a full disk", err, syscall.ENOSPC)
			refused++
		}
	}
	if refused == 0 {
		t.Error("no commit was refused")
	}
	must(t, os.Remove(full))
	f.remount()
	for i := range files {
		f.wantContent(fmt.Sprint(i), []byte(fmt.Sprint("content of ", i)))
	}
}

// fill takes all that is free of a disk.
func fill(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for _, piece := range []int{1 << 20, 1 << 12} {
		for err = nil; err == nil; {
			_, err = file.Write(make([]byte, piece))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
	return nil
}

// TestWhatCannotBeRecordedIsTakenLater: the disk fails for good before the
// commit; the next mount, on a disk that is well, has the content.
func TestWhatCannotBeRecordedIsTakenLater(t *testing.T) {
	disk := newBadDisk(t)
	f := newFixture(t)
	f.log.Logger.SetOutput(io.Discard)
	f.on(disk.dir)
	file, err := os.Create(f.path("letter"))
	must(t, err)
	_, err = file.WriteString("dear reader")
	must(t, err)
	disk.fail(1, syscall.EIO, true)
	wantErrno(t, "close", file.Close(), syscall.EIO)
	wantErrno(t, "a later change", os.Mkdir(f.path("d"), 0o755), syscall.EROFS)
	disk.heal() // but the index stays read-only
	wantErrno(t, "a change after that", os.Mkdir(f.path("d"), 0o755), syscall.EROFS)
	f.remount()
	f.wantContent("letter", []byte("dear reader"))
	if got := f.rescued(); len(got) > 0 {
		t.Errorf("rescued: %q", got)
	}
}
