package approval

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jit-access/jit/session"
)

// Hold keeps a session's recording from being deleted, for one matter.
type Hold struct {
	SessionID string    `json:"session_id"`
	Matter    string    `json:"matter" doc:"what it is held for; several may hold one session"`
	Reason    string    `json:"reason"`
	PlacedAt  time.Time `json:"placed_at"`
	PlacedBy  string    `json:"placed_by" doc:"id of the person"`
}

// DefaultMatter is what a session is held for if nobody says.
const DefaultMatter = "legal"

const (
	maxMatter     = 64
	maxHoldReason = 1024
)

// auditor lets those people pass who may see what everybody did.
func (s *Store) auditor(w Caller) error {
	if err := w.person(); err != nil || s.isAuditor(w) {
		return err
	}
	return session.Refuse(session.ErrForbidden, "This needs the group %s.", s.cfg.AuditorGroup)
}

func checkHold(matter, reason string) error {
	switch {
	case matter == "" || len(matter) > maxMatter || !plainText(matter) || strings.ContainsAny(matter, "/\\ \t\r\n"):
		return session.Refuse(session.ErrInvalid, "A matter is a word of at most %d bytes, without slashes.", maxMatter)
	case strings.TrimSpace(reason) == "" || len(reason) > maxHoldReason || !plainText(reason):
		return session.Refuse(session.ErrInvalid, "A hold needs a reason, of at most %d bytes, to be placed and to be removed.", maxHoldReason)
	}
	return nil
}

