package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"chatfs/index"
	"chatfs/internal/transfer"
)

// profilesService is what --remote without an address means.
const profilesService = "the profile's"

func newCheck() *cobra.Command {
	o, repair := &mountOptions{}, false
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check that names, local content and service agree",
		Long: `Check a profile that is not mounted: names, links, queue, entities and digests
against each other, and the staged, cached and pinned files on the disk against
them, by size and SHA-256. With --remote, ask the service for each file too, as
fast as --max-rps allows: --remote=ADDRESS for another address than the profile's.

Exit code 5 means that something is wrong. --repair mends what can be: it never
drops a share-secret, gives inodes without a name one in /lost+found, discards
damaged copies, keeps damaged pinned files beside their place as *.damaged, and
lists files whose content is lost as failed (chatfs status).`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := loadSettings(cmd)
			if err != nil {
				return err
			}
			ask := cmd.Flags().Changed("remote")
			if o.service.remote == profilesService {
				o.service.remote = ""
			}
			c := &checkRun{cmd: cmd, options: o, settings: set, repair: repair, remote: ask}
			if c.profile, err = o.chooseProfile(set); err != nil {
				return err
			}
			if err := o.service.check(); err != nil {
				return err
			}
			return c.run()
		},
	}
	o.profile.register(cmd.Flags())
	o.service.register(cmd.Flags())
	cmd.Flags().Lookup("remote").NoOptDefVal = profilesService
	cmd.Flags().Lookup("remote").Usage = "ask the service for each file too"
	cmd.Flags().BoolVar(&repair, "repair", false, "mend what can be mended")
	return cmd
}

// A checkRun is one chatfs check.
type checkRun struct {
	cmd            *cobra.Command
	options        *mountOptions
	settings       *settings
	profile        *profile
	repair, remote bool

	rest *atRest
}

func (c *checkRun) run() (err error) {
	left, err := c.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.rest.close()) }()
	for _, step := range []func() (int, error){c.checkIndex, c.checkDisk, c.checkRemote} {
		n, err := step()
		if err != nil {
			return err
		}
		left += n
	}
	if left > 0 {
		return fail(exitIndex, "profile %s: %s", c.profile.name, plural(left, "problem"))
	}
	c.print("profile %s: all is sound", c.profile.name)
	return nil
}

func (c *checkRun) print(format string, args ...any) {
	fmt.Fprintln(c.cmd.OutOrStdout(), plain(fmt.Sprintf(format, args...)))
}

// open opens the profile. An index that can't be opened as it is is a problem of
// its own; what --repair does with a damaged journal is to take what comes
// before the damage, and to keep the journal.
func (c *checkRun) open() (left int, err error) {
	c.rest, err = c.profile.openAtRest(false)
	var damaged *index.ErrDamaged
	lost := errors.Is(err, errNoIndex) || errors.Is(err, errOldIndex)
	switch {
	case errors.As(err, &damaged) && !c.repair:
		return 0, fail(exitIndex, "%s is damaged: %s: chatfs check --repair takes what comes before a journal's damage, and chatfs restore lists the automatic backups",
			damaged.File, damaged.What)
	case damaged == nil && !lost, !c.repair:
		return 0, err
	}
	was := err
	if c.rest, err = c.profile.openAtRest(true); err != nil {
		return 0, err
	}
	c.print("index-damaged: %v", was)
	c.print("mended: %s", c.rest.index.Recovery())
	return 0, nil
}

// checkIndex checks the index against itself and answers how many problems
// are left.
func (c *checkRun) checkIndex() (left int, err error) {
	found := c.rest.index.Check()
	for _, problem := range found {
		c.print("%s", problem)
	}
	if !c.repair || len(found) == 0 {
		return len(found), nil
	}
	failed := c.rest.index.Repair(found)
	after := c.rest.index.Check()
	c.print("%s mended", plural(max(len(found)-len(after), 0), "problem"))
	if failed != nil && len(after) == 0 {
		return 0, fmt.Errorf("repair: %w", failed)
	}
	return len(after), nil
}

func (c *checkRun) checkDisk() (left int, err error) {
	tell := progressLines(c.cmd.ErrOrStderr())
	found, err := transfer.CheckDisk(c.rest.index, c.rest.blobs, func(done, of int) {
		tell(fmt.Sprintf("reading local copies: %d of %d", done, of), done == of)
	})
	if err != nil {
		return 0, fmt.Errorf("local content: %w", err)
	}
	return c.mend(found)
}

// checkRemote asks the service, if that is wanted.
func (c *checkRun) checkRemote() (left int, err error) {
	if !c.remote {
		return 0, nil
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	service, err := c.options.openService(c.settings, c.profile, log)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, service.close()) }()
	tell, asked := progressLines(c.cmd.ErrOrStderr()), 0
	has, found, err := transfer.CheckRemote(c.cmd.Context(), c.rest.index, service.client, func(done, of int) {
		asked = of
		tell(fmt.Sprintf("asking the service: %d of %d files", done, of), done == of)
	})
	if err != nil {
		return 0, err
	}
	c.print("%s at the service, %d not", plural(has, "file"), asked-has)
	return c.mend(found)
}

// mend prints faults and mends what can be, if that is wanted.
func (c *checkRun) mend(found []transfer.Fault) (left int, err error) {
	notes := 0
	for _, f := range found {
		if f.Note && !c.repair {
			c.print("note: %s; the next mount sees to it", f)
			notes++
			continue
		}
		c.print("%s", f)
		if !c.repair || f.Mend == nil {
			left++
			continue
		}
		if err := f.Mend(); err != nil {
			return left, fmt.Errorf("repair %s: %w", f, err)
		}
	}
	if n := len(found) - left - notes; n > 0 {
		c.print("%s mended", plural(n, "problem"))
	}
	return left, nil
}
