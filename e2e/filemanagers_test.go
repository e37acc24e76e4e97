package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// desktopPrograms are what driving file managers takes, beside these.
var desktopPrograms = []string{"Xvfb", "openbox", "xdotool", "import", "dbus-run-session", "gio"}

// drive works a file manager, $1, by its keys, on an X server of its own: it
// copies $SRC's files into $D by copy and paste, renames one, moves it to the
// trash, and has gio restore it. A picture of the screen, $1-STEP.png, is made
// in $SHOTS at each step.
const drive = `
fm=$1
export NO_AT_BRIDGE=1 XDG_RUNTIME_DIR=$PWD/run
mkdir -p -m 700 run
exec 7>display
Xvfb -displayfd 7 -screen 0 1000x700x24 >/dev/null 2>&1 & jobs="$!"
trap 'kill $jobs 2>/dev/null; wait' EXIT
await() { local what=$1; shift; for _ in {1..150}; do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; shot failed; echo "$fm: $what did not come about"; exit 1; }
shot() { import -window root "$SHOTS/$fm-$1.png"; }
keys() { for key; do xdotool key "$key"; sleep 0.4; done; }
choose() { keys Escape; xdotool type --delay 60 "$1"; sleep 0.7; keys Escape; }
titled() { xdotool windowactivate --sync "$(xdotool search --onlyvisible --name "^$1" | tail -1)"; }
await "an X server" test -s display
export DISPLAY=:$(cat display)
openbox >/dev/null 2>&1 & jobs+=" $!"
await "a window manager" xdotool get_desktop
"$fm" "$SRC" >/dev/null 2>&1 & jobs+=" $!"
await "a window" titled "${SRC##*/}"
sleep 2; keys ctrl+a ctrl+c
"$fm" "$D" >/dev/null 2>&1 & jobs+=" $!"
await "the window of the mount" titled "${D##*/}"
sleep 2; shot opened
keys ctrl+v
await "the paste" cmp "$SRC/photo.jpg" "$D/photo.jpg"
await "the paste" cmp "$SRC/note.txt" "$D/note.txt"
sleep 1; shot pasted
choose note; keys F2; sleep 0.6; keys ctrl+a; xdotool type --delay 40 renamed.txt; keys Return
await "the new name" cmp "$SRC/note.txt" "$D/renamed.txt"
test ! -e "$D/note.txt"
sleep 1; shot renamed; choose renamed; keys Delete
for _ in {1..20}; do test -e "$D/renamed.txt" || break; sleep 0.3; keys Return; done
await "the move to the trash" test ! -e "$D/renamed.txt"
sleep 0.5; shot trashed
gio trash --restore "$(gio trash --list 2>/dev/null | cut -f1 | grep 'renamed.txt$')"
cmp "$SRC/note.txt" "$D/renamed.txt"
sleep 1; shot restored
`

// File managers are large and slow to install, so they are driven on request
// alone: CHATFS_TEST_DESKTOP=1. The pictures of the screen are for a person to
// look at; CHATFS_TEST_SHOTS is the folder that gets them.
func TestFileManagers(t *testing.T) {
	if os.Getenv("CHATFS_TEST_DESKTOP") == "" {
		t.Log("file managers are driven with CHATFS_TEST_DESKTOP=1 alone")
		return
	}
	managers := []string{"thunar", "pcmanfm"}
	for _, program := range append(desktopPrograms, managers...) {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing, which driving file managers takes: %v", program, err)
		}
	}
	s := newSession(t)
	s.makeAlbum()
	shots := os.Getenv("CHATFS_TEST_SHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	shots, err := filepath.Abs(shots)
	if err != nil {
		t.Fatal(err)
	}
	for _, fm := range managers {
		t.Run(fm, func(t *testing.T) {
			c := s.corner(t, fm)
			c.sh(`mkdir src; cp ../made/photo.jpg src/; echo words >src/note.txt; cp ../made/photo.png "$D"/; "$CHATFS" sync 2>/dev/null; cat >drive <<'END'` + "\n" + drive + "END\n")
			out, err := c.try(`SRC=$PWD/src SHOTS='` + shots + `' dbus-run-session -- bash -euo pipefail drive ` + fm + ` 2>err`)
			if err != nil {
				t.Errorf("%v\n%s", err, strings.TrimSpace(out))
			}
		})
	}
}
