package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"
)

// Execute runs the command with these arguments (without the program's name)
// and answers the process's exit code. Errors are told on stderr.
func Execute(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	return tell(root.ErrOrStderr(), root.ExecuteContext(context.Background()))
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "chatfs",
		Short: "Mount the files of a chat service as a directory",
		Long: `chatfs mounts the files of a chat service as a directory: what is copied in is
uploaded, what was uploaded is a readable file, and a picture has its
thumbnail beside it. Without an account it runs a service of its own.

Every flag of chatfs mount is also a variable CHATFS_<FLAG> (CHATFS_CACHE_SIZE
for --cache-size) and a key of the configuration file; a flag goes before a
variable, a variable before the file. Those of chatfs serve are variables too.`,
		Args:              cobra.ArbitraryArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error { return findHome() },
		RunE:              unknownCommand,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetOut(screen{os.Stdout})
	root.SetErr(screen{os.Stderr})
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fail(exitUsage, "%w (see %s --help)", err, c.CommandPath())
	})
	root.AddCommand(newMount(), newUmount(), newStatus(), newSync(), newHistory(), newServe(),
		newLogin(), newCheck(), newBackup(), newRestore(), newConfig(), newVersion())
	return root
}

// unknownCommand is what chatfs alone does: help, or an error for a word
// that is no command.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fail(exitUsage, "there is no command %q (see chatfs --help)", args[0])
	}
	return cmd.Help()
}

// oneDir takes exactly one argument, the mount point.
func oneDir(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fail(exitUsage, "%s needs one directory (see %s --help)", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// atMostOneDir takes an optional mount point.
func atMostOneDir(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fail(exitUsage, "%s takes at most one directory (see %s --help)", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// noArgs takes no argument.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) != 0 {
		return fail(exitUsage, "%s takes no argument: %q (see %s --help)", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}
