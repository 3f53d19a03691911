package approval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jit-access/jit/broker/credential"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// upstreamTokens is what is sealed of an upstream session.
type upstreamTokens struct {
	Token       string    `json:"token"`
	MasterToken string    `json:"master_token"`
	ValidUntil  time.Time `json:"valid_until"`
}

func tokensPurpose(upstreamID string) string { return "upstream " + upstreamID }

// maxTag bounds what of a principal goes into the query tag (Snowflake's limit
// of QUERY_TAG is 2000 characters).
const maxTag = 256

// openUpstream logs in to Snowflake once more for the session.
//
// The login happens between two transactions. The first reserves a place under
// the session's limit; a crash before the second leaves the reservation, which
// the sweeper clears, and at worst a Snowflake session whose tokens nobody has.
// If the session ends during the login, the second queues what was opened for
// closing.
func (s *Store) openUpstream(ctx context.Context, w Caller, sessionID string) (session.Upstream, error) {
	var (
		ses  session.Session
		conn Connection
		cred credential.Credential
	)
	up := session.Upstream{ID: newID("up")}
	err := s.checkAndRecord(ctx, w, "upstream.reserve", up.ID, func(ctx context.Context, c *change) (err error) {
		c.note("session", sessionID)
		if err := w.broker(sessionID); err != nil {
			return err
		}
		if ses, err = s.lockSession(ctx, c, sessionID); err != nil {
			return err
		}
		if err := running(ses, c.now); err != nil {
			return err
		}
		var firstUseBy int64
		if err := c.QueryRowContext(ctx, `SELECT first_use_by FROM sessions WHERE id = $1`, sessionID).Scan(&firstUseBy); err != nil {
			return err
		}
		if ses.FirstUseAt.IsZero() && !c.now.Before(fromMicros(firstUseBy)) {
			return session.Refuse(session.ErrExpired, "The session was not used in time. Ask for a new one.")
		}
		var open int
		if err := c.QueryRowContext(ctx, `SELECT COUNT(*) FROM upstreams WHERE session_id = $1 AND state IN ('opening', 'open')`, sessionID).Scan(&open); err != nil {
			return err
		}
		if open >= s.cfg.Limits.MaxLogins {
			return session.Refuse(session.ErrCapacity, "The session already has %d upstream sessions. Close one first.", open)
		}
		if conn, cred, err = s.loadCredential(ctx, c, ses.Scope.Connection); err != nil {
			return err
		}
		up.URL = conn.URL
		_, err = c.ExecContext(ctx, `INSERT INTO upstreams (id, session_id, state, base_url, snowflake_id, tokens, opened_at, closed_at, attempts, retry_at)
			VALUES ($1, $2, 'opening', $3, 0, $4, $5, 0, 0, 0)`, up.ID, sessionID, conn.URL, []byte{}, micros(c.now))
		return err
	})
	if err != nil {
		return session.Upstream{}, err
	}

	cred, err = s.exchanged(ctx, conn.Name, cred)
	if err != nil {
		return session.Upstream{}, s.loginFailed(context.WithoutCancel(ctx), w, up.ID, err)
	}
	opened, err := credential.Login(ctx, s.hc, conn.URL, loginParams(conn, ses, s.now()), cred)
	if err != nil {
		return session.Upstream{}, s.loginFailed(context.WithoutCancel(ctx), w, up.ID, err)
	}
	// From here on somebody must close it, also if the caller has gone.
	ctx = context.WithoutCancel(ctx)
	ended, err := s.keepUpstream(ctx, w, up.ID, sessionID, opened)
	if err != nil { // storage failed: nobody else knows the tokens
		if cerr := credential.Close(ctx, s.hc, conn.URL, opened.Token); cerr != nil {
			s.log.ErrorContext(ctx, "closing an upstream session that could not be kept", "upstream", up.ID, "error", cerr)
		}
		return session.Upstream{}, err
	}
	if ended != nil {
		return session.Upstream{}, ended
	}
	return describe(up, opened), nil
}

