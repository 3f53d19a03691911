package approval

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/jit-access/jit/session"
)

// The pace of the background work. A session past its deadline is refused at
// once; the sweep closes its upstream sessions within sweepEvery.
const (
	sweepEvery    = time.Second
	closersAtOnce = 16
	maxBackoff    = time.Minute
	// claimFor keeps replicas from closing the same upstream session twice at
	// once; a crashed closer's claim runs out.
	claimFor = logoutTimeout + 5*time.Second
	// openingFor is how long a login may take before its reservation is void.
	openingFor = 5 * time.Minute
)

// pokeCloser wakes the closer; it never blocks.
func (s *Store) pokeCloser() {
	select {
	case s.closing <- struct{}{}:
	default:
	}
}

// Run expires what is over and closes upstream sessions until ctx ends.
// Without it nothing is closed upstream.
func (s *Store) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.every(ctx, sweepEvery, nil, s.sweepNow) })
	g.Go(func() error { return s.every(ctx, sweepEvery, s.closing, s.closeQueued) })
	g.Go(func() error { return s.every(ctx, pruneEvery, nil, s.pruneDue) })
	g.Go(func() error { return s.every(ctx, sweepEvery, s.sending, s.deliverDue) })
	g.Go(func() error { return s.every(ctx, sweepEvery, nil, s.mailDue) })
	return g.Wait()
}

func (s *Store) sweepNow(ctx context.Context) error { return s.Sweep(ctx, s.now()) }

// every runs do now, when poked, and each pace. A failure is logged and
// tried again: the work is in the database and does not get lost.
func (s *Store) every(ctx context.Context, pace time.Duration, poked <-chan struct{}, do func(context.Context) error) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "background work failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-poked:
		}
	}
}

type queuedUpstream struct {
	id, baseURL string
	sealed      []byte
	attempts    int
}

// closeQueued closes the upstream sessions that wait for it, a few at once.
func (s *Store) closeQueued(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(closersAtOnce)
	queued, err := s.claimQueued(ctx)
	if err != nil {
		return err
	}
	for _, u := range queued {
		g.Go(func() error { return s.closeOne(ctx, u) })
	}
	return g.Wait()
}

