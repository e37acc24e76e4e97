package index

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"chatfs/internal/entity"
)

// deepDir makes directories of 255 bytes each below one another.
func deepDir(t *testing.T, ix *Index, levels int) (dir Inode, path string) {
	t.Helper()
	dir = must[Inode](t)(ix.Get(Root))
	var b strings.Builder
	for i := range levels {
		name := fmt.Sprintf("%03d", i) + strings.Repeat("d", nameMax-3)
		dir = mkdir(t, ix, dir.Ino, name)
		b.WriteString("/" + name)
	}
	return dir, b.String()
}

// TestHistoryOfAnyDepth: a path longer than a key can be is kept whole.
func TestHistoryOfAnyDepth(t *testing.T) {
	dir := t.TempDir() + "/ix"
	ix := open(t, dir, byHand)
	deep, path := deepDir(t, ix, 140)
	names := []string{"a", "b"} // they share all that the keys have of them, but the digest
	want := map[string]entity.UUID{}
	for i, name := range names {
		f := touch(t, ix, deep.Ino, name)
		old := upload(t, ix, f.Ino, byte(2*i+1))
		upload(t, ix, f.Ino, byte(2*i+2))
		must[Removed](t)(ix.Unlink(deep.Ino, name))
		want[name] = old.UUID
	}
	noError(t, ix.store.commit())
	for _, x := range []*Index{ix, open(t, copyDir(t, dir), byHand)} {
		for _, name := range names {
			h := must[[]Version](t)(x.History(path + "/" + name))
			if len(h) != 2 || h[0].UUID != want[name] || h[0].Path != path+"/"+name {
				t.Fatalf("%s: %d versions", name, len(h))
			}
		}
		for _, below := range []string{"/", path[:256], path, path[:256*139]} {
			if h := must[[]Version](t)(x.HistoryBelow(below)); len(h) != 4 {
				t.Errorf("below %d bytes: %d versions", len(below), len(h))
			}
		}
		if h := must[[]Version](t)(x.HistoryBelow(path + "/a")); len(h) != 0 {
			t.Errorf("below a file: %v", len(h))
		}
		n := must[Inode](t)(x.Restore(must[[]Version](t)(x.History(path + "/a"))[0]))
		if n.UUID != want["a"] {
			t.Error("another version was restored")
		}
		clean(t, x)
	}
}

// TestHistoryUpToTheLongestKey: what older versions wrote is found as it was.
func TestHistoryUpToTheLongestKey(t *testing.T) {
	for _, size := range []int{historyPathMax - pathDigestSize - 1, historyPathMax - 1, historyPathMax, historyPathMax + 1} {
		v := Version{Path: strings.Repeat("p", size), Replaced: Now().Time(), Mode: regular}
		key, value := encodeVersion(&v)
		back := must[Version](t)(decodeVersion(key, value))
		if back.Path != v.Path || len(key) > keyMax || (size <= historyPathMax) != strings.HasPrefix(string(key), v.Path+"\x00") {
			t.Errorf("%d bytes: a key of %d", size, len(key))
		}
	}
}

// TestImpossibleRecordsArePassedOver opens a journal of a version that did not
// look at the length of keys: its database refuses them for ever.
func TestImpossibleRecordsArePassedOver(t *testing.T) {
	dir := t.TempDir() + "/ix"
	ix := open(t, dir, byHand)
	f := touch(t, ix, Root, "f")
	e := upload(t, ix, f.Ino, 1)
	long := strings.Repeat("/"+strings.Repeat("d", nameMax), 130)
	at := be64(nil, uint64(Now().Time().UnixNano()))
	_, value := encodeVersion(&Version{Path: "/f", Size: 7, Mode: regular})
	writeRaw(t, ix, []change{
		{key: string([]byte{byte(bucketXattrs)}) + strings.Repeat("x", keyMax+1), value: present},
		{key: string([]byte{byte(bucketHistory)}) + long + "\x00" + string(at) + string(e.UUID[:]), value: value},
		{key: string([]byte{byte(bucketXattrs)}), value: present},
	})
	touch(t, ix, Root, "g")
	again := open(t, copyDir(t, dir), byHand)
	if got := tree(t, again); got != "f g" {
		t.Errorf("tree %q", got)
	}
	if h := must[[]Version](t)(again.History(long)); len(h) != 1 || h[0].UUID != e.UUID {
		t.Errorf("history: %d versions", len(h))
	}
	if r := again.Recovery(); r.Impossible != 2 || !strings.Contains(r.String(), "2 impossible") {
		t.Errorf("recovery: %v", r)
	}
	clean(t, again)
}

// writeRaw appends a record to the journal that no operation makes.
func writeRaw(t *testing.T, ix *Index, changes []change) {
	t.Helper()
	s := ix.store
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.appendRecord(appendChanges(startRecord(nil), changes))
	noError(t, err)
}

