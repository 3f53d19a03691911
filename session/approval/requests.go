package approval

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
)

// The sizes of what a requester may send.
const (
	maxCanonical = 1 << 20
	maxReason    = 4 << 10
	maxTicket    = 255
	maxList      = 4096
	maxApprovals = 16
)

// submit files a request for w, see session.Desk.
func (s *Store) submit(ctx context.Context, w Caller, sub session.Submission) (session.Request, error) {
	var r session.Request
	err := s.checkAndRecord(ctx, w, "request.submit", "", func(ctx context.Context, c *change) (err error) {
		if err := checkSubmission(sub); err != nil {
			return err
		}
		switch sub.Kind {
		case session.RequestSession:
			r, err = s.submitSession(ctx, c, sub)
		case session.RequestStatement:
			r, err = s.submitStatement(ctx, c, sub)
		case session.RequestExtension:
			r, err = s.submitExtension(ctx, c, sub)
		default:
			err = session.Refuse(session.ErrInvalid, "A request is for a session or for a statement.")
		}
		return err
	})
	return r, err
}

// submitSession asks the policy first: Allow grants at once, Hold waits for a
// reviewer, Deny ends it.
func (s *Store) submitSession(ctx context.Context, c *change, sub session.Submission) (session.Request, error) {
	if err := c.who.signedIn(); err != nil {
		return session.Request{}, err
	}
	scope, err := s.completeScope(ctx, c, sub.Scope)
	if err != nil {
		return session.Request{}, err
	}
	b, err := s.activeBundle(ctx, c)
	if err != nil {
		return session.Request{}, err
	}
	ruling := b.Open(subject(c.who.Principal, sub.Agent), setting(scope), scope.TTL)
	if sub.Emergency {
		if ruling, err = emergencyRuling(b, c, sub, scope); err != nil {
			return session.Request{}, err
		}
	}
	c.note("rule", ruling.Rule)
	c.note("verdict", ruling.Verdict.String())
	c.note("connection", scope.Connection)
	c.note("agent", subject(c.who.Principal, sub.Agent).Agent)
	c.note("role", scope.Role)
	if ruling.Verdict != policy.Allow && ruling.Verdict != policy.Hold {
		return session.Request{}, &session.DeniedError{Rule: ruling.Rule, Reason: ruling.Reason}
	}
	r := session.Request{
		ID: newID("req"), Kind: session.RequestSession, Principal: c.who.Principal, Agent: sub.Agent, Scope: scope,
		Reason: sub.Reason, Ticket: sub.Ticket, Emergency: sub.Emergency, Rule: ruling.Rule, RuleText: ruling.Reason, Reviewers: ruling.Reviewers,
		Approvals: max(1, ruling.Approvals), CreatedAt: c.now, ExpiresAt: c.now.Add(s.cfg.Limits.RequestTTL),
	}
	err = s.file(ctx, c, &r, ruling.Verdict)
	return r, err
}

// file stores a request that people, or for Allow the policy, decide on.
func (s *Store) file(ctx context.Context, c *change, r *session.Request, verdict policy.Verdict) error {
	c.target = r.ID
	if err := s.insertRequest(ctx, c, *r); err != nil {
		return err
	}
	c.emit(session.EventRequestSubmitted, r.ID, r.Case.SessionID)
	if verdict != policy.Allow {
		return nil
	}
	if err := s.approve(ctx, c, r, session.ReuseOnce, "policy "+r.Rule); err != nil {
		return err
	}
	c.emit(session.EventRequestDecided, r.ID, r.Case.SessionID)
	if r.Emergency {
		return raiseEmergency(ctx, c, *r)
	}
	return nil
}

