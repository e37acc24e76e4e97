package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"

	"chatfs/internal/fusetest"
)

// Exit codes, as docs/operations.md lists them.
const (
	ok          = 0
	usage       = 2
	mountpoint  = 3
	inUse       = 4
	badIndex    = 5
	noFUSE      = 6
	credentials = 7
	waiting     = 8
	failed      = 9
	notMounted  = 10
)

func TestBadFlagsAndArguments(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for _, c := range []struct{ words, line string }{
		{"no command", "frob"},
		{"needs one directory", "mount"},
		{"needs one directory", "mount a b"},
		{"unknown flag: --frob", "mount --frob x"},
		{"unknown flag: --token", "mount --token x y"},
		{`"x" is none of queued, durable, uploaded`, "mount --close x y"},
		{`"x" is no size`, "mount --cache-size x y"},
		{"--uploads 0", "mount --uploads 0 y"},
		{"--settle -1s", "mount --settle -1s y"},
		{"has to end some time", "mount --read-timeout 0 y"},
		{"no such file", "mount --ca-cert /no/such/file y"},
		{`"a/b"`, "mount --profile a/b " + p.dir},
		{"is no pattern", "mount --local-only [a " + p.dir},
		{"HOST/ORG/APP", "mount --remote https://example.com " + p.dir},
		{"HOST/ORG/APP", "mount --remote https://example.com/org " + p.dir},
		{"HOST/ORG/APP", "mount --remote example " + p.dir},
		{"plain http", "mount --remote http://example.com/org/app " + p.dir},
		{"takes no argument", "version x"},
		{"--remote", "login"},
		{"belong together", "serve --tls-cert x"},
	} {
		p.expect(usage, c.words, strings.Fields(c.line)...)
	}
	if _, err := os.Stat(p.path("state")); !os.IsNotExist(err) {
		t.Errorf("bad input left something in the state directory: %v", err)
	}
}

func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write("config/chatfs/config.toml", "cache-siez = 1\n", 0o644)
	p.expect(usage, `no setting is called "cache-siez"`, "mount", p.dir)
	p.write("config/chatfs/config.toml", "= 1\n", 0o644)
	p.expect(usage, "configuration file", "mount", p.dir)
	p.write("config/chatfs/config.toml", "password = 'x'\n", 0o644)
	p.expect(usage, "chmod 600", "mount", p.dir)
	p.write("config/chatfs/config.toml", "uploads = 'many'\n", 0o644)
	p.expect(usage, "uploads", "mount", p.dir)
	p.env = append(p.env, "CHATFS_THUMBS=big")
	p.write("config/chatfs/config.toml", "uploads = 3\n", 0o644)
	p.expect(usage, "the environment: thumbs", "mount", p.dir)
}

func TestConfigShowsOrigins(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	path := p.write("config/chatfs/config.toml", "uploads = 3\nthumbs = 'off'\nlocal-only = ['*.iso', '*.img']\nusername = 'ann'\npassword = 'hunter2'\n", 0o600)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = append(p.env, "CHATFS_THUMBS=hidden")
	out, code := p.run("config")
	squeezed := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{"uploads = 3 # " + path, `thumbs = "hidden" # the environment`,
		`local-only = ["*.iso", "*.img"]`, `close = "queued" # default`, "user ann"} {
		if !strings.Contains(squeezed, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if code != ok || strings.Contains(out, "hunter2") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestBadMountpoint(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.expect(mountpoint, "does not exist: make it with mkdir", "mount", p.dir+"/none")
	file := p.write("file", "x", 0o644)
	p.expect(mountpoint, "is no directory", "mount", file)
	p.expect(mountpoint, "holds files", "mount", filepath.Dir(p.write("full/files", "x", 0o644)))
	p.expect(mountpoint, "is mounted already, by proc", "mount", "/proc")
	p.expect(mountpoint, "must not hold each other", "mount", p.dir, "--state-dir", p.dir+"/state")
	p.expect(notMounted, "nothing is mounted at", "umount", p.dir)
	p.expect(notMounted, "nothing is mounted", "status", "--profile", "none")
	p.expect(notMounted, "not mounted", "sync")
}

func TestBadCredentials(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.expect(credentials, "no credentials", append([]string{"mount", p.dir}, offline...)...)
	p.env = append(p.env, "CHATFS_USERNAME=ann")
	p.expect(usage, "nothing has the password", append([]string{"mount", p.dir}, offline...)...)
	p.env = append(p.env, "CHATFS_PASSWORD=hunter2")
	p.expect(usage, "no service is given", "mount", p.dir)
}

func TestNewerIndex(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	r := p.mount(offline...)
	r.signal(syscall.SIGTERM)
	r.wait(ok, "")
	newerSchema(t, p.path("state/chatfs/org-app/index.db"))
	p.expect(badIndex, "newer chatfs", append([]string{"mount", p.dir}, offline...)...)
}

// newerSchema makes an index of a version that is still to come.
func newerSchema(t *testing.T, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket([]byte("meta"))
		return meta.Put([]byte("schema"), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutFUSE(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	unshare := []string{"unshare", "-m"}
	if os.Geteuid() != 0 { // a chroot lets no user have a namespace
		unshare = append(unshare, "-r")
		if out, err := exec.Command("unshare", "-mr", "true").CombinedOutput(); err != nil {
			fusetest.Skip(t, "this user can't hide /dev/fuse: "+strings.TrimSpace(string(out)))
		}
	}
	out, code := p.exec(unshare[0], append(unshare[1:], "sh", "-c", "mount -t tmpfs none /dev && exec "+command+" mount "+p.dir)...)
	if code != noFUSE || !strings.Contains(out, "no /dev/fuse") {
		t.Errorf("exit code %d: %s", code, out)
	}
}
