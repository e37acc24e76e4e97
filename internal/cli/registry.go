package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

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

// register writes the note of a mount; forget removes it. A note that a
// crash leaves is harmless: nobody answers at its socket.
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
	return func() error { return os.Remove(path) }, nil
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
	set, err := loadSettings(cmd)
	if err != nil {
		return nil, err
	}
	if len(args) == 1 {
		return targetOfDir(args[0])
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
func (t *target) ask(cmd *cobra.Command, r control.Request, event func(control.Event) error) error {
	err := control.Ask(cmd.Context(), t.profile.state, r, event)
	var told *control.RemoteError
	switch {
	case errors.Is(err, control.ErrNobody):
		return fail(exitNotMounted, "%s is not mounted", t.name)
	case errors.As(err, &told):
		return fail(told.Code, "%s", told.Text)
	}
	return err
}
