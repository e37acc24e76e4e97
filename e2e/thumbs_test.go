package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chatfs/internal/fusetest"
)

// corner is a place of its own in the same mount: a folder there, and one
// outside, which scripts run in.
func (s *session) corner(t *testing.T, name string) *session {
	t.Helper()
	c := &session{t: t, base: s.base, Dir: filepath.Join(s.Dir, name), cwd: filepath.Join(s.base, name)}
	for _, dir := range []string{c.Dir, c.cwd} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// albumSize is how many pictures an album has.
const albumSize = 3

// album makes a folder of pictures, "pics", and copies it into the mount as
// name; it returns once all thumbnails stand beside them.
func (s *session) album(name string) {
	s.t.Helper()
	s.sh(`mkdir -p pics; cp -a "` + s.base + `"/made/{photo.jpg,photo.png,tiny.jpg} pics/; cp -a pics "$D"/'` + name + `'`)
	s.thumbs(name, albumSize)
}

// makeAlbum makes the pictures that albums consist of.
func (s *session) makeAlbum() {
	s.t.Helper()
	made := filepath.Join(s.base, "made")
	if err := os.Mkdir(made, 0o755); err != nil {
		s.t.Fatal(err)
	}
	makePictures(s.t, made)
}

// thumbs waits until a folder of the mount lists that many thumbnails.
func (s *session) thumbs(dir string, n int) {
	s.t.Helper()
	fusetest.Eventually(s.t, fmt.Sprintf("%d thumbnails in %s", n, dir), func() error {
		list, err := os.ReadDir(filepath.Join(s.Dir, dir)) // its name may hold a *
		var got []string
		for _, e := range list {
			if strings.HasSuffix(e.Name(), ".thumb") {
				got = append(got, e.Name())
			}
		}
		if err == nil && len(got) != n {
			err = fmt.Errorf("%d are there: %q", len(got), got)
		}
		return err
	})
}

// Each of these says nothing and succeeds, and leaves what the last line
// compares.
func TestThumbnailsGetInNobodysWay(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.makeAlbum()
	for what, script := range map[string]string{
		"rm -r":                  `rm -r "$D"/A`,
		"rm *":                   `rm "$D"/A/*; rmdir "$D"/A`,
		"rm one by one":          `for f in "$D"/A/*; do rm "$f"; done; rmdir "$D"/A`,
		"rm the thumbs first":    `rm "$D"/A/*.thumb; rm "$D"/A/*; rmdir "$D"/A`,
		"rm the others first":    `cd "$D"/A; list=(*); for f in "${list[@]}"; do [[ $f = *.thumb ]] || rm "$f"; done; for f in "${list[@]}"; do [[ $f != *.thumb ]] || rm "$f"; done; rmdir ../A`,
		"rmdir":                  `rm "$D"/A/*[!b]; rmdir "$D"/A`,
		"find -delete":           `find "$D"/A -delete`,
		"find -exec rm":          `find "$D"/A -type f -exec rm {} ';'; rmdir "$D"/A`,
		"mv out and back":        `mv "$D"/A out; mv out "$D"/A; diff -r <(cd pics; ls) <(cd "$D"/A; ls | grep -v 'thumb$'); diff pics/photo.jpg "$D"/A/photo.jpg; rm -r "$D"/A`,
		"mv each out":            `mkdir out; mv "$D"/A/* out/; test -z "$(ls -A "$D"/A)"; diff pics/photo.jpg out/photo.jpg; test -s out/photo.png.thumb; ls out | grep -c 'thumb$' | grep -qx 3; rm -r "$D"/A`,
		"mv each out, backwards": `mkdir out; for f in $(ls -r "$D"/A); do mv "$D"/A/"$f" out/; done; test -z "$(ls -A "$D"/A)"; ls out | grep -c 'thumb$' | grep -qx 3; rm -r "$D"/A`,
		"mv within":              `mv "$D"/A "$D"/B; mkdir "$D"/C; mv "$D"/B/* "$D"/C/; rmdir "$D"/B; ls "$D"/C | grep -c 'thumb$' | grep -qx 3; rm -r "$D"/C`,
		"mv within, backwards":   `mkdir "$D"/C; cd "$D"/A; for f in $(ls -r); do mv "$f" ../C/; done; rmdir ../A; ls ../C | grep -c 'thumb$' | grep -qx 3; rm -r ../C`,
		"rename each":            `cd "$D"/A; for f in *; do mv "$f" "x$f"; done; ls | grep -c '^x.*thumb$' | grep -qx 3; rm -r ../A`,
		"cp -a out and in":       `cp -a "$D"/A out; cp -a out/. "$D"/A/; diff -r out "$D"/A; rm -r out "$D"/A`,
		"cp -a out, in anew":     `cp -a "$D"/A out; rm -r "$D"/A; cp -a out "$D"/A; diff -r out "$D"/A; rm -r out "$D"/A`,
		"cp out, in after rm":    `cp -a "$D"/A out; rm "$D"/A/*; cp -a out/* "$D"/A/; diff -r out "$D"/A; rm -r out "$D"/A`,
		"cp -a within":           `cp -a "$D"/A "$D"/B; diff -r "$D"/A "$D"/B; rm -r "$D"/A "$D"/B`,
		"cp -al within":          `cp -al "$D"/A "$D"/B; diff -r "$D"/A "$D"/B; rm -r "$D"/A "$D"/B`,
		"tar out and in":         `tar -C "$D" -cf a.tar A; rm -r "$D"/A; tar -C "$D" -xf a.tar; tar -C "$D" --compare -f a.tar; tar -C "$D" -xf a.tar; tar -C "$D" --compare -f a.tar; rm -r "$D"/A`,
		"rsync out and in":       `rsync -aHAX --delete "$D"/A/ out/; rsync -aHAXi --delete out/ "$D"/A/; rsync -aHAXi --delete "$D"/A/ out/; diff -r out "$D"/A; rm -r out "$D"/A`,
		"rsync out, in anew":     `rsync -aHAX "$D"/A/ out/; rm -r "$D"/A; rsync -aHAX out/ "$D"/A/; "$CHATFS" sync 2>/dev/null; rsync -aHAXi --checksum --delete out/ "$D"/A/; rsync -aHAXi --delete "$D"/A/ out/; diff -r out "$D"/A; rm -r out "$D"/A`,
		"rsync --inplace":        `rsync -a "$D"/A/ out/; head -c 3000 /dev/urandom >out/photo.png.thumb; rsync -a --inplace out/ "$D"/A/; rsync -ai --inplace --delete out/ "$D"/A/; cmp out/photo.png.thumb "$D"/A/photo.png.thumb; rm -r out "$D"/A`,
		"hard links":             `ln "$D"/A/photo.jpg "$D"/A/z.jpg; rsync -aHAX "$D"/A/ out/; rsync -aHAXi --delete out/ "$D"/A/; rm -r out "$D"/A`,
	} {
		t.Run(what, func(t *testing.T) {
			c := s.corner(t, strings.ReplaceAll(what, " ", "_"))
			c.album("A")
			c.quiet(what, script)
			c.quiet("left", `ls -A "$D"`)
		})
	}
}

// The same while thumbnails appear: each script runs at a random moment of
// the uploads of the folder that it works on.
func TestThumbnailsAppearInNobodysWay(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newSession(t)
	s.makeAlbum()
	scripts := []string{
		`rm -r "$D"/A`,
		`find "$D"/A -delete`,
		`rm "$D"/A/*; rmdir "$D"/A`,
		`mv "$D"/A "$D"/B; mkdir "$D"/C; mv "$D"/B/* "$D"/C/; rmdir "$D"/B; rm -r "$D"/C`,
		`mv "$D"/A out; mv out "$D"/A; rm -r "$D"/A`,
		`cp -a "$D"/A "$D"/B; rm -r "$D"/A "$D"/B`,
		`cp -a "$D"/A out; cp -a out "$D"/B; rm -r out "$D"/A "$D"/B`,
		`rsync -a --delete pics/ "$D"/A/; "$CHATFS" sync 2>/dev/null; rsync -a --delete pics/ "$D"/A/; rsync -ai --delete pics/ "$D"/A/; rm -r "$D"/A`,
		`rsync -a "$D"/A/ out/; rsync -a --delete out/ "$D"/A/; rm -r "$D"/A out`,
		`tar -C "$D" -cf a.tar A; rm -r "$D"/A; tar -C "$D" -xf a.tar; rm -r "$D"/A`,
	}
	rounds := len(scripts)
	if os.Getenv("CHATFS_TEST_LONG") != "" {
		rounds *= 40
	}
	for round := range rounds {
		script := scripts[round%len(scripts)]
		c := s.corner(t, fmt.Sprintf("round%d", round))
		pause := fmt.Sprintf("sleep %.3f", random.Float64()*0.2)
		// What follows a JPEG's end is no part of the picture, but of the file.
		c.quiet(fmt.Sprintf("round %d", round), `mkdir pics; for i in {0..7}; do cp "`+s.base+`/made/photo.jpg" pics/$i.jpg; head -c 9 /dev/urandom >>pics/$i.jpg; done
cp -a pics "$D"/A; `+pause+`; `+script+`; ls -A "$D"`)
		if t.Failed() {
			t.Fatalf("seed %d, round %d, after %s", seed, round, pause)
		}
	}
}
