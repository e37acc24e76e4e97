package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newCheck() *cobra.Command {
	o, repair := &mountOptions{}, false
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check that the index of a profile agrees with itself",
		Long: `Check names, links, queue, entities and digests of a profile that is not
mounted against each other. Exit code 5 means that something is wrong.
--repair mends what can be; it never drops a share-secret.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := loadSettings(cmd)
			if err != nil {
				return err
			}
			p, err := o.chooseProfile(set)
			if err != nil {
				return err
			}
			return p.check(cmd, repair)
		},
	}
	o.profile.register(cmd.Flags())
	cmd.Flags().BoolVar(&repair, "repair", false, "mend what can be mended")
	return cmd
}

func (p *profile) check(cmd *cobra.Command, repair bool) (err error) {
	rest, err := p.openAtRest()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rest.close()) }()
	found := rest.index.Check()
	for _, problem := range found {
		fmt.Fprintln(cmd.OutOrStdout(), problem)
	}
	if repair && len(found) > 0 {
		if err := rest.index.Repair(found); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
		left := rest.index.Check()
		fmt.Fprintf(cmd.OutOrStdout(), "%s mended\n", plural(len(found)-len(left), "problem"))
		found = left
	}
	if len(found) > 0 {
		return fail(exitIndex, "profile %s: %s", p.name, plural(len(found), "problem"))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "profile %s: the index is sound\n", p.name)
	return nil
}
