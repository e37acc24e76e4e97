package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"chatfs/internal/control"
)

func newSync() *cobra.Command {
	o, retry := &mountOptions{}, false
	cmd := &cobra.Command{
		Use:   "sync [DIR]",
		Short: "Wait until everything is uploaded",
		Long: `Wait until every file of a mounted tree is at the service. Exit code 0 means
that all are; 8 that all are but those that programs have open for writing: they
are named, and sent once they are closed; 9 that some can't be uploaded (chatfs
status tells why).`,
		Args: atMostOneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := findTarget(cmd, o, args)
			if err != nil {
				return err
			}
			return t.ask(cmd.Context(), control.Request{Op: control.OpSync, Retry: retry}, printLines(cmd))
		},
	}
	o.profile.register(cmd.Flags())
	cmd.Flags().BoolVar(&retry, "retry", false, "start failed uploads again")
	return cmd
}

// printLines shows the other process's progress.
func printLines(cmd *cobra.Command) func(control.Event) error {
	return func(e control.Event) error {
		_, err := fmt.Fprintf(cmd.ErrOrStderr(), "chatfs: %s\n", plain(e.Line))
		return err
	}
}
