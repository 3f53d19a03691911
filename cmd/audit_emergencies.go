package cmd

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session/approval"
)

func newAuditEmergenciesCommand(a *App) *cobra.Command {
	var open, asJSON bool
	c := &cobra.Command{
		Use:   "emergencies",
		Short: "List emergency access, and what still has to be looked at",
		Long: `List the sessions that were opened as an emergency, without a reviewer. Each has
to be looked at afterwards by somebody who may review it and did not open it:
read the recording, then say so with ` + "`jit audit emergencies review`" + `.

Exits with 0, also if something still has to be looked at.`,
		Example: `  jit audit emergencies --open
  jit audit emergencies --json
  jit audit emergencies review req_… --reason "recording read, all as the ticket says"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.emergencies(c.Context(), open, asJSON) },
	}
	c.Flags().BoolVar(&open, "open", false, "only those that nobody has looked at yet")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.AddCommand(newEmergencyReviewCommand(a))
	return c
}

func (a *App) emergencies(ctx context.Context, open, asJSON bool) error {
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	list, err := client.Emergencies(ctx, open)
	if err != nil {
		return &Failure{What: "listing emergencies", Err: err}
	}
	if asJSON {
		return a.printJSON(list)
	}
	if len(list) == 0 {
		a.say("There is none.")
		return nil
	}
	return tableOf(a, []string{"REQUEST", "WHEN", "WHO", "CONNECTION", "TICKET", "REASON", "SESSION", "LOOKED AT"}, list, func(e approval.Emergency) []string {
		looked := "NOT YET"
		if !e.ReviewedAt.IsZero() {
			looked = e.ReviewedBy + ": " + e.Review
		}
		return []string{e.RequestID, e.At.Local().Format(time.DateTime), e.User, e.Connection, e.Ticket, e.Reason, e.SessionID, looked}
	})
}

func newEmergencyReviewCommand(a *App) *cobra.Command {
	var (
		reason string
		asJSON bool
	)
	c := &cobra.Command{
		Use:     "review REQUEST --reason TEXT",
		Short:   "Say that you have looked at an emergency",
		Long:    "Say that you have looked at an emergency, and what you found. It is recorded under your name, once.",
		Example: `  jit audit emergencies review req_… --reason "recording read, all as the ticket says"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			e, err := client.ReviewEmergency(c.Context(), args[0], reason)
			if err != nil {
				return &Failure{What: "reviewing emergency " + args[0], Err: err}
			}
			a.say("Recorded.")
			if asJSON {
				return a.printJSON(e)
			}
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "what you found")
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	_ = c.MarkFlagRequired("reason") // the flag is there
	return c
}
