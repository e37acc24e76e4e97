package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMainJob is what chatfs is for: pictures copied in are uploads, have
// thumbnails beside them, and are there, byte for byte, when the cache is
// gone and the directory was mounted anew.
func TestMainJob(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	in := filepath.Join(s.base, "in")
	if err := os.Mkdir(in, 0o755); err != nil {
		t.Fatal(err)
	}
	names := makePictures(t, in)
	s.sh(`echo words >in/notes.txt; : >in/empty
head -c $((10<<20)) /dev/urandom >in/most
touch -d '2019-05-06 07:08:09.123456789' in/*; chmod 640 in/photo.jpg
mkdir "$D"/a "$D"/b; cp -p in/* "$D"/a/; touch -r in "$D"/a; rsync -a in/ "$D"/b/`)
	s.sync()
	s.thumbs("a", len(names))
	s.thumbs("b", len(names))
	before := s.listing()
	if code := s.interrupt(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	s.sh(`rm -r cache/chatfs`)
	s.mount()
	if after := s.listing(); after != before {
		t.Errorf("listed before the remount:\n%s\nafter:\n%s", before, after)
	}
	for _, dir := range []string{"a", "b"} {
		s.quiet("byte for byte", `for f in in/*; do cmp "$f" "$D"/`+dir+`/"${f##*/}"; done`)
		s.quiet("names", `diff <(ls in) <(ls "$D"/`+dir+` | grep -v '[.]thumb$')`)
		s.checkThumbs(filepath.Join(s.Dir, dir), names)
	}
	s.quiet("rsync agrees", `rsync -aci in/ "$D"/a/; rsync -aci in/ "$D"/b/`)
}

// listing is what a person sees of all names, sizes, modes and times, and reads
// of all thumbnails.
func (s *session) listing() string {
	s.t.Helper()
	s.sh(`cat "$D"/*/*.thumb >/dev/null`)
	return s.sh(`cd "$D"; find . -mindepth 2 -printf '%P %s %m %TY-%Tm-%Td %TT\n' | sort`)
}

// checkThumbs decodes and measures the thumbnails of a folder: exactly one
// for each picture.
func (s *session) checkThumbs(dir string, pictures []string) {
	s.t.Helper()
	thumbs, err := filepath.Glob(filepath.Join(dir, "*.thumb"))
	if err != nil || len(thumbs) != len(pictures) {
		s.t.Errorf("thumbnails are %q (%v), want one for each of %q", thumbs, err, pictures)
	}
	for _, name := range pictures {
		want := [2]int{170, 113} // 600x400 in 170x170
		switch name {
		case "turned.jpg":
			slices.Reverse(want[:])
		case "rose.webp":
			want = [2]int{170, 127}
		case "tiny.jpg":
			want = [2]int{70, 50} // as it is
		}
		path := filepath.Join(dir, name+".thumb")
		if w, h := dimensions(s.t, path); [2]int{w, h} != want {
			s.t.Errorf("%s is %dx%d, want %v", path, w, h, want)
		}
		info, err := os.Stat(path)
		picture, perr := os.Stat(filepath.Join(dir, name))
		if b, rerr := os.ReadFile(path); err != nil || rerr != nil || info.Size() != int64(len(b)) || perr != nil || info.Mode() != picture.Mode() {
			s.t.Errorf("%s: %v and %d bytes read (%v, %v), want its size right, and the mode of %v", path, info, len(b), err, rerr, picture)
		}
	}
	small, err := os.ReadFile(filepath.Join(dir, "tiny.jpg"))
	thumb, terr := os.ReadFile(filepath.Join(dir, "tiny.jpg.thumb"))
	if err != nil || terr != nil || !bytes.Equal(small, thumb) {
		s.t.Errorf("an image of %d bytes is not its own thumbnail (%v, %v)", len(small), err, terr)
	}
}

func TestManyCopiedInByEightAtOnce(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.sh(`mkdir in; for i in $(seq 200); do head -c $((i*500)) /dev/urandom >in/$i; done
ls in | xargs -P 8 -I{} cp in/{} "$D"/`)
	s.quiet("at once", `diff -r in "$D"`)
	if out := s.sh(`"$CHATFS" sync`); !strings.HasSuffix(out, "everything is uploaded\n") {
		t.Errorf("sync ends with %q", out)
	}
	if code := s.interrupt(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	s.sh(`rm -r cache/chatfs`)
	s.mount()
	s.quiet("from the service, by eight at once", `ls in | xargs -P 8 -I{} cmp in/{} "$D"/{}; diff <(ls in) <(ls "$D")`)
}
