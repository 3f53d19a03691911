package approval

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// Recordings are deleted when their time is over, in two steps:
//
//  1. One transaction takes the recording's pieces and its statements out of the
//     database, leaves a tombstone, queues the objects to be erased, and writes
//     the audit row. From then on nothing can be read or found any more.
//  2. The objects are erased. One that the bucket still locks stays queued.
//
// A crash between the two leaves the queue. A hold and a deletion take turns on
// the session's row: whichever is later sees the other.

// Tombstone is what stays of a recording that was deleted. A copy that somebody
// kept can still be checked: its events must give Root, which the cosigned
// checkpoint signs, and its files must have the pieces.
type Tombstone struct {
	SessionID string    `json:"session_id"`
	DeletedAt time.Time `json:"deleted_at"`
	Events    int64     `json:"events" doc:"that the cosigned checkpoint covers"`
	Root      string    `json:"root,omitempty" doc:"of the Merkle tree over them, base64"`
	Cosigned  []byte    `json:"cosigned,omitempty" doc:"the last checkpoint, with the witness's signature"`
	Pieces    []Piece   `json:"pieces"`
}

// Piece is a range of a recording's file and what was in it.
type Piece struct {
	File   string `json:"file"`
	Start  int64  `json:"start"`
	Length int64  `json:"length"`
	SHA256 string `json:"sha256" doc:"hexadecimal"`
}

// Pruned says what Prune did, or would do.
type Pruned struct {
	Deleted []string `json:"deleted"` // sessions whose recordings are over
	Held    []string `json:"held"`    // would be over, but for a hold
	Erased  int      `json:"erased"`  // objects
	Kept    int      `json:"kept"`    // objects that the bucket does not let go of yet
}

// Prune deletes the recordings of sessions that ended before a time, unless they
// are held. With dry it only says which.
func (s *Store) Prune(ctx context.Context, before time.Time, dry bool) (Pruned, error) {
	if grace := s.now().Add(-s.cfg.Limits.UploadGrace); before.After(grace) {
		return Pruned{}, fmt.Errorf("recordings may still be completed for %s after the session's end: keep them for longer", s.cfg.Limits.UploadGrace)
	}
	out := Pruned{Deleted: []string{}, Held: []string{}}
	var err error
	if out.Held, err = s.overdue(ctx, before, true); err != nil {
		return out, err
	}
	due, err := s.overdue(ctx, before, false)
	if err != nil {
		return out, err
	}
	if dry {
		out.Deleted = due
		return out, nil
	}
	var errs []error // one that is damaged does not keep the others
	for _, id := range due {
		gone, err := s.bury(ctx, id, before)
		switch {
		case ctx.Err() != nil:
			return out, ctx.Err()
		case err != nil:
			errs = append(errs, fmt.Errorf("deleting the recording of %s: %w", id, err))
		case gone:
			out.Deleted = append(out.Deleted, id)
		}
	}
	out.Erased, out.Kept, err = s.eraseQueued(ctx, true)
	return out, errors.Join(append(errs, err)...)
}

// overdue lists the sessions whose recordings are over, oldest first: those that
// are held, or those that are not.
func (s *Store) overdue(ctx context.Context, before time.Time, held bool) ([]string, error) {
	rows, err := s.db.read.QueryContext(ctx, `SELECT s.id FROM sessions s WHERE s.ended_at > 0 AND s.ended_at < $1
		AND NOT EXISTS (SELECT 1 FROM tombstones t WHERE t.session_id = s.id)
		AND EXISTS (SELECT 1 FROM recording_segments g WHERE g.session_id = s.id)
		AND ($2 = 1) = EXISTS (SELECT 1 FROM holds h WHERE h.session_id = s.id) ORDER BY s.ended_at, s.id`, micros(before), map[bool]int{true: 1}[held])
	if err != nil {
		return nil, fmt.Errorf("looking for recordings that are over: %w", err)
	}
	ids, err := scanStrings(rows)
	return append([]string{}, ids...), err
}

