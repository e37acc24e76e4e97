package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/sys/mountinfo"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"chatfs/index"
)

// allReports are those of every mounted tree of this user's, the dead ones
// included, and of every profile without one that has something to tell:
// uploads to make or that failed, or content that is lost.
func allReports(cmd *cobra.Command) ([]*report, error) {
	trees, err := mountedTrees(os.Geteuid())
	if err != nil {
		return nil, err
	}
	var all []*report
	seen := make(map[string]bool) // state directories
	devices := make(map[device]bool)
	for _, m := range trees {
		if devices[deviceOf(m)] {
			continue // a copy
		}
		devices[deviceOf(m)] = true
		r := reportOfTree(cmd, m)
		seen[r.StateDir] = true
		all = append(all, r)
	}
	for _, n := range knownProfiles() {
		if seen[n.StateDir] {
			continue
		}
		seen[n.StateDir] = true
		if r := reportOfProfile(cmd, n); r != nil {
			all = append(all, r)
		}
	}
	return all, nil
}

// reportOfTree is what can be told of a mount in the mount table.
func reportOfTree(cmd *cobra.Command, m *mountinfo.Info) *report {
	r := &report{Mountpoint: m.Mountpoint, Service: m.Source}
	n, err := readNote(notePath(m.Mountpoint))
	if err != nil {
		r.Problem = "nothing is known of it here: it was mounted with another XDG_STATE_HOME or HOME"
	} else if live, err := askStatus(cmd, n); err == nil {
		return live
	} else if exitCode(err) != exitNotMounted {
		r.Problem = err.Error()
	} else if rest, err := targetOfNote(n).profile.reportAtRest(); err == nil {
		r = rest
		r.Mountpoint = m.Mountpoint
	}
	r.Dead = errors.Is(askBounded(m.Mountpoint), unix.ENOTCONN)
	return r
}

// reportOfProfile is nil where there is nothing to tell.
func reportOfProfile(cmd *cobra.Command, n note) *report {
	if live, err := askStatus(cmd, n); err == nil {
		return live // its tree is gone from the directory, and it ends
	}
	p := targetOfNote(n).profile
	r, err := p.reportAtRest()
	if err != nil {
		return &report{Profile: p.name, StateDir: p.state, Problem: err.Error()}
	}
	if r.Waiting+len(r.Failed)+len(r.Expired) == 0 {
		return nil
	}
	return r
}

// askStatus asks the process of a mount, for no longer than a mount that is
// alive takes to answer.
func askStatus(cmd *cobra.Command, n note) (*report, error) {
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), askTimeout, errNoAnswer)
	defer cancel()
	r, err := targetOfNote(n).askStatus(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return r, err
}

var errNoAnswer = errors.New("its process does not answer")

// knownProfiles are those of which a mount has left its note, and those in
// their usual place.
func knownProfiles() (found []note) {
	paths, _ := filepath.Glob(filepath.Join(notesDir(), "*.json"))
	for _, path := range paths {
		if n, err := readNote(path); err == nil {
			found = append(found, n)
		}
	}
	dirs, _ := os.ReadDir(stateRoot())
	for _, dir := range dirs {
		found = append(found, note{StateDir: filepath.Join(stateRoot(), dir.Name()), CacheDir: filepath.Join(cacheRoot(), dir.Name())})
	}
	return slices.DeleteFunc(found, func(n note) bool {
		_, err := os.Stat(filepath.Join(n.StateDir, index.FileName))
		missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
		return missing && (&profile{state: n.StateDir}).signOfIndex(nil) == ""
	})
}
