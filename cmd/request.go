package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/approval"
)

func newRequestCommand(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "request",
		Short: "Look at requests",
		Long:  "Look at requests, yours and those you may decide on; wait for one, or take one of your own back.",
		Example: `  jit request list
  jit request show req_…
  jit request wait req_… --timeout 5m`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRequestListCommand(a), newRequestShowCommand(a), newRequestWaitCommand(a), newRequestCommentCommand(a), newRequestWithdrawCommand(a))
	return c
}

func newRequestListCommand(a *App) *cobra.Command {
	var (
		filter session.Filter
		asJSON bool
	)
	c := &cobra.Command{
		Use:     "list",
		Short:   "List requests",
		Long:    "List the requests that wait: yours, and those you may decide on.",
		Example: "  jit request list\n  jit request list --mine --all --json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.requestList(c.Context(), filter, asJSON) },
	}
	f := c.Flags()
	f.BoolVar(&filter.Mine, "mine", false, "only your own")
	f.BoolVar(&filter.All, "all", false, "also those that are decided or over")
	f.StringVar(&filter.SessionID, "session", "", "only those of this session")
	f.IntVar(&filter.Limit, "limit", 0, "at most so many (default 200)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *App) requestList(ctx context.Context, filter session.Filter, asJSON bool) error {
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	list, err := client.Pending(ctx, filter)
	if err != nil {
		return &Failure{What: "listing requests", Err: err}
	}
	if asJSON {
		return printDocs(a, list, approval.FormatRequest)
	}
	if len(list) == 0 {
		a.say("Nothing waits.")
		return nil
	}
	return tableOf(a, []string{"ID", "STATE", "WHO", "WHAT", "EXPIRES"}, list, func(r session.Request) []string {
		return []string{r.ID, r.State.String(), r.Principal.Display(), whatOf(r), r.ExpiresAt.Local().Format(time.DateTime)}
	})
}

func whatOf(r session.Request) string {
	switch r.Kind {
	case session.RequestStatement:
		return r.Case.Canonical
	case session.RequestExtension:
		return fmt.Sprintf("%s more for session %s on %s", r.Scope.TTL, r.Case.SessionID, r.Scope.Connection)
	}
	return fmt.Sprintf("session on %s as %s for %s", r.Scope.Connection, r.Scope.Role, r.Scope.TTL)
}

func newRequestShowCommand(a *App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one request",
		Long:    "Show one request with everything a reviewer needs to decide.",
		Example: "  jit request show req_…",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			req, err := client.Request(c.Context(), args[0])
			if err != nil {
				return &Failure{What: "showing request " + args[0], Err: err}
			}
			if asJSON {
				return a.printRequest(req)
			}
			a.describe(a.Out, req)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *App) printRequest(r session.Request) error {
	b, err := approval.FormatRequest(r)
	if err != nil {
		return fmt.Errorf("printing JSON: %w", err)
	}
	return a.printJSON(json.RawMessage(b))
}

// describe writes a request for people. Everything an agent could have written
// is made safe for the terminal; the statement stands indented and last, so
// that none of its lines can pass for one of jit's.
func (a *App) describe(w io.Writer, r session.Request) {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-11s %s\n", name, flat(value))
		}
	}
	list := func(name string, values []string) { line(name, strings.Join(values, ", ")) }
	line("request", r.ID+" ("+r.Kind.String()+", "+r.State.String()+")")
	if r.Emergency {
		line("EMERGENCY", "opened without a reviewer; look at it with `jit audit emergencies`")
	}
	line("who", r.Principal.Display())
	list("groups", r.Principal.Groups)
	line("agent", strings.Join(r.Agent.Command, " "))
	line("host", r.Agent.Host)
	line("reason", r.Reason)
	line("ticket", r.Ticket)
	line("connection", r.Scope.Connection)
	line("role", r.Scope.Role)
	line("warehouse", r.Scope.Warehouse)
	line("database", strings.Trim(r.Scope.Database+"."+r.Scope.Schema, "."))
	switch r.Kind {
	case session.RequestSession:
		line("lasts", r.Scope.TTL.String()+" from its first use")
	case session.RequestExtension:
		line("session", r.Case.SessionID)
		line("longer by", r.Scope.TTL.String())
	}
	line("rule", strings.Trim(r.Rule+": "+r.RuleText, ": "))
	line("needs", reviewersOf(r))
	line("expires", r.ExpiresAt.Local().Format(time.DateTime))
	for _, d := range r.Decisions {
		how := d.Outcome.String()
		if d.KeepMasks {
			how += ", every mask kept,"
		}
		line("decision", how+" by "+d.Reviewer.Display()+" "+d.Reason)
	}
	for _, cm := range r.Comments {
		line("comment", cm.At.Local().Format(time.DateTime)+" "+cm.By.Display()+": "+cm.Text)
	}
	if r.Kind == session.RequestStatement {
		line("session", r.Case.SessionID)
		list("kind", r.Case.Kinds)
		list("reads", r.Case.Reads)
		list("writes", r.Case.Writes)
		list("functions", r.Case.Functions)
		list("classes", r.Case.Classes)
		list("unknown", r.Case.Unknown)
		line("estimate", r.Case.Estimate)
		for _, l := range r.Case.Lineage {
			line("lineage", l)
		}
		indented(&b, "statement", r.Case.Canonical)
		if r.Case.Binds != "" {
			indented(&b, "binds", r.Case.Binds)
		}
	}
	_, _ = io.WriteString(w, b.String()) // nothing useful to do when the terminal is gone
}

