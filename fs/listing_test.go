package fs_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"chatfs/index"
	"chatfs/internal/fusetest"
)

// A reader reads a directory as readdir(3) does, by getdents64(2).
type reader struct {
	t   testing.TB
	fd  int
	buf []byte
}

// An entry is what getdents64 gives: off is where the next one stands.
type entry struct {
	name string
	ino  uint64
	off  int64
	kind byte
}

func openReader(t testing.TB, dir string, size int) *reader {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	return &reader{t, fd, make([]byte, size)}
}

func (r *reader) close() { must(r.t, unix.Close(r.fd)) }

// some reads what fits into the buffer; nothing at the end.
func (r *reader) some() (list []entry) {
	r.t.Helper()
	n, err := unix.Getdents(r.fd, r.buf)
	must(r.t, err)
	for b := r.buf[:n]; len(b) > 0; {
		size := binary.NativeEndian.Uint16(b[16:])
		name, _, _ := strings.Cut(string(b[19:size]), "\x00")
		list = append(list, entry{name, binary.NativeEndian.Uint64(b), int64(binary.NativeEndian.Uint64(b[8:])), b[18]})
		b = b[size:]
	}
	return list
}

func (r *reader) rest() (list []entry) {
	r.t.Helper()
	for more := r.some(); len(more) > 0; more = r.some() {
		list = append(list, more...)
	}
	return list
}

func (r *reader) seek(off int64) {
	r.t.Helper()
	_, err := unix.Seek(r.fd, off, unix.SEEK_SET)
	must(r.t, err)
}

func namesOf(list []entry) (names []string) {
	for _, e := range list {
		names = append(names, e.name)
	}
	return names
}

// fill makes n files at once, past the kernel.
func (f *fixture) fill(dir string, n int) {
	f.t.Helper()
	d, err := f.index.Resolve(dir)
	must(f.t, err)
	for i := range n {
		_, err := f.index.Create(d.Inode.Ino, fmt.Sprintf("stay%06d", i), index.NewInode{Mode: syscall.S_IFREG | 0o644, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())})
		must(f.t, err)
	}
}

// wantOnce wants each file of fill exactly once.
func wantOnce(t testing.TB, list []entry, n int) {
	t.Helper()
	seen := make(map[string]int)
	for _, e := range list {
		seen[e.name]++
	}
	bad := 0
	for i := range n {
		name := fmt.Sprintf("stay%06d", i)
		if seen[name] != 1 && bad < 5 {
			t.Errorf("%s was given %d times", name, seen[name])
			bad++
		}
	}
}

// TestListingGoesOnWhereItWas has a directory change in front of where a
// reader is, and the kernel drop the listing that it was reading from.
func TestListingGoesOnWhereItWas(t *testing.T) {
	f := newFixture(t)
	const n = 2000
	must(t, os.Mkdir(f.path("d"), 0o755))
	f.fill("/d", n)
	for i := range 40 {
		f.write(fmt.Sprintf("d/go%02d", i), nil)
	}
	for round := range 4 {
		cached := openReader(t, f.path("d"), 32<<10)
		cached.rest()
		cached.close()
		r := openReader(t, f.path("d"), 4<<10)
		list := r.some()
		for i := range 5 {
			gone := fmt.Sprintf("d/go%02d", round*10+i)
			switch round {
			case 0:
				must(t, os.Remove(f.path(gone)))
			case 1:
				must(t, os.Rename(f.path(gone), f.path("d/z"+gone[2:])))
			default:
				f.write(fmt.Sprintf("d/come%02d", round*10+i), nil)
			}
			other := openReader(t, f.path("d"), 4<<10) // sees the change
			other.some()
			other.close()
			list = append(list, r.some()...)
			if last := list[len(list)-1].name; strings.HasPrefix(last, "stay") {
				// Where the reader stands, nothing is any more.
				must(t, os.Remove(f.path("d", last)))
				list = append(list, r.some()...)
				f.write("d/"+last, nil)
			}
		}
		wantOnce(t, append(list, r.rest()...), n)
		r.close()
	}
}

