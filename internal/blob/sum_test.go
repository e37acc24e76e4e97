package blob

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"testing"
)

// TestSumStaged sums what is asked for, and tells when it is not all there.
func TestSumStaged(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	content := bytes.Repeat([]byte("some bytes "), 30_000) // more than is read at once
	f := must[*os.File](t)(s.CreateStaged(1))
	must[int](t)(f.Write(content))
	for _, size := range []int{0, 1, sumBuffer, sumBuffer + 1, len(content)} {
		want := crc32.Checksum(content[:size], crc32.MakeTable(crc32.Castagnoli))
		if got := must[uint32](t)(s.SumStaged(1, int64(size))); got != want {
			t.Errorf("%d bytes: sum %x, want %x", size, got, want)
		}
	}
	if _, err := s.SumStaged(1, int64(len(content))+1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("more than there is: %v", err)
	}
	if _, err := s.SumStaged(2, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func BenchmarkSumStaged(b *testing.B) {
	s := must[*Store](b)(Open(Options{StateDir: b.TempDir(), CacheDir: b.TempDir()}))
	defer s.Close()
	for id, size := range map[uint64]int{1: 4 << 10, 2: 10 << 20} {
		f := must[*os.File](b)(s.CreateStaged(id))
		must[int](b)(f.Write(make([]byte, size)))
		f.Close()
		b.Run(map[uint64]string{1: "4KiB", 2: "10MiB"}[id], func(b *testing.B) {
			for b.Loop() {
				must[uint32](b)(s.SumStaged(id, int64(size)))
			}
		})
	}
}
