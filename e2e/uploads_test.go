package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestRsyncUploadsOnceUnderTheFinalName counts what the service is sent.
func TestRsyncUploadsOnceUnderTheFinalName(t *testing.T) {
	t.Parallel()
	v := newServed(t)
	v.sh(`mkdir in; for i in 1 2 3 4 5 6; do head -c $((i*99999)) /dev/urandom >in/f$i; done`)
	all := []string{"f1", "f2", "f3", "f4", "f5", "f6"}
	v.sh(`rsync -aHAX in/ "$D"/plain/`)
	v.wantUploads("rsync -a", all...)
	v.sh(`rsync -aHAX --checksum in/ "$D"/plain/; touch "$D"/plain/f1; rsync -aHAX in/ "$D"/plain/; chmod 600 in/f2; rsync -a in/ "$D"/plain/`)
	v.wantUploads("again, and attributes alone")
	change := `for f in in/*; do head -c 1000 /dev/urandom | dd of=$f conv=notrunc status=none; done; `
	for _, how := range []string{"--delay-updates", "--partial", "--inplace", "--inplace --no-whole-file", "--no-whole-file"} {
		v.sh(change + `rsync -a ` + how + ` in/ "$D"/plain/; diff -r in "$D"/plain`)
		v.wantUploads("rsync "+how, all...)
	}
	v.sh(`for f in in/*; do echo more >>$f; done; rsync -a --append in/ "$D"/plain/; diff -r in "$D"/plain`)
	v.wantUploads("rsync --append", all...)
	v.sh(change + `(timeout -s INT 0.3 rsync -a --partial --bwlimit=500 in/ "$D"/part/ || true); rm -f "$D"/part/.f?.*; rsync -a --partial in/ "$D"/part/; diff -r in "$D"/part`) // rsync may leave its temporary file, on any disk
	v.sync()
}

// TestTimesModesAndNamesAfterCloseUploadOnce does what rsync and others do
// after close, for many files, whose uploads may have begun.
func TestTimesModesAndNamesAfterCloseUploadOnce(t *testing.T) {
	t.Parallel()
	files := 200
	if os.Getenv("CHATFS_TEST_LONG") != "" {
		files = 1000
	}
	v := newServed(t, "--settle", "2s")
	when := time.Date(2011, 2, 3, 4, 5, 6, 789, time.UTC)
	var want []string
	for i := range files {
		name := fmt.Sprintf("f%04d", i)
		path := filepath.Join(v.Dir, name)
		want = append(want, name)
		for _, err := range []error{
			os.WriteFile(path+".new", []byte(fmt.Sprintln("content of", i)), 0o600),
			os.Chtimes(path+".new", when, when),
			os.Chmod(path+".new", 0o640),
			os.Rename(path+".new", path),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	v.wantUploads("renamed", want...)
	v.interrupt()
	v.sh(`rm -r cache/chatfs`)
	v.mount()
	for i, name := range want {
		path := filepath.Join(v.Dir, name)
		b, err := os.ReadFile(path)
		info, err2 := os.Stat(path)
		if err != nil || err2 != nil || string(b) != fmt.Sprintln("content of", i) || !info.ModTime().Equal(when) || info.Mode() != 0o640 {
			t.Fatalf("%s: %q, %v, %v, %v", name, b, info, err, err2)
		}
	}
}

// TestAbsentNamesCostNoRequest looks for what desktops look for everywhere,
// and at the room that is left.
func TestAbsentNamesCostNoRequest(t *testing.T) {
	t.Parallel()
	v := newServed(t)
	pics := filepath.Join(v.base, "pics")
	if err := os.MkdirAll(filepath.Join(pics, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	names := makePictures(t, pics)
	v.sh(`cp pics/*.png pics/sub; cp -r pics "$D"/; "$CHATFS" sync`)
	v.thumbs("pics", len(names))
	v.thumbs("pics/sub", 1)
	before := v.asked()
	v.sh(`for d in "$D" "$D"/pics "$D"/pics/sub; do for n in .hidden .xdg-volume-info autorun.inf .autorun .Trash .Trash-0 .directory .git desktop.ini folder.jpg a.thumb; do ! test -e "$d/$n"; done; done
find "$D" -printf '%s %p\n' >/dev/null; ls -lR "$D" >/dev/null; df "$D" >/dev/null; for i in 1 2 3 4; do stat -f "$D"; done >/dev/null`)
	if n := v.asked() - before; n != 0 {
		t.Errorf("%d requests, want none", n)
	}
	v.stop()
	v.quiet("without the service", `! ls "$D"/.hidden 2>/dev/null; df "$D" >/dev/null`)
}

// TestDiskFreeIsWhatStagingCanTake compares df with the local disk's, before and
// after, less what files that wait leave free of it: at most 1 GiB.
func TestDiskFreeIsWhatStagingCanTake(t *testing.T) {
	s := newSession(t, "--min-free", "10%")
	s.sh(`avail() { df -B1 --output=avail "$1" | tail -1; }
size=$(df -B1 --output=size state | tail -1); left=$((size/10 < 1<<30 ? size/10 : 1<<30)); slack=$((64<<20))
before=$(avail state); told=$(avail "$D"); after=$(avail state)
echo "told $told, the disk has $before and $after, less $left"
test $told -gt 0
test $told -ge $(((before < after ? before : after) - left - slack)); test $told -le $(((before > after ? before : after) - left + slack))`)
}
