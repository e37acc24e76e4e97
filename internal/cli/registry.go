package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"chatfs/internal/control"
)

// A mounted tree's note: which state directory belongs to a mount point, so
// that chatfs status DIR finds its process whatever its flags were.
type note struct {
	Mountpoint string `json:"mountpoint"`
	StateDir   string `json:"state_dir"`
	CacheDir   string `json:"cache_dir"`
}

func notesDir() string { return filepath.Join(stateRoot(), ".mounts") }

func notePath(mountpoint string) string {
	sum := sha256.Sum256([]byte(mountpoint))
	return filepath.Join(notesDir(), hex.EncodeToString(sum[:8])+".json")
}

// register writes the note of a mount; forget removes it, unless a later
// mount at the same place has written its own. A note that a crash leaves is
// harmless: nobody answers at its socket.
func register(mountpoint string, p *profile) (forget func() error, err error) {
	if err := os.MkdirAll(notesDir(), 0o700); err != nil {
		return nil, err
	}
	text, err := json.Marshal(note{mountpoint, p.state, p.cache})
	if err != nil {
		return nil, err
	}
	path := notePath(mountpoint)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, err
	}
	return func() error {
		now, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Equal(now, text) {
			return nil
		}
		return os.Remove(path)
	}, nil
}

func readNote(path string) (note, error) {
	var n note
	text, err := os.ReadFile(path)
	if err != nil {
		return n, err
	}
	return n, json.Unmarshal(text, &n)
}

// A target is the tree that status, sync or umount is about: that of a
// directory, or of the profile that the flags mean.
type target struct {
	mountpoint string // "" where only a profile is known
	profile    *profile
	name       string // for a person
}

// findTarget finds it. Without a directory and a profile, and with one tree
// mounted, it is that tree.
func findTarget(cmd *cobra.Command, o *mountOptions, args []string) (*target, error) {
	if len(args) == 1 {
		return targetOfDir(args[0])
	}
	set, err := loadSettingsAnyway(cmd)
	if err != nil {
		return nil, err
	}
	p, err := o.chooseProfile(set)
	if err != nil {
		return nil, err
	}
	t := &target{profile: p, name: "profile " + p.name}
	if o.profile.name == "" && o.profile.stateDir == "" && !answers(p.state) {
		if only := onlyNote(); only != nil {
			return targetOfNote(*only), nil
		}
	}
	return t, nil
}

func targetOfDir(dir string) (*target, error) {
	path, err := resolveMountpoint(dir)
	if err != nil {
		return nil, err
	}
	n, err := readNote(notePath(path))
	if err != nil {
		return nil, fail(exitNotMounted, "nothing is mounted at %s by chatfs (chatfs status shows what is)", path)
	}
	return targetOfNote(n), nil
}

func targetOfNote(n note) *target {
	p := &profile{name: filepath.Base(n.StateDir), state: n.StateDir, cache: n.CacheDir}
	return &target{mountpoint: n.Mountpoint, profile: p, name: n.Mountpoint}
}

// findPath finds the tree that a path is in, and the path from its top. With
// a profile chosen by flag it is that one's tree.
func findPath(cmd *cobra.Command, o *mountOptions, path string) (t *target, inTree string, err error) {
	t, err = findTarget(cmd, o, nil)
	if err != nil || o.profile.name != "" || o.profile.stateDir != "" {
		return t, filepath.Join("/", path), err
	}
	real, err := realPath(path)
	if err != nil {
		return nil, "", err
	}
	for dir := real; ; dir = filepath.Dir(dir) {
		if n, err := readNote(notePath(dir)); err == nil && answers(n.StateDir) {
			return targetOfNote(n), "/" + strings.TrimPrefix(strings.TrimPrefix(real, dir), "/"), nil
		}
		if dir == "/" {
			return nil, "", fail(exitNotMounted, "%s is in no mounted tree (with --profile, PATH is from the top of that profile's tree)", path)
		}
	}
}

// realPath is absolute and without symlinks in what of it exists.
func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for dir := abs; ; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil || dir == "/" {
			return filepath.Join(real, rest), nil
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

// onlyNote is the note of the one tree that is mounted; nil if none is, or
// several are.
func onlyNote() *note {
	paths, err := filepath.Glob(filepath.Join(notesDir(), "*.json"))
	if err != nil {
		return nil
	}
	var found *note
	for _, path := range paths {
		n, err := readNote(path)
		if err != nil || !answers(n.StateDir) {
			continue
		}
		if found != nil {
			return nil
		}
		found = &n
	}
	return found
}

func answers(stateDir string) bool { return control.Answers(stateDir) }

// ask sends a request to the target's process.
func (t *target) ask(ctx context.Context, r control.Request, event func(control.Event) error) error {
	err := control.Ask(ctx, t.profile.state, r, event)
	var told *control.RemoteError
	switch {
	case errors.Is(err, control.ErrNobody):
		return fail(exitNotMounted, "%s is not mounted", t.name)
	case errors.As(err, &told):
		return fail(told.Code, "%s", told.Text)
	}
	return err
}
