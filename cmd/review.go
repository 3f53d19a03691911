package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/approval"
	"github.com/jit-access/jit/tui"
)

// reviewOptions is what the flags of `jit review` say.
type reviewOptions struct {
	Request  string // empty: the queue
	ReadOnly bool
	Quiet    bool // no bell
	Mouse    bool
	Plain    bool
	JSON     bool
	Comment  string
	Deny     bool
	decideOptions
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
waits and exits; with a request, all there is to know about it, and what its
session ran before.

With --approve or --deny it decides on the request named, as ` + "`jit approve`" + ` and
` + "`jit deny`" + ` do; with --comment it asks or answers.`,
		Example: `  jit review
  jit review REQUEST            # open one at once
  jit review --read-only        # look, never decide
  jit review --json | jq '.[].id'
  jit review REQUEST --approve --keep-masks --reason "counts only"
  jit review REQUEST --comment "Which report is this for?"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.Request = args[0]
			}
			if err := o.check(); err != nil {
				return err
			}
			return a.review(c.Context(), o)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.ReadOnly, "read-only", false, "look, never decide")
	f.BoolVar(&o.Quiet, "quiet", false, "no bell and no notification when something new waits")
	f.BoolVar(&o.Mouse, "mouse", false, "let the mouse move and scroll; it decides nothing")
	f.BoolVar(&o.Plain, "plain", false, "print what waits, line by line")
	f.BoolVar(&o.JSON, "json", false, "print what waits as JSON")
	f.BoolVar(&o.Approve, "approve", false, "approve the request")
	f.BoolVar(&o.Deny, "deny", false, "deny the request")
	f.BoolVar(&o.Once, "once", false, "with --approve: let the statement run once (the default)")
	f.BoolVar(&o.Shape, "shape", false, "with --approve: let statements of this shape run in this session")
	f.BoolVar(&o.Window, "window", false, "with --approve: let this statement run for 15 minutes")
	f.BoolVar(&o.KeepMasks, "keep-masks", false, "with --approve: mask every data class in the statement's results")
	f.StringVar(&o.Reason, "reason", "", "with --approve or --deny: why; the requester and the audit see it")
	f.StringVar(&o.Comment, "comment", "", "say something about the request")
	c.MarkFlagsMutuallyExclusive("plain", "json")
	c.MarkFlagsMutuallyExclusive("approve", "deny", "comment", "read-only")
	c.MarkFlagsMutuallyExclusive("once", "shape", "window")
	return c
}

// check refuses flags that would have no effect.
func (o reviewOptions) check() error {
	switch {
	case o.Request == "" && (o.Approve || o.Deny || o.Comment != ""):
		return usagef("name the request to decide on or to comment: jit review REQUEST …")
	case !o.Approve && (o.Once || o.Shape || o.Window || o.KeepMasks):
		return usagef("--once, --shape, --window and --keep-masks belong to --approve")
	case !o.Approve && !o.Deny && o.Reason != "":
		return usagef("--reason belongs to --approve or --deny; --comment says something without deciding")
	}
	return nil
}

func (a *App) review(ctx context.Context, o reviewOptions) error {
	switch {
	case o.Approve || o.Deny:
		o.decideOptions.JSON = o.JSON
		return a.decide(ctx, o.Request, o.decideOptions)
	case o.Comment != "":
		return a.requestComment(ctx, o.Request, o.Comment, o.JSON)
	}
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	viewer, _, err := client.Whoami(ctx)
	if err != nil {
		return &Failure{What: "asking the approval server who you are", Err: err}
	}
	if o.Plain || o.JSON || !a.interactive() || !a.outIsTerminal() {
		return a.reviewPrinted(ctx, client, client.History, viewer, o)
	}
	err = tui.Review(ctx, client, client, tui.ReviewOptions{
		Viewer: viewer, ReadOnly: o.ReadOnly, Quiet: o.Quiet, Mouse: o.Mouse, Request: o.Request, History: screenHistory(client.History), In: a.In, Out: a.Out, Now: a.Now,
	})
	if err != nil {
		return &Failure{What: "reviewing", Err: err}
	}
	return nil
}

// screenHistory gives the screen the history of a session.
func screenHistory(read historyOf) func(context.Context, string) ([]tui.PastStatement, error) {
	return func(ctx context.Context, requestID string) ([]tui.PastStatement, error) {
		past, err := read(ctx, requestID)
		if err != nil {
			return nil, err
		}
		out := make([]tui.PastStatement, len(past))
		for i, st := range past {
			out[i] = tui.PastStatement{At: st.At, Verdict: st.Verdict, Text: st.Text, Emergency: st.Emergency}
		}
		return out, nil
	}
}

// plainWidth is how wide a request is printed; pipes have no width of their own.
const plainWidth = 100

// historyOf reads what the session behind a request ran last.
type historyOf func(ctx context.Context, requestID string) ([]approval.Statement, error)

// reviewPrinted prints the queue, or one request whatever its state.
func (a *App) reviewPrinted(ctx context.Context, desk session.Desk, history historyOf, viewer session.Principal, o reviewOptions) error {
	now := a.Now()
	if o.Request != "" {
		req, err := desk.Request(ctx, o.Request)
		switch {
		case errors.Is(err, session.ErrNotFound):
			return &Failure{What: "finding request " + o.Request, Err: err, Fix: "`jit review --plain` lists what waits for you."}
		case err != nil:
			return &Failure{What: "finding request " + o.Request, Err: err}
		}
		past, err := history(ctx, req.ID)
		if err != nil {
			return &Failure{What: "reading what the session ran before", Err: err}
		}
		if o.JSON {
			doc, err := reviewDoc(req, viewer, past)
			if err != nil {
				return err
			}
			return a.printJSON(doc)
		}
		return a.printf("%s%s", tui.PlainRequest(req, viewer, now, plainWidth), historyText(past))
	}
	requests, err := desk.Pending(ctx, session.Filter{})
	if err != nil {
		return &Failure{What: "asking what waits", Err: err}
	}
	if o.JSON {
		out := make([]json.RawMessage, 0, len(requests))
		for _, req := range requests {
			doc, err := reviewDoc(req, viewer, nil)
			if err != nil {
				return err
			}
			out = append(out, doc)
		}
		return a.printJSON(out)
	}
	if len(requests) == 0 {
		a.say("Nothing waits.")
		return nil
	}
	return a.printf("%s", tui.PlainRequests(requests, viewer, now))
}

// reviewDoc is the JSON of a request as the API has it, with what a reviewer's
// tools add. Scripts rely on it.
func reviewDoc(req session.Request, viewer session.Principal, past []approval.Statement) (json.RawMessage, error) {
	doc, err := approval.FormatReview(req, approval.ReviewNotes{Risk: tui.RiskWord(req), Own: req.Principal.ID() == viewer.ID(), History: past})
	if err != nil {
		return nil, fmt.Errorf("printing JSON: %w", err)
	}
	return doc, nil
}

// historyText lists statements newest first, one line each. Their text is an
// agent's.
func historyText(past []approval.Statement) string {
	if len(past) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\nBefore, in this session\n")
	for _, st := range past {
		verdict := st.Verdict
		if st.Emergency {
			verdict = "EMERGENCY " + verdict
		}
		fmt.Fprintf(&b, "  %s  %-6s %s\n", st.At.Local().Format(time.TimeOnly), verdict, cut(flat(st.Text), plainWidth))
	}
	return b.String()
}
