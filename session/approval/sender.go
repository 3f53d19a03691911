package approval

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// retryAfter is how long to wait after each failed attempt; after the last one
// a message is dead. They span more than a day.
var retryAfter = [...]time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 10 * time.Hour}

const (
	sendersAtOnce = 8
	sendBatch     = 64
	sendClaim     = time.Minute // longer than an attempt may take, batch and all
)

// pokeSender wakes the sender; it never blocks.
func (s *Store) pokeSender() {
	select {
	case s.sending <- struct{}{}:
	default:
	}
}

type dueDelivery struct {
	id, webhook, body string
	attempts          int
}

// deliverDue tries what is due, a few at once. Messages may arrive twice, after
// a crash between the answer and its record, and in any order: receivers look
// at webhook-id and event_id.
func (s *Store) deliverDue(ctx context.Context) error {
	due, err := s.claimDeliveries(ctx)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(sendersAtOnce)
	for _, d := range due {
		g.Go(func() error { return s.deliver(ctx, d) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if len(due) == sendBatch {
		s.pokeSender()
	}
	return nil
}

func (s *Store) claimDeliveries(ctx context.Context) ([]dueDelivery, error) {
	now := s.now()
	var n int
	if err := s.db.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM deliveries WHERE state = 'pending' AND retry_at <= $1 LIMIT 1) d`, micros(now)).Scan(&n); err != nil || n == 0 {
		return nil, err
	}
	tx, err := s.db.begin(ctx, "webhook.claim")
	if err != nil {
		return nil, err
	}
	out, err := claimDueDeliveries(ctx, tx, now)
	if err != nil {
		_ = tx.Rollback()
		return nil, err
	}
	return out, tx.Commit()
}

func claimDueDeliveries(ctx context.Context, tx *sql.Tx, now time.Time) ([]dueDelivery, error) {
	rows, err := tx.QueryContext(ctx, `UPDATE deliveries SET retry_at = $1, attempts = attempts + 1
		WHERE id IN (SELECT id FROM deliveries WHERE state = 'pending' AND retry_at <= $2 ORDER BY retry_at, event_id LIMIT $3)
		RETURNING id, webhook, body, attempts`, micros(now.Add(sendClaim)), micros(now), sendBatch)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []dueDelivery
	for rows.Next() {
		var d dueDelivery
		if err := rows.Scan(&d.id, &d.webhook, &d.body, &d.attempts); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, rows.Err()
}

// deliver makes one attempt and records how it ended.
func (s *Store) deliver(ctx context.Context, d dueDelivery) error {
	gone, err := s.post(ctx, d)
	if err == nil {
		if _, err := s.db.write.ExecContext(ctx, `DELETE FROM deliveries WHERE id = $1`, d.id); err != nil {
			return fmt.Errorf("recording a delivery: %w", err)
		}
		return nil
	}
	if ctx.Err() != nil {
		return nil // stopping: the claim runs out, another process goes on
	}
	why := err.Error()
	s.log.WarnContext(ctx, "a webhook was not delivered", "webhook", d.webhook, "message", d.id, "attempt", d.attempts, "error", why)
	if !gone && d.attempts <= len(retryAfter) {
		_, err := s.db.write.ExecContext(ctx, `UPDATE deliveries SET retry_at = $1, last_error = $2 WHERE id = $3`,
			micros(s.now().Add(retryAfter[d.attempts-1])), why, d.id)
		return err
	}
	return s.checkAndRecord(ctx, systemCaller, "webhook.dead", d.id, func(ctx context.Context, c *change) error {
		c.note("webhook", d.webhook)
		c.note("error", why)
		_, err := c.ExecContext(ctx, `UPDATE deliveries SET state = 'dead', last_error = $1 WHERE id = $2`, why, d.id)
		return err
	})
}

// post sends one message. gone says that the receiver wants no more. No error
// of it names the URL.
func (s *Store) post(ctx context.Context, d dueDelivery) (gone bool, err error) {
	var sealed []byte
	if err := s.db.read.QueryRowContext(ctx, `SELECT sealed FROM webhooks WHERE name = $1`, d.webhook).Scan(&sealed); err != nil {
		return errors.Is(err, sql.ErrNoRows), errors.New("the webhook cannot be read")
	}
	var hook hookSecrets
	if err := s.unseal(ctx, hookPurpose(d.webhook), sealed, &hook); err != nil {
		return false, errors.New("the webhook cannot be unsealed")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.URL, strings.NewReader(d.body))
	if err != nil {
		return true, errors.New("the webhook's URL is not valid")
	}
	at := s.now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "jit")
	req.Header.Set("Webhook-Id", d.id)
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	req.Header.Set("Webhook-Signature", sign(hook.Key, d.id, at, d.body))
	resp, err := s.hooks.Do(req)
	if err != nil {
		var uerr *url.Error
		if errors.As(err, &uerr) {
			err = uerr.Err
		}
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return false, nil
	}
	return resp.StatusCode == http.StatusGone, fmt.Errorf("it answered %d", resp.StatusCode)
}
