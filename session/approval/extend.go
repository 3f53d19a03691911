package approval

import (
	"context"
	"slices"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
)

// submitExtension asks for a later deadline of a running session of the
// caller's own. Scope.TTL is how much later.
func (s *Store) submitExtension(ctx context.Context, c *change, sub session.Submission) (session.Request, error) {
	if err := c.who.signedIn(); err != nil {
		return session.Request{}, err
	}
	ses, err := s.lockSession(ctx, c, sub.Case.SessionID)
	if err != nil {
		return session.Request{}, err
	}
	c.note("session", ses.ID)
	if ses.Principal.ID() != c.who.Principal.ID() {
		return session.Request{}, session.Refuse(session.ErrForbidden, "Only who opened a session can ask to extend it.")
	}
	if sub.Scope.TTL < time.Second {
		return session.Request{}, session.Refuse(session.ErrInvalid, "Say how much longer the session shall last, at least a second.")
	}
	var waiting int
	if err := c.QueryRowContext(ctx, `SELECT COUNT(*) FROM requests WHERE session_id = $1 AND kind = 'extension' AND state = 'pending' AND expires_at > $2`,
		ses.ID, micros(c.now)).Scan(&waiting); err != nil {
		return session.Request{}, err
	}
	if waiting > 0 {
		return session.Request{}, session.Refuse(session.ErrConflict, "A request to extend this session waits already. Withdraw it first to ask for something else.")
	}
	ruling, err := s.extensionRuling(ctx, c, ses, c.who.Principal, sub.Scope.TTL)
	if err != nil {
		return session.Request{}, err
	}
	c.note("rule", ruling.Rule)
	c.note("verdict", ruling.Verdict.String())
	scope := ses.Scope
	scope.TTL = sub.Scope.TTL
	r := session.Request{
		ID: newID("req"), Kind: session.RequestExtension, Principal: c.who.Principal, Agent: ses.Agent, Scope: scope,
		Case: session.Case{SessionID: ses.ID}, Reason: sub.Reason, Ticket: sub.Ticket, Rule: ruling.Rule, RuleText: ruling.Reason,
		Reviewers: ruling.Reviewers, Approvals: max(1, ruling.Approvals), CreatedAt: c.now,
		ExpiresAt: earlier(c.now.Add(s.cfg.Limits.RequestTTL), ses.Deadline),
	}
	err = s.file(ctx, c, &r, ruling.Verdict)
	return r, err
}

// extensionRuling asks the policy about the session as long as it would then be.
// A session that is not running is not extended.
func (s *Store) extensionRuling(ctx context.Context, c *change, ses session.Session, who session.Principal, longer time.Duration) (policy.Ruling, error) {
	if err := running(ses, c.now); err != nil {
		return policy.Ruling{}, err
	}
	switch {
	case ses.Emergency:
		return policy.Ruling{}, session.Refuse(session.ErrForbidden, "A session of an emergency is not extended. Ask for a session.")
	case ses.FirstUseAt.IsZero():
		return policy.Ruling{}, session.Refuse(session.ErrConflict, "The session's time starts with its first use. Extend it after that.")
	}
	whole := ses.Deadline.Sub(ses.FirstUseAt) + longer
	if longer > s.cfg.Limits.MaxTTL || whole > s.cfg.Limits.MaxTTL {
		return policy.Ruling{}, session.Refuse(session.ErrInvalid, "A session may last at most %s in all.", s.cfg.Limits.MaxTTL)
	}
	b, err := s.activeBundle(ctx, c)
	if err != nil {
		return policy.Ruling{}, err
	}
	ruling := b.Extend(subject(who, ses.Agent), setting(ses.Scope), whole)
	if ruling.Verdict != policy.Allow && ruling.Verdict != policy.Hold {
		return policy.Ruling{}, &session.DeniedError{Rule: ruling.Rule, Reason: ruling.Reason}
	}
	return ruling, nil
}

// extend moves the deadline of the session that the approved request r is about.
// The policy is asked again: it, and the session, may have changed since r was
// submitted. Commit point: before it the session ends as it would have; after
// it, its broker hears of the new deadline, or ends at the old one.
func (s *Store) extend(ctx context.Context, c *change, r *session.Request) error {
	if err := c.exactlyOne(ctx, `UPDATE sessions SET version = version + 1 WHERE id = $1`, r.Case.SessionID); err != nil {
		return err
	}
	ses, err := s.loadSession(ctx, c, r.Case.SessionID)
	if err != nil {
		return err
	}
	ruling, err := s.extensionRuling(ctx, c, ses, r.Principal, r.Scope.TTL)
	if err != nil {
		return err
	}
	if ruling.Verdict == policy.Hold && (max(1, ruling.Approvals) > r.Approvals || !slices.Equal(ruling.Reviewers, r.Reviewers)) {
		return session.Refuse(session.ErrConflict, "The policy asks other or more people now than when this was asked. It must be asked again.")
	}
	deadline := ses.Deadline.Add(r.Scope.TTL)
	if err := c.exactlyOne(ctx, `UPDATE sessions SET deadline = $1 WHERE id = $2 AND phase = 'open' AND deadline = $3`,
		micros(deadline), ses.ID, micros(ses.Deadline)); err != nil {
		return err
	}
	c.note("deadline_before", ses.Deadline.Format(time.RFC3339))
	c.note("deadline", deadline.Format(time.RFC3339))
	c.emit(session.EventSessionExtended, "", ses.ID)
	// Its one use is this.
	r.State = session.StateUsed
	return c.exactlyOne(ctx, `UPDATE requests SET state = 'used' WHERE id = $1 AND state = 'approved'`, r.ID)
}
