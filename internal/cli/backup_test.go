package cli_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"

	"chatfs/internal/fusetest"
)

// TestBackupAndRestore goes back to a backup that was made while mounted, and
// keeps what was there.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.mount("--settle", "0s")
	p.put("a.txt", "hello")
	p.sync()
	backup := p.path("backup")
	p.expect(usage, "no terminal to ask for it", "backup", backup)
	p.env = append(p.env, "CHATFS_BACKUP_PASSPHRASE=correct horse")
	p.expect(ok, "encrypted", "backup", backup)
	p.put("b.txt", "later")
	p.sync()
	p.expect(inUse, "is in use by", "restore", backup)
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	p.expect(usage, "--force replaces its index", "restore", backup)
	p.env = append(p.env, "CHATFS_BACKUP_PASSPHRASE=wrong")
	p.expect(usage, "is not the one", "restore", "--force", backup)
	p.env = p.env[:len(p.env)-1]
	p.expect(ok, "restored from", "restore", "--force", backup)
	old, err := filepath.Glob(p.path("state/chatfs/default/before-restore-*/index.db"))
	if err != nil || len(old) != 1 {
		t.Errorf("the old index: %v, %v", old, err)
	}
	p.expect(ok, "1 problem mended", "check", "--repair") // a copy of what the index has never heard of
	r = p.mount()
	p.want("a.txt", "hello")
	if _, err := os.Stat(filepath.Join(p.dir, "b.txt")); !os.IsNotExist(err) {
		t.Errorf("b.txt, which is younger than the backup: %v", err)
	}
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
}

// TestBackupMovesToAnotherMachine has the names and secrets, encrypted to an
// age key, lead to the service's files from there.
func TestBackupMovesToAnotherMachine(t *testing.T) {
	t.Parallel()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t)
	p.served()
	r := p.mount("--settle", "0s")
	p.put("a.txt", "hello")
	p.sync()
	backup := p.path("backup")
	p.expect(usage, "is no age key", "backup", "--recipient", "age1x", backup)
	p.expect(ok, "encrypted", "backup", "--recipient", id.Recipient().String(), backup)
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	q := newPlace(t)
	q.env = append(q.env, p.env[len(p.env)-2:]...)
	base, _ := strings.CutPrefix(p.env[len(p.env)-3], "CHATFS_REMOTE=")
	key := q.write("key.txt", id.String()+"\n", 0o600)
	q.expect(usage, "give --identity", "restore", backup)
	if left, err := os.ReadDir(q.path("state")); err == nil {
		t.Errorf("a backup that can't be opened leaves %v", left)
	}
	q.expect(ok, "mount it with --profile demo-chatfs --remote "+base, "restore", "--identity", key, backup)
	// No credentials go where nobody but a backup has said.
	q.expect(credentials, "until you name it", "mount", "--profile", "demo-chatfs", q.dir)
	q.expect(credentials, "until you name it", "check", "--remote", "--profile", "demo-chatfs")
	r = q.mount("--remote", base)
	q.want("a.txt", "hello")
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	r = q.mount("--profile", "demo-chatfs") // the service was named once
	q.want("a.txt", "hello")
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	q.expect(inUse, "choose another --profile", "mount", "--profile", "demo-chatfs", "--remote", "http://127.0.0.1:1/other/app", q.dir)
}

// TestRestoreTellsOfContentThatIsNotHere lists it as failed.
func TestRestoreTellsOfContentThatIsNotHere(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	r := p.mount(append(offline, "--drain-timeout", "10ms")...)
	p.put("a.txt", "hello")
	p.put("b.txt", "also here")
	backup := p.path("backup")
	p.expect(ok, "in the clear", "backup", "--plaintext", backup)
	if err := os.Remove(filepath.Join(p.dir, "b.txt")); err != nil {
		t.Fatal(err)
	}
	p.put("c.txt", "young")
	r.signal(syscall.SIGINT)
	r.wait(waiting, "")
	p.expect(ok, "/b.txt: its content was not uploaded yet and is not on the disk", "restore", "--profile", "org-app", "--force", backup)
	r = p.mount(append(offline, "--drain-timeout", "10ms")...)
	p.want("a.txt", "hello")
	p.expect(failed, "its content is lost", "status")
	r.signal(syscall.SIGINT)
	r.wait(waiting, "")
	kept, err := filepath.Glob(p.path("state/chatfs/org-app/before-restore-*/staging/*"))
	if err != nil || len(kept) != 2 {
		t.Errorf("what waited before is kept as %v, %v", kept, err)
	}
}

