package approval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jit-access/jit/session"
)

// decide records the act of a reviewer, see session.Desk.
func (s *Store) decide(ctx context.Context, w Caller, id string, ch session.Choice) (session.Request, error) {
	var r session.Request
	err := s.checkAndRecord(ctx, w, "request.decide", id, func(ctx context.Context, c *change) (err error) {
		c.note("outcome", ch.Outcome.String())
		if r, err = s.lockRequest(ctx, c, id); err != nil {
			return err
		}
		if err := s.mayReview(ctx, c, w, r); err != nil {
			return err
		}
		if err := checkChoice(r, ch); err != nil {
			return err
		}
		if slices.ContainsFunc(r.Decisions, func(d session.Decision) bool { return d.Reviewer.ID() == w.Principal.ID() }) {
			return session.Refuse(session.ErrConflict, "You have already decided on this request. It needs %d different people.", r.Approvals)
		}
		d := session.Decision{
			ID: newID("dec"), RequestID: r.ID, Reviewer: w.Principal,
			Outcome: ch.Outcome, Reuse: ch.Reuse, KeepMasks: ch.KeepMasks, Reason: ch.Reason, At: c.now,
		}
		if err := insertDecision(ctx, c, d); err != nil {
			return err
		}
		r.Decisions = append(r.Decisions, d)
		c.emit(session.EventRequestDecided, r.ID, r.Case.SessionID)
		if ch.Outcome == session.OutcomeDeny {
			r.State = session.StateDenied
			return c.exactlyOne(ctx, `UPDATE requests SET state = 'denied', decided_at = $1 WHERE id = $2 AND state = 'pending'`, micros(c.now), r.ID)
		}
		if len(r.Decisions) < r.Approvals { // all of them approve: one denial ends a request
			return nil
		}
		return s.approve(ctx, c, &r, strictest(r.Decisions), "decision "+d.ID)
	})
	return r, err
}

// checkChoice refuses a decision on what is no longer, or never was, the thing
// the reviewer saw.
func checkChoice(r session.Request, ch session.Choice) error {
	switch r.State {
	case session.StatePending:
	case session.StateExpired:
		return session.Refuse(session.ErrExpired, "The request has expired. The requester must ask again.")
	default:
		return session.Refuse(session.ErrConflict, "The request is already %s.", r.State)
	}
	if ch.Outcome != session.OutcomeApprove && ch.Outcome != session.OutcomeDeny {
		return session.Refuse(session.ErrInvalid, "A decision is approve or deny.")
	}
	if len(ch.Reason) > maxReason || !plainText(ch.Reason) {
		return session.Refuse(session.ErrInvalid, "A reason is UTF-8 without NUL and has at most %d bytes.", maxReason)
	}
	if ch.KeepMasks && (r.Kind != session.RequestStatement || ch.Outcome != session.OutcomeApprove) {
		return session.Refuse(session.ErrInvalid, "Masks are kept where a statement is approved, and only there.")
	}
	want := ""
	if r.Kind == session.RequestStatement {
		want = r.Case.Digest()
	}
	if ch.Digest != want {
		return session.Refuse(session.ErrConflict, "What you saw is not what is asked. Look at the request again.")
	}
	switch {
	case ch.Reuse == session.ReuseOnce:
	case r.Kind != session.RequestStatement:
		return session.Refuse(session.ErrInvalid, "A session is approved once.")
	case ch.Reuse == session.ReuseShape && r.Case.Shape == "":
		return session.Refuse(session.ErrInvalid, "This statement has no shape that could be approved. Approve it once.")
	case ch.Reuse != session.ReuseShape && ch.Reuse != session.ReuseWindow:
		return session.Refuse(session.ErrInvalid, "An approval is for once, this shape, or a window of time.")
	}
	return nil
}

// strictest is the reuse that every approver agreed to.
func strictest(ds []session.Decision) session.Reuse {
	for _, d := range ds {
		if d.Reuse != ds[0].Reuse {
			return session.ReuseOnce
		}
	}
	return ds[0].Reuse
}

func insertDecision(ctx context.Context, c *change, d session.Decision) error {
	doc, err := json.Marshal(toDecisionDoc(d))
	if err != nil {
		return fmt.Errorf("writing decision: %w", err)
	}
	_, err = c.ExecContext(ctx, `INSERT INTO decisions (id, request_id, reviewer_id, doc, outcome, at) VALUES ($1, $2, $3, $4, $5, $6)`,
		d.ID, d.RequestID, d.Reviewer.ID(), string(doc), d.Outcome.String(), micros(d.At))
	return err
}

