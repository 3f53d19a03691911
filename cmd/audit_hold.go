package cmd

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session/approval"
)

func newAuditHoldCommand(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "hold",
		Short: "Keep recordings from being deleted",
		Long: `Keep recordings from being deleted when their time is over (auditors).

Several matters may hold one session; it is kept until the last one lets go. That
a hold was placed or removed, by whom and why, is in the audit.`,
		Example: `  jit audit hold add SESSION --matter case-7 --reason "ordered by the court"
  jit audit hold list --json
  jit audit hold remove SESSION --matter case-7 --reason "the case is closed"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		newHoldChangeCommand(a, "add", "Keep a session's recording", "Keep a session's recording until the hold is removed (auditors). One that was deleted already cannot be held: the command says so.", (*approval.Client).AddHold),
		newHoldChangeCommand(a, "remove", "Let a session's recording go", "Remove a hold (auditors). If no other matter holds the session, its recording is deleted once its time is over.", (*approval.Client).RemoveHold),
		newHoldListCommand(a))
	return c
}

func newHoldChangeCommand(a *App, verb, short, long string, do func(*approval.Client, context.Context, string, string, string) error) *cobra.Command {
	var matter, reason string
	c := &cobra.Command{
		Use:     verb + " SESSION --reason TEXT",
		Short:   short,
		Long:    long + "\n\nExit codes: 0 done, 1 refused or failed, 4 sign in first, 5 not permitted.",
		Example: "  jit audit hold " + verb + " SESSION --matter case-7 --reason \"ordered by the court\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			if err := do(client, c.Context(), args[0], matter, reason); err != nil {
				return &Failure{What: "hold " + verb + " " + args[0], Err: err}
			}
			a.say("Done.")
			return nil
		},
	}
	c.Flags().StringVar(&matter, "matter", approval.DefaultMatter, "what it is held for, a word")
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	_ = c.MarkFlagRequired("reason") // the flag is there
	return c
}

func newHoldListCommand(a *App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "list [SESSION]",
		Short:   "List holds",
		Long:    "List the holds, of one session or of all, newest first (auditors).",
		Example: "  jit audit hold list\n  jit audit hold list SESSION --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			of := ""
			if len(args) > 0 {
				of = args[0]
			}
			list, err := client.Holds(c.Context(), of)
			if err != nil {
				return &Failure{What: "listing holds", Err: err}
			}
			switch {
			case asJSON:
				return a.printJSON(list)
			case len(list) == 0:
				a.say("Nothing is held.")
				return nil
			}
			return tableOf(a, []string{"SESSION", "MATTER", "SINCE", "BY", "REASON"}, list, func(h approval.Hold) []string {
				return []string{h.SessionID, h.Matter, h.PlacedAt.Local().Format(time.DateTime), h.PlacedBy, h.Reason}
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newTombstoneCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "tombstone SESSION",
		Short: "Print what stays of a deleted recording",
		Long: `Print, as JSON, what stays of a recording that was deleted: when, the hashes of all
its pieces, and the checkpoint that the witness cosigned. A copy that somebody
kept is the same if it verifies (jit recording verify) and has that root.`,
		Example: "  jit audit tombstone SESSION",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			stone, err := client.Tombstone(c.Context(), args[0])
			if err != nil {
				return &Failure{What: "fetching the tombstone of " + args[0], Err: err}
			}
			return a.printJSON(stone)
		},
	}
}
