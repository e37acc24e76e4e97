package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// history lists what chatfs history tells of a path.
func (p *place) history(args ...string) (list []struct {
	N       int
	Path    string
	Size    int64
	Content string
}) {
	p.t.Helper()
	out, code := p.run(append([]string{"history", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != ok {
		p.t.Errorf("exit code %d, %v:\n%s", code, err, out)
	}
	return list
}

func (p *place) sync() {
	p.t.Helper()
	p.expect(ok, "", "sync", p.dir)
}

func TestHistoryBringsBackWhatWasOverwritten(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.mount("--settle", "0s")
	file := filepath.Join(p.dir, "a.txt")
	for _, text := range []string{"one", "second", "the third"} {
		p.put("a.txt", text)
		p.sync()
	}
	list := p.history(file)
	if len(list) != 2 || list[0].N != 1 || list[0].Size != 6 || list[1].Size != 3 || list[1].Content != "here" {
		t.Errorf("history: %+v", list)
	}
	p.want("a.txt", "the third") // the kernel has it now
	open, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	p.expect(ok, "is again as it was on", "history", file, "--restore", "2")
	p.want("a.txt", "one")
	b := make([]byte, 10)
	if n, _ := open.ReadAt(b, 0); string(b[:n]) != "one" {
		t.Errorf("who had it open reads %q", b[:n])
	}
	open.Close()
	if list := p.history(file); len(list) != 3 || list[0].Size != 9 {
		t.Errorf("what was there is not in the history: %+v", list)
	}
	p.put("a.txt", "not yet at the service")
	p.expect(ok, "", "history", file, "--restore", "1") // what that replaced; it waits for the upload
	p.want("a.txt", "one")
	p.expect(usage, "has no version 77", "history", file, "--restore", "77")
	p.expect(usage, "numbered from 1", "history", file, "--restore", "0")
	p.expect(ok, "nothing was overwritten", "history", filepath.Join(p.dir, "none"))
	p.expect(notMounted, "is in no mounted tree", "history", "/etc/passwd")
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	p.expect(ok, "LAST CHANGED", "history", "--profile", "default", "a.txt")
	p.expect(ok, "is again", "history", "--profile", "default", "/a.txt", "--restore", "1")
	r = p.mount()
	p.want("a.txt", "not yet at the service")
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
}

// TestRestoreIsSeenByOtherNames has the kernel know the file by another name
// than the one that is restored.
func TestRestoreIsSeenByOtherNames(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.mount("--settle", "0s")
	if err := os.Mkdir(filepath.Join(p.dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.put("a.txt", "one")
	if err := os.Link(filepath.Join(p.dir, "a.txt"), filepath.Join(p.dir, "d", "b.txt")); err != nil {
		t.Fatal(err)
	}
	p.sync()
	p.put("a.txt", "second")
	p.sync()
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	p.mount("--settle", "0s")
	p.want("d/b.txt", "second")
	p.expect(ok, "is again", "history", "--profile", "default", "a.txt", "--restore", "1")
	p.want("d/b.txt", "one")
	p.want("a.txt", "one")
}

func TestHistoryBringsBackWhatWasDeleted(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.mount("--settle", "0s")
	deep := filepath.Join(p.dir, "d", "deep")
	if err := os.MkdirAll(deep, 0o750); err != nil {
		t.Fatal(err)
	}
	p.put("d/a.txt", "a")
	p.put("d/deep/b.txt", "bb")
	if err := os.Rename(filepath.Join(p.dir, "d", "a.txt"), filepath.Join(p.dir, "d", "c.txt")); err != nil {
		t.Fatal(err)
	}
	p.sync()
	if err := os.RemoveAll(filepath.Join(p.dir, "d")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(deep + "/b.txt"); !os.IsNotExist(err) { // the kernel knows that it is gone
		t.Fatal(err)
	}
	list := p.history(filepath.Join(p.dir, "d") + "/")
	if len(list) != 2 || list[0].Path != "/d/c.txt" || list[1].Path != "/d/deep/b.txt" {
		t.Errorf("history: %+v", list)
	}
	p.expect(ok, "is again", "history", filepath.Join(deep, "b.txt"), "--restore", "1")
	p.want("d/deep/b.txt", "bb")
	if names, err := os.ReadDir(p.dir); err != nil || len(names) != 1 {
		t.Errorf("the listing: %v, %v", names, err)
	}
	if err := os.Mkdir(filepath.Join(p.dir, "d", "c.txt"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.expect(1, "is something other than a file now", "history", filepath.Join(p.dir, "d", "c.txt"), "--restore", "1")
	out, _ := p.run("history", p.dir)
	if !strings.Contains(out, `"d/c.txt"`) {
		t.Errorf("the whole tree's history:\n%s", out)
	}
}

// TestRestoreDoesNotLoseWhatIsBeingWritten refuses instead.
func TestRestoreDoesNotLoseWhatIsBeingWritten(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.mount("--settle", "0s")
	p.put("a.txt", "one")
	p.sync()
	p.put("a.txt", "two")
	p.sync()
	file := filepath.Join(p.dir, "a.txt")
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("TWO and more"); err != nil {
		t.Fatal(err)
	}
	p.expect(1, "would be lost", "history", file, "--restore", "1")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	p.want("a.txt", "TWO and more")
}