// bury deletes one recording, unless somebody else did or a hold was placed
// meanwhile.
func (s *Store) bury(ctx context.Context, sessionID string, before time.Time) (gone bool, err error) {
	err = s.checkAndRecord(ctx, systemCaller, "retention.delete", sessionID, func(ctx context.Context, c *change) error {
		if err := touchSession(ctx, c, sessionID); err != nil {
			return err
		}
		var stays int
		if err := c.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM holds WHERE session_id = $1) + (SELECT COUNT(*) FROM tombstones WHERE session_id = $1)
			+ (SELECT COUNT(*) FROM sessions WHERE id = $1 AND (ended_at = 0 OR ended_at >= $2))`, sessionID, micros(before)).Scan(&stays); err != nil {
			return err
		}
		if gone = stays == 0; !gone {
			c.quiet = true
			return nil
		}
		stone, keys, err := s.makeTombstone(ctx, c, sessionID)
		if err != nil {
			return err
		}
		return takeOut(ctx, c, sessionID, stone, keys)
	})
	return gone && err == nil, err
}

func (s *Store) makeTombstone(ctx context.Context, c *change, sessionID string) (stone Tombstone, keys []string, err error) {
	stone = Tombstone{Pieces: []Piece{}}
	var bytesTotal int64
	for _, file := range recordingFiles {
		segs, err := segments(ctx, c, sessionID, file, -1)
		if err != nil {
			return stone, nil, err
		}
		for _, g := range segs {
			stone.Pieces = append(stone.Pieces, Piece{file, g.start, g.length, hex.EncodeToString(g.sum[:])})
			keys = append(keys, g.key)
			bytesTotal += g.length
		}
	}
	c.note("pieces", strconv.Itoa(len(keys)))
	c.note("bytes", strconv.FormatInt(bytesTotal, 10))
	cosigned, err := cosignedOf(ctx, c, sessionID)
	if err != nil || len(cosigned) == 0 {
		return stone, keys, err
	}
	cp, err := claimOf(cosigned)
	if err == nil {
		c.note("events", strconv.FormatInt(cp.Size, 10))
		c.note("root", cp.Root.String())
	}
	return stone, keys, err
}

// claimOf is the checkpoint within a cosigned note that this server keeps.
func claimOf(cosigned []byte) (recording.Checkpoint, error) {
	text, _, _ := bytes.Cut(cosigned, []byte("\n\n"))
	cp, err := recording.ParseCheckpoint(string(text) + "\n")
	if err != nil {
		return cp, fmt.Errorf("reading a cosigned checkpoint: %w", err)
	}
	return cp, nil
}

// takeOut removes all that names the recording, in the transaction of c.
func takeOut(ctx context.Context, c *change, sessionID string, stone Tombstone, keys []string) error {
	doc, err := json.Marshal(stone.Pieces)
	if err != nil {
		return err
	}
	if _, err := c.ExecContext(ctx, `INSERT INTO tombstones (session_id, deleted_at, doc) VALUES ($1, $2, $3)`, sessionID, micros(c.now), string(doc)); err != nil {
		return err
	}
	for _, key := range keys {
		if _, err := c.ExecContext(ctx, `INSERT INTO erasures (blob_key, session_id, attempts, retry_at, last_error) VALUES ($1, $2, 0, $3, '')`, key, sessionID, micros(c.now)); err != nil {
			return err
		}
	}
	if err := forgetStatements(ctx, c, sessionID); err != nil {
		return err
	}
	_, err = c.ExecContext(ctx, `DELETE FROM recording_segments WHERE session_id = $1`, sessionID)
	return err
}

// forgetStatements takes a session's statements out of the index.
func forgetStatements(ctx context.Context, c *change, sessionID string) error {
	for _, query := range []string{
		`DELETE FROM statement_terms WHERE id IN (SELECT id FROM statements WHERE session_id = $1)`,
		`DELETE FROM statements WHERE session_id = $1`,
	} {
		if _, err := c.ExecContext(ctx, query, sessionID); err != nil {
			return fmt.Errorf("taking statements out of the index: %w", err)
		}
	}
	return nil
}

// tombstone is for auditors, and for those who may see the session.
func (s *Store) tombstone(ctx context.Context, w Caller, sessionID string) (Tombstone, error) {
	if !s.isAuditor(w) {
		if _, err := s.session(ctx, w, sessionID); err != nil {
			return Tombstone{}, err
		}
	}
	stone := Tombstone{SessionID: sessionID}
	var (
		at  int64
		doc string
	)
	if err := s.db.read.QueryRowContext(ctx, `SELECT deleted_at, doc FROM tombstones WHERE session_id = $1`, sessionID).Scan(&at, &doc); err != nil {
		return Tombstone{}, orNotFound(err)
	}
	stone.DeletedAt = fromMicros(at)
	if err := json.Unmarshal([]byte(doc), &stone.Pieces); err != nil {
		return Tombstone{}, fmt.Errorf("reading a tombstone: %w", errDamaged)
	}
	cosigned, err := cosignedOf(ctx, s.db.read, sessionID)
	if err != nil || len(cosigned) == 0 {
		return stone, err
	}
	cp, err := claimOf(cosigned)
	stone.Cosigned, stone.Events, stone.Root = cosigned, cp.Size, cp.Root.String()
	return stone, err
}

// deleted refuses with words what a deleted recording cannot give any more.
func (s *Store) deleted(ctx context.Context, q querier, sessionID string) error {
	var at int64
	err := q.QueryRowContext(ctx, `SELECT deleted_at FROM tombstones WHERE session_id = $1`, sessionID).Scan(&at)
	if err := orNotFound(err); errors.Is(err, session.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return session.Refuse(session.ErrExpired, "The recording was deleted on %s, when its time was over. What is left is its tombstone.", fromMicros(at).Format(time.DateOnly))
}
