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
lists when no FILE is given; - is the standard input. Without --profile it is
the profile that mounts of the backup's service use.

The backup is checked before anything is replaced. Over a tree that has files,
or that can't be read, --force is needed; the index that was there, as it is, and
what waited for its upload, are kept in before-restore-TIME/ of the state
directory. Files that waited for their upload when the backup was made, and whose
content is not here, are told and listed as failed.

A backup says which service its files are at. On a computer whose profile did
not know that before, the first mount has to name it (--remote): no credentials
go where a backup alone says.`,
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
			if len(args) == 0 {
				p, err := o.chooseProfile(set)
				if err != nil {
					return err
				}
				return p.showCopies(cmd.OutOrStdout())
			}
			r := &restoring{cmd: cmd, options: o, settings: set, file: args[0], keys: keys, force: force}
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
	cmd      *cobra.Command
	options  *mountOptions
	settings *settings
	profile  *profile
	file     string
	keys     *keyFlags
	force    bool

	backup  io.Reader // the database in the backup
	service string    // that its names lead to
	dir     string    // the new index, until it is moved to its place
	old     oldIndex
	files   int64
	blobs   *blob.Store
}

func (r *restoring) run() (err error) {
	f, err := r.openBackup()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := r.chooseProfile(); err != nil {
		return err
	}
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
	if r.blobs, err = p.openBlobs(log); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, r.blobs.Close()) }()
	for _, step := range []func() error{r.unpack, r.lookAtOld, r.examine, r.goOn, r.replace} {
		if err := step(); err != nil {
			return err
		}
	}
	return r.sayDone()
}

// sayDone tells what was done, and what is left to do.
func (r *restoring) sayDone() error {
	p, out := r.profile, r.cmd.OutOrStdout()
	fmt.Fprintf(out, "profile %s: restored from %s, %s\n", p.name, r.file, plural(int(r.files), "file, directory or link")) // the top is one
	address, err := p.unconfirmed()
	if address != "" {
		fmt.Fprintf(out, "its files are at %s, as the backup says: mount it with --profile %s --remote %s\n", address, p.name, address)
	}
	data := filepath.Join(p.state, "embedded")
	if _, missing := os.Stat(data); r.service == embedded && missing != nil {
		fmt.Fprintf(r.cmd.ErrOrStderr(), "chatfs: warning: the contents are in the embedded service's data, which is not in a backup: copy it to %s\n", data)
	}
	return err
}

// openBackup opens the file as far as to know which service it is of. Nothing
// is made before.
func (r *restoring) openBackup() (io.Closer, error) {
	f := io.NopCloser(r.cmd.InOrStdin())
	if r.file != stdio {
		var err error
		if f, err = os.Open(r.file); err != nil {
			return nil, fail(exitUsage, "%w", err)
		}
	}
	var err error
	r.backup, r.service, err = r.keys.readArchive(r.cmd, f)
	if err == nil {
		return f, nil
	}
	f.Close()
	var own *exitError
	if errors.As(err, &own) {
		return nil, fmt.Errorf("%s: %w", r.file, err)
	}
	return nil, fail(exitIndex, "%s: %w", r.file, err)
}

// chooseProfile takes the profile that the flags name, else that which mounts of
// the backup's service use. It refuses one with another service's files.
func (r *restoring) chooseProfile() (err error) {
	flags := r.options.profile
	if r.service == "" || r.service == embedded || flags.name != "" || flags.stateDir != "" {
		r.profile, err = r.options.chooseProfile(r.settings)
	} else {
		r.profile, err = flags.resolve(r.service)
	}
	if err != nil {
		return err
	}
	old, err := r.profile.boundTo()
	if err != nil {
		return fail(exitProfile, "profile %s: %w", r.profile.name, err)
	}
	if r.service != "" && old != "" && !sameService(old, r.service) {
		return fail(exitProfile, "profile %s holds the files of %s, and the backup those of %s: choose another --profile",
			r.profile.name, describeService(old), describeService(r.service))
	}
	return nil
}

// unpack writes the database that the backup has.
func (r *restoring) unpack() error {
	dst, err := os.OpenFile(filepath.Join(r.dir, index.FileName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	_, err = io.Copy(dst, r.backup)
	var disk *os.PathError
	if errors.As(err, &disk) && disk.Path == dst.Name() {
		return fmt.Errorf("restore: nothing was replaced: %w", err)
	} else if err != nil {
		return fail(exitIndex, "%s is damaged: %w", r.file, err)
	}
	return dst.Sync()
}

// An oldIndex is what is known of the index that is replaced.
type oldIndex struct {
	there   bool // with files, or not to be read
	changes uint64
	ino     index.Ino
	staged  index.StagedID
}

// lookAtOld learns what it can of the present index, which takes in its journal
// by that. One that can't be opened, or is no file at all, does not matter: it
// is kept as it is.
func (r *restoring) lookAtOld() error {
	state := r.profile.state
	info, err := os.Lstat(filepath.Join(state, index.FileName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	r.old.there = true
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	x, err := index.Open(state, index.Options{SyncStaged: syncStaged(r.blobs), SumStaged: sumStaged(r.blobs)})
	if errors.Is(err, index.ErrLocked) {
		return err
	} else if err != nil {
		fmt.Fprintf(r.cmd.ErrOrStderr(), "chatfs: the index that is there can't be opened, and is kept as it is: %s\n", plain(err.Error()))
		return nil
	}
	if stats, err := x.Stats(); err == nil {
		r.old.there = stats.Inodes > 1
	}
	r.old.ino, r.old.staged = x.Numbers()
	r.old.changes = x.Changes()
	_ = x.Close() // what it could not commit is in its journal, which is kept too
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
			fmt.Fprintln(r.cmd.ErrOrStderr(), plain(f.String()))
			err = errors.Join(err, f.Mend())
		}
	}
	return err
}

// goOn has the new index give no number that the old one may have given, and
// count its changes on from there: it is no older than the old one's backups.
func (r *restoring) goOn() error {
	copies, err := listCopies(r.profile.backupsDir())
	if err != nil {
		return err
	}
	x, err := index.Open(r.dir, index.Options{})
	if err != nil {
		return err
	}
	err = errors.Join(r.profile.skipNumbers(x, copies), x.Skip(r.old.ino, r.old.staged), x.Close())
	if err != nil {
		return err
	}
	if x, err = index.Open(r.dir, index.Options{After: max(highest(copies), r.old.changes) + 1}); err != nil {
		return err
	}
	return x.Close()
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
	if err := r.profile.take(r.service); err != nil {
		return err
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
// in a directory beside; "" if there is nothing to keep.
func (r *restoring) keepOld() (aside string, err error) {
	state := r.profile.state
	if r.old.there && !r.force {
		return "", fail(exitUsage, "profile %s has files: --force replaces its index, and keeps the old one beside", r.profile.name)
	}
	keep, err := filepath.Glob(filepath.Join(state, "staging", "*"))
	journals, _ := filepath.Glob(filepath.Join(state, "journal-*")) // the pattern is good
	keep = append(keep, journals...)
	if r.old.there {
		keep = append(keep, filepath.Join(state, index.FileName))
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
		if err := setAside(path, filepath.Join(making, rel)); err != nil {
			return "", err
		}
	}
	if err := errors.Join(syncPath(filepath.Join(making, "staging")), syncPath(making)); err != nil {
		return "", err
	}
	aside = filepath.Join(state, "before-restore-"+time.Now().UTC().Format(keepTime))
	return aside, errors.Join(os.Rename(making, aside), syncPath(state))
}

// setAside links a file, so that a kill leaves it in its place too; what is no
// file, and can't be of use there, is moved.
func setAside(from, to string) error {
	info, err := os.Lstat(from)
	if err == nil && info.IsDir() {
		return os.Rename(from, to)
	}
	return errors.Join(err, os.Link(from, to))
}

func syncPath(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