// TestDamagedBackupIsRefused leaves the index as it is.
func TestDamagedBackupIsRefused(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.mount()
	p.put(".a.swp", "local")
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	// The first look may have come amid the change, if the machine is busy.
	if err := os.RemoveAll(p.path("state/chatfs/default/backups")); err != nil {
		t.Fatal(err)
	}
	p.expect(ok, "there are no automatic backups", "restore")
	r = p.mount() // no backup yet: one is made beside the index
	var copies []string
	fusetest.Eventually(t, "an automatic backup", func() error {
		copies, _ = filepath.Glob(p.path("state/chatfs/default/backups/index-*"))
		if len(copies) != 1 {
			return errors.New("none")
		}
		return nil
	})
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	p.expect(ok, copies[0], "restore")
	b, err := os.ReadFile(copies[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range [][]byte{b[:len(b)-30], append(append([]byte{}, b[:len(b)/2]...), make([]byte, len(b)/2)...), []byte(strings.Repeat("x", 500))} {
		path := p.write("damaged", string(damaged), 0o600)
		out, code := p.run("restore", "--force", path)
		if code != badIndex {
			t.Errorf("exit code %d:\n%s", code, out)
		}
	}
	p.expect(ok, "restored from", "restore", "--force", copies[0])
	r = p.mount()
	p.want(".a.swp", "local")
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
}

// TestPassphraseIsAskedTwice asks on a terminal, which shows none of it.
func TestPassphraseIsAskedTwice(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	p.mount(offline...)
	for second, words := range map[string]string{"horse": "encrypted", "cow": "the two passphrases differ"} {
		cmd := exec.Command("script", "-qec", command+" backup --profile org-app "+p.path(second), "/dev/null")
		cmd.Env, cmd.Stdin = p.env, strings.NewReader("horse\n"+second+"\n")
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), words) || !strings.Contains(string(out), "The same again") {
			t.Errorf("the second answer is %q: it said:\n%s", second, out)
		}
	}
}

// TestBackupOfAnotherHostMovesNoProfile: a backup that says that the files are
// elsewhere does not have a profile's credentials go there.
func TestBackupOfAnotherHostMovesNoProfile(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	elsewhere := []string{"--remote", "http://127.0.0.1:2/org/app"}
	for _, remote := range [][]string{elsewhere, offline[:2]} {
		r := p.mount(append(remote, "--profile", "org-app")...)
		if remote[1] == elsewhere[1] {
			p.expect(ok, "in the clear", "backup", "--plaintext", "--profile", "org-app", p.path("backup"))
		}
		r.signal(syscall.SIGINT)
		r.wait(ok, "")
	}
	p.expect(ok, "restored from", "restore", "--force", p.path("backup"))
	p.expect(ok, "service   "+offline[1]+"\n", "status", "--profile", "org-app")
	r := p.mount("--profile", "org-app")
	r.signal(syscall.SIGINT)
	r.wait(ok, offline[1])
}

// TestBackupNeedsItsDirectory makes nothing where there is none.
func TestBackupNeedsItsDirectory(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	p.mount(offline...)
	file := p.write("file", "", 0o600)
	for path, words := range map[string]string{p.path("no/such/backup"): "make the directory first", file + "/backup": "is no directory", file: "exists already", "": "needs one file"} {
		p.expect(usage, words, "backup", "--plaintext", "--profile", "org-app", path)
	}
	if _, err := os.Lstat(p.path("no")); !os.IsNotExist(err) {
		t.Errorf("the directory: %v", err)
	}
}

// TestBackupGoesThroughAPipe writes to the standard output and reads from the
// standard input; on a terminal it refuses.
func TestBackupGoesThroughAPipe(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.mount("--settle", "0s")
	p.put("a.txt", "hello")
	p.sync()
	out, code := p.exec("bash", "-c", command+" backup --plaintext - >"+p.path("piped"))
	if code != ok || out != "" {
		t.Errorf("exit code %d: it said %q", code, out)
	}
	out, _ = p.exec("script", "-qec", command+" backup --plaintext -", "/dev/null")
	if !strings.Contains(out, "is nothing for a terminal") || len(out) > 200 {
		t.Errorf("on a terminal it said %q", out)
	}
	p.put("b.txt", "later")
	p.sync()
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	for _, cut := range []string{"head -c 500", "head -c -1"} {
		out, code = p.exec("bash", "-c", cut+" "+p.path("piped")+" | "+command+" restore --force -")
		if code != badIndex {
			t.Errorf("%s: exit code %d: %s", cut, code, out)
		}
	}
	out, code = p.exec("bash", "-c", "cat "+p.path("piped")+" | "+command+" restore --force -")
	if code != ok || !strings.Contains(out, "restored from") {
		t.Errorf("exit code %d: it said %q", code, out)
	}
	r = p.mount()
	p.want("a.txt", "hello")
	if _, err := os.Stat(filepath.Join(p.dir, "b.txt")); !os.IsNotExist(err) {
		t.Errorf("b.txt, which is younger than the backup: %v", err)
	}
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
}
