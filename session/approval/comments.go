package approval

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jit-access/jit/session"
)

const (
	maxComments = 200 // of one request
	maxHistory  = 20  // statements that a reviewer sees beside a request
)

type commentInput struct {
	IDParam
	Body struct {
		Text string `json:"text" minLength:"1" maxLength:"4096"`
	}
}

// comment adds to what is said about a request, by whoever can see it.
func (s *Store) comment(ctx context.Context, w Caller, id, text string) (session.Request, error) {
	var r session.Request
	err := s.checkAndRecord(ctx, w, "request.comment", id, func(ctx context.Context, c *change) (err error) {
		if r, err = s.lockRequest(ctx, c, id); err != nil {
			return err
		}
		if err := w.signedIn(); err != nil {
			return err
		}
		switch {
		case strings.TrimSpace(text) == "":
			return session.Refuse(session.ErrInvalid, "The comment is empty.")
		case len(text) > maxReason || !plainText(text):
			return session.Refuse(session.ErrInvalid, "A comment is UTF-8 without NUL and has at most %d bytes.", maxReason)
		case len(r.Comments) >= maxComments:
			return session.Refuse(session.ErrCapacity, "There are %d comments already.", maxComments)
		}
		cm := session.Comment{ID: newID("com"), By: w.Principal, Text: text, At: c.now}
		doc, err := json.Marshal(commentDoc{ID: cm.ID, By: toPrincipalDoc(cm.By), Text: cm.Text, At: cm.At})
		if err != nil {
			return fmt.Errorf("writing a comment: %w", err)
		}
		c.note("comment", cm.ID)
		if _, err := c.ExecContext(ctx, `INSERT INTO comments (id, request_id, position, doc, at) VALUES ($1, $2, $3, $4, $5)`, cm.ID, r.ID, len(r.Comments), string(doc), micros(c.now)); err != nil {
			return err
		}
		r.Comments = append(r.Comments, cm)
		c.emit(session.EventRequestCommented, r.ID, r.Case.SessionID)
		return nil
	})
	return r, err
}

func loadComments(ctx context.Context, q querier, requestID string) ([]commentDoc, error) {
	rows, err := q.QueryContext(ctx, `SELECT doc FROM comments WHERE request_id = $1 ORDER BY position`, requestID)
	if err != nil {
		return nil, err
	}
	docs, err := scanStrings(rows)
	if err != nil {
		return nil, err
	}
	var out []commentDoc
	for _, text := range docs {
		var d commentDoc
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			return nil, fmt.Errorf("reading the comments of %s: %w", requestID, errDamaged)
		}
		out = append(out, d)
	}
	return out, nil
}

type historyDoc struct {
	Statements []Statement `json:"statements"`
}

// history is what the session behind a request ran last, newest first, as far as
// its recording has arrived: for those who may see the request. A request that
// has no session yet has no history.
func (s *Store) history(ctx context.Context, w Caller, id string) ([]Statement, error) {
	out := []Statement{}
	r, err := s.request(ctx, w, id)
	if err != nil {
		return out, err
	}
	if err := w.signedIn(); err != nil || r.Case.SessionID == "" {
		return out, err
	}
	ses, err := s.session(ctx, w, r.Case.SessionID)
	if err == nil {
		err = s.mayRead(ctx, s.db.read, w, ses) // the index is made of the recording
	}
	if err != nil {
		return out, err
	}
	rows, err := s.db.read.QueryContext(ctx, `SELECT doc FROM statements WHERE session_id = $1 ORDER BY seq DESC LIMIT $2`, r.Case.SessionID, maxHistory)
	if err != nil {
		return out, err
	}
	docs, err := scanStrings(rows)
	if err != nil {
		return out, err
	}
	for _, doc := range docs {
		var st Statement
		if err := json.Unmarshal([]byte(doc), &st); err != nil {
			return out, fmt.Errorf("reading the history of %s: %w", id, errDamaged)
		}
		out = append(out, st)
	}
	return out, nil
}
