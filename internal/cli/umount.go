package cli

import (
	"github.com/spf13/cobra"

	"chatfs/internal/control"
)

func newUmount() *cobra.Command {
	o := &mountOptions{}
	cmd := &cobra.Command{
		Use:   "umount [DIR]",
		Short: "Unmount a tree and finish its uploads",
		Long: `Unmount a tree, wait until its process has finished the uploads (at most its
--drain-timeout) and ended, and end with its exit code: 0 if all is at the
service, 8 if some files wait for the next mount, 9 if some can't be uploaded.
A mount that a crash left is cleared.`,
		Args: atMostOneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && exitCode(clearDead(cmd, args[0])) == exitOK {
				return nil
			}
			t, err := findTarget(cmd, o, args)
			if err != nil {
				return err
			}
			return t.ask(cmd.Context(), control.Request{Op: control.OpUmount}, printLines(cmd))
		},
	}
	o.profile.register(cmd.Flags())
	return cmd
}

// clearDead clears a dead mount; an error means that dir is none.
func clearDead(cmd *cobra.Command, dir string) error {
	path, err := resolveMountpoint(dir)
	if err != nil {
		return err
	}
	m, err := mountAt(path)
	if err != nil || m == nil || !isDead(path) {
		return fail(exitNotMounted, "no dead mount")
	}
	_, err = prepareMountpoint(dir, cmd.ErrOrStderr())
	return err
}