func loginParams(conn Connection, ses session.Session, now time.Time) credential.Params {
	who := ses.Principal.Display()
	if len(who) > maxTag {
		who = who[:maxTag]
	}
	tag, err := json.Marshal(struct {
		Session   string `json:"jit_session"`
		Principal string `json:"jit_principal"`
	}{ses.ID, who})
	if err != nil { // two strings always marshal
		tag = []byte("jit " + ses.ID)
	}
	left := ses.Scope.TTL
	if !ses.FirstUseAt.IsZero() {
		left = ses.Deadline.Sub(now)
	}
	return credential.Params{
		Account: conn.Account, User: conn.User, Role: ses.Scope.Role, Warehouse: ses.Scope.Warehouse,
		Database: ses.Scope.Database, Schema: ses.Scope.Schema,
		SessionParameters: map[string]string{
			"QUERY_TAG":                    string(tag),
			"STATEMENT_TIMEOUT_IN_SECONDS": strconv.FormatInt(max(1, int64(left.Seconds())), 10),
		},
	}
}

// keepUpstream stores the sealed tokens and, the first time, starts the
// session's clock. ended says that the session is over by now, and the upstream
// session queued for closing.
func (s *Store) keepUpstream(ctx context.Context, w Caller, upstreamID, sessionID string, opened *credential.Session) (ended, err error) {
	err = s.checkAndRecord(ctx, w, "upstream.open", upstreamID, func(ctx context.Context, c *change) error {
		c.note("session", sessionID)
		c.note("snowflake_session", strconv.FormatInt(opened.SnowflakeID, 10))
		ses, err := s.lockSession(ctx, c, sessionID)
		if err != nil {
			return err
		}
		state := "open"
		if ended = running(ses, c.now); ended != nil {
			state = "closing"
			c.afterCommit(s.pokeCloser)
		}
		c.note("state", state)
		sealed, err := s.sealTokens(ctx, c, upstreamID, opened)
		if err != nil {
			return err
		}
		if err := c.exactlyOne(ctx, `UPDATE upstreams SET state = $1, snowflake_id = $2, tokens = $3 WHERE id = $4 AND state = 'opening'`,
			state, opened.SnowflakeID, sealed, upstreamID); err != nil {
			return err
		}
		if ended != nil || !ses.FirstUseAt.IsZero() {
			return nil
		}
		deadline := c.now.Add(ses.Scope.TTL)
		c.note("deadline", deadline.Format(time.RFC3339))
		return c.exactlyOne(ctx, `UPDATE sessions SET first_use_at = $1, deadline = $2 WHERE id = $3 AND first_use_at = 0`, micros(c.now), micros(deadline), sessionID)
	})
	return ended, err
}

func (s *Store) loginFailed(ctx context.Context, w Caller, upstreamID string, cause error) error {
	err := s.checkAndRecord(ctx, w, "upstream.fail", upstreamID, func(ctx context.Context, c *change) error {
		c.note("cause", cause.Error())
		return c.exactlyOne(ctx, `UPDATE upstreams SET state = 'failed', closed_at = $1 WHERE id = $2`, micros(c.now), upstreamID)
	})
	if err != nil {
		return err
	}
	return upstreamError(cause)
}

// upstreamError passes on what Snowflake said. Errors of package credential
// hold no secret.
func upstreamError(err error) error {
	var (
		login    *credential.LoginError
		ses      *credential.SessionError
		exchange *credential.ExchangeError
		already  *session.UpstreamError
		refused  *session.RefusedError
	)
	switch {
	case errors.As(err, &already), errors.As(err, &refused):
		return err
	case errors.As(err, &exchange):
		return &session.UpstreamError{Message: exchange.Text}
	case errors.As(err, &login):
		message := login.Message
		if hint := login.Hint(); hint != "" {
			message += " Hint: " + hint + "."
		}
		return &session.UpstreamError{Code: login.Code, Message: message}
	case errors.As(err, &ses):
		return &session.UpstreamError{Code: ses.Code, Message: ses.Message}
	default:
		return &session.UpstreamError{Message: err.Error()}
	}
}

func describe(up session.Upstream, cs *credential.Session) session.Upstream {
	up.Token = cs.Token
	up.SnowflakeID = cs.SnowflakeID
	up.Parameters = cs.Parameters
	up.Database, up.Schema, up.Warehouse, up.Role = cs.Info.Database, cs.Info.Schema, cs.Info.Warehouse, cs.Info.Role
	up.ServerVersion = cs.ServerVersion
	up.ValidFor = cs.ValidFor
	return up
}

func (s *Store) sealTokens(ctx context.Context, c *change, upstreamID string, cs *credential.Session) ([]byte, error) {
	return s.seal(ctx, c, tokensPurpose(upstreamID), upstreamTokens{
		Token: cs.Token.Reveal(), MasterToken: cs.MasterToken.Reveal(), ValidUntil: c.now.Add(cs.ValidFor),
	})
}

