package approval

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/jit-access/jit/session"
)

const (
	mailPace  = time.Minute // between two mails to one recipient; emergencies do not wait
	mailBatch = 100         // events told of in one mail
	mailClaim = 2 * mailTimeout
)

// dueMail is one event that a recipient is to be told of.
type dueMail struct {
	id       string
	event    int64
	attempts int
	doc      string
}

// mailDue writes to those for whom something waits, one message each. What
// gathers while a recipient's pace is kept goes out as one.
func (s *Store) mailDue(ctx context.Context) error {
	if s.mail == nil {
		return nil
	}
	now := s.now()
	rows, err := s.db.read.QueryContext(ctx, `SELECT DISTINCT m.recipient FROM mails m LEFT JOIN mail_paces p ON p.recipient = m.recipient
		WHERE m.state = 'pending' AND m.retry_at <= $1 AND (m.urgent = 1 OR p.sent_at IS NULL OR p.sent_at <= $2) LIMIT $3`,
		micros(now), micros(now.Add(-mailPace)), sendBatch)
	if err != nil {
		return err
	}
	recipients, err := scanStrings(rows)
	if err != nil {
		return err
	}
	for _, to := range recipients {
		due, err := s.claimMail(ctx, to, now)
		if err != nil {
			return err
		}
		if len(due) == 0 { // another replica was faster
			continue
		}
		if err := s.mailOne(ctx, to, due); err != nil {
			return err
		}
	}
	return nil
}

// claimMail takes what is due for one recipient, and the recipient's turn. A
// claim runs out if this process dies; the recipient may then be told twice.
func (s *Store) claimMail(ctx context.Context, to string, now time.Time) ([]dueMail, error) {
	tx, err := s.db.begin(ctx, "mail.claim")
	if err != nil {
		return nil, err
	}
	due, err := claimDueMail(ctx, tx, to, now)
	if err != nil {
		_ = tx.Rollback()
		return nil, err
	}
	return due, tx.Commit()
}

func claimDueMail(ctx context.Context, tx *sql.Tx, to string, now time.Time) ([]dueMail, error) {
	rows, err := tx.QueryContext(ctx, `UPDATE mails SET retry_at = $1, attempts = attempts + 1
		WHERE id IN (SELECT id FROM mails WHERE recipient = $2 AND state = 'pending' AND retry_at <= $3 ORDER BY urgent DESC, event_id LIMIT $4)
		RETURNING id, event_id, attempts, doc`, micros(now.Add(mailClaim)), to, micros(now), mailBatch)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var due []dueMail
	for rows.Next() {
		var m dueMail
		if err := rows.Scan(&m.id, &m.event, &m.attempts, &m.doc); err != nil {
			return nil, err
		}
		due = append(due, m)
	}
	if err := rows.Err(); err != nil || len(due) == 0 {
		return nil, err
	}
	slices.SortFunc(due, func(a, b dueMail) int { return cmp.Compare(a.event, b.event) })
	_, err = tx.ExecContext(ctx, `INSERT INTO mail_paces (recipient, sent_at) VALUES ($1, $2) ON CONFLICT (recipient) DO UPDATE SET sent_at = $2`, to, micros(now))
	return due, err
}

// mailOne sends one message about everything in due, and records how it ended.
func (s *Store) mailOne(ctx context.Context, to string, due []dueMail) error {
	docs := make([]mailDoc, len(due))
	for i, m := range due {
		if err := json.Unmarshal([]byte(m.doc), &docs[i]); err != nil {
			return fmt.Errorf("reading mail %s: %w", m.id, errDamaged)
		}
	}
	subject, body := letter(docs, s.cfg.PublicURL)
	failed := s.mail.send(ctx, to, subject, body, s.now())
	if failed != nil && ctx.Err() != nil {
		return nil // stopping: the claim runs out, another process goes on
	}
	if failed != nil {
		s.log.WarnContext(ctx, "mail was not sent", "recipient", to, "events", len(due), "error", failed)
	}
	for _, m := range due {
		if err := s.mailEnded(ctx, to, m, failed); err != nil {
			return fmt.Errorf("recording a mail: %w", err)
		}
	}
	return nil
}