// addHold places a hold. It waits for a deletion under way; if that was faster,
// it says so.
func (s *Store) addHold(ctx context.Context, w Caller, sessionID, matter, reason string) error {
	return s.checkAndRecord(ctx, w, "hold.add", sessionID, func(ctx context.Context, c *change) error {
		if err := s.auditor(w); err != nil {
			return err
		}
		if err := checkHold(matter, reason); err != nil {
			return err
		}
		c.note("matter", matter)
		c.note("reason", reason)
		if err := touchSession(ctx, c, sessionID); err != nil {
			return err
		}
		var gone int
		if err := c.QueryRowContext(ctx, `SELECT COUNT(*) FROM tombstones WHERE session_id = $1`, sessionID).Scan(&gone); err != nil {
			return err
		}
		if gone > 0 {
			return session.Refuse(session.ErrExpired, "The recording was deleted already, when its time was over.")
		}
		return c.exactlyOne(ctx, `INSERT INTO holds (session_id, matter, reason, placed_at, placed_by) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			sessionID, matter, reason, micros(c.now), w.Principal.ID())
	})
}

// touchSession takes the lock of a session's row: what is decided about its
// recording takes turns. It asks not whether the caller may see the session.
func touchSession(ctx context.Context, c *change, sessionID string) error {
	res, err := c.ExecContext(ctx, `UPDATE sessions SET version = version + 1 WHERE id = $1`, sessionID)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return orElse(err, session.ErrNotFound)
	}
	return nil
}

func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// removeHold lets go of a recording for one matter.
func (s *Store) removeHold(ctx context.Context, w Caller, sessionID, matter, reason string) error {
	return s.checkAndRecord(ctx, w, "hold.remove", sessionID, func(ctx context.Context, c *change) error {
		if err := s.auditor(w); err != nil {
			return err
		}
		if err := checkHold(matter, reason); err != nil {
			return err
		}
		c.note("matter", matter)
		c.note("reason", reason)
		res, err := c.ExecContext(ctx, `DELETE FROM holds WHERE session_id = $1 AND matter = $2`, sessionID, matter)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return orElse(err, session.ErrNotFound)
		}
		return nil
	})
}

// maxHolds bounds the list of holds.
const maxHolds = 10_000

// holds lists the holds, of one session or of all ("").
func (s *Store) holds(ctx context.Context, w Caller, sessionID string) ([]Hold, error) {
	if err := s.auditor(w); err != nil {
		return nil, err
	}
	rows, err := s.db.read.QueryContext(ctx, `SELECT session_id, matter, reason, placed_at, placed_by FROM holds
		WHERE $1 = '' OR session_id = $1 ORDER BY placed_at DESC, session_id, matter LIMIT $2`, sessionID, maxHolds)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := []Hold{}
	for rows.Next() {
		var (
			h  Hold
			at int64
		)
		if err := rows.Scan(&h.SessionID, &h.Matter, &h.Reason, &at, &h.PlacedBy); err != nil {
			return nil, err
		}
		h.PlacedAt = fromMicros(at)
		out = append(out, h)
	}
	return out, rows.Err()
}

type holdsDoc struct {
	Holds []Hold `json:"holds"`
}

type holdsParams struct {
	Session string `query:"session" maxLength:"64" doc:"of this session; empty: all"`
}

type holdInput struct {
	IDParam
	Matter string `path:"matter" maxLength:"64"`
	Body   struct {
		Reason string `json:"reason" maxLength:"1024"`
	}
}

func (s *Server) retentionRoutes() {
	handle(s, http.MethodGet, "/v1/holds", "holds", "Legal holds (auditors)", maxBody,
		func(ctx context.Context, w Caller, in *holdsParams) (*body[holdsDoc], error) {
			list, err := s.store.holds(ctx, w, in.Session)
			if err != nil {
				return nil, err
			}
			return &body[holdsDoc]{holdsDoc{list}}, nil
		})
	handle(s, http.MethodPost, "/v1/sessions/{id}/holds/{matter}", "addHold", "Keep a recording from being deleted (auditors)", maxBody,
		func(ctx context.Context, w Caller, in *holdInput) (*struct{}, error) {
			return nil, s.store.addHold(ctx, w, in.ID, in.Matter, in.Body.Reason)
		})
	handle(s, http.MethodPost, "/v1/sessions/{id}/holds/{matter}/remove", "removeHold", "Let a recording go (auditors)", maxBody,
		func(ctx context.Context, w Caller, in *holdInput) (*struct{}, error) {
			return nil, s.store.removeHold(ctx, w, in.ID, in.Matter, in.Body.Reason)
		})
	handle(s, http.MethodGet, "/v1/sessions/{id}/tombstone", "tombstone", "What stays of a recording that was deleted", maxBody,
		func(ctx context.Context, w Caller, in *IDParam) (*body[Tombstone], error) {
			t, err := s.store.tombstone(ctx, w, in.ID)
			if err != nil {
				return nil, err
			}
			return &body[Tombstone]{t}, nil
		})
}

// Holds lists the holds of a session, or all of them ("").
func (c *Client) Holds(ctx context.Context, sessionID string) ([]Hold, error) {
	var doc holdsDoc
	err := c.t.call(ctx, http.MethodGet, "/v1/holds?"+url.Values{"session": {sessionID}}.Encode(), nil, &doc)
	return doc.Holds, err
}

// AddHold keeps a session's recording from being deleted.
func (c *Client) AddHold(ctx context.Context, sessionID, matter, reason string) error {
	return c.hold(ctx, sessionID, matter, "", reason)
}

// RemoveHold lets a session's recording go, as far as this matter is concerned.
func (c *Client) RemoveHold(ctx context.Context, sessionID, matter, reason string) error {
	return c.hold(ctx, sessionID, matter, "/remove", reason)
}

func (c *Client) hold(ctx context.Context, sessionID, matter, act, reason string) error {
	var in holdInput
	in.Body.Reason = reason
	return c.t.call(ctx, http.MethodPost, "/v1/sessions/"+url.PathEscape(sessionID)+"/holds/"+url.PathEscape(matter)+act, in.Body, nil)
}

// Tombstone fetches what stays of a recording that was deleted.
func (c *Client) Tombstone(ctx context.Context, sessionID string) (Tombstone, error) {
	var t Tombstone
	err := c.t.call(ctx, http.MethodGet, "/v1/sessions/"+url.PathEscape(sessionID)+"/tombstone", nil, &t)
	return t, err
}
