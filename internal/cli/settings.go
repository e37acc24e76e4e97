package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adrg/xdg"
	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const envPrefix = "CHATFS_"

// A layer is one source of values, by key (the flag's name).
type layer struct {
	name   string // for a person: "the environment", a file's path
	values map[string]any
}

// settings is where a command's values came from.
type settings struct {
	layers  []layer           // the environment, the file, the login; highest first
	origins map[string]string // flag → the layer's name; a flag of the command line: "flag"
	path    string            // of the configuration file, there or not
}

// configPath is the configuration file's: CHATFS_CONFIG, else below
// XDG_CONFIG_HOME.
func configPath() string {
	if p := os.Getenv(envPrefix + "CONFIG"); p != "" {
		return p
	}
	return filepath.Join(xdg.ConfigHome, "chatfs", "config.toml")
}

// loadSettings reads the environment and the configuration file and sets the
// command's flags from them that the command line left alone.
func loadSettings(cmd *cobra.Command) (*settings, error) {
	s, problem, err := readSettings(cmd)
	if problem != nil {
		return nil, problem
	}
	return s, err
}

// loadSettingsAnyway is loadSettings for commands about a tree that is
// mounted already: what is wrong with the configuration file is a warning.
func loadSettingsAnyway(cmd *cobra.Command) (*settings, error) {
	s, problem, err := readSettings(cmd)
	if problem != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "chatfs: warning: %v\n", problem)
	}
	return s, err
}

// readSettings answers what is wrong with the file as problem; the settings
// have then what is right in it.
func readSettings(cmd *cobra.Command) (s *settings, problem, err error) {
	s = &settings{origins: make(map[string]string), path: configPath()}
	known := settingKeys(cmd.Root())
	fromFile, problem := readConfigFile(s.path, known)
	if cmd.Name() == "serve" { // run by units and containers, as mount is
		addFlags(known, cmd)
	}
	s.layers = []layer{{"the environment", readEnvironment(known)}, {s.path, fromFile}}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if e := s.apply(f); e != nil && err == nil {
			err = e
		}
	})
	return s, problem, err
}

// apply sets a flag that the command line left alone from the highest layer
// that has it.
func (s *settings) apply(f *pflag.Flag) error {
	if f.Changed {
		s.origins[f.Name] = "flag"
		return nil
	}
	for _, l := range s.layers {
		v, ok := l.values[f.Name]
		if !ok {
			continue
		}
		s.origins[f.Name] = l.name
		for _, text := range asTexts(v, f) {
			if err := f.Value.Set(text); err != nil {
				return fail(exitUsage, "%s: %s: %w", l.name, f.Name, err)
			}
		}
		return nil
	}
	return nil
}

// asTexts is a value of a file as a flag takes it. Lists are set one by one;
// so is a variable's, which separates by commas.
func asTexts(v any, f *pflag.Flag) []string {
	if list, ok := v.([]any); ok {
		texts := make([]string, len(list))
		for i, e := range list {
			texts[i] = fmt.Sprint(e)
		}
		return texts
	}
	if _, ok := f.Value.(pflag.SliceValue); ok {
		return strings.Split(fmt.Sprint(v), ",")
	}
	return []string{fmt.Sprint(v)}
}

// settingKeys are the flags of mount and the credentials' keys. What other
// commands are asked to do, to repair or to replace, is no setting: it is said
// each time. A flag of theirs that has the name of one of mount's means the same.
func settingKeys(root *cobra.Command) map[string]bool {
	known := make(map[string]bool)
	for _, c := range root.Commands() {
		if c.Name() == "mount" {
			addFlags(known, c)
		}
	}
	for _, k := range credentialKeys {
		known[k] = true
	}
	return known
}

func addFlags(known map[string]bool, cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { known[f.Name] = f.Name != "help" })
}

func readEnvironment(known map[string]bool) map[string]any {
	k := koanf.New("\x00") // no nesting
	provider := env.Provider("\x00", env.Opt{
		Prefix: envPrefix,
		TransformFunc: func(key, value string) (string, any) {
			key = strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(key, envPrefix), "_", "-"))
			if !known[key] || value == "" {
				return "", nil
			}
			return key, value
		},
	})
	if err := k.Load(provider, nil); err != nil {
		panic(err) // the provider reads memory alone
	}
	return k.All()
}

// readConfigFile reads the file; none is an empty one. A key that no setting
// has, and credentials that others may read, are errors, beside the values
// that are right.
func readConfigFile(path string, known map[string]bool) (map[string]any, error) {
	k := koanf.New("\x00")
	err := k.Load(file.Provider(path), toml.Parser())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fail(exitUsage, "configuration file %s: %w", path, err)
	}
	values := k.All()
	err = checkPrivate(path, values)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !known[key] {
			err = fail(exitUsage, "configuration file %s: no setting is called %q (chatfs config lists them)", path, key)
			delete(values, key)
		}
	}
	return values, err
}

// checkPrivate refuses a file with credentials that other users may read.
func checkPrivate(path string, values map[string]any) error {
	info, err := os.Stat(path)
	if err != nil {
		return fail(exitUsage, "configuration file: %w", err)
	}
	for _, key := range secretKeys {
		if _, ok := values[key]; ok && info.Mode().Perm()&0o077 != 0 {
			return fail(exitUsage, "%s holds a %s and others may read it: run chmod 600 %s", path, key, path)
		}
	}
	return nil
}

// origin is where a flag's value came from, for a person.
func (s *settings) origin(flag string) string {
	if o := s.origins[flag]; o != "" {
		return o
	}
	return "default"
}

// value is a key's from the highest layer that has it, nil if none does.
func (s *settings) value(key string) any {
	for _, l := range s.layers {
		if v, ok := l.values[key]; ok {
			return v
		}
	}
	return nil
}