// submitStatement files a held statement of the broker's session, or returns
// the live request that already covers it.
func (s *Store) submitStatement(ctx context.Context, c *change, sub session.Submission) (session.Request, error) {
	cs := sub.Case
	if err := c.who.broker(cs.SessionID); err != nil {
		return session.Request{}, err
	}
	ses, err := s.openSession(ctx, c, cs.SessionID)
	if err != nil {
		return session.Request{}, err
	}
	if sub, err = s.recheck(ctx, c, ses, sub); err != nil {
		return session.Request{}, err
	}
	cs = sub.Case
	if r, err := s.liveRequest(ctx, c, cs); err == nil || !errors.Is(err, session.ErrNotFound) {
		return r, err
	}
	agent := sub.Agent
	if len(agent.Command) == 0 {
		agent = ses.Agent
	}
	r := session.Request{
		ID: newID("req"), Kind: session.RequestStatement, Principal: ses.Principal, Agent: agent, Scope: ses.Scope, Case: cs,
		Reason: sub.Reason, Emergency: ses.Emergency, Rule: sub.Rule, RuleText: sub.RuleText, Reviewers: sub.Reviewers,
		Approvals: max(1, sub.Approvals), CreatedAt: c.now,
		ExpiresAt: earlier(c.now.Add(s.cfg.Limits.RequestTTL), ses.Deadline),
	}
	c.target = r.ID
	c.note("rule", r.Rule)
	c.note("digest", cs.Digest())
	c.note("session", cs.SessionID)
	if err := s.insertRequest(ctx, c, r); err != nil {
		return session.Request{}, err
	}
	c.emit(session.EventRequestSubmitted, r.ID, cs.SessionID)
	return r, nil
}

// liveRequest is the pending or approved request that covers cs: the same
// digest, or the same shape if a reviewer approved the shape.
func (s *Store) liveRequest(ctx context.Context, c *change, cs session.Case) (session.Request, error) {
	rows, err := c.QueryContext(ctx, `SELECT id FROM requests
		WHERE session_id = $1 AND kind = 'statement' AND (
			(digest = $2 AND state IN ('pending', 'approved')) OR
			(shape_digest = $3 AND state = 'approved' AND reuse = 'shape'))
		ORDER BY CASE WHEN digest = $2 THEN 0 ELSE 1 END, created_at DESC`,
		cs.SessionID, cs.Digest(), cs.ShapeDigest())
	if err != nil {
		return session.Request{}, err
	}
	ids, err := scanStrings(rows)
	if err != nil {
		return session.Request{}, err
	}
	for _, id := range ids {
		r, err := s.loadRequest(ctx, c, id, c.now)
		if err != nil {
			return session.Request{}, err
		}
		if r.State == session.StateExpired {
			// Past its time, and not swept yet: make room for a new one.
			if err := s.end(ctx, c, r, session.StateExpired); err != nil {
				return session.Request{}, err
			}
			continue
		}
		c.target = r.ID
		if r.Case.Digest() == cs.Digest() {
			c.quiet = len(c.events) == 0
			return r, nil
		}
		c.note("attached", cs.Digest())
		_, err = c.ExecContext(ctx, `INSERT INTO request_digests (request_id, digest) VALUES ($1, $2) ON CONFLICT DO NOTHING`, r.ID, cs.Digest())
		return r, err
	}
	return session.Request{}, session.ErrNotFound
}

func checkSubmission(sub session.Submission) error {
	bad := func(format string, args ...any) error { return session.Refuse(session.ErrInvalid, format, args...) }
	if sub.Approvals < 0 || sub.Approvals > maxApprovals {
		return bad("Approvals must be between 1 and %d.", maxApprovals)
	}
	if len(sub.Ticket) > maxTicket {
		return bad("A ticket may have at most %d bytes.", maxTicket)
	}
	if sub.Emergency && sub.Kind != session.RequestSession {
		return bad("Only a session is opened in an emergency.")
	}
	if len(sub.Reason) > maxReason || len(sub.RuleText) > maxReason || len(sub.Rule) > maxReason {
		return bad("A reason may have at most %d bytes.", maxReason)
	}
	cs := sub.Case
	if len(cs.Canonical) > maxCanonical || len(cs.Shape) > maxCanonical || len(cs.Binds) > maxCanonical {
		return bad("A statement may have at most %d bytes.", maxCanonical)
	}
	texts := []string{sub.Ticket, sub.Reason, sub.Rule, sub.RuleText, cs.Canonical, cs.Shape, cs.Binds, cs.Role, cs.Warehouse, cs.Database, cs.Schema, cs.Estimate,
		sub.Agent.Host, sub.Agent.Version, sub.Scope.Connection, sub.Scope.Role, sub.Scope.Warehouse, sub.Scope.Database, sub.Scope.Schema}
	for _, list := range [][]string{sub.Reviewers, sub.Agent.Command, cs.Kinds, cs.Reads, cs.Writes, cs.Functions, cs.Classes, cs.Unknown, cs.Lineage} {
		if len(list) > maxList {
			return bad("A list may have at most %d entries.", maxList)
		}
		texts = append(texts, list...)
	}
	for _, t := range texts {
		if !utf8.ValidString(t) || strings.ContainsRune(t, 0) {
			return bad("Texts must be UTF-8 without NUL.")
		}
	}
	if sub.Kind == session.RequestStatement && cs.Canonical == "" {
		return bad("The statement is empty.")
	}
	return nil
}

