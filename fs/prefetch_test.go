package fs_test

import (
	"fmt"
	"os"
	"testing"

	"chatfs/fs"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

const rowSize = 4 << 10

// row makes n uploaded files of which nothing is on this disk, in a mount that
// fetches at most bytes ahead.
func row(t *testing.T, n int, bytes int64) *fixture {
	t.Helper()
	f := newFixture(t, func(_ *fs.Config, x *transfer.Config) { x.Prefetch = bytes })
	for i := range n {
		f.write(numbered("f", i), pattern(i, rowSize))
	}
	f.drain()
	f.forgetCache()
	return f
}

func (f *fixture) downloads() int { return f.service.Counts().Downloads }

func (f *fixture) readRow(order ...int) {
	f.t.Helper()
	for _, i := range order {
		f.wantContent(numbered("f", i), pattern(i, rowSize))
	}
}

func upTo(n int) (order []int) {
	for i := range n {
		order = append(order, i)
	}
	return order
}

// TestReaderInOrderFindsTheNextFiles reads a directory's files one after the
// other: soon all are foreseen, each is fetched once, and none in vain.
func TestReaderInOrderFindsTheNextFiles(t *testing.T) {
	const files = 60
	f := row(t, files, 64<<20)
	f.readRow(upTo(4)...)
	fusetest.Eventually(t, "files ahead of their reader", func() error {
		if n := f.downloads(); n < 8 {
			return fmt.Errorf("%d downloads", n)
		}
		return nil
	})
	f.readRow(upTo(files)[4:]...)
	if n := f.downloads(); n != files {
		t.Errorf("%d downloads of %d files", n, files)
	}
	if s := f.transfer.PrefetchStats(); s.Hits < 8-4 || s.Wasted != 0 {
		t.Errorf("prefetched %+v", s)
	}
}

// TestReaderOutOfOrderFetchesNothingElse: whoever jumps about, or opens one
// file again and again, costs no request but their own.
func TestReaderOutOfOrderFetchesNothingElse(t *testing.T) {
	f := row(t, 20, 64<<20)
	order := []int{7, 3, 11, 3, 3, 16, 9, 1}
	f.readRow(order...)
	f.unmount() // what was begun has ended
	if n, s := f.downloads(), f.transfer.PrefetchStats(); n != 6 || s.Fetched != 0 {
		t.Errorf("%d downloads for 6 files, prefetched %+v", n, s)
	}
}

// TestPrefetchKeepsItsBound has room for two files ahead.
func TestPrefetchKeepsItsBound(t *testing.T) {
	f := row(t, 40, 2*rowSize+rowSize/2)
	f.readRow(upTo(10)...)
	f.unmount()
	if n := f.downloads(); n > 12 {
		t.Errorf("%d downloads for 10 files and 2 ahead", n)
	}
}

// TestPrefetchLeavesAReaderThatWentAway has room for two files ahead, which
// were fetched for a directory that nobody reads on.
func TestPrefetchLeavesAReaderThatWentAway(t *testing.T) {
	f := row(t, 20, 2*rowSize+rowSize/2)
	must(t, os.Mkdir(f.path("other"), 0o755))
	for i := range 20 {
		f.write("other/"+numbered("g", i), pattern(100+i, rowSize))
	}
	f.drain()
	f.forgetCache()
	f.readRow(upTo(5)...)
	f.waitFetched(3)
	for i := range 5 {
		f.wantContent("other/"+numbered("g", i), pattern(100+i, rowSize))
	}
	f.waitFetched(6)
}

// waitFetched waits until n files were fetched ahead.
func (f *fixture) waitFetched(n int64) {
	f.t.Helper()
	fusetest.Eventually(f.t, "prefetch", func() error {
		if s := f.transfer.PrefetchStats(); s.Fetched < n {
			return fmt.Errorf("prefetched %+v, want %d", s, n)
		}
		return nil
	})
}

// TestPrefetchFoldsAtTheFirstMiss stops in the middle of a directory: what was
// fetched ahead is counted as waste, and no more is fetched.
func TestPrefetchFoldsAtTheFirstMiss(t *testing.T) {
	f := row(t, 60, 64<<20)
	f.readRow(upTo(6)...)
	f.readRow(50, 20)
	fusetest.Eventually(t, "the fold", func() error {
		if s := f.transfer.PrefetchStats(); s.Wasted == 0 || s.Hits+s.Wasted != s.Fetched {
			return fmt.Errorf("prefetched %+v", s)
		}
		return nil
	})
	before := f.transfer.PrefetchStats().Fetched
	f.readRow(40)
	f.unmount()
	if after := f.transfer.PrefetchStats().Fetched; after != before {
		t.Errorf("%d files were prefetched after two misses", after-before)
	}
}

// TestNoPrefetchWithoutBytes turns it off.
func TestNoPrefetchWithoutBytes(t *testing.T) {
	f := row(t, 20, 0)
	f.readRow(upTo(10)...)
	f.unmount()
	if n := f.downloads(); n != 10 {
		t.Errorf("%d downloads for 10 files", n)
	}
}

// TestThumbnailsAreForeseen looks at thumbnails in a file manager's order.
func TestThumbnailsAreForeseen(t *testing.T) {
	const pictures = 24
	f := newFixture(t, func(_ *fs.Config, x *transfer.Config) { x.Prefetch, x.Thumbs = 64<<20, false })
	for i := range pictures {
		f.write(numbered("p", i)+".png", picture(t, 20+i, 20))
	}
	f.drain()
	f.forgetCache()
	for i := range 4 {
		_, err := os.Stat(f.path(numbered("p", i) + ".png.thumb"))
		must(t, err)
	}
	fusetest.Eventually(t, "thumbnails ahead of their viewer", func() error {
		if n := f.service.Counts().Thumbnails; n < 8 {
			return fmt.Errorf("%d thumbnails", n)
		}
		return nil
	})
	for i := range pictures {
		_, err := os.ReadFile(f.path(numbered("p", i) + ".png.thumb"))
		must(t, err)
	}
	if n := f.service.Counts().Thumbnails; n != pictures {
		t.Errorf("%d requests for %d thumbnails", n, pictures)
	}
}
