package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/tui"
)

// reviewOptions is what the flags of `jit review` say.
type reviewOptions struct {
	Request  string // empty: the queue
	ReadOnly bool
	Plain    bool
	JSON     bool
}

func newReviewCommand(a *App) *cobra.Command {
	o := reviewOptions{}
	c := &cobra.Command{
		Use:   "review [REQUEST]",
		Short: "Read and decide what waits for a person",
		Long: `Read and decide what waits for a person: sessions that agents ask for, and
statements that policy holds.

On a terminal this is a full-screen queue that stays up to date; press ? in it
for its keys. Nothing is decided by Enter, every question's default is No, and a
decision is sent five seconds after the yes, so that it can be taken back. What
you asked for yourself, somebody else must decide.

With --plain or --json, or when the output is not a terminal, it prints what
waits and exits; ` + "`jit approve` and `jit deny`" + ` decide without a screen.`,
		Example: `  jit review
  jit review REQUEST            # open one at once
  jit review --read-only        # look, never decide
  jit review --json | jq '.[].id'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.Request = args[0]
			}
			return a.review(c.Context(), o)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.ReadOnly, "read-only", false, "look, never decide")
	f.BoolVar(&o.Plain, "plain", false, "print what waits, line by line")
	f.BoolVar(&o.JSON, "json", false, "print what waits as JSON")
	c.MarkFlagsMutuallyExclusive("plain", "json")
	return c
}

func (a *App) review(ctx context.Context, o reviewOptions) error {
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	viewer, _, err := client.Whoami(ctx)
	if err != nil {
		return &Failure{What: "asking the approval server who you are", Err: err}
	}
	if o.Plain || o.JSON || !a.interactive() || !a.outIsTerminal() {
		return a.reviewPrinted(ctx, client, viewer, o)
	}
	err = tui.Review(ctx, client, client, tui.ReviewOptions{
		Viewer: viewer, ReadOnly: o.ReadOnly, Request: o.Request, In: a.In, Out: a.Out, Now: a.Now,
	})
	if err != nil {
		return &Failure{What: "reviewing", Err: err}
	}
	return nil
}

// plainWidth is how wide a request is printed; pipes have no width of their own.
const plainWidth = 100

// reviewPrinted prints the queue, or one request whatever its state.
func (a *App) reviewPrinted(ctx context.Context, desk session.Desk, viewer session.Principal, o reviewOptions) error {
	now := a.Now()
	if o.Request != "" {
		req, err := desk.Request(ctx, o.Request)
		switch {
		case errors.Is(err, session.ErrNotFound):
			return &Failure{What: "finding request " + o.Request, Err: err, Fix: "`jit review --plain` lists what waits for you."}
		case err != nil:
			return &Failure{What: "finding request " + o.Request, Err: err}
		case o.JSON:
			return a.printJSON(requestOutputOf(req, viewer))
		}
		return a.printf("%s", tui.PlainRequest(req, viewer, now, plainWidth))
	}
	requests, err := desk.Pending(ctx, session.Filter{})
	if err != nil {
		return &Failure{What: "asking what waits", Err: err}
	}
	if o.JSON {
		out := make([]requestOutput, 0, len(requests))
		for _, req := range requests {
			out = append(out, requestOutputOf(req, viewer))
		}
		return a.printJSON(out)
	}
	if len(requests) == 0 {
		a.say("Nothing waits.")
		return nil
	}
	return a.printf("%s", tui.PlainRequests(requests, viewer, now))
}

// requestOutput is the JSON of a request in `jit review --json`. Scripts rely
// on it.
type requestOutput struct {
	ID        string           `json:"id"`
	Kind      string           `json:"kind"` // session, statement
	State     string           `json:"state"`
	Risk      string           `json:"risk"` // low, medium, high, severe
	Person    string           `json:"person"`
	Own       bool             `json:"own"` // the viewer's: somebody else must decide
	Agent     []string         `json:"agent"`
	Host      string           `json:"host,omitempty"`
	Reason    string           `json:"reason,omitempty"`
	Rule      string           `json:"rule,omitempty"`
	RuleText  string           `json:"rule_text,omitempty"`
	Reviewers []string         `json:"reviewers"`
	Approvals int              `json:"approvals"` // people needed
	CreatedAt time.Time        `json:"created_at"`
	ExpiresAt time.Time        `json:"expires_at"`
	Session   *scopeOutput     `json:"session,omitempty"`
	Statement *statementOutput `json:"statement,omitempty"`
	Decisions []decisionOutput `json:"decisions"`
}

type scopeOutput struct {
	Connection string  `json:"connection"`
	Role       string  `json:"role,omitempty"`
	Warehouse  string  `json:"warehouse,omitempty"`
	Database   string  `json:"database,omitempty"`
	Schema     string  `json:"schema,omitempty"`
	TTL        float64 `json:"ttl_seconds"`
}

type statementOutput struct {
	Session   string          `json:"session"`
	Text      string          `json:"text"`
	Digest    string          `json:"digest"` // what an approval binds to
	Binds     json.RawMessage `json:"binds,omitempty"`
	Kinds     []string        `json:"kinds"`
	Reads     []string        `json:"reads,omitempty"`
	Writes    []string        `json:"writes,omitempty"`
	Functions []string        `json:"functions,omitempty"`
	Classes   []string        `json:"classes,omitempty"`
	Unknown   []string        `json:"unknown,omitempty"`
	Lineage   []string        `json:"lineage,omitempty"`
	Role      string          `json:"role,omitempty"`
	Warehouse string          `json:"warehouse,omitempty"`
	Database  string          `json:"database,omitempty"`
	Schema    string          `json:"schema,omitempty"`
	Policy    string          `json:"policy,omitempty"`
	Estimate  string          `json:"estimate,omitempty"`
}

type decisionOutput struct {
	Reviewer string    `json:"reviewer"`
	Outcome  string    `json:"outcome"`
	Reuse    string    `json:"reuse,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
}

func requestOutputOf(req session.Request, viewer session.Principal) requestOutput {
	out := requestOutput{
		ID: req.ID, Kind: req.Kind.String(), State: req.State.String(), Risk: tui.RiskWord(req),
		Person: req.Principal.Display(), Own: req.Principal.ID() == viewer.ID(),
		Agent: append([]string{}, req.Agent.Command...), Host: req.Agent.Host,
		Reason: req.Reason, Rule: req.Rule, RuleText: req.RuleText,
		Reviewers: append([]string{}, req.Reviewers...), Approvals: req.Approvals,
		CreatedAt: req.CreatedAt.UTC(), ExpiresAt: req.ExpiresAt.UTC(), Decisions: []decisionOutput{},
	}
	for _, d := range req.Decisions {
		decided := decisionOutput{Reviewer: d.Reviewer.Display(), Outcome: d.Outcome.String(), Reason: d.Reason, At: d.At.UTC()}
		if d.Outcome == session.OutcomeApprove {
			decided.Reuse = d.Reuse.String()
		}
		out.Decisions = append(out.Decisions, decided)
	}
	if req.Kind == session.RequestSession {
		s := req.Scope
		out.Session = &scopeOutput{Connection: s.Connection, Role: s.Role, Warehouse: s.Warehouse, Database: s.Database, Schema: s.Schema, TTL: s.TTL.Seconds()}
		return out
	}
	c := req.Case
	out.Statement = &statementOutput{
		Session: c.SessionID, Text: c.Canonical, Digest: c.Digest(), Kinds: append([]string{}, c.Kinds...),
		Reads: c.Reads, Writes: c.Writes, Functions: c.Functions, Classes: c.Classes, Unknown: c.Unknown, Lineage: c.Lineage,
		Role: c.Role, Warehouse: c.Warehouse, Database: c.Database, Schema: c.Schema, Policy: c.Policy, Estimate: c.Estimate,
	}
	if json.Valid([]byte(c.Binds)) {
		out.Statement.Binds = json.RawMessage(c.Binds)
	}
	return out
}