func (s *Store) insertRequest(ctx context.Context, c *change, r session.Request) error {
	var pending int
	if err := c.QueryRowContext(ctx, `SELECT COUNT(*) FROM requests WHERE state = 'pending' AND principal_id = $1 AND expires_at > $2`,
		r.Principal.ID(), micros(c.now)).Scan(&pending); err != nil {
		return err
	}
	if pending >= s.cfg.Limits.MaxPending {
		return session.Refuse(session.ErrCapacity, "%d requests are already waiting. Withdraw some first.", pending)
	}
	doc, err := json.Marshal(toRequestDoc(r))
	if err != nil {
		return fmt.Errorf("writing request: %w", err)
	}
	digest, shape := "", ""
	if r.Kind == session.RequestStatement {
		digest, shape = r.Case.Digest(), r.Case.ShapeDigest()
	}
	_, err = c.ExecContext(ctx, `INSERT INTO requests
		(id, kind, principal_id, session_id, state, reuse, digest, shape_digest, approvals, grant_id, doc, created_at, expires_at, decided_at, version)
		VALUES ($1, $2, $3, $4, 'pending', 'once', $5, $6, $7, '', $8, $9, $10, 0, 0)`,
		r.ID, r.Kind.String(), r.Principal.ID(), r.Case.SessionID, digest, shape, r.Approvals, string(doc), micros(r.CreatedAt), micros(r.ExpiresAt))
	return err
}

// loadRequest reads a request as it stands at now: one whose time is over is
// expired, whether or not the sweeper has passed.
func (s *Store) loadRequest(ctx context.Context, q querier, id string, now time.Time) (session.Request, error) {
	var (
		doc, state, grant string
		expires           int64
	)
	err := q.QueryRowContext(ctx, `SELECT doc, state, grant_id, expires_at FROM requests WHERE id = $1`, id).Scan(&doc, &state, &grant, &expires)
	if err != nil {
		return session.Request{}, orNotFound(err)
	}
	var d requestDoc
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		return session.Request{}, fmt.Errorf("reading request %s: %w", id, err)
	}
	d.State, d.GrantID, d.ExpiresAt = state, grant, fromMicros(expires)
	if d.Decisions, err = s.loadDecisions(ctx, q, id); err != nil {
		return session.Request{}, err
	}
	if d.Comments, err = loadComments(ctx, q, id); err != nil {
		return session.Request{}, err
	}
	r, err := d.request()
	if err != nil {
		return session.Request{}, fmt.Errorf("reading request %s: its state cannot be read: %w", id, errDamaged)
	}
	if !r.State.Ended() && !now.Before(r.ExpiresAt) {
		r.State = session.StateExpired
	}
	return r, nil
}

// errDamaged marks stored data that cannot be read; it is no refusal.
var errDamaged = errors.New("damaged data")

func (s *Store) loadDecisions(ctx context.Context, q querier, requestID string) ([]decisionDoc, error) {
	rows, err := q.QueryContext(ctx, `SELECT doc FROM decisions WHERE request_id = $1 ORDER BY at, id`, requestID)
	if err != nil {
		return nil, err
	}
	docs, err := scanStrings(rows)
	if err != nil {
		return nil, err
	}
	var out []decisionDoc
	for _, text := range docs {
		var d decisionDoc
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			return nil, fmt.Errorf("reading the decisions of %s: %w", requestID, err)
		}
		out = append(out, d)
	}
	return out, nil
}

