package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

const (
	deskTimeout  = 10 * time.Second
	deskPoll     = 5 * time.Second // in case an event was missed
	abandonAfter = 90 * time.Second
)

// hold files the statement with the desk and waits for the decision. It returns
// nil only when an approval of exactly this case was redeemed just now; the
// caller forwards at once. The login's turn is held all the while, so nothing
// else of this session runs in between.
func (b *Broker) hold(ctx context.Context, l *login, s *statement, j *judgement) (*judgement, *refusal) {
	asked, digest := j.kase, j.digest // submit may restate them
	if no, ok := b.denials.get(digest, asked, time.Now()); ok {
		ref := b.decided(ctx, s, no.req, "denied", faultRejected, "a reviewer said no")
		ref.why += " (said of the same statement before; nobody is asked again until " + no.until.UTC().Format(time.RFC3339) + ")"
		return nil, ref
	}
	req, ref := b.submit(ctx, s, j)
	if ref != nil {
		return nil, ref
	}
	moved, leave := b.requests.join(req.ID)
	defer leave()
	patience := time.NewTimer(b.cfg.Hold)
	defer patience.Stop()
	if l.sqlAPI {
		patience.Stop() // its clients poll, and abandon what they do not poll for
	}
	poll := time.NewTicker(deskPoll)
	defer poll.Stop()
	for {
		switch req.State {
		case session.StatePending:
		case session.StateApproved, session.StateUsed: // a shape or window approval stays usable after use
			return b.redeem(ctx, l, s, j, req)
		case session.StateDenied:
			b.denials.put(digest, asked, req, time.Now())
			return nil, b.decided(ctx, s, req, "denied", faultRejected, "a reviewer said no")
		case session.StateExpired:
			return nil, b.decided(ctx, s, req, "expired", faultExpired, "nobody decided in time")
		default:
			return nil, b.decided(ctx, s, req, "withdrawn", faultWithdrawn, "the request was withdrawn")
		}
		select {
		case <-ctx.Done():
			b.withdraw(req.ID)
			ref := b.decided(ctx, s, req, "withdrawn", faultWithdrawn, "the statement was canceled while it waited for a decision")
			return nil, ref
		case <-patience.C:
			return nil, b.pending(req, s)
		case <-moved:
		case <-poll.C:
			if s.abandoned(time.Now()) {
				return nil, b.pending(req, s)
			}
		}
		if req, ref = b.lookAgain(ctx, req); ref != nil {
			return nil, ref
		}
	}
}

// submit files the case. The desk returns the same request for the same case
// while it is pending, or approved and not used. If what its reviewers saw is
// not what the text means by now, another one is filed, for the meaning too.
func (b *Broker) submit(ctx context.Context, s *statement, j *judgement) (session.Request, *refusal) {
	c, cancel := context.WithTimeout(ctx, deskTimeout)
	defer cancel()
	file := func() (session.Request, error) {
		return b.cfg.Desk.Submit(c, session.Submission{
			Kind: session.RequestStatement, Agent: b.cfg.Session.Agent, Scope: b.cfg.Session.Scope, Case: j.kase,
			Rule: j.ruling.Rule, RuleText: j.ruling.Reason, Reviewers: j.ruling.Reviewers, Approvals: max(1, j.ruling.Approvals),
		})
	}
	req, err := file()
	if err == nil && !covers(req, j) {
		j.restate()
		req, err = file()
	}
	if err != nil {
		return req, b.deskRefusal(ctx, err)
	}
	if ref := b.record(ctx, recording.Event{Kind: recording.KindRequest, Statement: s.id, Request: &recording.RequestFacts{
		ID: req.ID, Reviewers: req.Reviewers, Approvals: req.Approvals, Expires: req.ExpiresAt}}); ref != nil {
		b.withdraw(req.ID)
		return req, ref
	}
	b.log.Info("statement held", "statement", s.id, "request", req.ID, "rule", j.ruling.Rule)
	return req, nil
}

