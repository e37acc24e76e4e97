package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"chatfs/internal/control"
)

func newBackup() *cobra.Command {
	o := &mountOptions{}
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the index of a profile to a file",
		Long: `Copy the names and share-secrets of a profile to FILE, whether it is mounted or
not. The file is readable by you alone, and holds the secrets in the clear. To
go back to it, put it in the place of index.db while nothing is mounted, and
remove the journals beside it. What waits for upload is not in it.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fail(exitUsage, "chatfs backup needs one file")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := findTarget(cmd, o, nil)
			if err != nil {
				return err
			}
			return t.backup(cmd, args[0])
		},
	}
	o.profile.register(cmd.Flags())
	return cmd
}

// backup has the process write the copy, or does so if there is none.
func (t *target) backup(cmd *cobra.Command, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fail(exitUsage, "%s exists already: choose another name", path)
	}
	var size int64
	err := writePrivate(path, func(w io.Writer) error {
		err := t.ask(cmd, control.Request{Op: control.OpBackup}, func(e control.Event) error {
			n, err := w.Write(e.Data)
			size += int64(n)
			return err
		})
		if exitCode(err) != exitNotMounted {
			return err
		}
		size, err = t.profile.backupAtRest(w)
		return err
	})
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s written (%s), with share-secrets in the clear\n", path, formatSize(size))
	return err
}

func (p *profile) backupAtRest(w io.Writer) (size int64, err error) {
	rest, err := p.openAtRest(false)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rest.close()) }()
	err = rest.index.Backup(&pieces{send: func(b []byte) error {
		n, err := w.Write(b)
		size += int64(n)
		return err
	}})
	return size, err
}

// pieces hands on what is written to it.
type pieces struct{ send func([]byte) error }

func (p *pieces) Write(b []byte) (int, error) {
	if err := p.send(b); err != nil {
		return 0, err
	}
	return len(b), nil
}
