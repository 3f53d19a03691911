package approval

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jit-access/jit/session"
)

// Caller is who calls: a person by their ID token, or the broker of one
// session by its token.
type Caller struct {
	Principal session.Principal
	Session   string // not empty: a broker token of this session
	Workload  string // of a machine: the subject of its token, for the audit
}

// systemCaller is the server itself: start-up and the sweeper.
var systemCaller = Caller{Principal: session.Principal{Issuer: "jit", Subject: "server"}}

// change is one unit of work on the store: a transaction with the audit row
// and the events that commit with it.
type change struct {
	*sql.Tx
	now    time.Time
	who    Caller
	target string            // what the audit row names; do may set it once it is known
	detail map[string]string // for the audit row; never a secret
	events []session.Event
	after  []func()
	quiet  bool // nothing changed: write no audit row
}

// afterCommit runs f once the change is durable.
func (c *change) afterCommit(f func()) { c.after = append(c.after, f) }

// note adds a fact to the audit row.
func (c *change) note(key, value string) {
	if c.detail == nil {
		c.detail = map[string]string{}
	}
	c.detail[key] = value
}

// emit adds an event that watchers see after the commit.
func (c *change) emit(kind session.EventKind, requestID, sessionID string) {
	c.events = append(c.events, session.Event{Kind: kind, RequestID: requestID, SessionID: sessionID})
}

// exactlyOne runs an update that must hit one row. No row means that another
// caller was faster, or that the state does not allow it: ErrConflict.
func (c *change) exactlyOne(ctx context.Context, query string, args ...any) error {
	res, err := c.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n != 1 {
		return session.ErrConflict
	}
	return nil
}

// checkAndRecord is the only way to change anything. do checks the caller and
// makes the change; if it refuses, nothing of it stays and the refusal is
// audited on its own. Commit point: before it, a crash leaves the old state and
// no audit row; after it, the new state, its events and its audit row.
func (s *Store) checkAndRecord(ctx context.Context, who Caller, action, target string, do func(ctx context.Context, c *change) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &change{now: s.now(), who: who, target: target}
	err := s.transact(ctx, c, action, func() error {
		if err := do(ctx, c); err != nil {
			return err
		}
		if err := s.writeEvents(ctx, c); err != nil {
			return err
		}
		if c.quiet {
			return nil
		}
		return s.writeAudit(ctx, c, action, "done")
	})
	switch {
	case err == nil:
		if len(c.events) > 0 {
			s.notifier.poke()
		}
		for _, f := range c.after {
			f()
		}
		return nil
	case !refusal(err):
		return fmt.Errorf("%s: %w", action, err)
	}
	refused := &change{now: c.now, who: who, target: c.target, detail: c.detail}
	if aerr := s.transact(ctx, refused, action, func() error {
		return s.writeAudit(ctx, refused, action, "refused: "+problemOf(err).code)
	}); aerr != nil {
		return fmt.Errorf("%s: writing the audit row of a refusal: %w", action, aerr)
	}
	return err
}

func (s *Store) transact(ctx context.Context, c *change, action string, do func() error) error {
	tx, err := s.db.begin(ctx, action)
	if err != nil {
		return err
	}
	c.Tx = tx
	if err := do(); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

func (s *Store) writeEvents(ctx context.Context, c *change) error {
	for i := range c.events {
		e := &c.events[i]
		id, err := nextID(ctx, c.Tx, "events")
		if err != nil {
			return fmt.Errorf("writing an event: %w", err)
		}
		e.ID, e.At = id, c.now
		if _, err := c.ExecContext(ctx, `INSERT INTO events (id, kind, at, request_id, session_id, principal_id) VALUES ($1, $2, $3, $4, $5, $6)`,
			id, string(e.Kind), micros(c.now), e.RequestID, e.SessionID, c.who.Principal.ID()); err != nil {
			return fmt.Errorf("writing an event: %w", err)
		}
	}
	if len(c.events) == 0 {
		return nil
	}
	if err := s.enqueue(ctx, c); err != nil {
		return err
	}
	return s.db.announce(ctx, c.Tx)
}

func (s *Store) writeAudit(ctx context.Context, c *change, action, outcome string) error {
	if c.who.Workload != "" {
		c.note("workload", c.who.Workload)
	}
	detail, err := json.Marshal(c.detail)
	if err != nil {
		return fmt.Errorf("writing the audit row: %w", err)
	}
	id, err := nextID(ctx, c.Tx, "audit")
	if err != nil {
		return fmt.Errorf("writing the audit row: %w", err)
	}
	if _, err := c.ExecContext(ctx, `INSERT INTO audit (id, at, actor_id, actor_session, action, target, outcome, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		id, micros(c.now), c.who.Principal.ID(), c.who.Session, action, c.target, outcome, string(detail)); err != nil {
		return fmt.Errorf("writing the audit row: %w", err)
	}
	return nil
}

func nextID(ctx context.Context, tx *sql.Tx, counter string) (int64, error) {
	var id int64
	err := tx.QueryRowContext(ctx, `UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value`, counter).Scan(&id)
	return id, err
}

// refusal reports whether err is an answer to the caller rather than a fault.
func refusal(err error) bool { return problemOf(err).code != codeInternal }

// orNotFound turns "no row" into ErrNotFound.
func orNotFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return session.ErrNotFound
	}
	return err
}
