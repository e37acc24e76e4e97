package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/control"
	"chatfs/internal/transfer"
)

func newStatus() *cobra.Command {
	o, asJSON := &mountOptions{}, false
	cmd := &cobra.Command{
		Use:   "status [DIR]",
		Short: "Show the trees' services, queues, failures and caches",
		Long: `Show what a mounted tree does: its service, what waits for upload, what failed
and why, and its cache. A profile that is not mounted is read from the disk.
Without DIR and --profile it is every tree that is mounted, and every profile
that has files waiting for their upload or failed; --json prints a list then.

Exit code: 0, or 9 if some files could not be uploaded.`,
		Args: atMostOneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			return showStatus(cmd, o, args, asJSON)
		},
	}
	o.profile.register(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// showStatus is chatfs status: of one tree, or of all.
func showStatus(cmd *cobra.Command, o *mountOptions, args []string, asJSON bool) error {
	t, err := findTarget(cmd, o, args)
	if err != nil {
		return err
	}
	one := len(args) == 1 || o.profile.name != "" || o.profile.stateDir != ""
	var all []*report
	if !one {
		if all, err = allReports(cmd); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		r, err := t.status(cmd)
		if err != nil {
			return err
		}
		all = []*report{r}
	}
	return show(cmd.OutOrStdout(), all, asJSON, one)
}

// status asks the process, or reads the profile if there is none.
func (t *target) status(cmd *cobra.Command) (*report, error) {
	r, err := t.askStatus(cmd.Context())
	if err == nil || exitCode(err) != exitNotMounted {
		return r, err
	}
	if _, missing := os.Stat(t.profile.state); missing != nil {
		return nil, fail(exitNotMounted, "%s: nothing is mounted, and nothing is kept in %s", t.name, t.profile.state)
	}
	return t.profile.reportAtRest()
}

// askStatus asks the process; exitNotMounted where there is none.
func (t *target) askStatus(ctx context.Context) (*report, error) {
	var r report
	err := t.ask(ctx, control.Request{Op: control.OpStatus}, func(e control.Event) error {
		return json.Unmarshal(e.Status, &r)
	})
	if err != nil {
		return nil, err
	}
	return &r, nil
}

// reportAtRest reads a profile that no process has mounted.
func (p *profile) reportAtRest() (_ *report, err error) {
	r := &report{Profile: p.name, StateDir: p.state, CacheDir: p.cache}
	rest, err := p.openAtRest(false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rest.close()) }()
	if r.Service, err = p.boundTo(); err != nil {
		return nil, err
	}
	local, err := localOnly(nil) // what --local-only added is not known now
	if err != nil {
		return nil, err
	}
	err = r.count(rest.index, func(e index.QueueEntry) (state, reason string) {
		if local(path.Base(pathOf(rest.index, e.Ino))) > time.Since(e.Queued) {
			return string(transfer.StateLocal), ""
		}
		return string(transfer.StateStaged), ""
	})
	open, werr := rest.index.Writings()
	for _, w := range open {
		r.Open = append(r.Open, pathOf(rest.index, w.Ino))
	}
	return r, errors.Join(err, werr, r.countDisk(rest.index, rest.blobs))
}

// An atRest is a profile that nobody has mounted, opened by this command.
type atRest struct {
	profile *profile
	index   *index.Index
	blobs   *blob.Store
}

// openAtRest opens a profile that nobody has mounted, and locks it until close.
// With mend, an index that is not as it should be is taken as far as it goes.
func (p *profile) openAtRest(mend bool) (_ *atRest, err error) {
	if _, err := os.Stat(p.state); err != nil {
		return nil, fail(exitNotMounted, "profile %s: nothing is kept in %s", p.name, p.state)
	}
	if p.cache == "" { // of a mount that is known by its note alone
		p.cache = filepath.Join(p.state, "cache")
	}
	if err := p.open(); err != nil {
		return nil, err
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	r := &atRest{profile: p}
	if r.blobs, err = p.openBlobs(log); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if r.index, err = p.openIndex(r.blobs, log, mend); err != nil {
		return nil, errors.Join(err, r.blobs.Close(), p.close())
	}
	return r, nil
}

// openBlobs opens the bytes on the disk. Nothing is evicted: the mount's bounds
// are not known here.
func (p *profile) openBlobs(log *logrus.Logger) (*blob.Store, error) {
	return blob.Open(blob.Options{StateDir: p.state, CacheDir: p.cache, Log: log.WithField("area", "blob"),
		CacheSize: math.MaxInt64, MinFree: 1e-9})
}

func (r *atRest) close() error {
	return errors.Join(r.index.Close(), r.blobs.Close(), r.profile.close())
}

// show prints reports; failed uploads are its exit code.
func show(w io.Writer, all []*report, asJSON, one bool) error {
	if asJSON {
		if err := showJSON(w, all, one); err != nil {
			return err
		}
	} else {
		for _, r := range all {
			r.print(w)
		}
	}
	for _, r := range all {
		if len(r.Failed) > 0 {
			return &exitError{code: exitFailed, err: errors.New("some files failed"), said: true}
		}
	}
	return nil
}

func showJSON(w io.Writer, all []*report, one bool) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if one {
		return enc.Encode(all[0])
	}
	return enc.Encode(all)
}
