package approval

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
)

// A bundle in dry run decides nothing. New sessions carry it beside the active
// one, and their recordings say where it would have decided otherwise.

const settingDryRun = "policy-dry-run"

// pushDryRun puts a bundle in dry run in place of the one before, or with no
// data ends the dry run; admins only.
func (s *Store) pushDryRun(ctx context.Context, w Caller, data []byte) (string, error) {
	if err := s.checkAndRecord(ctx, w, "policy.dry-run", "", func(_ context.Context, c *change) error {
		c.quiet = true
		return s.admin(w)
	}); err != nil {
		return "", err
	}
	if len(data) == 0 {
		return "", s.checkAndRecord(ctx, w, "policy.dry-run-end", "", func(ctx context.Context, c *change) error {
			_, err := c.ExecContext(ctx, `DELETE FROM settings WHERE name = $1`, settingDryRun)
			return err
		})
	}
	b, err := policy.Parse(data)
	if err != nil {
		return "", session.Refuse(session.ErrInvalid, "The bundle is not valid: %v", err) // the pusher's own text
	}
	digest := b.Digest()
	err = s.checkAndRecord(ctx, w, "policy.dry-run", digest, func(ctx context.Context, c *change) error {
		if err := c.keepBundle(ctx, w, b); err != nil {
			return err
		}
		return c.set(ctx, settingDryRun, digest)
	})
	if err != nil {
		return "", err
	}
	s.remember(b)
	return digest, nil
}

// dryRunBundle is the bundle in dry run, or nil: none, or it has become the
// active one.
func (s *Store) dryRunBundle(ctx context.Context, q querier, active *policy.Bundle) (*policy.Bundle, error) {
	var digest string
	err := q.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, settingDryRun).Scan(&digest)
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && digest == active.Digest():
		return nil, nil //nolint:nilnil // there may be none, which is no error
	case err != nil:
		return nil, fmt.Errorf("finding the policy in dry run: %w", err)
	}
	return s.bundle(ctx, q, digest)
}

// keepBundle stores b under its digest.
func (c *change) keepBundle(ctx context.Context, w Caller, b *policy.Bundle) error {
	_, err := c.ExecContext(ctx, `INSERT INTO policies (digest, data, created_at, created_by) VALUES ($1, $2, $3, $4) ON CONFLICT (digest) DO NOTHING`,
		b.Digest(), b.Format(), micros(c.now), w.Principal.ID())
	return err
}

// set changes one setting.
func (c *change) set(ctx context.Context, name, value string) error {
	_, err := c.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}

// formatOf is the text of a bundle; nil for none.
func formatOf(b *policy.Bundle) []byte {
	if b == nil {
		return nil
	}
	return b.Format()
}
