package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"chatfs/fs"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

// TestRenameLeavesAWhiteout does what an overlay file system does in its upper
// layer, on the mount and on a local disk, which must end alike.
func TestRenameLeavesAWhiteout(t *testing.T) {
	f := newFixture(t)
	var ends []string
	for _, root := range []string{t.TempDir(), f.path("upper")} {
		must(t, os.MkdirAll(filepath.Join(root, "dir", "sub"), 0o755))
		for _, name := range []string{"a", "b", "c", "d"} {
			must(t, os.WriteFile(filepath.Join(root, name), []byte(name), 0o644))
		}
		end := ""
		for _, r := range []struct {
			from, to string
			flags    uint
		}{
			{"a", "new", 0},
			{"b", "c", 0},
			{"d", "c", unix.RENAME_NOREPLACE},
			{"d", "free", unix.RENAME_NOREPLACE},
			{"dir/sub", "moved", 0},
			{"dir", "moved", unix.RENAME_EXCHANGE},
			{"none", "x", 0},
		} {
			err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, r.from), unix.AT_FDCWD, filepath.Join(root, r.to), r.flags|unix.RENAME_WHITEOUT)
			end += fmt.Sprintf("%s to %s: %v; ", r.from, r.to, err)
		}
		must(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
			var st syscall.Stat_t
			if err == nil {
				err = syscall.Lstat(path, &st)
			}
			rel, _ := filepath.Rel(root, path)
			if st.Mode&syscall.S_IFMT != syscall.S_IFDIR || rel != "." {
				end += fmt.Sprintf("%s %o %d:%d links %d rdev %d size %d; ", rel, st.Mode, st.Uid, st.Gid, st.Nlink, st.Rdev, st.Size&0xfff)
			}
			return err
		}))
		ends = append(ends, end)
	}
	if ends[0] != ends[1] {
		t.Errorf("a local disk:\n%s\nthe mount:\n%s", ends[0], ends[1])
	}
}

// TestRefusedAllocationChangesNothing: what the disk has no room for leaves
// file, times and upload as they were.
func TestRefusedAllocationChangesNothing(t *testing.T) {
	disk := fusetest.SmallDisk(t, 24<<20)
	f := newFixture(t, func(c *fs.Config, _ *transfer.Config) { c.MaxSize = 1 << 30 })
	f.on(disk)
	f.write("a", pattern(1, 100_000))
	f.drain()
	before, err := os.Stat(f.path("a"))
	must(t, err)
	file, err := os.OpenFile(f.path("a"), os.O_RDWR, 0)
	must(t, err)
	wantErrno(t, "fallocate without room", unix.Fallocate(int(file.Fd()), 0, 0, 100<<20), syscall.ENOSPC)
	wantErrno(t, "fallocate over the limit", unix.Fallocate(int(file.Fd()), 0, 0, 2<<30), syscall.EFBIG)
	wantErrno(t, "truncate over the limit", file.Truncate(2<<30), syscall.EFBIG)
	wantErrno(t, "a way that is not offered", unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096), syscall.EOPNOTSUPP)
	must(t, file.Close())
	f.drain()
	after, err := os.Stat(f.path("a"))
	must(t, err)
	if after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) || f.xattr("a", "state") != "uploaded" {
		t.Errorf("%v, %s; was %v", after, f.xattr("a", "state"), before)
	}
	f.wantContent("a", pattern(1, 100_000))
	if n := f.service.Counts().Uploads; n != 1 {
		t.Errorf("%d uploads, want 1", n)
	}
}
