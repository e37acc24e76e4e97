package cli_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/pkg/xattr"
)

// TestNoNameActsOnATerminal: names and arguments that move a cursor, colour,
// turn text around or begin lines of their own are shown, and do none of it.
func TestNoNameActsOnATerminal(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	evil := "\x1b]0;title\x07\x1b[2J\x9b31m\u009b\u202egnp.exe\u2066\r\nchatfs: all is sound"
	r := p.mount(append(offline, "--drain-timeout", "10ms", "--debug")...)
	p.put(evil, "hello")
	if err := os.Symlink(evil, filepath.Join(p.dir, "link")); err != nil {
		t.Fatal(err)
	}
	p.quiet("status", "--profile", "org-app")
	p.quiet("status", "--json", "--profile", "org-app")
	p.quiet("history", filepath.Join(p.dir, evil))
	r.signal(syscall.SIGINT)
	r.wait(waiting, "")
	wantQuiet(t, "the mount", r.said.String())
	staged, err := filepath.Glob(p.path("state/chatfs/org-app/staging/*"))
	for _, path := range staged {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil || len(staged) == 0 {
		t.Fatal(staged, err)
	}
	for _, args := range [][]string{{"check", "--profile", "org-app"}, {"check", "--profile", "org-app", "--repair"}, {"status", "--profile", "org-app"}, {"status"},
		{"history", "--profile", "org-app", "/" + evil}, {"mount", evil}, {"umount", evil}, {"restore", evil}, {"backup", "--plaintext", evil + "/x"},
		{evil}, {"mount", "--" + evil}, {"mount", p.dir, "--profile", evil}, {"mount", p.dir, "--remote", "https://a/b/" + evil}, {"serve", "--faults", evil}} {
		p.quiet(args...)
	}
}

// quiet runs chatfs, with its output in a file and on a terminal, and wants no
// more in it than lines of text.
func (p *place) quiet(args ...string) {
	p.t.Helper()
	out, _ := p.run(args...)
	wantQuiet(p.t, strings.Join(args, " "), out)
	onTerminal := append([]string{"-c", `quoted=$(printf '%q ' "$0" "$@"); exec script -qec "$quoted" /dev/null`, command}, args...)
	out, _ = p.exec("bash", onTerminal...)
	wantQuiet(p.t, "on a terminal: "+strings.Join(args, " "), strings.ReplaceAll(strings.ReplaceAll(out, "\r\n", "\n"), "\r\x1b[Kchatfs: ", "chatfs: "))
}

func wantQuiet(t *testing.T, what, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		text := strings.TrimSuffix(line, "\n")
		acts := func(r rune) bool {
			return r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == unicode.ReplacementChar
		}
		if strings.ContainsFunc(text, acts) || text == "chatfs: all is sound" {
			t.Errorf("%q: it said the line %q", what, text)
		}
	}
}

// TestDebugTellsNoSecretAndNoContent, not even the beginning of one.
func TestDebugTellsNoSecretAndNoContent(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.mount("--settle", "0s", "--debug", "--passthrough", "off")
	hidden := []string{"Zq8!wRk3 is what the file has", "Vx7#mTb2 is what the attribute has"}
	p.put("a.txt", hidden[0])
	p.put("picture.jpg", hidden[0])
	p.sync()
	p.want("a.txt", hidden[0])
	path := filepath.Join(p.dir, "a.txt")
	if err := xattr.Set(path, "user.note", []byte(hidden[1])); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"user.note", "user.chatfs.share-secret"} {
		value, err := xattr.Get(path, name)
		if err != nil || len(value) < 8 {
			t.Fatalf("%s: %q, %v", name, value, err)
		}
		hidden = append(hidden, string(value))
	}
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	said := r.said.String()
	if !strings.Contains(said, "GETXATTR") || !strings.Contains(said, "WRITE") || !strings.Contains(said, "user.note") {
		t.Errorf("it does not log the requests: %.2000s", said)
	}
	for _, text := range append(hidden, "Bearer ", "YWMt") {
		if part := text[:min(6, len(text))]; strings.Contains(said, part) {
			at := strings.Index(said, part)
			t.Errorf("it tells %q of %q: %s", part, text, said[max(0, at-200):min(len(said), at+100)])
		}
	}
}
