package approval

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jit-access/jit/broker/credential"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

const (
	// turnLife is how long a server that stopped working keeps the others from
	// exchanging: longer than an exchange can take.
	turnLife = time.Minute
	// turnRetry is how often the others ask.
	turnRetry = 100 * time.Millisecond
)

// exchanged returns what to log in with. A credential that is exchanged for an
// access token may be used up by that: one server at a time does it, keeps what
// came of it, and only then logs in.
//
// Commit point: between the answer of the token endpoint and the commit here, a
// crash loses a refresh token that was replaced. Then somebody has to get a new
// one and rotate; no order of things avoids that.
func (s *Store) exchanged(ctx context.Context, name string, cred credential.Credential) (credential.Credential, error) {
	ex, ok := cred.(credential.Exchanger)
	if !ok {
		return cred, nil
	}
	if cred.Kind() == credential.KindWorkload { // nothing of it is stored
		ready, _, err := ex.Exchange(ctx, s.hc, s.now())
		if err != nil {
			return nil, upstreamError(err)
		}
		return ready, nil
	}
	until, err := s.takeTurn(ctx, name)
	if err != nil {
		return nil, err
	}
	defer s.giveTurn(context.WithoutCancel(ctx), name, until)
	_, cred, err = s.loadCredential(ctx, s.db.read, name) // as the one before us left it
	if err != nil {
		return nil, err
	}
	if ex, ok = cred.(credential.Exchanger); !ok {
		return cred, nil // rotated meanwhile to one that needs no exchange
	}
	// From here on a caller who leaves must not cost the credential.
	ctx = context.WithoutCancel(ctx)
	ready, keep, err := ex.Exchange(ctx, s.hc, s.now())
	if err != nil {
		return nil, upstreamError(err)
	}
	if keep.IsZero() {
		return ready, nil
	}
	return ready, s.keepExchanged(ctx, name, cred, keep)
}

// keepExchanged seals what an exchange left of a credential.
func (s *Store) keepExchanged(ctx context.Context, name string, was credential.Credential, keep secret.Text) error {
	return s.checkAndRecord(ctx, systemCaller, "connection.renew", name, func(ctx context.Context, c *change) error {
		var old []byte
		if err := c.QueryRowContext(ctx, `SELECT credential FROM connections WHERE name = $1`, name).Scan(&old); err != nil {
			return orNotFound(err)
		}
		var now sealedCredential
		if err := s.unseal(ctx, credentialPurpose(name), old, &now); err != nil {
			return err
		}
		if now.Kind != was.Kind() || !credential.Holds(was, secret.New(now.Material)) {
			return session.Refuse(session.ErrConflict, "The connection %q was changed meanwhile. Try again.", name)
		}
		now.Material = keep.Reveal()
		sealed, err := s.seal(ctx, c, credentialPurpose(name), now)
		if err != nil {
			return err
		}
		c.note("authenticator", now.Kind)
		return c.exactlyOne(ctx, `UPDATE connections SET credential = $1 WHERE name = $2`, sealed, name)
	})
}

func turnOf(name string) string { return "exchange " + name }

// takeTurn waits until no other login, of this server or another, is exchanging
// the connection's credential.
func (s *Store) takeTurn(ctx context.Context, name string) (until string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*turnLife)
	defer cancel()
	tick := time.NewTicker(turnRetry)
	defer tick.Stop()
	for {
		err := s.checkAndRecord(ctx, systemCaller, "connection.turn", name, func(ctx context.Context, c *change) error {
			c.quiet = true
			var held string
			switch err := c.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, turnOf(name)).Scan(&held); {
			case errors.Is(orNotFound(err), session.ErrNotFound):
			case err != nil:
				return err
			default:
				us, err := strconv.ParseInt(held, 10, 64)
				if err != nil {
					return fmt.Errorf("reading a turn: %w", errDamaged)
				}
				if c.now.Before(fromMicros(us)) {
					until = ""
					return nil
				}
			}
			until = strconv.FormatInt(micros(c.now.Add(turnLife)), 10)
			return c.set(ctx, turnOf(name), until)
		})
		if err != nil || until != "" {
			return until, err
		}
		select {
		case <-ctx.Done():
			return "", session.Refuse(session.ErrUnavailable, "The credential of %q is being renewed elsewhere. Try again.", name)
		case <-tick.C:
		}
	}
}

func (s *Store) giveTurn(ctx context.Context, name, until string) {
	err := s.checkAndRecord(ctx, systemCaller, "connection.turn", name, func(ctx context.Context, c *change) error {
		c.quiet = true
		_, err := c.ExecContext(ctx, `DELETE FROM settings WHERE name = $1 AND value = $2`, turnOf(name), until)
		return err
	})
	if err != nil {
		s.log.WarnContext(ctx, "the turn to renew a credential ends by itself", "connection", name, "error", err)
	}
}
