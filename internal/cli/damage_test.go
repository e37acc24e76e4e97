package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDamagedIndexEndsNoCommand damages each page of an index, and cuts it at
// each kind of length. Whoever opens it says so with the way out, and none dies
// of it; restore makes it whole.
func TestDamagedIndexEndsNoCommand(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	backup := p.backedUp()
	state := p.path("state/chatfs/default")
	path := filepath.Join(state, "index.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copyTree(t, state, p.path("before"))
	seen := 0
	for what, damaged := range damages(whole) {
		copyTree(t, p.path("before"), state)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		out, code := p.run("check")
		p.wantNoDeath(what+": check", out, code)
		if code == ok {
			continue // a page that holds nothing
		}
		seen++
		for _, args := range [][]string{{"mount", p.dir}, {"status", "--profile", "default"}, {"backup", "--plaintext", p.path("no")}, {"check", "--repair"}} {
			if strings.Contains(out, "is damaged") { // else it is open, and has problems
				out, code := p.run(args...)
				p.wantNoDeath(what+": "+args[0], out, code)
				if code == ok && args[0] != "check" {
					t.Errorf("%s: chatfs %s says nothing: %s", what, args[0], out)
				}
			}
		}
		p.expect(ok, "restored from", "restore", "--force", backup)
		p.expect(ok, "all is sound", "check")
	}
	if seen < 10 {
		t.Errorf("only %d damages are seen", seen)
	}
}

// wantNoDeath wants an exit code of ours, and the way out where it is that of a
// damaged index.
func (p *place) wantNoDeath(what, out string, code int) {
	p.t.Helper()
	died := code != ok && code != badIndex || strings.Contains(out, "goroutine ") || strings.Contains(out, "signal")
	if died || code == badIndex && !strings.Contains(out, "chatfs restore") && !strings.Contains(out, "problem") {
		p.t.Errorf("%s: exit code %d:\n%.1500s", what, code, out)
	}
}

// damages are what may be found in the place of an index.
func damages(whole []byte) map[string][]byte {
	const page = 4096
	list := map[string][]byte{}
	for _, size := range []int{1, 16, 100, page - 1, page, page + 1, 2 * page, 3 * page, 4*page - 1, 4 * page, len(whole) / 2, len(whole) - page, len(whole) - 1} {
		list[fmt.Sprintf("cut to %d bytes", size)] = whole[:size]
	}
	for at := 0; at < len(whole); at += page {
		if bytes.Count(whole[at:at+page], []byte{0}) == page {
			continue // nothing was ever here
		}
		for what, with := range map[string][]byte{"zeros": make([]byte, page), "ones": bytes.Repeat([]byte{0xff}, page), "another page": whole[(at+page)%len(whole):][:page]} {
			list[fmt.Sprintf("page %d of %s", at/page, what)] = slices.Concat(whole[:at], with, whole[at+page:])
		}
	}
	return list
}
