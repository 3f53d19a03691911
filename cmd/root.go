// Package cmd is the command line of jit: one file per command.
//
// Rules, stated once:
//
//  1. Data goes to stdout, everything for people to stderr, so that pipes work.
//  2. Only this package prints, and only main exits.
//  3. No secret is ever read from or written to a flag; of the environment, only
//     what a CI runner or an operator put there for jit, which no child gets.
//  4. An error says what happened, why, and how to fix it; its exit code is in
//     ExitCode.
package cmd

import (
	"context"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Version is the version of this build, set by the linker.
var Version = "dev"

// Main runs jit with args and returns its exit code.
func Main(ctx context.Context, args []string) ExitCode {
	return NewApp().Run(ctx, args)
}

// Run runs one command line.
func (a *App) Run(ctx context.Context, args []string) ExitCode {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := newRoot(a)
	root.SetArgs(args)
	code := a.report(root.ExecuteContext(ctx))
	if code == ExitOK && len(args) > 0 && args[0] != cobra.ShellCompRequestCmd && args[0] != cobra.ShellCompNoDescRequestCmd {
		a.noticeUpdate(ctx, UpdateURL)
	}
	return code
}

func newRoot(a *App) *cobra.Command {
	root := &cobra.Command{
		Use:   "jit",
		Short: "Just-in-time data access for AI agents",
		Long: `jit runs an agent against Snowflake without giving it a credential.

It signs you in, asks for a time-boxed session, and puts a local broker between
the agent and Snowflake: every statement is understood, then runs, waits for a
person, or is refused; sensitive columns arrive masked; everything is recorded.`,
		Example: `  jit demo                             # see it work, no account needed
  jit login --server https://jit.example.com
  jit exec --reason "why" -- python report.py
  jit review                           # decide on what waits
  jit replay SESSION                   # see what happened`,
		Version:       Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		PersistentPreRun: func(*cobra.Command, []string) {
			if a.verbose {
				a.Logger = slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: slog.LevelDebug}))
				slog.SetDefault(a.Logger)
			}
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetIn(a.In)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w\nSee `%s --help`.", err, c.CommandPath())
	})
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "log what jit does to stderr")
	root.PersistentFlags().StringVar(&a.server, "server", "", "`URL` of the approval server (default: $JIT_SERVER, then what jit login was told)")
	root.PersistentFlags().StringVar(&a.identity, "identity", "", "act as a machine: `SOURCE` of its token, see jit login --help (default: $JIT_IDENTITY, then what jit login was told)")
	root.AddCommand(commands(a)...)
	root.AddCommand(newTopics()...)
	a.addCompletions(root)
	markUsage(root)
	return root
}

// commands lists every command; one line each.
func commands(a *App) []*cobra.Command {
	return []*cobra.Command{
		newAgentCommand(a),
		newApproveCommand(a),
		newAuditCommand(a),
		newConfigCommand(a),
		newConnectionCommand(a),
		newDemoAgentCommand(a),
		newDemoCommand(a),
		newDenyCommand(a),
		newDoctorCommand(a),
		newEnvCommand(a),
		newExecCommand(a),
		newGCCommand(a),
		newLoginCommand(a),
		newLogoutCommand(a),
		newMCPCommand(a),
		newManCommand(a),
		newPolicyCommand(a),
		newRecordingCommand(a),
		newReplayCommand(a),
		newRequestCommand(a),
		newReviewCommand(a),
		newServerCommand(a),
		newSessionCommand(a),
		newStatusCommand(a),
		newTerminalLeaderCommand(),
		newVersionCommand(a),
		newWebhookCommand(a),
		newWhoamiCommand(a),
	}
}

// markUsage turns errors of arguments, required flags and flag groups of every
// command into usage errors.
func markUsage(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.ArbitraryArgs
	}
	c.Args = func(c *cobra.Command, args []string) error {
		err := check(c, args)
		if err == nil {
			err = c.ValidateRequiredFlags()
		}
		if err == nil {
			err = c.ValidateFlagGroups()
		}
		if err != nil {
			return usagef("%w\nSee `%s --help`.", err, c.CommandPath())
		}
		return nil
	}
	for _, sub := range c.Commands() {
		markUsage(sub)
	}
}
