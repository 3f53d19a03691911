package cmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session"
)

// decideOptions is what the flags of `jit approve` and `jit deny` say. The zero
// value denies.
type decideOptions struct {
	Approve             bool
	Once, Shape, Window bool
	KeepMasks           bool // show less than the requester may see
	Reason              string
	JSON                bool
}

func (o decideOptions) reuse() session.Reuse {
	switch {
	case o.Shape:
		return session.ReuseShape
	case o.Window:
		return session.ReuseWindow
	default:
		return session.ReuseOnce
	}
}

func newApproveCommand(a *App) *cobra.Command {
	o := decideOptions{Approve: true}
	c := &cobra.Command{
		Use:   "approve ID",
		Short: "Approve a request",
		Long: `Approve a request for a session, or a held statement.

What you approve is shown first, and the approval is for exactly that: if the
request is not what it was, nothing happens. You cannot approve your own.

An approved statement may run once. --shape lets every statement of the same
shape (the same text but for its literals) run in this session; --window lets
this statement run for 15 minutes. --keep-masks lets it run with every data class
masked in its results, also those that the requester may read in clear; nothing
ever shows more because it was approved.`,
		Example: `  jit request show req_…
  jit approve req_… --reason "agreed with data team"
  jit approve req_… --shape`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if o.Once && o.Shape || o.Once && o.Window || o.Shape && o.Window {
				return usagef("--once, --shape and --window exclude each other: choose one")
			}
			return a.decide(c.Context(), args[0], o)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.Once, "once", false, "let the statement run once (the default)")
	f.BoolVar(&o.Shape, "shape", false, "let statements of this shape run in this session")
	f.BoolVar(&o.Window, "window", false, "let this statement run for 15 minutes")
	f.BoolVar(&o.KeepMasks, "keep-masks", false, "mask every data class in the statement's results")
	f.StringVar(&o.Reason, "reason", "", "why; the requester and the audit see it")
	f.BoolVar(&o.JSON, "json", false, "print the decided request as JSON")
	return c
}

func newDenyCommand(a *App) *cobra.Command {
	var o decideOptions
	c := &cobra.Command{
		Use:     "deny ID",
		Short:   "Deny a request",
		Long:    "Deny a request for a session, or a held statement. The requester and the agent read the reason.",
		Example: `  jit deny req_… --reason "use the anonymised copy"`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.decide(c.Context(), args[0], o) },
	}
	f := c.Flags()
	f.StringVar(&o.Reason, "reason", "", "why; the requester, the agent and the audit see it")
	f.BoolVar(&o.JSON, "json", false, "print the decided request as JSON")
	return c
}

// decide shows the request and decides on what was shown, by its digest.
func (a *App) decide(ctx context.Context, id string, o decideOptions) error {
	doing := "denying request " + id
	choice := session.Choice{Reason: o.Reason, Reuse: o.reuse(), KeepMasks: o.KeepMasks}
	if o.Approve {
		doing, choice.Outcome = "approving request "+id, session.OutcomeApprove
	}
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	req, err := client.Request(ctx, id)
	if err != nil {
		return &Failure{What: doing, Err: err}
	}
	if req.Kind == session.RequestStatement {
		choice.Digest = req.Case.Digest()
	}
	a.describe(a.Err, req)
	req, err = client.Decide(ctx, id, choice)
	if err != nil {
		return &Failure{What: doing, Err: err}
	}
	switch {
	case req.State == session.StatePending:
		a.say("Recorded: %d of %d approvals. Other people must approve too.", len(req.Decisions), req.Approvals)
	case o.Approve:
		a.say("Approved.")
	default:
		a.say("Denied.")
	}
	if o.JSON {
		return a.printRequest(req)
	}
	return nil
}
