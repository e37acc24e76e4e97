package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"chatfs/internal/control"
)

func newBackup() *cobra.Command {
	o, keys := &mountOptions{}, &keyFlags{}
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the names and share-secrets of a profile to a file",
		Long: `Copy the names and share-secrets of a profile to FILE, whether it is mounted or
not, encrypted with age: to a passphrase, which is asked for, or taken from
CHATFS_BACKUP_PASSPHRASE or --passphrase-file; or to --recipient, an age key.
The file is readable by you alone. chatfs restore goes back to it. FILE may be -
for the standard output, unless that is a terminal.

The contents of files are not in it: they are at the service, and what waits for
its upload, or is pinned, in the profile's state directory.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return fail(exitUsage, "chatfs backup needs one file")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := findTarget(cmd, o, nil)
			if err != nil {
				return err
			}
			return t.backup(cmd, args[0], keys)
		},
	}
	o.profile.register(cmd.Flags())
	keys.registerSealing(cmd.Flags())
	return cmd
}

// backup writes what the process sends, or what the profile has if there is
// none.
func (t *target) backup(cmd *cobra.Command, path string, keys *keyFlags) error {
	if err := checkBackupPath(cmd.OutOrStdout(), path); err != nil {
		return err
	}
	seals, err := keys.seals(cmd)
	if err != nil {
		return err
	}
	service, err := t.profile.boundTo()
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	write := func(w io.Writer) error {
		return writeArchive(w, service, seals, func(w io.Writer) error { return t.copyIndex(cmd, w) })
	}
	if path == stdio {
		if err := write(raw(cmd.OutOrStdout())); err != nil {
			return fmt.Errorf("backup: what was written is no whole one: %w", err)
		}
		return nil
	}
	if err := writePrivate(path, write); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	how := "encrypted"
	if keys.plaintext {
		how = "with share-secrets in the clear"
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s written (%s), %s\n", path, formatSize(info.Size()), how)
	return err
}

// stdio names the standard output or input where a file is asked for.
const stdio = "-"

// checkBackupPath refuses what can't take a backup before a passphrase is asked
// for, and before anything is made.
func checkBackupPath(out io.Writer, path string) error {
	if path == stdio {
		if f, ok := raw(out).(*os.File); ok && isTerminal(f) {
			return fail(exitUsage, "a backup is nothing for a terminal: name a file, or lead the output into one")
		}
		return nil
	}
	if _, err := os.Lstat(path); err == nil {
		return fail(exitUsage, "%s exists already: choose another name", path)
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil {
		return fail(exitUsage, "%s can't be written: %w (make the directory first)", path, err)
	} else if !info.IsDir() {
		return fail(exitUsage, "%s can't be written: %s is no directory", path, dir)
	}
	return nil
}

// copyIndex writes the index's copy.
func (t *target) copyIndex(cmd *cobra.Command, w io.Writer) error {
	err := t.ask(cmd.Context(), control.Request{Op: control.OpBackup}, func(e control.Event) error {
		_, err := w.Write(e.Data)
		return err
	})
	if exitCode(err) != exitNotMounted {
		return err
	}
	return t.profile.backupAtRest(w)
}

func (p *profile) backupAtRest(w io.Writer) (err error) {
	rest, err := p.openAtRest(false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rest.close()) }()
	return rest.index.Backup(w)
}

// pieces hands on what is written to it.
type pieces struct{ send func([]byte) error }

func (p *pieces) Write(b []byte) (int, error) {
	if err := p.send(b); err != nil {
		return 0, err
	}
	return len(b), nil
}