// lookAgain reads the request. A desk that cannot be reached leaves it pending:
// the agent's patience runs out before anything else happens.
func (b *Broker) lookAgain(ctx context.Context, req session.Request) (session.Request, *refusal) {
	c, cancel := context.WithTimeout(ctx, deskTimeout)
	defer cancel()
	next, err := b.cfg.Desk.Request(c, req.ID)
	switch {
	case err == nil:
		return next, nil
	case ctx.Err() != nil, errors.Is(err, session.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return req, nil
	}
	return req, b.deskRefusal(ctx, err)
}

func (b *Broker) deskRefusal(ctx context.Context, err error) *refusal {
	if ctx.Err() != nil {
		return faultWithdrawn.refuse("the statement was canceled")
	}
	b.log.Warn("the desk refused or did not answer", "err", err)
	switch {
	case errors.Is(err, session.ErrRevoked), errors.Is(err, session.ErrExpired):
		b.end("it was revoked or closed at the approval server")
		return faultWithdrawn.refuse("the session has ended")
	case errors.Is(err, session.ErrForbidden):
		return faultDesk.refuse("the approval server does not take requests of this session")
	}
	return faultDesk.refuse("this statement needs a decision and the approval server gave no answer")
}

// redeem judges anew, makes sure that what was approved is what will run, and
// spends the approval.
func (b *Broker) redeem(ctx context.Context, l *login, s *statement, j *judgement, req session.Request) (*judgement, *refusal) {
	l.catalog.clear() // an object may have been replaced while people thought
	now, ref := b.judge(ctx, l, s)
	if ref != nil {
		return nil, ref
	}
	if j.restated {
		now.restate()
	}
	if now.ruling.Verdict == policy.Deny || now.place.version != j.place.version || !sameCase(now.kase, j.kase) || !covers(req, now) {
		return nil, b.attach(faultChanged.refuse("what the statement means changed after it was approved"), req, s, j.ruling.Rule)
	}
	c, cancel := context.WithTimeout(ctx, deskTimeout)
	defer cancel()
	d, err := b.cfg.Desk.Redeem(c, req.ID, now.digest)
	switch {
	case errors.Is(err, session.ErrExpired):
		return nil, b.decided(ctx, s, req, "expired", faultExpired, "the approval has expired")
	case errors.Is(err, session.ErrConflict), errors.Is(err, session.ErrNotFound), errors.Is(err, session.ErrDenied):
		return nil, b.attach(faultChanged.refuse("the approval does not apply to this statement, or is used up"), req, s, j.ruling.Rule)
	case err != nil:
		return nil, b.attach(b.deskRefusal(ctx, err), req, s, j.ruling.Rule)
	}
	facts := &recording.DecisionFacts{Request: req.ID, Outcome: "approved", Reuse: reuseWord(d.Reuse), KeepMasks: d.KeepMasks, Reason: d.Reason,
		Reviewer: approvers(req, d)}
	if ref := b.record(ctx, recording.Event{Kind: recording.KindDecision, Statement: s.id, Decision: facts}); ref != nil {
		return nil, ref
	}
	if d.KeepMasks {
		b.keepMasks(now)
	}
	return now, nil
}

func reuseWord(r session.Reuse) string {
	switch r {
	case session.ReuseShape:
		return "shape"
	case session.ReuseWindow:
		return "window"
	}
	return "once"
}

func approvers(req session.Request, d session.Decision) []string {
	var names []string
	for _, have := range req.Decisions {
		if have.Outcome == session.OutcomeApprove {
			names = appendNew(names, have.Reviewer.Display())
		}
	}
	if name := d.Reviewer.Display(); name != "" {
		names = appendNew(names, name)
	}
	return names
}

// sameCase compares what the reviewer saw with what would run, field by field:
// the digest covers text and context, the rest what the text means.
func sameCase(a, b session.Case) bool {
	return a.Digest() == b.Digest() && sameFacts(a, b)
}

func sameFacts(a, b session.Case) bool {
	return slices.Equal(a.Kinds, b.Kinds) && slices.Equal(a.Reads, b.Reads) &&
		slices.Equal(a.Writes, b.Writes) && slices.Equal(a.Functions, b.Functions) && slices.Equal(a.Classes, b.Classes) &&
		slices.Equal(a.Unknown, b.Unknown) && slices.Equal(a.Lineage, b.Lineage)
}

// covers reports whether an approval of req can be one of what would run: what
// the reviewers saw is the same in every respect or, if a shape was approved, but
// for values; and as many of them decide as the rules ask for now. Which of the
// two was approved is the desk's to know.
func covers(req session.Request, now *judgement) bool {
	seen := req.Case
	seen.Kinds = now.kase.Kinds // the approval server names them itself; they are in the text
	if req.Approvals < now.ruling.Approvals || !sameFacts(seen, now.kase) {
		return false
	}
	return seen.Digest() == now.digest || now.kase.Shape != "" && seen.ShapeDigest() == now.kase.ShapeDigest()
}

// restate makes the case one whose digest says what the text means as well: the
// text alone is that of another request, decided on another meaning.
func (j *judgement) restate() {
	c := &j.kase
	h := sha256.New()
	for _, list := range [...][]string{c.Kinds, c.Reads, c.Writes, c.Functions, c.Classes, c.Unknown, c.Lineage} {
		_, _ = fmt.Fprintf(h, "%d %q\n", len(list), list) // hash.Hash never returns an error
	}
	all := snowflake.Object{{Key: "meaning", Raw: snowflake.Quote(hex.EncodeToString(h.Sum(nil)))}}
	if c.Binds != "" {
		all.Set("bound", json.RawMessage(c.Binds))
	}
	c.Binds, c.Shape = string(all.Append(nil)), c.Canonical
	j.digest, j.restated = c.Digest(), true
}

// decided records how the request ended and makes the refusal of it.
func (b *Broker) decided(ctx context.Context, s *statement, req session.Request, outcome string, f fault, why string) *refusal {
	facts := &recording.DecisionFacts{Request: req.ID, Outcome: outcome}
	for _, d := range req.Decisions {
		if outcome == "denied" && d.Outcome == session.OutcomeDeny {
			facts.Reviewer = appendNew(facts.Reviewer, d.Reviewer.Display())
			facts.Reason = d.Reason
			if d.Reason != "" {
				why = "a reviewer said no: " + clip(d.Reason, 400)
			}
		}
	}
	_ = b.record(ctx, recording.Event{Kind: recording.KindDecision, Statement: s.id, Decision: facts}) // logged; it refuses anyway
	return b.attach(f.refuse(why), req, s, req.Rule)
}

// attach adds the request's facts to a refusal.
func (b *Broker) attach(ref *refusal, req session.Request, s *statement, rule string) *refusal {
	ref.request, ref.statement, ref.rule, ref.expires = req.ID, s.id, rule, req.ExpiresAt
	return ref
}

// pending tells the agent that a person has not decided yet. The request lives
// on: the same statement sent again attaches to it.
func (b *Broker) pending(req session.Request, s *statement) *refusal {
	b.outlive(req)
	why := "a person must decide on this statement"
	if req.RuleText != "" {
		why = clip(req.RuleText, 400)
	}
	return b.attach(faultPending.refuse(why), req, s, req.Rule)
}

// outlive keeps an eye on a request that outlives the agent's patience: it is
// withdrawn when the session ends, or when nobody came back for it in time.
func (b *Broker) outlive(req session.Request) {
	b.mu.Lock()
	known := b.outliving[req.ID]
	b.outliving[req.ID] = true
	b.mu.Unlock()
	if known {
		return
	}
	end := req.ExpiresAt
	if b.cfg.Wait > 0 && req.CreatedAt.Add(b.cfg.Wait).Before(end) {
		end = req.CreatedAt.Add(b.cfg.Wait)
	}
	b.spawn(func(ctx context.Context) {
		left := time.NewTimer(time.Until(end))
		defer left.Stop()
		select {
		case <-left.C:
		case <-ctx.Done():
		}
		b.mu.Lock()
		delete(b.outliving, req.ID)
		b.mu.Unlock()
		b.withdraw(req.ID)
	})
}

// withdraw ends a pending request, whatever ended the statement.
func (b *Broker) withdraw(id string) {
	b.finish(func(ctx context.Context) {
		err := b.cfg.Desk.Withdraw(ctx, id)
		if err != nil && !errors.Is(err, session.ErrConflict) && !errors.Is(err, session.ErrNotFound) {
			b.log.Warn("withdrawing a request failed", "request", id, "err", err)
		}
	})
}
