package cmd

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session"
)

// extendOptions is what the flags of `jit session extend` say.
type extendOptions struct {
	Session        string // empty: $JIT_SESSION, or the only open one of one's own
	For            time.Duration
	Reason, Ticket string
	NoWait, JSON   bool
}

func newSessionExtendCommand(a *App) *cobra.Command {
	var o extendOptions
	c := &cobra.Command{
		Use:   "extend [ID] --for DURATION",
		Short: "Ask for more time",
		Long: `Ask for a later end of a session of your own that runs, and wait for the decision.

It is a request like the one that opened the session: the policy is asked about
the whole length, and a reviewer decides, unless a rule of the policy lets it go
on without one. The agent keeps running; its broker hears of the new end.

Without ID it is the session this runs in, or the only one of yours that is open.

Exit codes: 0 extended, 5 denied, 6 expired or withdrawn, 8 still pending
(--no-wait).`,
		Example: `  jit session extend --for 30m --reason "two tables to go"
  jit session extend ses_… --for 1h --ticket OPS-12 --no-wait`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.Session = args[0]
			}
			switch {
			case o.For < time.Second || o.For > maxTTL:
				return usagef("--for %s: must lie between 1s and %s", o.For, maxTTL)
			case len(o.Reason) > maxReason:
				return usagef("--reason: %d bytes, at most %d", len(o.Reason), maxReason)
			}
			return a.sessionExtend(c.Context(), o)
		},
	}
	f := c.Flags()
	f.DurationVar(&o.For, "for", 0, "how much longer")
	f.StringVar(&o.Reason, "reason", "", "why; reviewers read it")
	f.StringVar(&o.Ticket, "ticket", "", "a ticket that says more")
	f.BoolVar(&o.NoWait, "no-wait", false, "do not wait for the decision: print the request id and exit 8")
	f.BoolVar(&o.JSON, "json", false, "print the decided request as JSON")
	_ = c.MarkFlagRequired("for") // the flag is there
	return c
}

func (a *App) sessionExtend(ctx context.Context, o extendOptions) error {
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	if o.Session == "" {
		if o.Session, err = a.ownSession(ctx, client); err != nil {
			return err
		}
	}
	doing := "extending session " + o.Session
	req, err := client.Submit(ctx, session.Submission{
		Kind: session.RequestExtension, Case: session.Case{SessionID: o.Session}, Scope: session.Scope{TTL: o.For}, Reason: o.Reason, Ticket: o.Ticket,
	})
	if err != nil {
		return &Failure{What: doing, Err: err}
	}
	if req.State == session.StatePending && o.NoWait {
		if err := a.printf("%s\n", req.ID); err != nil {
			return err
		}
		return &Failure{Code: ExitPending, What: "request " + req.ID + " waits for " + reviewersOf(req), Fix: "`jit request wait " + req.ID + "` waits for the decision."}
	}
	if req.State == session.StatePending {
		if req, err = a.await(ctx, client, req, execOptions{}); err != nil {
			return err
		}
	}
	if req.State != session.StateUsed { // an approved extension is used at once
		return settled(req)
	}
	ses, err := client.Session(ctx, o.Session)
	if err != nil {
		return &Failure{What: doing + ": it is extended, and reading its new end failed", Err: err}
	}
	a.say("Session %s ends at %s now.", ses.ID, ses.Deadline.Local().Format(time.DateTime))
	if o.JSON {
		return a.printRequest(req)
	}
	return nil
}

// ownSession is the session this runs in, or the only open one of the caller's.
func (a *App) ownSession(ctx context.Context, office interface {
	session.Office
	Whoami(ctx context.Context) (session.Principal, bool, error)
}) (string, error) {
	if id := a.Getenv("JIT_SESSION"); id != "" {
		return id, nil
	}
	me, _, err := office.Whoami(ctx)
	if err != nil {
		return "", &Failure{What: "asking the approval server who you are", Err: err}
	}
	all, err := office.Sessions(ctx)
	if err != nil {
		return "", &Failure{What: "listing sessions", Err: err}
	}
	var open []string
	for _, s := range all {
		if s.Phase == session.PhaseOpen && s.Principal.ID() == me.ID() {
			open = append(open, s.ID)
		}
	}
	switch len(open) {
	case 1:
		return open[0], nil
	case 0:
		return "", &Failure{What: "finding a session to extend", Err: errors.New("none of yours is open"), Fix: "Ask for one with `jit exec`."}
	}
	return "", &Failure{Code: ExitUsage, What: "finding a session to extend", Err: errors.New("several of yours are open"), Fix: "Name one: `jit session list` lists them."}
}
