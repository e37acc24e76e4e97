package cli_test

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"chatfs/internal/fusetest"
)

// TestDirectoriesOfOthersAreRefused, and none is changed by it.
func TestDirectoriesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	fusetest.NeedsRoot(t, "make what belongs to others")
	p := withToken(newPlace(t))
	for what, words := range map[string]string{"open": "others may write in", "another's": "belongs to user 12345", "with another's link": "belongs to user 12345",
		"with another's file": "belongs to user 12345", "with a link to another's": "belongs to user 12345"} {
		dir, victim := p.path(what), p.write(what+" victim", "", 0o644)
		before := makeForeign(t, what, dir, victim)
		for _, flag := range []string{"--cache-dir", "--state-dir"} {
			p.expect(inUse, words, append([]string{"mount", p.dir, flag, dir}, offline...)...)
			p.expect(inUse, words, append([]string{"mount", "--daemon", p.dir, flag, dir}, offline...)...)
		}
		p.expect(inUse, words, "serve", "--listen", "127.0.0.1:0", "--data", dir)
		if after, err := os.Stat(dir); err != nil || after.Mode() != before {
			t.Errorf("%s: its mode was %v and is %v, %v", what, before, after.Mode(), err)
		}
		if b, err := os.ReadFile(victim); err != nil || len(b) > 0 {
			t.Errorf("%s: the file outside has %q, %v", what, b, err)
		}
	}
}

// makeForeign makes a directory in which others have a hand, and answers its
// mode.
func makeForeign(t *testing.T, what, dir, victim string) os.FileMode {
	t.Helper()
	inside := filepath.Join(dir, "lock")
	err := os.Mkdir(dir, 0o755)
	switch what {
	case "open":
		err = errors.Join(err, os.Chmod(dir, 0o777|os.ModeSticky))
	case "another's":
		err = errors.Join(err, os.Chown(dir, 12345, 0))
	case "with another's link":
		err = errors.Join(err, os.Symlink(victim, inside), os.Lchown(inside, 12345, 0))
	case "with another's file":
		err = errors.Join(err, os.WriteFile(inside, nil, 0o644), os.Chown(inside, 12345, 0))
	case "with a link to another's":
		err = errors.Join(err, os.Chown(victim, 12345, 0), os.Symlink(victim, inside))
	}
	info, serr := os.Stat(dir)
	if err = errors.Join(err, serr); err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

// TestDirectoryThatIsThereKeepsItsMode: who made it knows why it is so.
func TestDirectoryThatIsThereKeepsItsMode(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	dir := p.path("shared")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := p.mount(append(offline, "--cache-dir", dir)...)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
}

// TestHomeIsThatOfTheUserDatabase where HOME is not set, and no variable is a
// path that changes with the working directory.
func TestHomeIsThatOfTheUserDatabase(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	bases := []string{"HOME=", "XDG_STATE_HOME=", "XDG_CACHE_HOME=", "XDG_CONFIG_HOME="}
	plain := slices.DeleteFunc(slices.Clone(p.env), func(v string) bool {
		return slices.ContainsFunc(bases, func(b string) bool { return strings.HasPrefix(v, b) })
	})
	p.env = plain
	p.expect(ok, "configuration file is "+filepath.Join(me.HomeDir, ".config/chatfs/config.toml"), "config")
	p.expect(notMounted, filepath.Join(me.HomeDir, ".local/state/chatfs/nobody-has-this"), "status", "--profile", "nobody-has-this")
	for _, base := range bases {
		p.env = append(slices.Clone(plain), "HOME="+p.path("home"), base+"relative/path")
		p.expect(usage, "no absolute path", "config")
	}
}

// TestStateIsNeverInTheCache, which a person may delete.
func TestStateIsNeverInTheCache(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	state := p.path("d/s")
	if err := os.Symlink(state, p.path("link")); err != nil {
		t.Fatal(err)
	}
	for _, cache := range []string{state, p.path("d"), p.path("link")} {
		p.expect(usage, "may be deleted at any time", append([]string{"mount", p.dir, "--state-dir", state, "--cache-dir", cache}, offline...)...)
		if err := os.MkdirAll(state, 0o700); err != nil { // the link is no dead one from now on
			t.Fatal(err)
		}
	}
	p.env = append(p.env, "XDG_STATE_HOME="+p.path("x"), "XDG_CACHE_HOME="+p.path("x"))
	r := p.mount(offline...)
	p.eventuallySaid(r, p.path("x/chatfs/org-app/cache")+", at most")
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
}
