package approval

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// brokerTokenPrefix tells a broker token from an ID token, for people and for
// secret scanners.
const brokerTokenPrefix = "jit_broker_"

// openGrant starts the session of a grant, see session.Office. A grant opens
// one session: the unique grant_id and the request's move to used see to it.
func (s *Store) openGrant(ctx context.Context, w Caller, grantID, recordingKey string) (session.Opened, error) {
	var (
		ses    session.Session
		token  secret.Text
		bundle *policy.Bundle
		dryRun *policy.Bundle // nil: none
	)
	err := s.checkAndRecord(ctx, w, "session.open", grantID, func(ctx context.Context, c *change) error {
		if err := w.signedIn(); err != nil {
			return err
		}
		if _, err := note.NewVerifier(recordingKey); err != nil {
			return session.Refuse(session.ErrInvalid, "The recording key is not a note verifier key.")
		}
		g, err := loadGrant(ctx, c, grantID)
		if err != nil {
			return err
		}
		if g.Principal.ID() != w.Principal.ID() {
			return session.ErrNotFound
		}
		if g.Extends != "" {
			return session.Refuse(session.ErrConflict, "The grant extended a session; it opens none.")
		}
		r, err := s.lockRequest(ctx, c, g.RequestID)
		if err != nil {
			return err
		}
		switch {
		case r.State == session.StateUsed:
			return session.Refuse(session.ErrConflict, "The grant is already used. Ask again for another session.")
		case r.State != session.StateApproved || !c.now.Before(g.ExpiresAt):
			return session.Refuse(session.ErrExpired, "The grant has expired. Ask again.")
		}
		if bundle, err = s.activeBundle(ctx, c); err != nil {
			return err
		}
		if dryRun, err = s.dryRunBundle(ctx, c, bundle); err != nil {
			return err
		}
		token = newBrokerToken()
		firstUseBy := c.now.Add(s.cfg.Limits.FirstUse)
		ses = session.Session{
			ID: newID("ses"), GrantID: g.ID, Principal: w.Principal, Agent: g.Agent, Scope: g.Scope, Phase: session.PhaseOpen,
			OpenedAt: c.now, Deadline: firstUseBy.Add(g.Scope.TTL), AsOf: c.now, Emergency: g.Emergency, PolicyDigest: bundle.Digest(),
		}
		doc, err := json.Marshal(grantDoc{Principal: toPrincipalDoc(w.Principal), Agent: toAgentDoc(g.Agent), Scope: toScopeDoc(g.Scope), Rule: g.Rule, Emergency: g.Emergency})
		if err != nil {
			return fmt.Errorf("writing session: %w", err)
		}
		if _, err := c.ExecContext(ctx, `INSERT INTO sessions
			(id, grant_id, principal_id, phase, end_reason, doc, opened_at, first_use_at, first_use_by, deadline, ended_at, policy_digest, token_digest, recording_key, version)
			VALUES ($1, $2, $3, 'open', '', $4, $5, 0, $6, $7, 0, $8, $9, $10, 0)`,
			ses.ID, ses.GrantID, w.Principal.ID(), string(doc), micros(c.now), micros(firstUseBy), micros(ses.Deadline), ses.PolicyDigest, token.Digest(), recordingKey); err != nil {
			return err
		}
		c.note("session", ses.ID)
		if g.Emergency {
			c.note("emergency", "true")
		}
		c.emit(session.EventSessionOpened, "", ses.ID)
		return s.end(ctx, c, r, session.StateUsed)
	})
	if err != nil {
		return session.Opened{}, err
	}
	return session.Opened{Session: ses, Token: token, Bundle: bundle.Format(), DryRun: formatOf(dryRun), WitnessKey: s.witness.Key()}, nil
}

func newBrokerToken() secret.Text {
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return secret.New(brokerTokenPrefix + base64.RawURLEncoding.EncodeToString(b[:]))
}

func loadGrant(ctx context.Context, q querier, id string) (session.Grant, error) {
	var (
		doc             string
		issued, expires int64
	)
	g := session.Grant{ID: id}
	err := q.QueryRowContext(ctx, `SELECT request_id, doc, issued_at, expires_at FROM grants WHERE id = $1`, id).Scan(&g.RequestID, &doc, &issued, &expires)
	if err != nil {
		return session.Grant{}, orNotFound(err)
	}
	var d grantDoc
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		return session.Grant{}, fmt.Errorf("reading grant %s: %w", id, err)
	}
	g.Principal, g.Agent, g.Scope, g.Rule = d.Principal.principal(), d.Agent.agent(), d.Scope.scope(), d.Rule
	g.Emergency, g.Extends = d.Emergency, d.Extends
	g.IssuedAt, g.ExpiresAt = fromMicros(issued), fromMicros(expires)
	return g, nil
}

