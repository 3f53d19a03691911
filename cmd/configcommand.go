package cmd

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

//go:embed config.schema.json
var configSchema string

func newConfigCommand(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Look at the config file, and change it",
		Long: `Look at the config file, and change it. It belongs to the person; nothing is read
from the working directory, which the agent may write to: a .jit.yaml in a
repository has no effect.

Keys are server, connection, identity, title, profile, and profiles.NAME.FIELD
with the fields connection, role, warehouse, database, schema, ttl, hold, reason,
intercept and record_terminal. What ` + "`jit login`" + ` learned of the identity
provider (issuer, client_id, scopes) is shown, and only ` + "`jit login`" + ` changes it.`,
		Example: `  jit config set profiles.night.connection prod
  jit config set profiles.night.ttl 8h
  jit exec --profile night --reason "nightly build" -- dbt build
  jit config list`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newConfigListCommand(a), newConfigGetCommand(a), newConfigSetCommand(a), newConfigUnsetCommand(a), newConfigPathCommand(a), newConfigSchemaCommand(a))
	return c
}

// configKey is one setting as text.
type configKey struct {
	name    string
	get     func(Config) string
	set     func(*Config, string) error // nil: jit login sets it
	ofLogin bool
}

func textKey(name string, at func(*Config) *string) configKey {
	return configKey{name: name, get: func(c Config) string { return *at(&c) }, set: func(c *Config, v string) error {
		*at(c) = v
		return c.check()
	}}
}

func loginKey(name string, get func(Config) string) configKey {
	return configKey{name: name, get: get, ofLogin: true}
}

// configKeys are the keys outside profiles, in the order of the file.
var configKeys = []configKey{
	textKey("server", func(c *Config) *string { return &c.Server }),
	loginKey("issuer", func(c Config) string { return c.Issuer }),
	loginKey("client_id", func(c Config) string { return c.ClientID }),
	loginKey("scopes", func(c Config) string { return strings.Join(c.Scopes, " ") }),
	textKey("connection", func(c *Config) *string { return &c.Connection }),
	textKey("identity", func(c *Config) *string { return &c.Identity }),
	textKey("title", func(c *Config) *string { return &c.Title }),
	textKey("profile", func(c *Config) *string { return &c.Profile }),
}

// findKey finds a setting by its name.
func findKey(name string) (configKey, error) {
	for _, k := range configKeys {
		if k.name == name {
			return k, nil
		}
	}
	rest, ok := strings.CutPrefix(name, "profiles.")
	profile, field, two := strings.Cut(rest, ".")
	if ok && two && profileName(profile) {
		for _, f := range profileFields {
			if f.name == field {
				return profileKey(name, profile, f), nil
			}
		}
	}
	return configKey{}, usagef("%q is no key of the config file; see `jit config --help`", name)
}

func profileKey(name, profile string, f profileField) configKey {
	return configKey{
		name: name,
		get:  func(c Config) string { return f.get(c.Profiles[profile]) },
		set: func(c *Config, v string) error {
			p := c.Profiles[profile]
			if err := f.set(&p, v); err != nil {
				return err
			}
			if c.Profiles == nil {
				c.Profiles = map[string]Profile{}
			}
			if c.Profiles[profile] = p; p == (Profile{}) {
				delete(c.Profiles, profile)
			}
			return nil
		},
	}
}

// settings lists what is set, in the order of the file.
func (c Config) settings() []configKey {
	var list []configKey
	for _, k := range configKeys {
		if k.get(c) != "" {
			list = append(list, k)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Profiles)) {
		for _, f := range profileFields {
			if f.get(c.Profiles[name]) != "" {
				list = append(list, profileKey("profiles."+name+"."+f.name, name, f))
			}
		}
	}
	return list
}

func newConfigListCommand(a *App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List what is set",
		Long:    "List what is set in the config file.",
		Example: "  jit config list\n  jit config list --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			if _, err := os.Stat(".jit.yaml"); err == nil {
				a.say("jit: .jit.yaml in this folder has no effect: jit reads no settings from repositories.")
			}
			all := map[string]string{}
			var b strings.Builder
			for _, k := range cfg.settings() {
				all[k.name] = k.get(cfg)
				fmt.Fprintf(&b, "%s=%s\n", k.name, flat(k.get(cfg)))
			}
			if asJSON {
				return a.printJSON(all)
			}
			return a.printf("%s", b.String())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newConfigGetCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "get KEY",
		Short:   "Print one setting",
		Long:    "Print one setting. Exit code 1 if it is not set.",
		Example: "  jit config get server\n  jit config get profiles.night.ttl",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := findKey(args[0])
			if err != nil {
				return err
			}
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			if k.get(cfg) == "" {
				return &Failure{What: k.name + " is not set"}
			}
			return a.printf("%s\n", k.get(cfg))
		},
	}
}

func newConfigSetCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "set KEY VALUE",
		Short:   "Change one setting",
		Long:    "Change one setting. A value that jit could not use is refused, and the file stays as it is.",
		Example: "  jit config set connection prod\n  jit config set title off",
		Args:    cobra.ExactArgs(2),
		RunE:    func(_ *cobra.Command, args []string) error { return a.setConfig(args[0], args[1]) },
	}
}

func newConfigUnsetCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "unset KEY",
		Short:   "Remove one setting",
		Long:    "Remove one setting; its default holds again.",
		Example: "  jit config unset connection\n  jit config unset profiles.night.role",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.setConfig(args[0], "") },
	}
}

func (a *App) setConfig(name, value string) error {
	k, err := findKey(name)
	if err != nil {
		return err
	}
	if k.ofLogin {
		return usagef("%s: %w", name, errors.New("`jit login` sets it, from what the server says"))
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	if err := k.set(&cfg, value); err != nil {
		return usagef("%s: %w", name, err)
	}
	return a.saveConfig(cfg)
}

func newConfigPathCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "path",
		Short:   "Print where the config file is",
		Long:    "Print where the config file is: $JIT_CONFIG, or config.yaml in $XDG_CONFIG_HOME/jit.",
		Example: "  $EDITOR \"$(jit config path)\"",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.printf("%s\n", a.configFile()) },
	}
}

func newConfigSchemaCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the config file",
		Long:    "Print the JSON Schema of the config file, for editors and checks.",
		Example: "  jit config schema > jit-config.schema.json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.printf("%s", configSchema) },
	}
}
