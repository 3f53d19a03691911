package approval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
)

// maxEmergency is how long a session of an emergency lasts at most, whatever the
// policy says.
const maxEmergency = time.Hour

// emergencyRuling asks the policy for a session without a reviewer. Nothing of it
// is ever held: it is allowed, or there is no such access.
func emergencyRuling(b *policy.Bundle, c *change, sub session.Submission, scope session.Scope) (policy.Ruling, error) {
	c.note("emergency", "true")
	c.note("ticket", sub.Ticket)
	switch {
	case strings.TrimSpace(sub.Reason) == "" || strings.TrimSpace(sub.Ticket) == "":
		return policy.Ruling{}, session.Refuse(session.ErrInvalid, "Emergency access needs a reason and a ticket: people read them afterwards.")
	case scope.TTL > maxEmergency:
		return policy.Ruling{}, session.Refuse(session.ErrInvalid, "Emergency access lasts at most %s. Ask for less time.", maxEmergency)
	case c.who.Principal.Machine():
		return policy.Ruling{}, session.Refuse(session.ErrForbidden, "Emergency access is for people.")
	}
	ruling := b.OpenEmergency(subject(c.who.Principal, sub.Agent), setting(scope), scope.TTL)
	if ruling.Verdict != policy.Allow {
		return policy.Ruling{}, &session.DeniedError{Rule: ruling.Rule, Reason: ruling.Reason}
	}
	return ruling, nil
}

// raiseEmergency puts the access on the list of those to look at, and tells
// everybody, with the change that gives it.
func raiseEmergency(ctx context.Context, c *change, r session.Request) error {
	c.emit(session.EventEmergency, r.ID, "")
	_, err := c.ExecContext(ctx, `INSERT INTO emergencies (request_id, at, reviewed_at, review) VALUES ($1, $2, 0, '')`, r.ID, micros(c.now))
	return err
}

// Emergency is one use of emergency access.
type Emergency struct {
	RequestID  string    `json:"request_id"`
	SessionID  string    `json:"session_id,omitempty" doc:"empty: it was not opened"`
	At         time.Time `json:"at"`
	User       string    `json:"user"`
	Connection string    `json:"connection"`
	Role       string    `json:"role,omitempty"`
	Rule       string    `json:"rule" doc:"that named it"`
	Reason     string    `json:"reason"`
	Ticket     string    `json:"ticket"`
	ReviewedAt time.Time `json:"reviewed_at,omitzero" doc:"absent: nobody has looked at it yet"`
	ReviewedBy string    `json:"reviewed_by,omitempty"`
	Review     string    `json:"review,omitempty" doc:"what the reviewer said"`
}

// emergencyReview is the stored document of who looked at an emergency.
type emergencyReview struct {
	Reviewer principalDoc `json:"reviewer"`
	Text     string       `json:"text"`
}

// emergencies lists those that w may see, newest first: auditors all of them.
func (s *Store) emergencies(ctx context.Context, w Caller, open bool) ([]Emergency, error) {
	out := []Emergency{}
	if err := w.signedIn(); err != nil {
		return out, err
	}
	rows, err := s.db.read.QueryContext(ctx, `SELECT request_id FROM emergencies WHERE ($1 = 0 OR reviewed_at = 0) ORDER BY at DESC, request_id LIMIT 1000`, boolInt(open))
	if err != nil {
		return out, err
	}
	ids, err := scanStrings(rows)
	if err != nil {
		return out, err
	}
	for _, id := range ids {
		e, r, err := s.loadEmergency(ctx, s.db.read, id)
		if err != nil {
			return out, err
		}
		ok, err := s.maySee(ctx, s.db.read, w, r)
		if err != nil {
			return out, err
		}
		if ok || s.isAuditor(w) {
			out = append(out, e)
		}
	}
	return out, nil
}

func (s *Store) loadEmergency(ctx context.Context, q querier, requestID string) (Emergency, session.Request, error) {
	var (
		at, reviewed int64
		review       string
	)
	if err := q.QueryRowContext(ctx, `SELECT at, reviewed_at, review FROM emergencies WHERE request_id = $1`, requestID).Scan(&at, &reviewed, &review); err != nil {
		return Emergency{}, session.Request{}, orNotFound(err)
	}
	r, err := s.loadRequest(ctx, q, requestID, s.now())
	if err != nil {
		return Emergency{}, r, err
	}
	e := Emergency{
		RequestID: r.ID, At: fromMicros(at), User: r.Principal.Display(), Connection: r.Scope.Connection, Role: r.Scope.Role,
		Rule: r.Rule, Reason: r.Reason, Ticket: r.Ticket, ReviewedAt: fromMicros(reviewed),
	}
	if reviewed != 0 {
		var d emergencyReview
		if err := json.Unmarshal([]byte(review), &d); err != nil {
			return e, r, fmt.Errorf("reading the review of %s: %w", requestID, errDamaged)
		}
		e.ReviewedBy, e.Review = d.Reviewer.principal().Display(), d.Text
	}
	rows, err := q.QueryContext(ctx, `SELECT id FROM sessions WHERE grant_id = $1`, r.GrantID)
	if err != nil {
		return e, r, err
	}
	opened, err := scanStrings(rows)
	if err == nil && len(opened) > 0 {
		e.SessionID = opened[0]
	}
	return e, r, err
}

// reviewEmergency records that w has looked at an emergency. Who took the access
// does not look at it, whatever their groups.
func (s *Store) reviewEmergency(ctx context.Context, w Caller, requestID, text string) (Emergency, error) {
	var e Emergency
	err := s.checkAndRecord(ctx, w, "emergency.review", requestID, func(ctx context.Context, c *change) error {
		if _, err := s.lockRequest(ctx, c, requestID); err != nil {
			return err
		}
		_, r, err := s.loadEmergency(ctx, c, requestID)
		if err != nil {
			return err
		}
		if err := s.mayReview(ctx, c, w, r); err != nil {
			return err
		}
		if strings.TrimSpace(text) == "" || len(text) > maxReason || !plainText(text) {
			return session.Refuse(session.ErrInvalid, "Say what you found, in UTF-8 without NUL and at most %d bytes.", maxReason)
		}
		doc, err := json.Marshal(emergencyReview{Reviewer: toPrincipalDoc(w.Principal), Text: text})
		if err != nil {
			return fmt.Errorf("writing the review of an emergency: %w", err)
		}
		if err := c.exactlyOne(ctx, `UPDATE emergencies SET reviewed_at = $1, review = $2 WHERE request_id = $3 AND reviewed_at = 0`,
			micros(c.now), string(doc), requestID); err != nil {
			if errors.Is(err, session.ErrConflict) {
				return session.Refuse(session.ErrConflict, "Somebody has looked at this already. Add a comment to the request instead.")
			}
			return err
		}
		e, _, err = s.loadEmergency(ctx, c, requestID)
		return err
	})
	return e, err
}