// TestListingTellsNoOldAttributes changes entries that the tree has read from
// the index already and the kernel has not: it would believe what it is told
// then for an hour.
func TestListingTellsNoOldAttributes(t *testing.T) {
	f := newFixture(t)
	const n = 200
	must(t, os.Mkdir(f.path("d"), 0o755))
	f.fill("/d", n)
	r := openReader(t, f.path("d"), 1<<10)
	if first := r.some(); len(first) >= n/2 {
		t.Fatalf("%d entries at once: nothing is left to change", len(first))
	}
	at := func(i int) string { return fmt.Sprintf("d/stay%06d", i) }
	must(t, os.Remove(f.path(at(n-1))))
	must(t, os.Rename(f.path(at(n-2)), f.path("elsewhere")))
	f.write(at(n-3), []byte("grown"))
	must(t, os.Chmod(f.path(at(n-4)), 0o600))
	must(t, os.Rename(f.path(at(n-5)), f.path(at(n-6))))
	r.rest()
	r.close()
	for _, i := range []int{n - 1, n - 2, n - 5} {
		_, err := os.Stat(f.path(at(i)))
		wantErrno(t, "stat of what went", err, syscall.ENOENT)
	}
	file, err := os.OpenFile(f.path(at(n-1)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	must(t, err)
	must(t, file.Close())
	f.wantContent(at(n-3), []byte("grown"))
	info, err := os.Stat(f.path(at(n - 4)))
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("the mode is %v, want 0600", info.Mode())
	}
}

// TestSeekingInADirectory goes back and forth by telldir's numbers.
func TestSeekingInADirectory(t *testing.T) {
	f := newFixture(t)
	must(t, os.Mkdir(f.path("d"), 0o755))
	f.fill("/d", 700)
	f.write("d/p.jpg", picture(t, 300, 300))
	f.write("d/z.jpg", picture(t, 300, 200))
	f.drain()
	fusetest.Eventually(t, "two thumbnails", func() error {
		if n := strings.Count(entries(t, f.path("d")), ".thumb"); n != 2 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	r := openReader(t, f.path("d"), 2<<10)
	defer r.close()
	whole := r.rest()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 30 {
		i := rng.IntN(len(whole))
		r.seek(whole[i].off)
		if got, want := namesOf(r.rest()), namesOf(whole[i+1:]); !slices.Equal(got, want) {
			t.Fatalf("behind %s: %d entries, the first %.1q; want %d, %.1q", whole[i].name, len(got), got, len(want), want)
		}
	}
	for _, i := range rng.Perm(len(whole))[:30] { // each by a handle that never read what is before
		other := openReader(t, f.path("d"), 2<<10)
		other.seek(whole[i].off)
		if got, want := namesOf(other.rest()), namesOf(whole[i+1:]); !slices.Equal(got, want) {
			t.Fatalf("behind %s, anew: %d entries, the first %.1q; want %d, %.1q", whole[i].name, len(got), got, len(want), want)
		}
		other.close()
	}
	r.seek(0)
	if got := namesOf(r.rest()); !slices.Equal(got, namesOf(whole)) {
		t.Errorf("from the start: %d entries, want %d", len(got), len(whole))
	}
}

// TestListedTypesAndNumbers holds what getdents tells against lstat.
func TestListedTypesAndNumbers(t *testing.T) {
	f := newFixture(t)
	for _, k := range []struct {
		name string
		mode uint32
	}{{"file", unix.S_IFREG}, {"fifo", unix.S_IFIFO}, {"socket", unix.S_IFSOCK}} {
		must(t, unix.Mknod(f.path(k.name), k.mode|0o644, 0))
	}
	must(t, os.Mkdir(f.path("dir"), 0o755))
	must(t, os.Symlink("file", f.path("link")))
	must(t, os.Link(f.path("file"), f.path("hard")))
	for round := range 3 {
		r := openReader(t, f.Dir, 32<<10)
		list := r.rest()
		r.close()
		if len(list) != 8 {
			t.Errorf("listed: %q", namesOf(list))
		}
		for _, e := range list {
			if e.name == ".." {
				continue
			}
			var st unix.Stat_t
			must(t, unix.Lstat(f.path(e.name), &st))
			if uint32(e.kind)<<12 != st.Mode&unix.S_IFMT || e.ino != st.Ino {
				t.Errorf("%s is listed as type %#o, inode %d; lstat says %#o, %d", e.name, uint32(e.kind)<<12, e.ino, st.Mode, st.Ino)
			}
		}
		if round == 1 {
			f.remount()
		}
	}
}

// TestInodeNumbersAreForEver: the same over remounts, and never another
// inode's, so that one generation serves all.
func TestInodeNumbersAreForEver(t *testing.T) {
	f := newFixture(t)
	number := func(name string) uint64 {
		var st unix.Stat_t
		must(t, unix.Lstat(f.path(name), &st))
		return st.Ino
	}
	f.write("kept", []byte("x"))
	kept := number("kept")
	seen := make(map[uint64]bool)
	for range 4 {
		for i := range 20 {
			name := fmt.Sprintf("f%d", i)
			f.write(name, nil)
			if n := number(name); n == 0 || seen[n] {
				t.Fatalf("%s has the number %d, which was given before", name, n)
			} else {
				seen[n] = true
			}
			must(t, os.Remove(f.path(name)))
		}
		f.remount()
		must(t, os.Rename(f.path("kept"), f.path("kept2")))
		must(t, os.Rename(f.path("kept2"), f.path("kept")))
		if n := number("kept"); n != kept {
			t.Errorf("the number was %d and is %d", kept, n)
		}
	}
}

// TestNamesOfAnyBytes takes names of every byte that may stand in one, and of
// the greatest length.
func TestNamesOfAnyBytes(t *testing.T) {
	f := newFixture(t)
	var want []string
	for b := 1; b < 256; b++ {
		if b == '/' {
			continue
		}
		name := string([]byte{byte(b), 'x', byte(b)})
		if b%16 == 0 {
			name = strings.Repeat(string([]byte{byte(b)}), 255)
		}
		want = append(want, name)
		f.write(name, []byte(name))
	}
	f.drain()
	f.forgetCache()
	r := openReader(t, f.Dir, 32<<10)
	got := namesOf(r.rest())[2:]
	r.close()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("listed: %q\nwant: %q", got, want)
	}
	for _, name := range want {
		f.wantContent(name, []byte(name))
	}
}

// TestLargeDirectoryIsReadWhileItChanges reads a directory of 100,000 entries
// (of 20,000, if time is short) while others come, go and move.
func TestLargeDirectoryIsReadWhileItChanges(t *testing.T) {
	f := newFixture(t)
	n := 20_000
	if long() {
		n = 100_000
	}
	must(t, os.Mkdir(f.path("d"), 0o755))
	f.fill("/d", n)
	for range 2 { // the second time from the kernel's own listing
		r := openReader(t, f.path("d"), 32<<10)
		var list []entry
		for i := 0; ; i++ {
			more := r.some()
			if len(more) == 0 {
				break
			}
			list = append(list, more...)
			for _, name := range []string{"a%d", "stay%06d-", "z%d"} {
				f.write("d/"+fmt.Sprintf(name, i), nil)
				must(t, os.Rename(f.path("d", fmt.Sprintf(name, i)), f.path("d", fmt.Sprintf("moved"+name, i))))
				must(t, os.Remove(f.path("d", fmt.Sprintf("moved"+name, i))))
			}
			f.write(fmt.Sprintf("d/new%d", i), nil)
		}
		r.close()
		wantOnce(t, list, n)
	}
}