// claimQueued takes what is due. The claim moves retry_at, so that it is due
// again if this process dies.
func (s *Store) claimQueued(ctx context.Context) ([]queuedUpstream, error) {
	now := s.now()
	var due int
	if err := s.db.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM upstreams WHERE state = 'closing' AND retry_at <= $1`, micros(now)).Scan(&due); err != nil || due == 0 {
		return nil, err
	}
	tx, err := s.db.begin(ctx, "upstream.claim")
	if err != nil {
		return nil, err
	}
	out, err := claimDue(ctx, tx, now)
	if err != nil {
		_ = tx.Rollback()
		return nil, err
	}
	return out, tx.Commit()
}

func claimDue(ctx context.Context, tx *sql.Tx, now time.Time) ([]queuedUpstream, error) {
	rows, err := tx.QueryContext(ctx, `UPDATE upstreams SET retry_at = $1, attempts = attempts + 1
		WHERE state = 'closing' AND retry_at <= $2 RETURNING id, base_url, tokens, attempts`, micros(now.Add(claimFor)), micros(now))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []queuedUpstream
	for rows.Next() {
		var u queuedUpstream
		if err := rows.Scan(&u.id, &u.baseURL, &u.sealed, &u.attempts); err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, rows.Err()
}

func (s *Store) closeOne(ctx context.Context, u queuedUpstream) error {
	cs, validUntil, err := s.unsealTokens(ctx, u.id, u.sealed)
	if err == nil {
		err = s.logout(ctx, u.baseURL, cs, validUntil)
	}
	if err != nil {
		s.log.WarnContext(ctx, "closing an upstream session failed", "upstream", u.id, "attempt", u.attempts, "error", err)
		again := s.now().Add(min(time.Second<<min(u.attempts-1, 6), maxBackoff))
		if _, derr := s.db.write.ExecContext(ctx, `UPDATE upstreams SET retry_at = $1 WHERE id = $2 AND state = 'closing'`, micros(again), u.id); derr != nil {
			return fmt.Errorf("closing upstream %s: %w", u.id, derr)
		}
		return nil
	}
	return s.checkAndRecord(ctx, systemCaller, "upstream.closed", u.id, func(ctx context.Context, c *change) error {
		// The tokens are dead now; nothing of them is kept.
		return c.exactlyOne(ctx, `UPDATE upstreams SET state = 'closed', closed_at = $1, tokens = $2 WHERE id = $3 AND state = 'closing'`, micros(c.now), []byte{}, u.id)
	})
}

// Sweep expires, as of now, the requests and sessions whose time is over. It is
// idempotent and safe to run on several replicas.
func (s *Store) Sweep(ctx context.Context, now time.Time) error {
	at := micros(now)
	due := func(query string) ([]string, error) {
		rows, err := s.db.read.QueryContext(ctx, query, at)
		if err != nil {
			return nil, err
		}
		return scanStrings(rows)
	}
	requests, err := due(`SELECT id FROM requests WHERE state IN ('pending', 'approved') AND expires_at <= $1 LIMIT 1000`)
	if err != nil {
		return fmt.Errorf("sweeping requests: %w", err)
	}
	for _, id := range requests {
		if err := s.expireRequest(ctx, id, now); err != nil {
			return fmt.Errorf("sweeping requests: %w", err)
		}
	}
	sessions, err := due(`SELECT id FROM sessions WHERE phase = 'open' AND (deadline <= $1 OR (first_use_at = 0 AND first_use_by <= $1)) LIMIT 1000`)
	if err != nil {
		return fmt.Errorf("sweeping sessions: %w", err)
	}
	for _, id := range sessions {
		if err := s.expireSession(ctx, id, now); err != nil {
			return fmt.Errorf("sweeping sessions: %w", err)
		}
	}
	return s.voidReservations(ctx, now)
}

func (s *Store) expireRequest(ctx context.Context, id string, now time.Time) error {
	return s.checkAndRecord(ctx, systemCaller, "request.expire", id, func(ctx context.Context, c *change) error {
		rows, err := c.QueryContext(ctx, `UPDATE requests SET state = 'expired' WHERE id = $1 AND state IN ('pending', 'approved') AND expires_at <= $2 RETURNING session_id`, id, micros(now))
		if err != nil {
			return err
		}
		hit, err := scanStrings(rows)
		if err != nil {
			return err
		}
		if len(hit) == 0 { // somebody else was faster
			c.quiet = true
			return nil
		}
		c.emit(session.EventRequestEnded, id, hit[0])
		return nil
	})
}

func (s *Store) expireSession(ctx context.Context, id string, now time.Time) error {
	return s.checkAndRecord(ctx, systemCaller, "session.expire", id, func(ctx context.Context, c *change) error {
		var due int
		if err := c.QueryRowContext(ctx, `SELECT COUNT(*) FROM sessions WHERE id = $1 AND phase = 'open' AND (deadline <= $2 OR (first_use_at = 0 AND first_use_by <= $2))`,
			id, micros(now)).Scan(&due); err != nil {
			return err
		}
		if due == 0 {
			c.quiet = true
			return nil
		}
		return s.endSession(ctx, c, id, session.PhaseExpired, "its time was over")
	})
}

// voidReservations frees the places of logins whose process died.
func (s *Store) voidReservations(ctx context.Context, now time.Time) error {
	var stale int
	before := micros(now.Add(-openingFor))
	if err := s.db.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM upstreams WHERE state = 'opening' AND opened_at <= $1`, before).Scan(&stale); err != nil || stale == 0 {
		return err
	}
	return s.checkAndRecord(ctx, systemCaller, "upstream.void", "", func(ctx context.Context, c *change) error {
		_, err := c.ExecContext(ctx, `UPDATE upstreams SET state = 'failed', closed_at = $1 WHERE state = 'opening' AND opened_at <= $2`, micros(c.now), before)
		return err
	})
}
