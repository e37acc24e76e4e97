package blob

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestRescueTakesLongNames rescues contents whose names fill all that a disk
// takes; what is cut is cut between characters.
func TestRescueTakesLongNames(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for id, name := range []string{strings.Repeat("n", 255), strings.Repeat("n", 255), strings.Repeat("😀", 63) + "abc",
		"a" + strings.Repeat("😀", 63), strings.Repeat("ü", 127), strings.Repeat("\xbf", 255), "short"} {
		f := must[*os.File](t)(s.CreateStaged(uint64(id) + 1))
		must[int](t)(f.WriteString(name))
		f.Close()
		path, err := s.Rescue(s.StagedPath(uint64(id)+1), Lost{Path: "/dir/" + name})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != name {
			t.Errorf("%s has %q, %v", path, b, err)
		}
		got := filepath.Base(path)
		if len(got) > 255 || utf8.ValidString(name) && !utf8.ValidString(got) || !strings.HasSuffix(got, name[max(len(name)-8, 0):]) {
			t.Errorf("%q is rescued as %q", name, got)
		}
	}
	if n, _, err := s.Rescued(); err != nil || n != 7 {
		t.Errorf("%d are rescued, %v", n, err)
	}
}
