package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/spf13/cobra"
)

func newLogin() *cobra.Command {
	o, profile := &serviceFlags{}, ""
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Prove credentials to a service and keep them for chatfs mount",
		Long: `Ask for a user's name and password (or take credentials from the environment or
the configuration file, as chatfs mount does), prove them to --remote, and keep
them with the address in a file that you alone can read. From then on chatfs
mount needs no --remote and no credentials.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := loadSettings(cmd)
			if err != nil {
				return err
			}
			return login(cmd, o, set, profile)
		},
	}
	o.register(cmd.Flags())
	cmd.Flags().StringVar(&profile, "profile", "", "keep them for mounts with this --profile alone")
	return cmd
}

func login(cmd *cobra.Command, o *serviceFlags, set *settings, profile string) error {
	if o.remote == "" {
		return fail(exitUsage, "chatfs login needs --remote https://HOST/ORG/APP")
	}
	if profile != "" && !profileName.MatchString(profile) {
		return fail(exitUsage, "--profile %q: letters, digits and . _ @ + - alone", profile)
	}
	if err := o.check(); err != nil {
		return err
	}
	creds, err := pickCredentials(set.layers)
	if err != nil {
		return err
	}
	if creds.kind == "" {
		asked, err := askUser(cmd.InOrStdin(), cmd.ErrOrStderr())
		if err != nil {
			return fail(exitCredentials, "login: %w", err)
		}
		set.layers = append(set.layers, asked)
	}
	if err := prove(cmd, o, set); err != nil {
		return err
	}
	path := loginPath(profile)
	if err := storeLogin(path, o.remote, set); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s took the credentials; they are kept in %s\n", o.remote, path)
	return err
}

// prove has the service take the credentials; unlike a mount, a login is
// nothing without it.
func prove(cmd *cobra.Command, o *serviceFlags, set *settings) error {
	e, err := o.connect(set, newLogger(cmd.ErrOrStderr(), "error"))
	if err != nil {
		return err
	}
	warning, err := e.login(cmd.Context())
	if err == nil && warning != "" {
		err = errors.New(warning)
	}
	return errors.Join(err, e.close())
}

// askUser asks for a user's name and password; a terminal does not show the
// latter.
func askUser(in io.Reader, out io.Writer) (layer, error) {
	lines := bufio.NewReader(in)
	fmt.Fprint(out, "User name: ")
	name, err := readLine(lines)
	if err != nil {
		return layer{}, fmt.Errorf("no user name: %w", err)
	}
	fmt.Fprint(out, "Password: ")
	restore := hideInput(in)
	password, err := readLine(lines)
	restore()
	fmt.Fprintln(out)
	if err != nil {
		return layer{}, fmt.Errorf("no password: %w", err)
	}
	return layer{"your answer", map[string]any{"username": name, "password": password}}, nil
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if line == "" && err == nil {
		err = io.ErrUnexpectedEOF
	}
	if line != "" {
		err = nil
	}
	return line, err
}

// storeLogin writes the address and the credentials that were used, 0600,
// whole or not at all.
func storeLogin(path, base string, set *settings) error {
	creds, err := pickCredentials(set.layers)
	if err != nil {
		return err
	}
	values := map[string]any{"remote": base}
	switch creds.kind {
	case "token":
		values["token"] = creds.token.Reveal()
	case "client":
		values["client-id"], values["client-secret"] = creds.clientID, creds.clientSecret.Reveal()
	case "user":
		values["username"], values["password"] = creds.username, creds.password.Reveal()
	}
	text, err := toml.Parser().Marshal(values)
	if err != nil {
		return fmt.Errorf("login: %w", err)
	}
	return writePrivate(path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// writePrivate writes a file for this user alone by way of a temporary one.
func writePrivate(path string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already after the rename
	if err = errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