// TestImpossibleChangesAreRefused: an operation fails, and nothing else.
func TestImpossibleChangesAreRefused(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	for want, fn := range map[error]func(*tx){
		syscall.ENAMETOOLONG: func(t *tx) { t.put(bucketXattrs, make([]byte, keyMax+1), present) },
		syscall.E2BIG:        func(t *tx) { t.put(bucketXattrs, []byte("k"), make([]byte, valueMax+1)) },
		errTooMany: func(t *tx) {
			for i := range 3 {
				t.put(bucketXattrs, []byte{byte(i + 1)}, make([]byte, valueMax))
			}
		},
	} {
		err := ix.store.update(func(t *tx) error { fn(t); return nil })
		if want == errTooMany {
			want = syscall.E2BIG
		}
		if !errors.Is(err, want) {
			t.Errorf("%v: %v", want, err)
		}
	}
	touch(t, ix, Root, "f")
	noError(t, ix.store.commit())
	clean(t, ix)
}

var errTooMany = errors.New("a record of too many bytes")

// TestReasonsAreBounded: a service may answer anything.
func TestReasonsAreBounded(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	f := touch(t, ix, Root, "f")
	n := must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: ix.NextStaged(), Size: 1}))
	long := strings.Repeat("é", 1<<20)
	noError(t, ix.Attempted(f.Ino, n.Version, long))
	noError(t, ix.Failed(f.Ino, n.Version, "x"+long))
	q := must[[]QueueEntry](t)(ix.Queue())[0]
	if len(q.Failed) > reasonMax+3 || !strings.HasPrefix(q.Failed, "xé") || !strings.HasSuffix(q.Failed, "é…") {
		t.Errorf("a reason of %d bytes", len(q.Failed))
	}
}

// TestManyInOneOperation: what grows with the number of files is done in
// records of a bounded size.
func TestManyInOneOperation(t *testing.T) {
	ix := open(t, t.TempDir(), byHand)
	first := touch(t, ix, Root, "0")
	old := upload(t, ix, first.Ino, 1)
	src := must[Inode](t)(ix.Get(first.Ino))
	const files = replaceBatch + 10
	for i := 1; i < files; i++ {
		f := touch(t, ix, Root, fmt.Sprint(i))
		must[Inode](t)(ix.SetContent(f.Ino, Content{ShareOf: &src}))
	}
	e := newEntity(t, 1)
	noError(t, ix.Replace(old.UUID, e))
	if users := must[[]Ino](t)(ix.Users(e.UUID, 0)); len(users) != files {
		t.Errorf("%d of %d files have the new entity", len(users), files)
	}
	if used := must[bool](t)(ix.References(old.UUID)); used {
		t.Error("the old entity is in use")
	}
	noError(t, ix.Replace(e.UUID, e)) // by itself: nothing to do, and an end
	for _, d := range must[[]Dirent](t)(ix.ReadDir(Root, "", 0)) {
		n := must[Inode](t)(ix.SetContent(d.Inode.Ino, Content{Staged: ix.NextStaged(), Size: 1}))
		noError(t, ix.Failed(n.Ino, n.Version, "no"))
	}
	if n := must[int](t)(ix.RetryFailed()); n != files {
		t.Errorf("%d of %d are tried again", n, files)
	}
	clean(t, ix)
}

// TestAFailingCommitTakesNothing: neither a segment nor a descriptor more at
// each try, and once it goes well all is there.
func TestAFailingCommitTakesNothing(t *testing.T) {
	dir := t.TempDir() + "/ix"
	o := byHand
	fault := error(syscall.EIO)
	o.hooks.commit = func() error { return fault }
	ix := open(t, dir, o)
	touch(t, ix, Root, "0")
	for i := range 5 {
		if err := ix.store.commit(); !errors.Is(err, fault) {
			t.Fatalf("commit: %v", err)
		}
		touch(t, ix, Root, fmt.Sprint(i+1))
	}
	if left := must[[]string](t)(listSegments(dir)); len(left) != 2 {
		t.Errorf("segments: %v", left)
	}
	crashed := open(t, copyDir(t, dir), byHand)
	if got := tree(t, crashed); got != "0 1 2 3 4 5" {
		t.Errorf("after a crash: %q", got)
	}
	fault = nil
	noError(t, ix.store.commit())
	if ix.store.hasWork() {
		t.Error("something is not committed")
	}
	if left := must[[]string](t)(listSegments(dir)); len(left) != 1 {
		t.Errorf("segments left: %v", left)
	}
	clean(t, ix)
}

// TestAFailedCommitForgetsNoStagedBytes: what a commit names is made durable
// before each try, even what later changes name no longer.
func TestAFailedCommitForgetsNoStagedBytes(t *testing.T) {
	synced := map[StagedID]int{}
	o := byHand
	o.SyncStaged = func(ids []StagedID) error {
		for _, id := range ids {
			synced[id]++
		}
		if len(synced) == 1 {
			return syscall.EIO
		}
		return nil
	}
	ix := open(t, t.TempDir(), o)
	f := touch(t, ix, Root, "f")
	first := ix.NextStaged()
	must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: first, Size: 1}))
	if err := ix.store.commit(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("commit: %v", err)
	}
	second := ix.NextStaged()
	must[Inode](t)(ix.SetContent(f.Ino, Content{Staged: second, Size: 2}))
	synced[0] = 1 // let it pass
	noError(t, ix.store.commit())
	if synced[first] != 2 || synced[second] != 1 {
		t.Errorf("synced: %v", synced)
	}
}
