package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jit-access/jit/session"
)

// ask submits the session request, or takes up an earlier one, and returns it
// once it is approved.
func (a *App) ask(ctx context.Context, desk session.Desk, o execOptions) (session.Request, error) {
	req, err := a.submit(ctx, desk, o)
	if err != nil {
		return session.Request{}, err
	}
	if req.State == session.StatePending && o.NoWait {
		if err := a.printf("%s\n", req.ID); err != nil {
			return session.Request{}, err
		}
		return session.Request{}, &Failure{Code: ExitPending, What: "request " + req.ID + " waits for " + reviewersOf(req),
			Fix: "Once it is approved, run `jit exec --request " + req.ID + " -- COMMAND`."}
	}
	if req.State == session.StatePending {
		if req, err = a.await(ctx, desk, req, o); err != nil {
			return session.Request{}, err
		}
	}
	if req.Emergency && req.State == session.StateApproved {
		a.say("jit: EMERGENCY access. Everybody is told, every statement is marked, and somebody else looks at it afterwards.")
	}
	return req, settled(req)
}

func (a *App) submit(ctx context.Context, desk session.Desk, o execOptions) (session.Request, error) {
	if o.Request != "" {
		req, err := desk.Request(ctx, o.Request)
		if err != nil {
			return session.Request{}, &Failure{What: "finding request " + o.Request, Err: err}
		}
		if req.Kind != session.RequestSession {
			return session.Request{}, usagef("--request %s: it asks for a %s, not for a session", o.Request, req.Kind)
		}
		return req, nil
	}
	req, err := desk.Submit(ctx, session.Submission{
		Kind:   session.RequestSession,
		Agent:  session.Agent{Command: redactCommand(o.Command), Host: hostname(), Version: Version},
		Scope:  session.Scope{Connection: o.Connection, Role: o.Role, Warehouse: o.Warehouse, Database: o.Database, Schema: o.Schema, TTL: o.TTL},
		Reason: o.Reason, Ticket: o.Ticket, Emergency: o.Emergency,
	})
	if err != nil {
		return session.Request{}, &Failure{What: "asking for a session", Err: err}
	}
	return req, nil
}

// await waits for a decision, telling who may give it and how long is left.
// Interrupting it withdraws the request.
func (a *App) await(ctx context.Context, desk session.Desk, req session.Request, o execOptions) (session.Request, error) {
	start := a.Now()
	deadline := req.ExpiresAt
	if o.Wait > 0 && start.Add(o.Wait).Before(deadline) {
		deadline = start.Add(o.Wait)
	}
	waitCtx, cancel := context.WithDeadline(ctx, deadline.Add(2*time.Second)) // let the server expire it first
	defer cancel()
	events, err := desk.Watch(waitCtx, -1)
	if err != nil {
		return req, &Failure{What: "waiting for approval", Err: err}
	}
	a.feed.send(feedEvent{Event: feedWaiting, Request: req.ID, Reviewers: req.Reviewers, Expires: &req.ExpiresAt})
	a.say("Request %s waits for %s, until %s. Ctrl-C withdraws it.", req.ID, reviewersOf(req), req.ExpiresAt.Local().Format("15:04:05"))
	a.say("A reviewer runs `jit review %s`.", req.ID)
	progress := newProgress(a, "waiting for approval", start)
	defer progress.done()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		fresh, err := desk.Request(waitCtx, req.ID)
		switch {
		case err == nil && fresh.State != session.StatePending:
			return fresh, nil
		case err != nil && waitCtx.Err() == nil:
			progress.note(fmt.Sprintf("no answer (%v), trying again", err))
		case err == nil:
			progress.note("")
		}
		for changed := false; !changed; {
			select {
			case <-tick.C:
				progress.show(a.Now())
			case <-poll.C:
				changed = true
			case _, ok := <-events:
				if !ok {
					events = nil // polling goes on
				}
				changed = ok
			case <-waitCtx.Done():
				return a.gaveUp(ctx, desk, req, o)
			}
		}
	}
}

const (
	progressEvery = time.Second
	pollEvery     = 10 * time.Second
)

// gaveUp says why waiting ended without a decision. An interrupted wait
// withdraws the request, so that no reviewer decides on what nobody awaits.
func (a *App) gaveUp(ctx context.Context, desk session.Desk, req session.Request, o execOptions) (session.Request, error) {
	if ctx.Err() != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := desk.Withdraw(clean, req.ID); err != nil {
			return req, &Failure{Code: ExitError, What: "withdrawing request " + req.ID, Err: err, Fix: "It expires by itself at " + req.ExpiresAt.Local().Format("15:04:05") + "."}
		}
		return req, &Failure{Code: ExitError, What: "interrupted: request " + req.ID + " is withdrawn"}
	}
	if o.Wait > 0 && a.Now().Before(req.ExpiresAt) {
		return req, &Failure{Code: ExitPending, What: fmt.Sprintf("request %s is still pending after %s", req.ID, o.Wait),
			Fix: "Once it is approved, run `jit exec --request " + req.ID + " -- COMMAND`."}
	}
	return req, &Failure{Code: ExitExpired, What: "request " + req.ID + " expired before anybody decided", Fix: "Ask a reviewer to be there, then run the command again."}
}

// settled turns a request that gives no access into the error that says why.
func settled(req session.Request) error {
	switch req.State {
	case session.StateApproved:
		return nil
	case session.StateDenied:
		return &Failure{Code: ExitDenied, What: "request " + req.ID + " was denied" + decidedBy(req), Err: session.ErrDenied}
	case session.StateExpired:
		return &Failure{What: "request " + req.ID, Err: session.ErrExpired}
	case session.StateUsed:
		return &Failure{Code: ExitExpired, What: "request " + req.ID + " has already been used", Fix: askAgain(req)}
	case session.StateWithdrawn:
		return &Failure{Code: ExitExpired, What: "request " + req.ID + " was withdrawn", Fix: askAgain(req)}
	default:
		return &Failure{Code: ExitPending, What: "request " + req.ID + " is not decided"}
	}
}

// askAgain is how what a settled request was for is asked for anew.
func askAgain(req session.Request) string {
	switch req.Kind {
	case session.RequestStatement:
		return "Send the statement again, if it is still needed: it asks anew."
	case session.RequestExtension:
		return "Run `jit session extend` again."
	}
	return "Run `jit exec` again to ask for a new session."
}

func decidedBy(req session.Request) string {
	if len(req.Decisions) == 0 {
		return ""
	}
	last := req.Decisions[len(req.Decisions)-1]
	by := " by " + last.Reviewer.Display()
	if last.Reason != "" {
		by += " (" + last.Reason + ")"
	}
	return by
}

func reviewersOf(req session.Request) string {
	who := "a reviewer"
	if req.Approvals > 1 {
		who = fmt.Sprintf("%d reviewers", req.Approvals)
	}
	if len(req.Reviewers) > 0 {
		who += " of " + strings.Join(req.Reviewers, " or ")
	}
	return who
}
