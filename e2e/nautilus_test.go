package e2e

import "os"

// nautilus has it show a folder of pictures, paste one into it, rename that,
// move it to the trash and undo this, on a display of its own. Its screenshots
// go where CHATFS_TEST_SHOTS says.
func (s *session) nautilus() {
	shots := os.Getenv("CHATFS_TEST_SHOTS")
	if shots == "" {
		shots = s.t.TempDir()
	}
	s.Env = append(s.Env, "S="+shots)
	s.sh(`mkdir -p "$S" "$D"/folder/sub run; chmod 700 run; cp pics/photo.jpg pics/photo.png "$D"/folder/; cp pics/rose.webp "$D"/folder/sub/; "$CHATFS" sync`)
	if err := os.WriteFile(s.base+"/nautilus.sh", []byte(workNautilus), 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.sh(`
for p in Xvfb openbox xdotool xclip import dbus-run-session gio nautilus; do command -v $p >/dev/null || { echo "$p is missing: install it"; exit 1; }; done
trap 'kill $(jobs -p)' EXIT
mkfifo number; exec 7<>number; Xvfb -displayfd 7 -screen 0 1024x768x24 >/dev/null 2>&1 & read -r n <&7; rm number
export DISPLAY=:$n XDG_RUNTIME_DIR=$PWD/run NO_AT_BRIDGE=1 GTK_A11Y=none GSETTINGS_BACKEND=memory
openbox >/dev/null 2>&1 &
timeout -k 5 100 dbus-run-session -- bash -u nautilus.sh >said 2>&1 </dev/null || { cat said; exit 1; }`)
}

// workNautilus is what a person does with the keyboard; what comes of it is
// looked for in the mount.
const workNautilus = `
shot() { import -window root "$S/nautilus-$1.png"; }
await() { for i in {1..75}; do eval "$1" && { sleep 1; return; }; sleep 0.2; done; shot failed; echo "never: $1"; kill $pid; exit 1; }
nautilus "$D"/folder >/dev/null 2>&1 & pid=$!
await 'xdotool search --onlyvisible --class nautilus >/dev/null 2>&1'
sleep 8; xdotool windowfocus $(xdotool search --onlyvisible --class nautilus | tail -1); sleep 1; shot opened
cp pics/photo.jpg pasted.jpg
printf 'copy\nfile://%s' "$PWD/pasted.jpg" | xclip -selection clipboard -t x-special/gnome-copied-files -i >/dev/null 2>&1
xdotool key ctrl+v; await 'cmp -s pasted.jpg "$D"/folder/pasted.jpg'; shot pasted
xdotool key F2; sleep 2; xdotool key ctrl+a; xdotool type --delay 60 named.jpg; sleep 1; xdotool key Return
await 'cmp -s pasted.jpg "$D"/folder/named.jpg && ! test -e "$D"/folder/pasted.jpg'; sleep 1; shot renamed
xdotool key Delete; trash="$D"/.Trash-$(id -u)
await 'cmp -s pasted.jpg "$trash"/files/named.jpg && ! test -e "$D"/folder/named.jpg'; shot trashed
xdotool key ctrl+z
await 'cmp -s pasted.jpg "$D"/folder/named.jpg && ! test -e "$trash"/files/named.jpg'; shot restored
kill $pid
`
