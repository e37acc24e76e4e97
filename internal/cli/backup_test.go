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
	key := q.write("key.txt", id.String()+"\n", 0o600)
	q.expect(usage, "give --identity", "restore", "--profile", "demo-chatfs", backup)
	q.expect(ok, "1 file, directory or link", "restore", "--profile", "demo-chatfs", "--identity", key, backup)
	r = q.mount("--profile", "demo-chatfs") // the service is the backup's
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
	p.expect(ok, "there are no automatic backups", "restore")
	r = p.mount() // changed since the last: a backup beside the index
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
