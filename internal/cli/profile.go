package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/adrg/xdg"
	"github.com/gofrs/flock"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// A profile is a tree of names with all that belongs to it on this computer.
// Its directories are 0700.
type profile struct {
	name  string
	state string // index, staging, socket, lock
	cache string // copies of entities; may be deleted while nothing is mounted

	lock *flock.Flock
}

// profileFlags choose a profile.
type profileFlags struct{ name, stateDir, cacheDir string }

func (p *profileFlags) register(f *pflag.FlagSet) {
	f.StringVar(&p.name, "profile", "", "name of the tree (default: ORG-APP of the service, \"default\" without one)")
	f.StringVar(&p.stateDir, "state-dir", "", "where names, secrets and waiting uploads are kept (default: by profile)")
	f.StringVar(&p.cacheDir, "cache-dir", "", "where copies of the service's files are kept (default: by profile)")
}

// lockPatience is what a process that ends has to let go of the profile.
const lockPatience = time.Second

var profileName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._@+-]{0,99}$`)

// resolve says where the profile's directories are, and makes none. Without
// a name it is the service's: an address's ORG-APP, since its host may
// change and its files are the same.
func (p profileFlags) resolve(base string) (*profile, error) {
	name := p.name
	if name == "" {
		name = profileOf(base)
	}
	if !profileName.MatchString(name) {
		return nil, fail(exitUsage, "--profile %q: letters, digits and . _ @ + - alone", name)
	}
	r := &profile{name: name, state: p.stateDir, cache: p.cacheDir}
	if r.cache == "" && r.state != "" {
		r.cache = filepath.Join(r.state, "cache")
	}
	if r.state == "" {
		r.state = filepath.Join(stateRoot(), name)
	}
	if r.cache == "" {
		r.cache = filepath.Join(cacheRoot(), name)
		if r.cache == r.state { // XDG_STATE_HOME is XDG_CACHE_HOME
			r.cache = filepath.Join(r.state, "cache")
		}
	}
	var err1, err2 error
	r.state, err1 = filepath.Abs(r.state)
	r.cache, err2 = filepath.Abs(r.cache)
	return r, errors.Join(err1, err2)
}

func stateRoot() string { return filepath.Join(xdg.StateHome, "chatfs") }

func cacheRoot() string { return filepath.Join(xdg.CacheHome, "chatfs") }

func profileOf(base string) string {
	u, err := url.Parse(base)
	if base == "" || err != nil {
		return "default"
	}
	name := strings.Map(func(r rune) rune {
		if r == '/' {
			return '-'
		}
		if profileName.MatchString("a" + string(r)) {
			return r
		}
		return '_'
	}, strings.Trim(u.Path, "/"))
	if name == "" || !profileName.MatchString(name) {
		return "default"
	}
	return name
}

// makeDirs makes the directories, 0700. What is there is taken only if nobody
// else has a hand in it, and is left as it is.
func (p *profile) makeDirs() error {
	if err := p.apart(); err != nil {
		return err
	}
	for _, dir := range []string{p.state, p.cache} {
		if err := ownDir(dir); err != nil {
			return fail(exitProfile, "profile %s: %w", p.name, err)
		}
	}
	return nil
}

// apart refuses to keep in a cache, which a person may delete, what exists
// nowhere else.
func (p *profile) apart() error {
	state, err1 := realPath(p.state)
	cache, err2 := realPath(p.cache)
	if err := errors.Join(err1, err2); err != nil {
		return fail(exitProfile, "profile %s: %w", p.name, err)
	}
	if rel, err := filepath.Rel(cache, state); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return fail(exitUsage, "the cache %s may be deleted at any time, and would hold the names and share-secrets in %s: give another --cache-dir", cache, state)
	}
	return nil
}

// open makes the directories and takes the profile's lock, or says who has
// it.
func (p *profile) open() error {
	if err := p.makeDirs(); err != nil {
		return err
	}
	p.lock = flock.New(filepath.Join(p.state, "lock"), flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	got, err := p.lock.TryLockContext(ctx, 20*time.Millisecond)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fail(exitProfile, "profile %s: %w", p.name, err)
	}
	if !got {
		return fail(exitProfile, "profile %s is in use by %s: unmount that, or choose another --profile", p.name, p.owner())
	}
	return nil
}

// claim writes who has the lock, for those who come second.
func (p *profile) claim(mountpoint string) error {
	text := fmt.Sprintf("%d %s\n", os.Getpid(), mountpoint)
	return os.WriteFile(filepath.Join(p.state, "lock"), []byte(text), 0o600)
}

// owner tells who has the lock, as far as the lock file says.
func (p *profile) owner() string {
	text, err := os.ReadFile(filepath.Join(p.state, "lock"))
	pid, where, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if n, bad := strconv.Atoi(pid); err != nil || bad != nil || unix.Kill(n, 0) == unix.ESRCH {
		return "another chatfs"
	}
	return fmt.Sprintf("process %s (mounted at %s)", pid, where)
}

// close gives the lock up.
func (p *profile) close() error { return p.lock.Close() }

// embedded is what the service file says of the embedded service.
const embedded = "embedded"

// boundTo is the service whose entities the profile's names lead to: an
// address, embedded, or "" for a new profile.
func (p *profile) boundTo() (string, error) {
	text, err := os.ReadFile(filepath.Join(p.state, "service"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// bind binds the profile to a service: for ever to its org and app, since
// its names lead to entities that no other has; the host may move. An empty
// tree lets itself be bound anew.
func (p *profile) bind(base string, empty bool) error {
	old, err := p.boundTo()
	if err != nil {
		return fmt.Errorf("profile %s: %w", p.name, err)
	}
	if old == base {
		return p.confirm()
	}
	if old != "" && !empty && !sameService(old, base) {
		return fail(exitProfile, "profile %s holds the files of %s: choose another --profile for %s",
			p.name, describeService(old), describeService(base))
	}
	return errors.Join(p.writeService("service", base), p.confirm())
}

func (p *profile) writeService(file, base string) error {
	return writePrivate(filepath.Join(p.state, file), func(w io.Writer) error {
		_, err := io.WriteString(w, base+"\n")
		return err
	})
}

// unconfirmedFile has the service's address that came with a backup, until a
// person has named it: whoever made the backup may have written any host.
const unconfirmedFile = "service.unconfirmed"

// take has the profile belong to the service of a backup that is restored. An
// address that it has stays: the same files may be at another host.
func (p *profile) take(base string) error {
	old, err := p.boundTo()
	if err != nil || base == "" || old != "" {
		return err
	}
	if base != embedded {
		if err := p.writeService(unconfirmedFile, base); err != nil {
			return err
		}
	}
	return p.writeService("service", base)
}

// unconfirmed is the address that nobody but a backup has named; "" if there is
// none.
func (p *profile) unconfirmed() (string, error) {
	text, err := os.ReadFile(filepath.Join(p.state, unconfirmedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// confirm notes that a person has named the service.
func (p *profile) confirm() error {
	if err := os.Remove(filepath.Join(p.state, unconfirmedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("profile %s: %w", p.name, err)
	}
	return nil
}

// sameService tells whether two services have the same files: the host of an
// address may change.
func sameService(a, b string) bool {
	return a == b || a != embedded && b != embedded && profileOf(a) == profileOf(b)
}

func describeService(base string) string {
	if base == embedded {
		return "the embedded service"
	}
	return base
}