const sessionColumns = `id, grant_id, phase, end_reason, doc, opened_at, first_use_at, deadline, policy_digest`

func scanSession(row interface{ Scan(dest ...any) error }) (session.Session, error) {
	var (
		ses                        session.Session
		phase, doc                 string
		opened, firstUse, deadline int64
	)
	if err := row.Scan(&ses.ID, &ses.GrantID, &phase, &ses.EndReason, &doc, &opened, &firstUse, &deadline, &ses.PolicyDigest); err != nil {
		return session.Session{}, err
	}
	var d grantDoc
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		return session.Session{}, fmt.Errorf("reading session %s: %w", ses.ID, err)
	}
	p, err := session.ParsePhase(phase)
	if err != nil {
		return session.Session{}, fmt.Errorf("reading session %s: %w", ses.ID, errDamaged)
	}
	ses.Phase = p
	ses.Principal, ses.Agent, ses.Scope = d.Principal.principal(), d.Agent.agent(), d.Scope.scope()
	ses.Emergency = d.Emergency
	ses.OpenedAt, ses.FirstUseAt, ses.Deadline = fromMicros(opened), fromMicros(firstUse), fromMicros(deadline)
	return ses, nil
}

func (s *Store) loadSession(ctx context.Context, q querier, id string) (session.Session, error) {
	ses, err := scanSession(q.QueryRowContext(ctx, `SELECT `+sessionColumns+` FROM sessions WHERE id = $1`, id))
	return ses, orNotFound(err)
}

// openSession reads a session and refuses one that is over, also if the
// sweeper has not passed yet.
func (s *Store) openSession(ctx context.Context, c *change, id string) (session.Session, error) {
	ses, err := s.loadSession(ctx, c, id)
	if err != nil {
		return session.Session{}, err
	}
	return ses, running(ses, c.now)
}

func running(ses session.Session, now time.Time) error {
	switch {
	case ses.Phase == session.PhaseRevoked:
		return session.Refuse(session.ErrRevoked, "The session was revoked: %s", ses.EndReason)
	case ses.Phase == session.PhaseExpired || ses.Phase == session.PhaseOpen && !now.Before(ses.Deadline):
		return session.Refuse(session.ErrExpired, "The session has expired. Ask for a new one.")
	case ses.Phase != session.PhaseOpen:
		return session.Refuse(session.ErrConflict, "The session is closed.")
	}
	return nil
}

// lockSession takes the session's row for this transaction and reads it.
func (s *Store) lockSession(ctx context.Context, c *change, id string) (session.Session, error) {
	if err := c.exactlyOne(ctx, `UPDATE sessions SET version = version + 1 WHERE id = $1`, id); err != nil {
		if errors.Is(err, session.ErrConflict) {
			return session.Session{}, session.ErrNotFound
		}
		return session.Session{}, err
	}
	ses, err := s.loadSession(ctx, c, id)
	if err != nil {
		return session.Session{}, err
	}
	ok, err := s.maySeeSession(ctx, c, c.who, ses)
	if err != nil {
		return session.Session{}, err
	}
	if !ok {
		return session.Session{}, session.ErrNotFound
	}
	return ses, nil
}

func (s *Store) session(ctx context.Context, w Caller, id string) (session.Session, error) {
	ses, err := s.loadSession(ctx, s.db.read, id)
	if err != nil {
		return session.Session{}, err
	}
	ok, err := s.maySeeSession(ctx, s.db.read, w, ses)
	if err != nil {
		return session.Session{}, err
	}
	if !ok {
		return session.Session{}, session.ErrNotFound
	}
	ses.AsOf = s.now()
	return ses, nil
}