// flat makes a text one safe line. Nothing is cut off: a reviewer sees it all.
func flat(s string) string { return strings.Join(strings.Fields(replay.Visible(s)), " ") }

func indented(b *strings.Builder, name, text string) {
	fmt.Fprintf(b, "%s\n", name)
	for l := range strings.Lines(replay.Visible(text)) {
		fmt.Fprintf(b, "  | %s\n", strings.TrimRight(l, "\n"))
	}
}

func newRequestWaitCommand(a *App) *cobra.Command {
	var (
		timeout time.Duration
		asJSON  bool
	)
	c := &cobra.Command{
		Use:   "wait ID",
		Short: "Wait until a request is decided",
		Long: `Wait until a request is decided. The exit code says how:
0 approved, 5 denied, 6 expired or withdrawn, 8 still pending after --timeout.
With --json it prints the request as it then stands, whatever the code.

It waits for requests for sessions and for held statements. An approved statement
has not run yet: the agent sends it again.`,
		Example: `  jit request wait req_… --timeout 5m && jit exec --request req_… -- python report.py
  jit request wait req_… --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if timeout < 0 {
				return usagef("--timeout %s: it must not be negative", timeout)
			}
			return a.requestWait(c.Context(), args[0], timeout, asJSON)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 0, "give up after this long (default: wait until the request expires)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *App) requestWait(ctx context.Context, id string, timeout time.Duration, asJSON bool) error {
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	req, err := awaitDecision(ctx, client, id, timeout)
	if err != nil {
		return &Failure{What: "waiting for request " + id, Err: err}
	}
	if asJSON {
		if err := a.printRequest(req); err != nil {
			return err
		}
	}
	switch req.State {
	case session.StateApproved, session.StateUsed:
		a.say("Request %s is approved%s.", id, replay.Visible(decidedBy(req)))
		return nil
	default:
		return settled(req)
	}
}

// awaitDecision watches a request until it is decided or over, or timeout has
// passed (0: never). It looks first and then at every change, so that nothing
// that happens in between is missed.
func awaitDecision(ctx context.Context, desk session.Desk, id string, timeout time.Duration) (session.Request, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := desk.Watch(ctx, -1)
	if err != nil {
		return session.Request{}, err
	}
	var end <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		end = t.C
	}
	for {
		req, err := desk.Request(ctx, id)
		if err != nil || req.State != session.StatePending {
			return req, err
		}
		expiry := time.NewTimer(time.Until(req.ExpiresAt) + time.Second) // the server says when it is over
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-end:
			expiry.Stop()
			return req, nil
		case <-expiry.C:
		case _, ok := <-events:
			if !ok {
				err = errors.Join(session.ErrUnavailable, ctx.Err())
			}
		}
		expiry.Stop()
		if err != nil {
			return req, err
		}
	}
}

func newRequestWithdrawCommand(a *App) *cobra.Command {
	return &cobra.Command{
		Use:     "withdraw ID",
		Short:   "Take back a request of your own",
		Long:    "Take back a pending request of your own, so that nobody decides on it any more.",
		Example: "  jit request withdraw req_…",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, _, err := a.client(c.Context())
			if err != nil {
				return err
			}
			if err := client.Withdraw(c.Context(), args[0]); err != nil {
				return &Failure{What: "withdrawing request " + args[0], Err: err}
			}
			a.say("Request %s is withdrawn.", args[0])
			return nil
		},
	}
}
