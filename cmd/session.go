package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/approval"
)

func newSessionCommand(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "session",
		Short: "Look at sessions, extend and end them",
		Long:  "Look at sessions: yours, and those of people you review. Ask for more time for yours; revoke one to end it now.",
		Example: `  jit session list
  jit session extend --for 30m --reason "two tables to go"
  jit session revoke ses_… --reason "wrong database"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSessionListCommand(a), newSessionShowCommand(a), newSessionExtendCommand(a), newSessionRevokeCommand(a))
	return c
}

func newSessionListCommand(a *App) *cobra.Command {
	var all, asJSON bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List sessions",
		Long:    "List the sessions that are open, or all of them.",
		Example: "  jit session list\n  jit session list --all --json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.sessionList(c.Context(), all, asJSON) },
	}
	c.Flags().BoolVar(&all, "all", false, "also those that are over")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *App) sessionList(ctx context.Context, all, asJSON bool) error {
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	sessions, err := client.Sessions(ctx)
	if err != nil {
		return &Failure{What: "listing sessions", Err: err}
	}
	var list []session.Session
	for _, s := range sessions {
		if all || s.Phase == session.PhaseOpen {
			list = append(list, s)
		}
	}
	if asJSON {
		return printDocs(a, list, approval.FormatSession)
	}
	if len(list) == 0 {
		a.say("No session is open.")
		return nil
	}
	return tableOf(a, []string{"ID", "PHASE", "WHO", "CONNECTION", "ROLE", "OPENED", "ENDS", "WHY IT ENDED"}, list, func(s session.Session) []string {
		return []string{s.ID, s.Phase.String(), s.Principal.Display(), s.Scope.Connection, s.Scope.Role,
			s.OpenedAt.Local().Format(time.DateTime), endOf(s), s.EndReason}
	})
}

func emergencyWord(emergency bool) string {
	if emergency {
		return "opened without a reviewer"
	}
	return ""
}

// endOf is a session's deadline, or how long it will last once it is used.
func endOf(s session.Session) string {
	if s.Phase == session.PhaseOpen && s.FirstUseAt.IsZero() {
		return s.Scope.TTL.String() + " after first use"
	}
	return s.Deadline.Local().Format(time.DateTime)
}

func newSessionShowCommand(a *App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one session",
		Long:    "Show one session: who, where, until when, and why it ended.",
		Example: "  jit session show ses_…",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.sessionShow(c.Context(), args[0], asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *App) sessionShow(ctx context.Context, id string, asJSON bool) error {
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	s, err := client.Session(ctx, id)
	if err != nil {
		return &Failure{What: "showing session " + id, Err: err}
	}
	if asJSON {
		b, err := approval.FormatSession(s)
		if err != nil {
			return fmt.Errorf("printing JSON: %w", err)
		}
		return a.printJSON(json.RawMessage(b))
	}
	var b strings.Builder
	for _, f := range [][2]string{
		{"session", s.ID + " (" + s.Phase.String() + ")"}, {"emergency", emergencyWord(s.Emergency)}, {"who", s.Principal.Display()}, {"agent", strings.Join(s.Agent.Command, " ")},
		{"host", s.Agent.Host}, {"connection", s.Scope.Connection}, {"role", s.Scope.Role}, {"warehouse", s.Scope.Warehouse},
		{"database", strings.Trim(s.Scope.Database+"."+s.Scope.Schema, ".")}, {"opened", s.OpenedAt.Local().Format(time.DateTime)},
		{"ends", endOf(s)}, {"ended", s.EndReason}, {"policy", s.PolicyDigest},
	} {
		if f[1] != "" {
			fmt.Fprintf(&b, "%-11s %s\n", f[0], flat(f[1]))
		}
	}
	if _, err := io.WriteString(a.Out, b.String()); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func newSessionRevokeCommand(a *App) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "revoke ID",
		Short: "End a session now",
		Long: `End a session now. The server closes its Snowflake sessions itself, and with
them whatever they run, also if the machine that runs the agent is gone.`,
		Example: `  jit session revoke ses_… --reason "wrong database"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			if err := client.Revoke(c.Context(), args[0], reason); err != nil {
				return &Failure{What: "revoking session " + args[0], Err: err}
			}
			a.say("Session %s is revoked.", args[0])
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; the agent's user and the audit see it")
	return c
}
