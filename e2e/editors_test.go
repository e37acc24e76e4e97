package e2e

import (
	"strings"
	"testing"
)

// What editors and other programs do to save a file, by the programs
// themselves or, where they need a desktop, by the calls that they make. Each
// runs in a folder of its own, and leaves a file "doc" that says "two", with
// its mode.
func TestEditorsSave(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	ways := map[string]string{
		"vim":                `vim.tiny -Nu NONE -n -es -c 's/one/two/' -c wq doc </dev/null`,
		"vim, swap, backup":  `vim.tiny -Nu NONE -es -c 'set backup writebackup backupskip=' -c 's/one/two/' -c wq doc </dev/null; grep -qx one doc~`,
		"vim, backupcopy":    `vim.tiny -Nu NONE -es -c 'set backup backupcopy=yes backupskip=' -c 's/one/two/' -c wq doc </dev/null; grep -qx one doc~`,
		"nano":               nano(""),
		"nano, with backup":  nano("-B") + `; grep -qx one doc~`,
		"sed -i":             `sed -i s/one/two/ doc`,
		"sed -i.bak":         `sed -i.bak s/one/two/ doc; grep -qx one doc.bak`,
		"emacs":              `cp -p doc doc~; echo two >doc; : >'#doc#'; ln -s me@here.1:2 '.#doc'; rm '#doc#' '.#doc'`,
		"emacs, by renaming": `mv doc doc~; echo two >doc; chmod --reference=doc~ doc; touch -d '1 hour ago' doc~`,
		"GLib":               `echo two >.goutputstream-AB12CD; chmod --reference=doc .goutputstream-AB12CD; sync .goutputstream-AB12CD; mv .goutputstream-AB12CD doc`,
		"Qt":                 `echo two >doc.XyZabC; chmod --reference=doc doc.XyZabC; sync -d doc.XyZabC; mv doc.XyZabC doc`,
		"LibreOffice":        `exec 8>.~lock.doc#; echo me >&8; mkdir lu1.tmp; echo two >lu1.tmp/lu2.tmp; cp -p doc lu1.tmp/backup; cat lu1.tmp/lu2.tmp >doc; rm -r lu1.tmp; exec 8>&-; rm .~lock.doc#`,
		"Word":               `echo owner >'~$doc'; echo two >'~WRD0001.tmp'; chmod --reference=doc '~WRD0001.tmp'; mv doc '~WRL0002.tmp'; mv '~WRD0001.tmp' doc; rm '~WRL0002.tmp' '~$doc'`,
		"install":            `echo two >new; install -m 640 -p new doc`,
		"dd conv=fsync":      `echo two | dd of=doc conv=fsync,notrunc status=none`,
		"cp --reflink":       `echo two >new; cp --reflink=auto new doc`,
		"cp --remove":        `echo two >new; chmod 640 new; cp -p --remove-destination new doc`,
		"tee -a and mv":      `: >new; chmod 640 new; echo two | tee -a new >/dev/null; mv -f new doc`,
		"truncate and write": `truncate -s 0 doc; printf two >>doc; echo >>doc`,
		"link and unlink":    `echo two >new; chmod 640 new; ln doc doc.old; mv new doc; rm doc.old`,
	}
	corners := make(map[string]*session)
	for what := range ways {
		corners[what] = s.corner(t, strings.ReplaceAll(what, " ", "_"))
	}
	s.sh(`for dir in "$D"/*; do echo one >"$dir"/doc; chmod 640 "$dir"/doc; done`)
	s.sync() // what is changed is at the service then
	for what, way := range ways {
		t.Run(what, func(t *testing.T) {
			c := corners[what]
			c.t = t
			c.quiet(what, `cd "$D"
`+way+`
test "$(cat doc)" = two; stat -c %a doc | (! grep -vx 640)`)
		})
	}
	s.sync()
	s.interrupt()
	s.sh(`rm -r cache/chatfs`)
	s.mount()
	s.quiet("after the cache is gone and a new mount", `grep -Lx two "$D"/*/doc`)
}

// nano types into nano once its lock shows that it reads keys: cut the line,
// write another, leave, and save.
func nano(flags string) string {
	return `(until [[ -e .doc.swp ]]; do sleep 0.02; done; printf '\013two\030y\r'; while [[ -e .doc.swp ]]; do sleep 0.02; done) |
TERM=xterm timeout 180 script -qec 'nano --ignorercfiles -G ` + flags + ` doc' /dev/null >/dev/null`
}

// Databases write into the middle of files, lock them, and look at them from
// several processes at once.
func TestDatabasesWork(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	for _, mode := range []string{"delete", "truncate", "persist", "wal"} {
		t.Run(mode, func(t *testing.T) {
			c := s.corner(t, mode)
			c.sh(`cd "$D"; sqlite3 db 'pragma journal_mode=` + mode + `; create table t(who, n, pad)' >/dev/null
for who in 1 2 3 4; do
	for n in {1..8}; do echo ".timeout 180000
insert into t values($who, $n, randomblob(3000));"; done | sqlite3 db & pids+=($!)
done
for pid in "${pids[@]}"; do wait $pid; done
test "$(sqlite3 db 'pragma integrity_check; select count(*), count(distinct who||"/"||n) from t')" = "ok
32|32"`)
			// A writer that is killed in the middle leaves no half of its work.
			c.sh(`cd "$D"; (echo "begin; update t set pad=randomblob(5000), n=-1;"; sleep 1) | timeout -s KILL 0.7 sqlite3 db || true
test "$(sqlite3 db '.timeout 180000' 'pragma integrity_check; select count(*) from t where n<0')" = "ok
0"`)
		})
	}
	s.sync()
	s.interrupt()
	s.sh(`rm -r cache/chatfs`)
	s.mount()
	s.sh(`cd "$D"; for db in */db; do test "$(sqlite3 "$db" 'pragma integrity_check; select count(*) from t')" = "ok
32"; done`)
}
