package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// tree makes a folder of files as people have them, below "in".
const tree = `
mkdir -p in/docs/deep/er in/empty
for i in $(seq 1 40); do head -c $((i*997)) /dev/urandom >"in/docs/file $i.bin"; done
printf 'x' >in/one; : >in/nothing
head -c 3000000 /dev/urandom >in/docs/deep/large
ln -s docs/deep/large in/link; ln "in/one" in/hard
chmod 600 in/one; chmod 755 in/docs/deep/large
touch -d '2001-02-03 04:05:06.123456789' in/docs/deep/large in/docs
setfattr -n user.note -v kept in/one
`

func TestRsyncTransfersNothingTheSecondTime(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.sh(tree)
	s.sh(`rsync -aHAX --delete in/ "$D"/`)
	s.quiet("second run", `rsync -aHAXi --delete in/ "$D"/`)
	s.sync()
	s.quiet("after the uploads", `rsync -aHAXi --delete in/ "$D"/`)
	s.quiet("by checksum", `rsync -aHAXi --checksum --delete in/ "$D"/`)
	s.interrupt()
	s.sh(`rm -r cache/chatfs`)
	s.mount()
	s.quiet("after a remount", `rsync -aHAXi --delete in/ "$D"/`)
	s.sh(`rsync -aHAX "$D"/ out/; diff -r --no-dereference in out`)
	s.quiet("out again", `rsync -aHAXi --delete "$D"/ out/`)
	s.quiet("from what came out", `rsync -aHAXi --delete out/ "$D"/`)
	s.sh(`head -c 500 /dev/urandom >>in/docs/deep/large; rsync -a --inplace in/ "$D"/; rsync -a --partial in/ "$D"/
printf more >>in/one; rsync -a --append in/ "$D"/; diff -r --no-dereference in "$D"`)
}

// quiet fails where the script prints anything.
func (s *session) quiet(what, script string) {
	s.t.Helper()
	if out := s.sh(script); strings.TrimSpace(out) != "" {
		s.t.Errorf("%s: %s prints\n%s", what, script, out)
	}
}

func TestCopyArchiveAndMove(t *testing.T) {
	s := newSession(t)
	s.sh(tree)
	s.quiet("cp in", `cp -a in "$D"/`)
	s.quiet("cp within", `cp -a "$D"/in "$D"/again`)
	s.quiet("mv within", `mkdir "$D"/sub; mv "$D"/again "$D"/sub/moved`)
	s.quiet("same", `diff -r --no-dereference in "$D"/sub/moved`)
	s.quiet("tar", `tar -C in -cf - . | (mkdir "$D"/tar && tar -C "$D"/tar -xf -); diff -r --no-dereference in "$D"/tar; tar -C "$D"/tar --compare -f <(tar -C in -cf - .)`)
	s.quiet("mv out", `mv "$D"/sub/moved out; diff -r --no-dereference in out`)
	s.quiet("rm", `rm -r "$D"/in "$D"/tar "$D"/sub; ls -A "$D"`)
}

