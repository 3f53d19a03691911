package approval

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
)

const settingPolicy = "policy"

// start settles which bundle is active: the configured one; without one, the
// one that was active before, which may have been pushed; at the very first
// start, the one that is shipped.
func (s *Store) start(ctx context.Context) error {
	b := s.cfg.Policy
	if b == nil {
		_, err := s.activeBundle(ctx, s.db.read)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		b = policy.Default()
	}
	return s.activate(ctx, systemCaller, b)
}

// activate stores b and makes it the bundle of all new decisions. Running
// sessions keep the one they were opened with.
func (s *Store) activate(ctx context.Context, w Caller, b *policy.Bundle) error {
	digest := b.Digest()
	err := s.checkAndRecord(ctx, w, "policy.activate", digest, func(ctx context.Context, c *change) error {
		var current string
		err := c.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, settingPolicy).Scan(&current)
		if err == nil && current == digest {
			c.quiet = true
			return nil
		}
		c.note("before", current)
		if err := c.keepBundle(ctx, w, b); err != nil {
			return err
		}
		return c.set(ctx, settingPolicy, digest)
	})
	if err != nil {
		return err
	}
	s.remember(b)
	return nil
}

func (s *Store) remember(b *policy.Bundle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bundles[b.Digest()] = b
}

// activeBundle is the bundle that decides now, also if another replica
// activated it.
func (s *Store) activeBundle(ctx context.Context, q querier) (*policy.Bundle, error) {
	var digest string
	if err := q.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, settingPolicy).Scan(&digest); err != nil {
		return nil, fmt.Errorf("finding the active policy: %w", err)
	}
	return s.bundle(ctx, q, digest)
}

// bundle is the stored bundle with the given digest.
func (s *Store) bundle(ctx context.Context, q querier, digest string) (*policy.Bundle, error) {
	s.mu.Lock()
	b, ok := s.bundles[digest]
	s.mu.Unlock()
	if ok {
		return b, nil
	}
	var data []byte
	if err := q.QueryRowContext(ctx, `SELECT data FROM policies WHERE digest = $1`, digest).Scan(&data); err != nil {
		return nil, fmt.Errorf("reading policy %s: %w", digest, err)
	}
	b, err := policy.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading policy %s: %w", digest, err)
	}
	if b.Digest() != digest {
		return nil, fmt.Errorf("reading policy %s: its content has another digest", digest)
	}
	s.remember(b)
	return b, nil
}

// pushPolicy makes data the active bundle; admins only.
func (s *Store) pushPolicy(ctx context.Context, w Caller, data []byte) (string, error) {
	// Checked and audited before the content is looked at.
	if err := s.checkAndRecord(ctx, w, "policy.push", "", func(_ context.Context, c *change) error {
		c.quiet = true
		return s.admin(w)
	}); err != nil {
		return "", err
	}
	b, err := policy.Parse(data)
	if err != nil {
		return "", session.Refuse(session.ErrInvalid, "The bundle is not valid: %v", err) // the pusher's own text
	}
	return b.Digest(), s.activate(ctx, w, b)
}

// policyData is the active bundle's text, for anyone signed in.
func (s *Store) policyData(ctx context.Context) (digest string, data []byte, err error) {
	b, err := s.activeBundle(ctx, s.db.read)
	if err != nil {
		return "", nil, err
	}
	return b.Digest(), b.Format(), nil
}
