package e2e

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// gallery makes n different pictures in the mount and waits for their
// thumbnails, if any are listed; it looks at none.
func (s *session) gallery(n, listed int) {
	s.t.Helper()
	s.makeAlbum()
	s.sh(`mkdir "$D"/A; for i in $(seq ` + strconv.Itoa(n) + `); do cp made/photo.jpg p.jpg; head -c 9 /dev/urandom >>p.jpg; cp p.jpg "$D"/A/$i.jpg; done`)
	s.sync()
	s.thumbs("A", listed)
}

// TestThumbnailsAreListedWithoutTheService: those that are known, at once and
// without a word, also after a remount and without a cache.
func TestThumbnailsAreListedWithoutTheService(t *testing.T) {
	const pictures = 30
	v := newServed(t, "--read-timeout", "1s")
	v.gallery(pictures, pictures)
	before := v.sh(`cd "$D"/A; ls -l`)
	v.stop()
	if code := v.interrupt(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	v.sh(`rm -r cache/chatfs`)
	v.mount()
	if after := v.sh(`cd "$D"/A; ls -l`); after != before || strings.Count(after, ".thumb\n") != pictures {
		t.Errorf("ls -l says\n%s, want\n%s", after, before)
	}
	v.quiet("they are removed", `rm -r "$D"/A`)
}

func TestThumbsListed(t *testing.T) {
	t.Parallel()
	v := newSession(t, "--thumbs", "list")
	v.gallery(3, 3)
	v.sh(`cd "$D"/A; test "$(echo *)" = "1.jpg 1.jpg.thumb 2.jpg 2.jpg.thumb 3.jpg 3.jpg.thumb"; cmp <(head -c 2 1.jpg.thumb) <(printf '\377\330')`)
}

func TestThumbsHidden(t *testing.T) {
	t.Parallel()
	v := newSession(t, "--thumbs", "hidden")
	v.gallery(3, 0)
	v.sh(`cd "$D"/A; test "$(echo *)" = "1.jpg 2.jpg 3.jpg"; cmp <(head -c 2 1.jpg.thumb) <(printf '\377\330'); stat -c %s 2.jpg.thumb; ! stat 4.jpg.thumb 2>/dev/null`)
	v.quiet("nothing is in the way", `rsync -ai --delete "$D"/A/ out/ >/dev/null; rsync -ai --delete out/ "$D"/A/; test $(ls out | wc -l) = 3; rm "$D"/A/*; rmdir "$D"/A`)
}

func TestThumbsOff(t *testing.T) {
	t.Parallel()
	v := newServed(t, "--thumbs", "off")
	v.gallery(3, 0)
	asked := v.asked()
	v.sh(`cd "$D"/A; test "$(echo *)" = "1.jpg 2.jpg 3.jpg"; ! stat 1.jpg.thumb 2>/dev/null; echo mine >1.jpg.thumb`)
	if got := v.asked(); got != asked {
		t.Errorf("%d requests for thumbnails that are off", got-asked)
	}
	if b, err := os.ReadFile(v.Dir + "/A/1.jpg.thumb"); string(b) != "mine\n" {
		t.Errorf("a file of that name: %q, %v", b, err)
	}
}