func TestProgramsWorkInside(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	for name, script := range map[string]string{
		"git": `cd "$D"; git init -q repo; cd repo; git config user.email a@b; git config user.name n
for i in 1 2 3; do echo $i >f$i; git add .; git commit -qm c$i; done; git gc -q; git fsck --strict 2>&1 | (! grep -v '^notice')
git clone -q . ../clone; cd ../clone; test "$(git log --oneline | wc -l)" = 3; git status --porcelain`,
		"sqlite": `cd "$D"; sqlite3 db 'create table t(x); begin; insert into t values(1),(2); commit; update t set x=x+1;'
test "$(sqlite3 db 'pragma integrity_check; select sum(x) from t')" = "ok
5"`,
		"sed":        `cd "$D"; printf 'a\nb\n' >text; sed -i s/a/c/ text; test "$(head -1 text)" = c`,
		"vim":        `cd "$D"; printf 'a\n' >v; vim.tiny -Nu NONE -es -c 's/a/changed/' -c wq v </dev/null || { echo "vim: $?"; ls -la; od -c v; exit 1; }; test "$(cat v)" = changed`,
		"dpkg's way": `cd "$D"; echo one >c; echo two >c.dpkg-new; ln c c.dpkg-tmp; sync c.dpkg-new; mv c.dpkg-new c; rm c.dpkg-tmp; test "$(cat c)" = two`,
		"coreutils": `cd "$D"; head -c 300000 /dev/urandom >r; cp --reflink=auto r r2; cp --sparse=always r r3; install -m 751 r r4; dd if=r of=r5 conv=fsync bs=4k status=none
split -b 65536 r part-; cat part-* | cmp - r; for i in 2 3 4 5; do cmp r r$i; done; test "$(stat -c %a r4)" = 751; truncate -s 100 r5; cmp -n 100 r r5; shred -u r5; sort -o r2 r2; tac r3 >r6`,
		"python": `cd "$D"; python3 -c "
import os, shutil, tempfile
os.makedirs('py/a'); open('py/a/f', 'w').write('x' * 100000)
shutil.copytree('py', 'py2'); shutil.copy2('py/a/f', 'py2/a/g'); shutil.move('py2', 'py3'); shutil.make_archive('arc', 'gztar', 'py3')
with tempfile.NamedTemporaryFile('w', dir='.', delete=False) as f: f.write('saved'); f.flush(); os.fsync(f.fileno())
os.replace(f.name, 'py/a/f'); shutil.rmtree('py3'); assert open('py/a/f').read() == 'saved'"`,
		"unzip": `mkdir z; echo hello >z/a; (cd z; zip -q ../z.zip a); cd "$D"; unzip -q "$OLDPWD"/z.zip; test "$(cat a)" = hello`,
		"office": `cd "$D"; echo one >doc.odt; : >.~lock.doc.odt#; echo two >lu123.tmp; mv lu123.tmp doc.odt; rm .~lock.doc.odt#
test "$(cat doc.odt)" = two`,
		"flock": `cd "$D"; : >lock; flock lock true; exec 9>lock; flock -n 9; ! flock -n lock true`,
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := s.try(script); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	s.sync()
}

// TestLocalNamesStayLocal writes files under all the names that are for a
// moment only, and looks at what the service was sent.
func TestLocalNamesStayLocal(t *testing.T) {
	t.Parallel()
	v := newServed(t, "--local-only", "*.iso")
	names := []string{".~lock.a.odt#", "~$a.docx", ".a.txt.swp", ".a.txt.swx", "4913", "a.txt~", ".goutputstream-ABC123", ".DS_Store",
		"._a", "Thumbs.db", "a.part", "a.crdownload", ".file.XyZ123", "big.iso", ".Trash-0/info/a.trashinfo"}
	v.sh(`mkdir -p "$D"/.Trash-0/info; echo y >"$D"/real; echo z >"$D"/.config.backup`)
	for _, n := range names {
		v.sh(`echo 'x of ` + n + `' >"$D"/'` + n + `'`)
	}
	v.wantUploads("under local names", "real", ".config.backup")
	state := func(name string) string {
		return strings.TrimSpace(v.sh(`getfattr --absolute-names --only-values -n user.chatfs.state "$D"/'` + name + `'`))
	}
	for _, n := range names {
		if got := state(n); got != "local" {
			t.Errorf("%s is %q", n, got)
		}
	}
	if out := v.sh(`"$CHATFS" status`); !strings.Contains(out, fmt.Sprintf("%d local", len(names))) {
		t.Errorf("status does not tell of %d local files:\n%s", len(names), out)
	}
	v.interrupt()
	v.mount()
	v.sh(`test "$(cat "$D"/a.part)" = "x of a.part"; mv "$D"/a.part "$D"/a; mv "$D"/.file.XyZ123 "$D"/file; ln "$D"/big.iso "$D"/linked`)
	v.wantUploads("renamed or linked", "a", "file", "linked")
	for _, n := range []string{"a", "file", "big.iso"} {
		if got := state(n); got != "uploaded" {
			t.Errorf("%s is %q", n, got)
		}
	}
}

func TestKilledMountKeepsWhatCloseAcknowledged(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.sh(`mkdir in; for i in $(seq 1 100); do head -c 5000 /dev/urandom >in/$i; done; cp -r in "$D"/`)
	s.kill()
	s.mount()
	if !strings.Contains(s.output(), "dead mount") {
		t.Error("the mount does not say that it cleared a dead one")
	}
	s.quiet("after kill -9", `diff -r in "$D"/in`)
	s.sync()
	if code := s.interrupt(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.sh(`rm -r cache/chatfs`)
	s.mount()
	s.quiet("from the service", `diff -r in "$D"/in`)
}

func TestTooLargeIsSaidByCp(t *testing.T) {
	s := newSession(t)
	out, err := s.try(`head -c $((10*1024*1024+1)) /dev/zero >big; cp big "$D"/`)
	if err == nil || !strings.Contains(out, "File too large") {
		t.Errorf("cp: %v, %s", err, out)
	}
	s.sh(`head -c $((10*1024*1024)) /dev/urandom >most; cp most "$D"/; cmp most "$D"/most`)
	if got := s.sh(`getfattr --absolute-names --only-values -n user.chatfs.state "$D"/big`); got != "failed" {
		t.Errorf("big is %s", got)
	}
	if code := s.interrupt(); code != 9 || strings.Contains(s.output(), "everything is uploaded") {
		t.Errorf("exit code %d, want 9, and no word of success:\n%s", code, s.output())
	}
}
