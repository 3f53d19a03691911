package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// fileExports is in the private folder of the wiring: what a child gets in its
// environment, for tools that are started elsewhere. Like connections.toml beside
// it, it holds the lease, and is gone with the session.
const fileExports = "environment.json"

// shells are the syntaxes that exports can be printed in.
var shells = map[string]struct {
	set, unset func(name, value string) string
}{
	"sh": {
		func(name, value string) string { return "export " + name + "=" + quoteSh(value) },
		func(name, _ string) string { return "unset " + name },
	},
	"fish": {
		func(name, value string) string { return "set -gx " + name + " " + quoteFish(value) },
		func(name, _ string) string { return "set -e " + name },
	},
	"powershell": {
		func(name, value string) string {
			return "$env:" + name + " = '" + strings.ReplaceAll(value, "'", "''") + "'"
		},
		func(name, _ string) string { return "Remove-Item Env:" + name + " -ErrorAction SilentlyContinue" },
	},
}

func quoteSh(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func quoteFish(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

func newEnvCommand(a *App) *cobra.Command {
	var shell string
	var asJSON bool
	c := &cobra.Command{
		Use:   "env [SESSION]",
		Short: "Print the environment of a running session",
		Long: `Print what a command started elsewhere needs in its environment to use a session
that runs on this machine: where the broker is and the lease that opens it, until
the session ends. It is never a Snowflake credential. Variables of this shell that
would lead past the broker are unset.

Without an argument it is the one session that runs. ` + "`jit exec --env-only`" + `
opens a session and keeps it open without running a command.`,
		Example: `  eval "$(jit env)"
  jit env SESSION --shell fish | source
  jit env --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := a.oneRunning(first(args))
			if err != nil {
				return err
			}
			data, err := os.ReadFile(filepath.Join(s.Wiring, fileExports))
			if err != nil {
				return &Failure{What: "reading the environment of session " + s.Session, Err: err}
			}
			var vars map[string]string
			if err := json.Unmarshal(data, &vars); err != nil {
				return &Failure{What: "reading the environment of session " + s.Session, Err: err}
			}
			if asJSON {
				return a.printJSON(vars)
			}
			return a.printExports(vars, shell)
		},
	}
	c.Flags().StringVar(&shell, "shell", "sh", "syntax: sh (also bash and zsh), fish or powershell")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.MarkFlagsMutuallyExclusive("shell", "json")
	_ = c.RegisterFlagCompletionFunc("shell", cobra.FixedCompletions(slices.Sorted(maps.Keys(shells)), cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return c
}

// printExports prints variables so that a shell can evaluate them.
func (a *App) printExports(vars map[string]string, shell string) error {
	syntax, ok := shells[shell]
	if !ok {
		return usagef("--shell %q: sh, fish and powershell are known", shell)
	}
	var b strings.Builder
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if _, ours := vars[name]; !ours && scrubbed(name) && plainName(name) {
			fmt.Fprintln(&b, syntax.unset(name, ""))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintln(&b, syntax.set(name, vars[name]))
	}
	return a.printf("%s", b.String())
}

// plainName reports whether a variable's name can stand in a shell's command.
func plainName(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") == ""
}

// writeExports leaves the child's variables in the wiring's folder.
func (w *wiring) writeExports() error {
	data, err := json.Marshal(w.vars)
	if err != nil {
		return fmt.Errorf("writing the child's environment: %w", err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, fileExports), data, 0o600); err != nil {
		return fmt.Errorf("writing the child's environment: %w", err)
	}
	return nil
}

// oneRunning finds a running session by its id, or the only one there is. Inside
// a session it is that one.
func (a *App) oneRunning(id string) (runningSession, error) {
	list, err := a.Paths.runningSessions()
	if err != nil {
		return runningSession{}, &Failure{What: "finding the session", Err: err}
	}
	if id == "" {
		id = a.Getenv("JIT_SESSION")
	}
	if id != "" {
		list = slices.DeleteFunc(list, func(s runningSession) bool { return s.Session != id })
	}
	switch len(list) {
	case 1:
		return list[0], nil
	case 0:
		return runningSession{}, &Failure{What: "finding the session", Err: errors.New("no such session runs on this machine"), Fix: "`jit status` lists those that do; `jit exec` opens one."}
	}
	return runningSession{}, usagef("%d sessions run on this machine: name one. `jit status` lists them.", len(list))
}
