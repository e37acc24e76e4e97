package index

import (
	"fmt"
	"testing"
)

func BenchmarkCreate(b *testing.B) {
	ix := open(b, b.TempDir(), Options{})
	d := mkdir(b, ix, Root, "d")
	names := make([]string, b.N)
	for i := range names {
		names[i] = fmt.Sprintf("file-%07d.jpg", i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		touch(b, ix, d.Ino, names[i])
	}
}

// filled is an index with n files in "d", all committed.
func filled(b *testing.B, dir string, n int) (*Index, Ino) {
	ix := open(b, dir, Options{})
	d := mkdir(b, ix, Root, "d")
	for i := range n {
		touch(b, ix, d.Ino, fmt.Sprintf("file-%07d.jpg", i))
	}
	noError(b, ix.store.commit())
	return ix, d.Ino
}

func BenchmarkLookup(b *testing.B) {
	ix, d := filled(b, b.TempDir(), 10000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := ix.Lookup(d, fmt.Sprintf("file-%07d.jpg", i%10000)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	ix, d := filled(b, b.TempDir(), 10000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ix.Get(d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadDir10000(b *testing.B) {
	ix, d := filled(b, b.TempDir(), 10000)
	b.ReportAllocs()
	for b.Loop() {
		if list, err := ix.ReadDir(d, "", 0); err != nil || len(list) != 10000 {
			b.Fatal(len(list), err)
		}
	}
}

func BenchmarkRename(b *testing.B) {
	ix, d := filled(b, b.TempDir(), 1000)
	names := [2]string{"file-0000500.jpg", "other"}
	for i := 0; b.Loop(); i++ {
		if _, err := ix.Rename(d, names[i%2], d, names[1-i%2], 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRenameFolder100000 renames a directory of 100,000 files.
func BenchmarkRenameFolder100000(b *testing.B) {
	ix, _ := filled(b, b.TempDir(), 100000)
	names := [2]string{"d", "other"}
	for i := 0; b.Loop(); i++ {
		if _, err := ix.Rename(Root, names[i%2], Root, names[1-i%2], 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSync(b *testing.B) {
	ix, d := filled(b, b.TempDir(), 1)
	for i := 0; b.Loop(); i++ {
		touch(b, ix, d, fmt.Sprint(i))
		noError(b, ix.Sync())
	}
}

func BenchmarkOpen100000(b *testing.B) { benchmarkOpen(b, 100000) }

func BenchmarkOpen10(b *testing.B) { benchmarkOpen(b, 10) }

func benchmarkOpen(b *testing.B, n int) {
	dir := b.TempDir()
	ix, _ := filled(b, dir, n)
	noError(b, ix.Close())
	for b.Loop() {
		ix, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		noError(b, ix.Close())
		b.StartTimer()
	}
}
