package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenFilesAreNamed: sync sends what is closed and does not wait for ever
// for a file that is open, but names it; so does status. After a kill the file
// has what was written.
func TestOpenFilesAreNamed(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.sh(`echo closed > "$D/closed"`)
	log, err := os.Create(filepath.Join(s.Dir, "app.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // of a mount that is gone
	if _, err := log.WriteString("one\n"); err != nil {
		t.Fatal(err)
	}
	// To start a program closes a copy of what is open here: what was written is
	// in the queue then.
	out := s.sh(`"$CHATFS" sync 2>&1 && exit 1 || echo "exit $?"; "$CHATFS" status`)
	for _, want := range []string{"exit 8", `once closed: "app.log"`, `open      "app.log"`, "1 file (4 B) waiting"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not told:\n%s", want, out)
		}
	}
	if _, err := log.WriteString("two\n"); err != nil {
		t.Fatal(err)
	}
	s.kill()
	out = s.sh(`"$CHATFS" check; "$CHATFS" status --profile default`)
	for _, want := range []string{"note: staged-open: /app.log", `open      "app.log": it was being written when chatfs ended`} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not told:\n%s", want, out)
		}
	}
	s.mount()
	if got := s.sh(`cat "$D/app.log"`); got != "one\ntwo\n" {
		t.Errorf("app.log has %q", got)
	}
	s.sync()
	if out := s.sh(`"$CHATFS" status`); strings.Contains(out, "open ") || strings.Contains(out, "rescued") {
		t.Errorf("status says:\n%s", out)
	}
}
