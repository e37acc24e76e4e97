package index

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestTrimTakesNothingFromReaders lets go of the database's pages while others
// read, write and commit.
func TestTrimTakesNothingFromReaders(t *testing.T) {
	ix := open(t, t.TempDir(), Options{CommitInterval: time.Millisecond})
	const names = 300
	var all sync.WaitGroup
	done := make(chan struct{})
	all.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				ix.store.trim(0)
			}
		}
	})
	for i := range names {
		touch(t, ix, Root, fmt.Sprintf("f%03d", i))
		must[Dirent](t)(ix.Lookup(Root, fmt.Sprintf("f%03d", i/2)))
	}
	if list := must[[]Dirent](t)(ix.ReadDir(Root, "", 0)); len(list) != names {
		t.Errorf("%d names, want %d", len(list), names)
	}
	close(done)
	all.Wait()
	clean(t, ix)
}
