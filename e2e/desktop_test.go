package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDesktopLibraryWorks does by GLib's own tool what the file managers on top
// of it do: look, copy in, rename, move, and put into the trash, which is
// a folder of the mount. Restoring is a rename back.
func TestDesktopLibraryWorks(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.sh(`mkdir pics`)
	makePictures(t, filepath.Join(s.base, "pics"))
	s.sh(`mkdir "$D"/pics; gio copy pics/* "$D"/pics/; for f in pics/*; do cmp "$f" "$D/$f"; done; "$CHATFS" sync`)
	info := s.sh(`gio info -a standard::size,standard::content-type,access::can-trash "$D"/pics/photo.jpg; stat -c 'size is %s' "$D"/pics/photo.jpg; gio info -f "$D"`)
	for _, want := range []string{"content-type: image/jpeg", "can-trash: TRUE", "filesystem::remote: FALSE"} {
		if !strings.Contains(info, want) {
			t.Errorf("gio info does not say %q:\n%s", want, info)
		}
	}
	s.sh(`cd "$D"/pics; gio copy photo.jpg copy.jpg; gio rename copy.jpg renamed.jpg; gio move renamed.jpg ../moved.jpg; cmp photo.jpg ../moved.jpg
gio save newly.txt </etc/passwd; gio save newly.txt </etc/passwd; cmp newly.txt /etc/passwd; gio mkdir made; gio remove made`)
	s.quiet("to the trash", `cd "$D"; u=$(id -u); gio trash pics/photo.png pics/newly.txt pics/photo.jpg; test -s .Trash-$u/files/photo.png; grep -qx Path=pics/photo.png .Trash-$u/info/photo.png.trashinfo
! test -e pics/photo.png; ! test -e pics/photo.png.thumb; test "$(getfattr --only-values -n user.chatfs.state .Trash-$u/info/photo.png.trashinfo)" = local`)
	s.quiet("and back", `cd "$D"; u=$(id -u); mv .Trash-$u/files/photo.png pics/; rm .Trash-$u/info/photo.png.trashinfo; cmp ~/pics/photo.png pics/photo.png; test -s pics/photo.png.thumb`)
	s.quiet("a folder to the trash, and the trash emptied", `cd "$D"; u=$(id -u); gio trash pics; ! test -e pics; cmp ~/pics/photo.gif .Trash-$u/files/pics/photo.gif; rm -r .Trash-$u; ls -A`+` | (! grep -v moved)`)
	s.sync()
	if os.Getenv("CHATFS_TEST_DESKTOP") != "" {
		s.nautilus()
	}
}