// approve moves a pending request to approved and, for a session, issues the
// grant. An approval has a time of its own: a grant must be opened, and a
// statement's approval used, before it is over.
func (s *Store) approve(ctx context.Context, c *change, r *session.Request, reuse session.Reuse, rule string) error {
	switch {
	case r.Kind == session.RequestSession || r.Kind == session.RequestExtension:
		r.ExpiresAt = c.now.Add(s.cfg.Limits.GrantTTL)
		r.GrantID = newID("grant")
	default:
		ses, err := s.loadSession(ctx, c, r.Case.SessionID)
		if err != nil {
			return err
		}
		r.ExpiresAt = ses.Deadline
		if reuse != session.ReuseShape {
			r.ExpiresAt = earlier(c.now.Add(s.cfg.Limits.WindowReuse), ses.Deadline)
		}
	}
	r.State = session.StateApproved
	if err := c.exactlyOne(ctx, `UPDATE requests SET state = 'approved', reuse = $1, grant_id = $2, expires_at = $3, decided_at = $4 WHERE id = $5 AND state = 'pending'`,
		reuse.String(), r.GrantID, micros(r.ExpiresAt), micros(c.now), r.ID); err != nil {
		return err
	}
	if r.GrantID == "" {
		return nil
	}
	g := grantDoc{Principal: toPrincipalDoc(r.Principal), Agent: toAgentDoc(r.Agent), Scope: toScopeDoc(r.Scope), Rule: rule, Emergency: r.Emergency}
	if r.Kind == session.RequestExtension {
		g.Extends = r.Case.SessionID
	}
	doc, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("writing grant: %w", err)
	}
	c.note("grant", r.GrantID)
	if _, err = c.ExecContext(ctx, `INSERT INTO grants (id, request_id, principal_id, doc, issued_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		r.GrantID, r.ID, r.Principal.ID(), string(doc), micros(c.now), micros(r.ExpiresAt)); err != nil {
		return err
	}
	if r.Kind == session.RequestExtension {
		return s.extend(ctx, c, r)
	}
	return nil
}

// redeem spends an approval, see session.Desk.
func (s *Store) redeem(ctx context.Context, w Caller, id, digest string) (session.Decision, error) {
	var d session.Decision
	err := s.checkAndRecord(ctx, w, "request.redeem", id, func(ctx context.Context, c *change) error {
		c.note("digest", digest)
		r, err := s.lockRequest(ctx, c, id)
		if err != nil {
			return err
		}
		if r.Kind != session.RequestStatement {
			return session.Refuse(session.ErrInvalid, "Only an approved statement is redeemed; a session's grant is opened.")
		}
		if err := w.broker(r.Case.SessionID); err != nil {
			return err
		}
		if err := approved(r); err != nil {
			return err
		}
		if _, err := s.openSession(ctx, c, r.Case.SessionID); err != nil {
			return err
		}
		var reuse string
		if err := c.QueryRowContext(ctx, `SELECT reuse FROM requests WHERE id = $1`, id).Scan(&reuse); err != nil {
			return err
		}
		d = r.Decisions[len(r.Decisions)-1] // an approved statement has one: only people approve statements
		if d.Reuse, err = session.ParseReuse(reuse); err != nil {
			return fmt.Errorf("redeeming %s: %w", id, errDamaged)
		}
		// Who wants masks kept is not outvoted by who does not.
		d.KeepMasks = slices.ContainsFunc(r.Decisions, func(d session.Decision) bool { return d.KeepMasks })
		if err := s.covers(ctx, c, r, d.Reuse, digest); err != nil {
			return err
		}
		if d.Reuse != session.ReuseOnce {
			return nil
		}
		return s.end(ctx, c, r, session.StateUsed)
	})
	if err != nil {
		return session.Decision{}, err
	}
	return d, nil
}

// approved says why r's approval cannot be used.
func approved(r session.Request) error {
	switch r.State {
	case session.StateApproved:
		if len(r.Decisions) == 0 {
			return errors.New("an approved statement has no decision")
		}
		return nil
	case session.StateDenied:
		reason := ""
		for _, d := range r.Decisions {
			if d.Outcome == session.OutcomeDeny {
				reason = d.Reason
			}
		}
		return &session.DeniedError{Rule: "reviewer", Reason: reason}
	case session.StateExpired:
		return session.Refuse(session.ErrExpired, "The approval has expired. Submit the statement again.")
	case session.StateUsed:
		return session.Refuse(session.ErrConflict, "The approval was for once and is used.")
	default:
		return session.Refuse(session.ErrConflict, "The request is %s, not approved.", r.State)
	}
}

// covers checks that the approval is for digest: the digest approved, or, for a
// shape, one whose case was submitted and had the same shape.
func (s *Store) covers(ctx context.Context, q querier, r session.Request, reuse session.Reuse, digest string) error {
	if digest == r.Case.Digest() {
		return nil
	}
	if reuse == session.ReuseShape {
		if digest == r.Case.ShapeDigest() {
			return nil
		}
		var n int
		if err := q.QueryRowContext(ctx, `SELECT COUNT(*) FROM request_digests WHERE request_id = $1 AND digest = $2`, r.ID, digest).Scan(&n); err != nil {
			return err
		}
		if n == 1 {
			return nil
		}
	}
	return session.Refuse(session.ErrConflict, "The approval is for another statement.")
}
