package approval

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// brokerCaller finds the session of a broker token, by its digest. The token of
// an ended session still names its caller: each call checks the phase, and the
// recording may be completed.
func (s *Store) brokerCaller(ctx context.Context, token secret.Text) (Caller, error) {
	if !strings.HasPrefix(token.Reveal(), brokerTokenPrefix) {
		return Caller{}, session.ErrSignIn
	}
	var (
		id, doc string
		ended   int64
	)
	err := s.db.read.QueryRowContext(ctx, `SELECT id, doc, ended_at FROM sessions WHERE token_digest = $1`, token.Digest()).Scan(&id, &doc, &ended)
	if errors.Is(orNotFound(err), session.ErrNotFound) {
		return Caller{}, session.Refuse(session.ErrSignIn, "The broker token is not known here.")
	}
	if err != nil {
		return Caller{}, err
	}
	if ended != 0 && s.now().After(fromMicros(ended).Add(s.cfg.Limits.UploadGrace)) {
		return Caller{}, session.Refuse(session.ErrExpired, "The session ended too long ago.")
	}
	var d grantDoc
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		return Caller{}, fmt.Errorf("reading session %s: %w", id, err)
	}
	return Caller{Principal: d.Principal.principal(), Session: id}, nil
}

// seenEvery is how exact last_seen is: a write for every call would be a sync
// for every call.
const seenEvery = time.Minute

// sawPrincipal keeps who was here, for the audit's readers: ids alone say
// little years later.
func (s *Store) sawPrincipal(ctx context.Context, p session.Principal) error {
	now := s.now()
	var (
		email string
		last  int64
	)
	err := s.db.read.QueryRowContext(ctx, `SELECT email, last_seen FROM principals WHERE id = $1`, p.ID()).Scan(&email, &last)
	if err == nil && email == p.Email && now.Sub(fromMicros(last)) < seenEvery {
		return nil
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	_, err = s.db.write.ExecContext(ctx, `INSERT INTO principals (id, issuer, subject, email, first_seen, last_seen) VALUES ($1, $2, $3, $4, $5, $5)
		ON CONFLICT (id) DO UPDATE SET email = excluded.email, last_seen = excluded.last_seen`, p.ID(), p.Issuer, p.Subject, p.Email, micros(now))
	return err
}
