package cli_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asUser is a script that an ordinary user runs with a /dev/fuse of their
// own, as Debian has it outside of containers: in a mount namespace, so that
// the machine stays as it is. Root becomes nobody; others are one already.
const asUser = `
if [ "$(id -u)" = 0 ]; then
	mount -t tmpfs none /dev && mknod -m 666 /dev/fuse c 10 229 && mknod -m 666 /dev/null c 1 3 || exit 99
	user="setpriv --reuid 65534 --regid 65534 --clear-groups"
fi
cd / && exec $user sh -c "$1" sh "$2" "$3"`

func (p *place) asUser(script string) (string, int) {
	p.t.Helper()
	args := []string{"sh", "-c", asUser, "sh", script, command, p.dir}
	if os.Geteuid() != 0 {
		return p.exec(args[0], args[1:]...)
	}
	for _, path := range []string{p.path("."), p.dir} {
		if err := errors.Join(os.Chown(path, 65534, 65534), os.Chmod(filepath.Dir(path), 0o755)); err != nil {
			p.t.Fatal(err)
		}
	}
	return p.exec("unshare", append([]string{"-m"}, args...)...)
}

func TestOrdinaryUser(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	out, code := p.asUser(`"$1" mount --daemon --remote http://127.0.0.1:1/o/a --drain-timeout 10ms "$2" || exit
		echo hello > "$2/a" && cat "$2/a" && df "$2" && fusermount3 -u "$2"
		"$1" mount --daemon --remote http://127.0.0.1:1/o/a --drain-timeout 10ms "$2" || exit
		cat "$2/a" && "$1" umount "$2"`)
	if code != waiting || strings.Count(out, "hello\n") != 2 || !strings.Contains(out, "1 file (6 B) waits") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestOrdinaryUserIsToldWhatIsMissing(t *testing.T) {
	t.Parallel()
	p := withToken(newPlace(t))
	for script, words := range map[string]string{
		`PATH=/none "$1" mount "$2"`:                                    "fusermount3 is missing",
		`"$1" mount --allow-other --remote http://127.0.0.1:1/o/a "$2"`: "user_allow_other",
	} {
		if strings.Contains(script, "allow-other") && allowsOther(t) {
			continue // this machine lets users do it
		}
		if out, code := p.asUser(script); code != noFUSE || !strings.Contains(out, words) {
			t.Errorf("%s: exit code %d, not %q:\n%s", script, code, words, out)
		}
	}
}

func allowsOther(t *testing.T) bool {
	t.Helper()
	conf, err := os.ReadFile("/etc/fuse.conf")
	return err == nil && strings.Contains("\n"+string(conf), "\nuser_allow_other")
}
