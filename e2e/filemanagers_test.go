package e2e

import (
	"os"
	"testing"
)

// fileManagers has real file managers show a folder of pictures, paste one
// into it, rename that, move it to the trash and take it back, on a display of
// their own. Their screenshots are for a person to look at. It is asked for by
// CHATFS_TEST_DESKTOP=DIR, where those go, and installs nothing.
func (s *session) fileManagers(shots string) {
	s.Env = append(s.Env, "S="+shots)
	s.sh(`mkdir -p "$S" "$D"/folder/sub run; chmod 700 run; cp pics/photo.jpg pics/photo.png "$D"/folder/; cp pics/rose.webp "$D"/folder/sub/; "$CHATFS" sync`)
	if err := os.WriteFile(s.base+"/drive.sh", []byte(drive), 0o700); err != nil {
		s.t.Fatal(err)
	}
	for _, manager := range []string{"thunar", "pcmanfm", "nautilus"} {
		s.t.Run(manager, func(t *testing.T) {
			if out, err := s.try(`M=` + manager + display); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// display runs drive.sh on an X server that is there for it alone.
const display = `
for p in Xvfb openbox xdotool xclip import dbus-run-session gio $M; do command -v $p >/dev/null || { echo "$p is missing: install it"; exit 1; }; done
trap 'kill $(jobs -p)' EXIT
mkfifo number; exec 7<>number; Xvfb -displayfd 7 -screen 0 1024x768x24 >/dev/null 2>&1 & read -r n <&7; rm number
export M DISPLAY=:$n XDG_RUNTIME_DIR=$PWD/run NO_AT_BRIDGE=1 GTK_A11Y=none GSETTINGS_BACKEND=memory
openbox >/dev/null 2>&1 &
timeout -k 5 100 dbus-run-session -- bash -u drive.sh >said 2>&1 </dev/null || { cat said; exit 1; }
`

// drive is what a person does with mouse and keyboard; what comes of it is
// looked for in the mount.
const drive = `
shot() { import -window root "$S/$M-$1.png"; }
await() { for i in {1..75}; do eval "$1" && { sleep 1; return; }; sleep 0.2; done; shot failed; echo "$M: never: $1"; kill $pid; exit 1; }
pick() { xdotool type --delay 60 "$1"; sleep 1; xdotool key Escape; sleep 0.5; } # by its first letters
$M "$D"/folder >/dev/null 2>&1 & pid=$!
await 'xdotool search --onlyvisible --class $M >/dev/null 2>&1'
sleep 8; xdotool windowfocus $(xdotool search --onlyvisible --class $M | tail -1); sleep 1; shot open
cp pics/photo.jpg pasted.jpg
printf 'copy\nfile://%s' "$PWD/pasted.jpg" | xclip -selection clipboard -t x-special/gnome-copied-files -i >/dev/null 2>&1
xdotool key ctrl+v; await 'cmp -s pasted.jpg "$D"/folder/pasted.jpg'; shot pasted
[ $M = nautilus ] || pick pas # which has it picked already
xdotool key F2; sleep 2; xdotool key ctrl+a; xdotool type --delay 60 $M.jpg; sleep 1; xdotool key Return
await 'cmp -s pasted.jpg "$D"/folder/$M.jpg && ! test -e "$D"/folder/pasted.jpg'; sleep 1; shot renamed
[ $M != pcmanfm ] || pick pcm
xdotool key Delete; [ $M != pcmanfm ] || { sleep 1; xdotool key Return; } # it asks
trash="$D"/.Trash-$(id -u)
await 'cmp -s pasted.jpg "$trash"/files/$M.jpg && ! test -e "$D"/folder/$M.jpg'; shot trashed
if [ $M = pcmanfm ]; then
	gio trash --restore "$(gio trash --list | cut -f1 | grep "$M.jpg$")" # it cannot undo
else
	xdotool key ctrl+z
fi
await 'cmp -s pasted.jpg "$D"/folder/$M.jpg && ! test -e "$trash"/files/$M.jpg'; shot restored
kill $pid
`
