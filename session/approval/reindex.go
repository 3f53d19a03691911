package approval

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jit-access/jit/session/recording"
)

// Reindexed says what Reindex did.
type Reindexed struct {
	Sessions   int               `json:"sessions"`
	Statements int               `json:"statements"`
	Damaged    map[string]string `json:"damaged"` // by session: why it is not indexed
}

// Reindex makes the index of statements anew from the recordings: for sessions
// that have none in it, such as those recorded before there was an index, or for
// all. Each recording is verified against what the witness cosigned; one that
// cannot be keeps the index that it has.
func (s *Store) Reindex(ctx context.Context, all bool) (Reindexed, error) {
	done := Reindexed{Damaged: map[string]string{}}
	rows, err := s.db.read.QueryContext(ctx, `SELECT w.session_id FROM witnesses w WHERE EXISTS (SELECT 1 FROM recording_segments g WHERE g.session_id = w.session_id)
		AND ($1 = 1 OR NOT EXISTS (SELECT 1 FROM statements s WHERE s.session_id = w.session_id)) ORDER BY w.session_id`, map[bool]int{true: 1}[all])
	if err != nil {
		return done, fmt.Errorf("looking for recordings: %w", err)
	}
	ids, err := scanStrings(rows)
	if err != nil {
		return done, err
	}
	for _, id := range ids {
		n, err := s.reindexSession(ctx, id)
		var tamper *recording.TamperError
		switch {
		case errors.As(err, &tamper), errors.Is(err, errDamaged), errors.Is(err, recording.ErrIncomplete):
			done.Damaged[id] = err.Error()
		case err != nil:
			return done, fmt.Errorf("indexing the recording of %s: %w", id, err)
		default:
			done.Sessions, done.Statements = done.Sessions+1, done.Statements+n
		}
	}
	return done, nil
}

func (s *Store) reindexSession(ctx context.Context, sessionID string) (n int, err error) {
	err = s.checkAndRecord(ctx, systemCaller, "index.rebuild", sessionID, func(ctx context.Context, c *change) error {
		if err := touchSession(ctx, c, sessionID); err != nil {
			return err
		}
		seen, err := s.verifyWitnessed(ctx, c, sessionID)
		if errors.Is(err, sql.ErrNoRows) { // deleted meanwhile
			c.quiet = true
			return nil
		}
		if err != nil {
			return err
		}
		if err := forgetStatements(ctx, c, sessionID); err != nil {
			return err
		}
		events, err := s.readFile(ctx, c, sessionID, recording.FileEvents, 0)
		if err != nil {
			return err
		}
		if err := s.indexStatements(ctx, c, sessionID, io.LimitReader(events, seen)); err != nil {
			return err
		}
		if err := c.QueryRowContext(ctx, `SELECT COUNT(*) FROM statements WHERE session_id = $1`, sessionID).Scan(&n); err != nil {
			return err
		}
		c.note("statements", strconv.Itoa(n))
		return nil
	})
	return n, err
}

// verifyWitnessed reads a recording's events once more and compares them with
// the checkpoint that was cosigned. It returns how many bytes that covers.
func (s *Store) verifyWitnessed(ctx context.Context, c *change, sessionID string) (int64, error) {
	var (
		state, cosigned []byte
		key             string
	)
	if err := c.QueryRowContext(ctx, `SELECT w.state, w.cosigned, s.recording_key FROM witnesses w JOIN sessions s ON s.id = w.session_id
		WHERE w.session_id = $1 AND NOT EXISTS (SELECT 1 FROM tombstones t WHERE t.session_id = w.session_id)`, sessionID).Scan(&state, &cosigned, &key); err != nil {
		return 0, err
	}
	seen, err := recording.WitnessOffset(state)
	if err != nil {
		return 0, err
	}
	events, err := s.readFile(ctx, c, sessionID, recording.FileEvents, 0)
	if err != nil {
		return 0, err
	}
	again, _, err := s.witness.Observe(recording.Observation{
		SessionID: sessionID, SessionKey: key, Checkpoint: s.unsigned(cosigned), Events: io.LimitReader(events, seen), Now: c.now, Recovery: true,
	})
	if err != nil {
		return 0, err
	}
	if offset, err := recording.WitnessOffset(again); err != nil || offset != seen {
		return 0, orElse(err, fmt.Errorf("the cosigned checkpoint covers other bytes: %w", errDamaged))
	}
	return seen, nil
}

// unsigned is a cosigned note without the witness's signature: the checkpoint as
// it was submitted.
func (s *Store) unsigned(cosigned []byte) []byte {
	name, _, _ := strings.Cut(s.witness.Key(), "+")
	var out []byte
	for line := range bytes.Lines(cosigned) {
		if !bytes.HasPrefix(line, []byte("— "+name+" ")) {
			out = append(out, line...)
		}
	}
	return out
}
