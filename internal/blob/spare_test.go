package blob

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"chatfs/internal/fusetest"
)

// TestStagedFilesAreMadeOnce makes more staged files than are made ahead, so
// that both ways to make one are taken.
func TestStagedFilesAreMadeOnce(t *testing.T) {
	fusetest.Guard(t)
	s, err := Open(Options{StateDir: t.TempDir(), CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	const many = 4 * SpareCount
	for id := range uint64(many) {
		f, err := s.CreateStaged(id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("content"); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	for id := range uint64(many) {
		if f, err := s.CreateStaged(id); !errors.Is(err, fs.ErrExist) {
			f.Close()
			t.Fatalf("the second time %d is made: %v, want ErrExist", id, err)
		}
		if b, err := os.ReadFile(s.stagedPath(id)); string(b) != "content" {
			t.Fatalf("%d holds %q (%v)", id, b, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if ids, err := s.ListStaged(); err != nil || len(ids) != many {
		t.Errorf("%d staged files are left (%v), want %d", len(ids), err, many)
	}
}