func (s *Store) unsealTokens(ctx context.Context, upstreamID string, sealed []byte) (*credential.Session, time.Time, error) {
	var t upstreamTokens
	if err := s.unseal(ctx, tokensPurpose(upstreamID), sealed, &t); err != nil {
		return nil, time.Time{}, err
	}
	return &credential.Session{Token: secret.New(t.Token), MasterToken: secret.New(t.MasterToken)}, t.ValidUntil, nil
}

// renewUpstream changes the session token of an upstream session by the master
// token, which stays here.
func (s *Store) renewUpstream(ctx context.Context, w Caller, sessionID, upstreamID string) (session.Upstream, error) {
	if err := w.broker(sessionID); err != nil {
		return session.Upstream{}, err
	}
	ses, err := s.session(ctx, w, sessionID)
	if err != nil {
		return session.Upstream{}, err
	}
	if err := running(ses, s.now()); err != nil {
		return session.Upstream{}, err
	}
	up := session.Upstream{ID: upstreamID}
	var sealed []byte
	err = s.db.read.QueryRowContext(ctx, `SELECT base_url, snowflake_id, tokens FROM upstreams WHERE id = $1 AND session_id = $2 AND state = 'open'`, upstreamID, sessionID).
		Scan(&up.URL, &up.SnowflakeID, &sealed)
	if err != nil {
		return session.Upstream{}, orNotFound(err)
	}
	old, _, err := s.unsealTokens(ctx, upstreamID, sealed)
	if err != nil {
		return session.Upstream{}, err
	}
	fresh, err := credential.Renew(ctx, s.hc, up.URL, old)
	if err != nil {
		return session.Upstream{}, upstreamError(err)
	}
	ctx = context.WithoutCancel(ctx)
	err = s.checkAndRecord(ctx, w, "upstream.renew", upstreamID, func(ctx context.Context, c *change) error {
		c.note("session", sessionID)
		ses, err := s.lockSession(ctx, c, sessionID)
		if err != nil {
			return err
		}
		sealed, err := s.sealTokens(ctx, c, upstreamID, fresh)
		if err != nil {
			return err
		}
		// Also while it waits to be closed: the closer needs the token that works.
		if err := c.exactlyOne(ctx, `UPDATE upstreams SET tokens = $1 WHERE id = $2 AND state IN ('open', 'closing')`, sealed, upstreamID); err != nil {
			return err
		}
		c.note("phase", ses.Phase.String())
		return nil
	})
	if err != nil {
		return session.Upstream{}, err
	}
	if ses, err = s.session(ctx, w, sessionID); err != nil {
		return session.Upstream{}, err
	}
	if err := running(ses, s.now()); err != nil {
		return session.Upstream{}, err // it ended meanwhile: the fresh token stays here
	}
	up.Token, up.ValidFor = fresh.Token, fresh.ValidFor
	return up, nil
}

// closeUpstream queues one upstream session for closing.
func (s *Store) closeUpstream(ctx context.Context, w Caller, sessionID, upstreamID string) error {
	return s.checkAndRecord(ctx, w, "upstream.close", upstreamID, func(ctx context.Context, c *change) error {
		c.note("session", sessionID)
		if err := w.broker(sessionID); err != nil {
			return err
		}
		var state string
		if err := c.QueryRowContext(ctx, `SELECT state FROM upstreams WHERE id = $1 AND session_id = $2`, upstreamID, sessionID).Scan(&state); err != nil {
			return orNotFound(err)
		}
		if state != "open" {
			c.quiet = true
			return nil
		}
		c.afterCommit(s.pokeCloser)
		return c.exactlyOne(ctx, `UPDATE upstreams SET state = 'closing', attempts = 0, retry_at = 0 WHERE id = $1 AND state = 'open'`, upstreamID)
	})
}

// logoutTimeout bounds one attempt to close an upstream session.
const logoutTimeout = 10 * time.Second

// logout closes one Snowflake session. A session token past its time is renewed
// first: Snowflake would answer "expired" and leave the session, and what it
// runs, alive.
func (s *Store) logout(ctx context.Context, baseURL string, cs *credential.Session, validUntil time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, logoutTimeout)
	defer cancel()
	if !s.now().Before(validUntil) {
		fresh, err := credential.Renew(ctx, s.hc, baseURL, cs)
		switch {
		case errors.Is(err, credential.ErrSessionGone):
			return nil
		case err != nil:
			return fmt.Errorf("renewing before closing: %w", err)
		}
		cs = fresh
	}
	return credential.Close(ctx, s.hc, baseURL, cs.Token)
}
