package fs

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"chatfs/index"
)

const setIDs = syscall.S_ISUID | syscall.S_ISGID

// clearSetIDs is what the kernel does to a mode when another may have become
// the author: setuid goes, and setgid where the group may execute or the
// caller is no member of it.
func clearSetIDs(ctx context.Context, in index.Inode, mode uint32) uint32 {
	mode &^= syscall.S_ISUID
	if mode&syscall.S_ISGID != 0 && (mode&0o010 != 0 || !isMember(ctx, in.GID)) {
		mode &^= syscall.S_ISGID
	}
	return mode
}

// isMember tells whether the caller is root or in the group. FUSE tells his
// first group alone, /proc the others; whom it does not know is in none.
func isMember(ctx context.Context, gid uint32) bool {
	caller, ok := fuse.FromContext(ctx)
	if !ok || caller.Uid == 0 || caller.Gid == gid {
		return true
	}
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", caller.Pid))
	if err != nil {
		return false
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if groups, ok := strings.CutPrefix(lines.Text(), "Groups:"); ok {
			return slices.Contains(strings.Fields(groups), strconv.FormatUint(uint64(gid), 10))
		}
	}
	return false
}

func (of *openFile) setMode(mode uint32) {
	of.mu.Lock()
	defer of.mu.Unlock()
	of.mode = mode
}

// writtenBy clears setuid and setgid of what somebody else than root changed.
func (of *openFile) writtenBy(ctx context.Context) error {
	if caller, ok := fuse.FromContext(ctx); ok && caller.Uid != 0 {
		return of.dropSetIDs(ctx)
	}
	return nil
}

// dropSetIDs clears setuid and setgid, as the kernel leaves to us.
func (of *openFile) dropSetIDs(ctx context.Context) error {
	of.mu.Lock()
	mode := of.mode
	of.mu.Unlock()
	if mode&setIDs == 0 {
		return nil
	}
	got, err := of.fs.Index.SetAttr(of.ino, func(i *index.Inode) error {
		i.Mode = clearSetIDs(ctx, *i, i.Mode)
		return nil
	})
	if err == nil {
		of.setMode(got.Mode)
	}
	return err
}
