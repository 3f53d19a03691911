package cmd

import (
	"encoding/json"
	"fmt"

	"github.com/invopop/jsonschema"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newServerCheckConfigCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "check-config [FILE]",
		Short: "Check the settings of a server",
		Long: `Check a server's settings, as jit server would take them: the config file (or
$JIT_SERVER_CONFIG), and over it the environment. Nothing is opened or started.

Exit codes: 0 they are good, 2 they are not.`,
		Example: "  jit server check-config /etc/jit/server.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			if _, err := a.serverSettings(file, serverOptions{}, func(string) bool { return false }); err != nil {
				return err
			}
			a.say("The settings are good.")
			return nil
		},
	}
}

func newServerConfigSchemaCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "config-schema",
		Short:   "Print the JSON Schema of the server's config file",
		Long:    "Print the JSON Schema (draft 2020-12) of the server's config file, for editors and pipelines. What settings must be together is not in it: `jit server check-config` checks that too.",
		Example: "  jit server config-schema > server.schema.json\n  # yaml-language-server: $schema=server.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b, err := json.MarshalIndent(serverSchema(), "", "  ")
			if err != nil {
				return fmt.Errorf("printing the schema: %w", err)
			}
			_, err = fmt.Fprintf(a.Out, "%s\n", b)
			return err
		},
	}
}

// serverSchema describes the config file from what reads it: the fields are the
// settings, and the flags say what they are.
func serverSchema() *jsonschema.Schema {
	r := jsonschema.Reflector{FieldNameTag: "yaml", ExpandedStruct: true, DoNotReference: true, RequiredFromJSONSchemaTags: true, Anonymous: true}
	s := r.Reflect(&serverOptions{})
	s.ID, s.Title = "", "The config file of jit server"
	var (
		file  string
		flags serverOptions
	)
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	registerServerFlags(f, &file, &flags)
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		if flag := f.Lookup(flagName(p.Key)); flag != nil {
			p.Value.Description = flag.Usage
		}
		switch p.Key {
		case "recordings_retention", "recordings_lock":
			p.Value.Pattern = spanPattern
		}
	}
	return s
}
