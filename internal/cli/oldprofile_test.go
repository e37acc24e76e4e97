package cli_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/xattr"

	"chatfs/internal/fusetest"
)

// unpack unpacks a profile of testdata; what is made has today's times.
func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(zip); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(path, 0o700)
		} else {
			var b []byte
			b, err = io.ReadAll(files)
			err = errors.Join(err, os.WriteFile(path, b, 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestOldProfile opens a profile that the first version wrote, and that was
// killed (testdata/profile-1.sh made it): each name, content and attribute is
// as it was, twice, and nothing is wrong with it.
func TestOldProfile(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	state := p.path("profile")
	unpack(t, filepath.Join("testdata", "profile-1.tar.gz"), state)
	for _, time := range []string{"first", "second"} {
		// Root wrote it; who runs this test is shown as the owner, and may read.
		r := p.mount("--state-dir", state, "--history", "0", "--settle", "0s", "--uid", fmt.Sprint(os.Getuid()), "--gid", fmt.Sprint(os.Getgid()))
		t.Run(time, func(t *testing.T) { p.wantOldProfile(t) })
		p.expect(ok, "versions.txt", "history", filepath.Join(p.dir, "versions.txt"))
		p.expect(ok, "deleted.txt", "history", filepath.Join(p.dir, "deleted.txt"))
		r.signal(syscall.SIGINT)
		r.wait(ok, "")
		p.expect(ok, "all is sound", "check", "--remote", "--state-dir", state)
	}
}

// oldProfile are the files that profile-1.sh makes, but for the picture.
var oldProfile = map[string]string{
	"a.txt": "hello\n", "dir/a-link.txt": "hello\n", "dir/sub/link": "hello\n", "dir/sub/b.txt": "below\n",
	"versions.txt": "three, not uploaded\n", "empty": "", "dir/new-name.txt": "renamed\n", "nützlich 😀.txt": "nutze\n",
	"pinned.txt": "pinned\n", "queued.txt": "queued\n", ".x.swp": "temporary\n", "dir/late/late.txt": "late\n",
}

func (p *place) wantOldProfile(t *testing.T) {
	// Its thumbnail is looked at before it is listed: it may be no picture.
	fusetest.Eventually(t, "the thumbnail", func() error {
		list, err := os.ReadDir(p.dir)
		if err == nil && !slices.ContainsFunc(list, func(d fs.DirEntry) bool { return d.Name() == "photo.jpg.thumb" }) {
			err = fs.ErrNotExist
		}
		return err
	})
	var names []string
	err := filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, p.dir+"/")
		names = append(names, name)
		b, err := os.ReadFile(path)
		if want, is := oldProfile[name]; is && string(b) != want || err != nil {
			t.Errorf("%s has %q, want %q: %v", name, b, want, err)
		} else if !is && !strings.HasPrefix(string(b), "\xff\xd8\xff") {
			t.Errorf("%s is no picture, it has %d bytes", name, len(b))
		}
		return nil
	})
	want := []string{"photo.jpg", "photo.jpg.thumb"}
	for name := range oldProfile {
		want = append(want, name)
	}
	slices.Sort(want)
	slices.Sort(names)
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("names %q, want %q: %v", names, want, err)
	}
	p.wantOldAttributes(t)
}

func (p *place) wantOldAttributes(t *testing.T) {
	for name, want := range map[string][2]string{"a.txt": {"user.note", "an attribute"}, "dir/late/late.txt": {"user.late", "set late"}} {
		if got, err := xattr.Get(filepath.Join(p.dir, name), want[0]); err != nil || string(got) != want[1] {
			t.Errorf("%s of %s is %q, %v", want[0], name, got, err)
		}
	}
	var st, link syscall.Stat_t
	err := errors.Join(syscall.Stat(filepath.Join(p.dir, "a.txt"), &st), syscall.Stat(filepath.Join(p.dir, "dir/a-link.txt"), &link))
	touched := time.Date(2001, 2, 3, 4, 5, 6, 789e6, time.UTC)
	if err != nil || st.Nlink != 2 || st.Ino != link.Ino || !time.Unix(st.Mtim.Unix()).Equal(touched) {
		t.Errorf("a.txt: %+v, %v", st, err)
	}
	if info, err := os.Lstat(filepath.Join(p.dir, "dir/sub/b.txt")); err != nil || info.Mode() != 0o640 {
		t.Errorf("dir/sub/b.txt: %v, %v", info, err)
	}
	if target, err := os.Readlink(filepath.Join(p.dir, "dir/sub/link")); err != nil || target != "../../a.txt" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
}