// sessions lists what w may see, newest first. On a busy server the caller's
// own are never crowded out by those of others.
func (s *Store) sessions(ctx context.Context, w Caller) ([]session.Session, error) {
	rows, err := s.db.read.QueryContext(ctx, `SELECT `+sessionColumns+` FROM sessions WHERE ($1 = '' OR id = $1)
		ORDER BY CASE WHEN principal_id = $2 THEN 0 ELSE 1 END, opened_at DESC, id DESC LIMIT 1000`, w.Session, w.Principal.ID())
	if err != nil {
		return nil, err
	}
	all, err := scanSessions(rows)
	if err != nil {
		return nil, err
	}
	var out []session.Session
	now := s.now()
	for _, ses := range all {
		ses.AsOf = now
		ok, err := s.maySeeSession(ctx, s.db.read, w, ses)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, ses)
		}
	}
	slices.SortStableFunc(out, func(a, b session.Session) int { return b.OpenedAt.Compare(a.OpenedAt) })
	return out, nil
}

func scanSessions(rows *sql.Rows) ([]session.Session, error) {
	defer func() { _ = rows.Close() }()
	var out []session.Session
	for rows.Next() {
		ses, err := scanSession(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, ses)
	}
	return out, rows.Err()
}

// revoke ends a session at a person's word. Taking access away needs
// no approval.
func (s *Store) revoke(ctx context.Context, w Caller, id, reason string) error {
	return s.checkAndRecord(ctx, w, "session.revoke", id, func(ctx context.Context, c *change) error {
		ses, err := s.lockSession(ctx, c, id)
		if err != nil {
			return err
		}
		if err := s.mayEnd(ctx, c, w, ses); err != nil {
			return err
		}
		if len(reason) > maxReason {
			return session.Refuse(session.ErrInvalid, "A reason may have at most %d bytes.", maxReason)
		}
		if !plainText(reason) {
			return session.Refuse(session.ErrInvalid, "Texts must be UTF-8 without NUL.")
		}
		if ses.Phase == session.PhaseRevoked {
			c.quiet = true
			return nil
		}
		if err := running(ses, c.now); err != nil {
			return err
		}
		why := "revoked by " + w.Principal.Display()
		if reason != "" {
			why += ": " + reason
		}
		c.note("reason", reason)
		return s.endSession(ctx, c, id, session.PhaseRevoked, why)
	})
}

// closeSession ends a session in good order, by its broker. Closing what is
// already over is fine.
func (s *Store) closeSession(ctx context.Context, w Caller, id string) error {
	return s.checkAndRecord(ctx, w, "session.close", id, func(ctx context.Context, c *change) error {
		if err := w.broker(id); err != nil {
			return err
		}
		ses, err := s.lockSession(ctx, c, id)
		if err != nil {
			return err
		}
		if ses.Phase != session.PhaseOpen {
			c.quiet = true
			return nil
		}
		if err := s.endSession(ctx, c, id, session.PhaseClosed, "closed by the broker"); err != nil {
			return err
		}
		ended, err := recordingEnded(ctx, c, id)
		if err != nil || !ended {
			return err
		}
		return sealIfClosed(ctx, c, id)
	})
}

// endSession moves an open session to phase, ends what is still asked for it
// and queues its upstream sessions for closing. Commit point: from here on the
// broker's calls are refused; a crash before the upstream sessions are closed
// leaves them queued, and the next process closes them.
func (s *Store) endSession(ctx context.Context, c *change, id string, phase session.Phase, why string) error {
	if err := c.exactlyOne(ctx, `UPDATE sessions SET phase = $1, end_reason = $2, ended_at = $3 WHERE id = $4 AND phase = 'open'`,
		phase.String(), why, micros(c.now), id); err != nil {
		return err
	}
	rows, err := c.QueryContext(ctx, `UPDATE requests SET state = CASE WHEN state = 'pending' THEN 'withdrawn' ELSE 'expired' END
		WHERE session_id = $1 AND state IN ('pending', 'approved') RETURNING id`, id)
	if err != nil {
		return err
	}
	ended, err := scanStrings(rows)
	if err != nil {
		return err
	}
	for _, r := range ended {
		c.emit(session.EventRequestEnded, r, id)
	}
	if _, err := c.ExecContext(ctx, `UPDATE upstreams SET state = 'closing', attempts = 0, retry_at = 0 WHERE session_id = $1 AND state = 'open'`, id); err != nil {
		return err
	}
	c.emit(session.EventSessionEnded, "", id)
	c.note("phase", phase.String())
	c.afterCommit(s.pokeCloser)
	return nil
}
