package index

import (
	"cmp"
	"syscall"
	"time"

	"chatfs/internal/entity"
)

// Ino is an inode's number: never 0, never used twice.
type Ino uint64

// Root is the inode of the top directory.
const Root Ino = 1

// StagedID names a staged content's file on the local disk; 0 names none.
type StagedID uint64

// Time is a time of an inode, to the nanosecond, as stat(2) has it.
type Time struct {
	Sec  int64
	Nsec uint32
}

// Now is the present time.
func Now() Time { return FromTime(time.Now()) }

// FromTime converts t.
func FromTime(t time.Time) Time { return Time{t.Unix(), uint32(t.Nanosecond())} }

// Time converts to the standard library's type.
func (t Time) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

// Before tells whether t is earlier than u.
func (t Time) Before(u Time) bool { return t.Compare(u) < 0 }

// Compare is -1, 0 or 1 as t is earlier than, equal to or later than u.
func (t Time) Compare(u Time) int {
	if c := cmp.Compare(t.Sec, u.Sec); c != 0 {
		return c
	}
	return cmp.Compare(t.Nsec, u.Nsec)
}

// An Inode is a file, directory, symlink or other node, with all that stat(2)
// tells, and where its content is.
type Inode struct {
	Ino                        Ino
	Mode                       uint32 // S_IFMT | permissions
	UID, GID, Nlink, Rdev      uint32
	Size                       int64 // bytes
	Atime, Mtime, Ctime, Btime Time
	Target                     string      // of a symlink
	Version                    uint64      // changes whenever the content changes
	Staged                     StagedID    // not 0: the content is staged
	UUID                       entity.UUID // not zero: the content is this entity. Both zero: empty
	Image                      bool        // the entity is an image that the service makes thumbnails of
}

// IsDir tells whether the inode is a directory.
func (n Inode) IsDir() bool { return n.Mode&syscall.S_IFMT == syscall.S_IFDIR }

// IsRegular tells whether the inode is a regular file.
func (n Inode) IsRegular() bool { return n.Mode&syscall.S_IFMT == syscall.S_IFREG }

// IsSymlink tells whether the inode is a symbolic link.
func (n Inode) IsSymlink() bool { return n.Mode&syscall.S_IFMT == syscall.S_IFLNK }

// A Dirent is a name in a directory with the inode that it leads to.
type Dirent struct {
	Name        string
	Inode       Inode
	ThumbHidden bool // the thumbnail beside it was unlinked, and the content is still the same
}

// A NewInode tells [Index.Create] what to make.
type NewInode struct {
	Mode, UID, GID, Rdev uint32
	Target               string // of a symlink
}

// Removed tells what lost its last name. Gone: Inode has no name left (Nlink
// 0) and stays readable by its number until [Index.Forget].
type Removed struct {
	Inode Inode
	Gone  bool
}

// Content is what [Index.SetContent] gives an inode.
type Content struct {
	Staged  StagedID // 0: empty, or ShareOf
	Size    int64    // bytes
	Mtime   *Time    // nil: now
	Ctime   *Time    // nil: now; an earlier one than the inode's is not taken
	Failed  string   // not "": queued as failed for this reason, never sent
	ShareOf *Inode   // take the same entity as that inode
	Writing StagedID // not 0: it is being written on, and is to stay noted as such

	sum    uint32 // of the staged bytes
	summed bool   // it is known
}

// A QueueEntry is a staged content that waits for its upload.
type QueueEntry struct {
	Ino      Ino
	Version  uint64 // of the inode, when this content became its own
	Staged   StagedID
	Size     int64 // bytes
	Queued   time.Time
	Attempts int    // that failed for a while
	Failed   string // not "": given up for this reason
	Reason   string // of the last attempt that failed for a while
	Never    bool   // failed from the start, retrying can't help

	place  uint64 // in the queue, which the clock does not change; 0: noted by an older version
	sum    uint32 // CRC-32C of the bytes
	summed bool   // it is known
}

// A Version is a content that a path had once.
type Version struct {
	Path     string
	UUID     entity.UUID
	Size     int64 // bytes
	Mtime    Time
	Mode     uint32
	Replaced time.Time // when it was overwritten or deleted
}

// Stats counts what the index holds.
type Stats struct {
	Inodes      int64 // orphans included
	Queued      int64 // entries that wait for their upload, the failed ones not included
	QueuedBytes int64
	FailedCount int64
	FailedBytes int64
}