// lockRequest takes the request's row for this transaction, so that what is
// read next cannot change before the commit, and reads it.
func (s *Store) lockRequest(ctx context.Context, c *change, id string) (session.Request, error) {
	if err := c.exactlyOne(ctx, `UPDATE requests SET version = version + 1 WHERE id = $1`, id); err != nil {
		if errors.Is(err, session.ErrConflict) {
			return session.Request{}, session.ErrNotFound
		}
		return session.Request{}, err
	}
	r, err := s.loadRequest(ctx, c, id, c.now)
	if err != nil {
		return session.Request{}, err
	}
	ok, err := s.maySee(ctx, c, c.who, r)
	if err != nil {
		return session.Request{}, err
	}
	if !ok {
		return session.Request{}, session.ErrNotFound
	}
	return r, nil
}

// end moves a live request to a state that nothing leaves.
func (s *Store) end(ctx context.Context, c *change, r session.Request, state session.State) error {
	if err := c.exactlyOne(ctx, `UPDATE requests SET state = $1 WHERE id = $2 AND state IN ('pending', 'approved')`, state.String(), r.ID); err != nil {
		return err
	}
	c.emit(session.EventRequestEnded, r.ID, r.Case.SessionID)
	return nil
}

// request reads one request for w.
func (s *Store) request(ctx context.Context, w Caller, id string) (session.Request, error) {
	r, err := s.loadRequest(ctx, s.db.read, id, s.now())
	if err != nil {
		return session.Request{}, err
	}
	ok, err := s.maySee(ctx, s.db.read, w, r)
	if err != nil {
		return session.Request{}, err
	}
	if !ok {
		return session.Request{}, session.ErrNotFound
	}
	return r, nil
}

// pending lists what w may see, newest first. On a busy server the caller's own
// are never crowded out by those of others.
func (s *Store) pending(ctx context.Context, w Caller, f session.Filter) ([]session.Request, error) {
	limit := f.Limit
	if limit <= 0 || limit > 1000 {
		limit = 200
	}
	if w.isBroker() {
		if f.SessionID != "" && f.SessionID != w.Session {
			return nil, session.ErrNotFound
		}
		f.SessionID = w.Session
	}
	now := s.now()
	rows, err := s.db.read.QueryContext(ctx, `SELECT id FROM requests
		WHERE ($1 = '' OR session_id = $1) AND ($2 = '' OR principal_id = $2) AND ($3 = 1 OR (state = 'pending' AND expires_at > $4))
		ORDER BY CASE WHEN principal_id = $5 THEN 0 ELSE 1 END, created_at DESC, id DESC LIMIT 5000`,
		f.SessionID, ifTrue(f.Mine, w.Principal.ID()), boolInt(f.All), micros(now), w.Principal.ID())
	if err != nil {
		return nil, err
	}
	ids, err := scanStrings(rows)
	if err != nil {
		return nil, err
	}
	var out []session.Request
	for _, id := range ids {
		r, err := s.request(ctx, w, id)
		if errors.Is(err, session.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if out = append(out, r); len(out) == limit {
			break
		}
	}
	slices.SortStableFunc(out, func(a, b session.Request) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return out, nil
}

// withdraw ends a pending request of the caller's own.
func (s *Store) withdraw(ctx context.Context, w Caller, id string) error {
	return s.checkAndRecord(ctx, w, "request.withdraw", id, func(ctx context.Context, c *change) error {
		r, err := s.lockRequest(ctx, c, id)
		if err != nil {
			return err
		}
		if r.Principal.ID() != w.Principal.ID() {
			return session.Refuse(session.ErrForbidden, "Only the requester can withdraw a request. Deny it instead.")
		}
		if r.State != session.StatePending {
			return session.Refuse(session.ErrConflict, "The request is %s and can no longer be withdrawn.", r.State)
		}
		return s.end(ctx, c, r, session.StateWithdrawn)
	})
}

func scanStrings(rows *sql.Rows) ([]string, error) {
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func ifTrue(cond bool, s string) string {
	if cond {
		return s
	}
	return ""
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
