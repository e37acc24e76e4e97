package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newConfig() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Show the settings of chatfs mount, and where each comes from",
		Long: `Show what chatfs mount would take from the environment, the configuration file
and its defaults, as lines of a configuration file. Credentials are not shown.`,
		Args: noArgs,
		RunE: showConfig,
	}
}

func showConfig(cmd *cobra.Command, _ []string) error {
	mount, _, err := cmd.Root().Find([]string{"mount"})
	if err != nil {
		return err
	}
	set, err := loadSettings(mount)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "# the configuration file is %s\n", set.path)
	mount.LocalFlags().VisitAll(func(f *pflag.Flag) {
		switch {
		case f.Name == "help":
		case f.Value.String() == "": // unset
			fmt.Fprintf(w, "# %s =\t# %s\n", f.Name, set.origin(f.Name))
		default:
			fmt.Fprintf(w, "%s = %s\t# %s\n", f.Name, tomlValue(f), set.origin(f.Name))
		}
	})
	creds, err := pickCredentials(set.layers)
	if err != nil {
		return err
	}
	if creds.kind != "" {
		fmt.Fprintf(w, "# credentials: %s\t# %s\n", creds, creds.origin)
	}
	return w.Flush()
}

// tomlValue is a flag's value as the file takes it.
func tomlValue(f *pflag.Flag) string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		texts := make([]string, 0, len(list.GetSlice()))
		for _, t := range list.GetSlice() {
			texts = append(texts, quote(t))
		}
		return "[" + strings.Join(texts, ", ") + "]"
	}
	switch f.Value.Type() {
	case "bool", "int", "float64":
		return f.Value.String()
	}
	return quote(f.Value.String())
}

// quote writes a basic string of TOML, whose escapes are those of JSON.
func quote(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(text)
}