func (s *Store) mailEnded(ctx context.Context, to string, m dueMail, failed error) error {
	if failed == nil {
		_, err := s.db.write.ExecContext(ctx, `DELETE FROM mails WHERE id = $1`, m.id)
		return err
	}
	why := failed.Error()
	if len(why) > 500 {
		why = strings.ToValidUTF8(why[:500], "")
	}
	if !permanent(failed) && m.attempts <= len(retryAfter) {
		_, err := s.db.write.ExecContext(ctx, `UPDATE mails SET retry_at = $1, last_error = $2 WHERE id = $3`, micros(s.now().Add(retryAfter[m.attempts-1])), why, m.id)
		return err
	}
	return s.checkAndRecord(ctx, systemCaller, "mail.dead", m.id, func(ctx context.Context, c *change) error {
		c.note("recipient", to)
		c.note("error", why)
		_, err := c.ExecContext(ctx, `UPDATE mails SET state = 'dead', last_error = $1 WHERE id = $2`, why, m.id)
		return err
	})
}

// letter is the text of a mail about one event or several. There is nothing in it
// that decides: it says where to look.
func letter(docs []mailDoc, publicURL string) (subject, body string) {
	var b strings.Builder
	emergencies := 0
	for _, d := range docs {
		if d.Event == string(session.EventEmergency) {
			emergencies++
		}
	}
	switch {
	case emergencies > 0:
		subject = "jit: EMERGENCY access was taken"
	case len(docs) == 1:
		subject = "jit: " + plainLine(docs[0].Principal) + " " + asksFor(docs[0].Kind) + " on " + plainLine(docs[0].Connection)
	default:
		subject = fmt.Sprintf("jit: %d requests wait for a reviewer", len(docs))
	}
	for _, d := range docs {
		head := plainLine(d.Principal) + " " + asksFor(d.Kind)
		if d.Event == string(session.EventEmergency) {
			head = "EMERGENCY: " + plainLine(d.Principal) + " opens a session without a reviewer"
		}
		fmt.Fprintf(&b, "%s on %s.\n", head, plainLine(d.Connection))
		for _, f := range [][2]string{{"role", d.Role}, {"rule", d.Rule}, {"reason", d.Reason}, {"ticket", d.Ticket}, {"until", d.Expires.UTC().Format(time.RFC1123)}} {
			if f[1] != "" {
				fmt.Fprintf(&b, "  %-7s %s\n", f[0], plainLine(f[1]))
			}
		}
		fmt.Fprintf(&b, "\n  jit review %s\n", d.Request)
		if link := requestLink(publicURL, d.Request); link != "" {
			fmt.Fprintf(&b, "  %s\n", link)
		}
		b.WriteString("\n")
	}
	b.WriteString("Nothing in this mail decides anything: a decision needs a person who signed in.\n")
	return subject, b.String()
}

func asksFor(kind string) string {
	switch kind {
	case session.RequestStatement.String():
		return "has a statement that waits"
	case session.RequestExtension.String():
		return "asks for more time"
	}
	return "asks for a session"
}

// plainLine makes a text one line that looks like what it says: no control or
// formatting characters, no line breaks, at most 300 bytes.
func plainLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

// retryMail takes a mail off the dead-letter list.
func retryMail(ctx context.Context, c *change, id string) error {
	err := c.exactlyOne(ctx, `UPDATE mails SET state = 'pending', attempts = 0, retry_at = 0 WHERE id = $1 AND state = 'dead'`, id)
	if errors.Is(err, session.ErrConflict) {
		return session.ErrNotFound
	}
	return err
}
