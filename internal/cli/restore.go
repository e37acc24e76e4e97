package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/transfer"
)

func newRestore() *cobra.Command {
	o, keys, force := &mountOptions{}, &keyFlags{}, false
	cmd := &cobra.Command{
		Use:   "restore [FILE]",
		Short: "Go back to a backup of a profile's names and share-secrets",
		Long: `Put the index of a profile that is not mounted back to what FILE has: a backup of
chatfs backup, or one of the automatic ones beside the index, which restore
lists when no FILE is given.

The backup is checked before anything is replaced. Over a tree that has files,
--force is needed; the index that was there, and what waited for its upload, are
kept in before-restore-TIME/ of the state directory. Files that waited for their
upload when the backup was made, and whose content is not here, are told and
listed as failed.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fail(exitUsage, "chatfs restore takes one file")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := loadSettings(cmd)
			if err != nil {
				return err
			}
			p, err := o.chooseProfile(set)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return p.showCopies(cmd.OutOrStdout())
			}
			r := &restoring{cmd: cmd, profile: p, file: args[0], keys: keys, force: force}
			return r.run()
		},
	}
	o.profile.register(cmd.Flags())
	keys.registerOpening(cmd.Flags())
	cmd.Flags().BoolVar(&force, "force", false, "replace a tree that has files; the old index is kept beside")
	return cmd
}

// showCopies lists the automatic backups.
func (p *profile) showCopies(w io.Writer) error {
	list, err := listCopies(p.backupsDir())
	if err != nil {
		return err
	}
	if len(list) == 0 {
		_, err := fmt.Fprintf(w, "profile %s: there are no automatic backups in %s\n", p.name, p.backupsDir())
		return err
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range list {
		fmt.Fprintf(tab, "%s\t%s\t%s\n", c.made.Local().Format(time.DateTime), formatSize(c.size), c.path)
	}
	return tab.Flush()
}

// A restoring is one chatfs restore FILE.
type restoring struct {
	cmd     *cobra.Command
	profile *profile
	file    string
	keys    *keyFlags
	force   bool

	dir     string // the new index, until it is moved to its place
	service string // that its names lead to
	files   int64
	blobs   *blob.Store
}

func (r *restoring) run() (err error) {
	p := r.profile
	if err := p.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	left, _ := filepath.Glob(filepath.Join(p.state, ".restore-*")) // of a killed one
	for _, path := range left {
		_ = os.RemoveAll(path)
	}
	if r.dir, err = os.MkdirTemp(p.state, ".restore-*"); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer os.RemoveAll(r.dir)
	log := logrus.New()
	log.SetOutput(io.Discard)
	r.blobs, err = blob.Open(blob.Options{StateDir: p.state, CacheDir: p.cache, Log: log.WithField("area", "blob")})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, r.blobs.Close()) }()
	for _, step := range []func() error{r.unpack, r.checkService, r.examine, r.replace} {
		if err := step(); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(r.cmd.OutOrStdout(), "profile %s: restored from %s, %s\n", p.name, r.file,
		plural(int(r.files), "file, directory or link")) // the top is one
	return err
}

// unpack writes the database that the backup has.
func (r *restoring) unpack() error {
	f, err := os.Open(r.file)
	if err != nil {
		return fail(exitUsage, "%w", err)
	}
	defer f.Close()
	db, service, err := r.keys.readArchive(r.cmd, f)
	var own *exitError
	if errors.As(err, &own) {
		return fmt.Errorf("%s: %w", r.file, err)
	} else if err != nil {
		return fail(exitIndex, "%s: %w", r.file, err)
	}
	r.service = service
	dst, err := os.OpenFile(filepath.Join(r.dir, index.FileName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	if _, err := io.Copy(dst, db); err != nil {
		return fail(exitIndex, "%s is damaged, or the disk is full: %w", r.file, err)
	}
	return dst.Sync()
}

// checkService refuses names that lead to another service's files.
func (r *restoring) checkService() error {
	old, err := r.profile.boundTo()
	if err != nil {
		return err
	}
	if r.service != "" && old != "" && !sameService(old, r.service) {
		return fail(exitProfile, "profile %s holds the files of %s, and the backup those of %s: choose another --profile",
			r.profile.name, describeService(old), describeService(r.service))
	}
	return nil
}

// examine checks the new index, and tells of content that it wants and that is
// not here.
func (r *restoring) examine() (err error) {
	x, err := index.Open(r.dir, index.Options{})
	if err != nil {
		return fail(exitIndex, "%s: %w", r.file, err)
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	if found := x.Check(); len(found) > 0 {
		return fail(exitIndex, "%s is damaged: %s, the first is %s", r.file, plural(len(found), "problem"), found[0])
	}
	stats, err := x.Stats()
	if err != nil {
		return err
	}
	r.files = stats.Inodes - 1
	faults, err := transfer.CheckStaged(x, r.blobs)
	for _, f := range faults {
		if f.Kind == transfer.StagedMissing { // other bytes that are there are a later content's
			fmt.Fprintln(r.cmd.ErrOrStderr(), f)
			err = errors.Join(err, f.Mend())
		}
	}
	return err
}

// replace puts the new index in the place of the old, in one step.
func (r *restoring) replace() error {
	aside, err := r.keepOld()
	if err != nil {
		return err
	}
	state := r.profile.state
	journals, err := filepath.Glob(filepath.Join(state, "journal-*"))
	for _, path := range journals { // of an index that can't be opened; they are kept beside
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return err
	}
	// The service first: names without it would be taken for another's.
	if r.service != "" {
		err := writePrivate(filepath.Join(state, "service"), func(w io.Writer) error {
			_, err := fmt.Fprintln(w, r.service)
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := os.Rename(filepath.Join(r.dir, index.FileName), filepath.Join(state, index.FileName)); err != nil {
		return err
	}
	if aside != "" {
		fmt.Fprintf(r.cmd.OutOrStdout(), "what was there is kept in %s\n", aside)
	}
	return syncPath(state)
}

// keepTime has parts of a second: after a kill, restore may be run again in the
// same one.
const keepTime = "20060102T150405.000000Z"

// keepOld keeps the present index, its journal and what waits for its upload
// in a directory beside, by links; "" if there is nothing to keep.
func (r *restoring) keepOld() (aside string, err error) {
	state := r.profile.state
	there, err := r.hasTree()
	if err != nil {
		return "", err
	}
	if there && !r.force {
		return "", fail(exitUsage, "profile %s has files: --force replaces its index, and keeps the old one beside", r.profile.name)
	}
	keep, err := filepath.Glob(filepath.Join(state, "staging", "*"))
	if there && err == nil {
		journals, _ := filepath.Glob(filepath.Join(state, "journal-*")) // the pattern is good
		keep = append(append(keep, journals...), filepath.Join(state, index.FileName))
	}
	if err != nil || len(keep) == 0 {
		return "", err
	}
	making := filepath.Join(r.dir, "before") // so that what a kill leaves is no copy
	if err := os.MkdirAll(filepath.Join(making, "staging"), 0o700); err != nil {
		return "", err
	}
	for _, path := range keep {
		rel, _ := filepath.Rel(state, path) // both are absolute
		if err := os.Link(path, filepath.Join(making, rel)); err != nil {
			return "", err
		}
	}
	if err := errors.Join(syncPath(filepath.Join(making, "staging")), syncPath(making)); err != nil {
		return "", err
	}
	aside = filepath.Join(state, "before-restore-"+time.Now().UTC().Format(keepTime))
	return aside, errors.Join(os.Rename(making, aside), syncPath(state))
}

// hasTree tells whether the profile has an index with files, or one that can't
// be opened. Opening it takes its journal into it.
func (r *restoring) hasTree() (bool, error) {
	if _, err := os.Lstat(filepath.Join(r.profile.state, index.FileName)); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	x, err := openIndex(r.profile, r.blobs, logrus.New(), false)
	if err != nil {
		return true, nil
	}
	stats, err := x.Stats()
	return stats.Inodes > 1, errors.Join(err, x.Close())
}

func syncPath(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
