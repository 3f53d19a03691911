package approval

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jit-access/jit/session"
)

// DefaultAuditorGroup may search what everybody ran.
const DefaultAuditorGroup = "jit-auditors"

// Search says which recorded statements to find. Every filter that is not empty
// must hold.
type Search struct {
	Table   string // T, S.T or D.S.T; ? finds those that may touch tables nobody could name
	Column  string // with as many of its parts; ? alike
	User    string // e-mail or subject
	Agent   string // base name of the program
	Session string
	Verdict string // allow, hold or deny
	Text    string // words that occur, in any order
	Since   time.Time
	Until   time.Time // exclusive
	After   string    // Found.Next of the page before
	Limit   int       // default 100, at most 1000

	Emergency bool // only what ran in sessions that were opened as an emergency
}

// Found is a page of statements, newest first.
type Found struct {
	Statements []Statement `json:"statements"`
	Next       string      `json:"next,omitempty" doc:"gives the next page, as after; empty: this is the last"`
}

// The sizes of a search.
const (
	defaultPage    = 100
	maxPage        = 1000
	maxSearchTerms = 16
	// enough is how many statements of a term are counted to find the rarest.
	enough = 4096
)

// search finds recorded statements: an auditor everybody's, others their own.
// Looking is itself in the audit.
func (s *Store) search(ctx context.Context, w Caller, q Search) (Found, error) {
	var (
		terms    []string
		low, top int64
	)
	err := s.checkAndRecord(ctx, w, "audit.search", "", func(_ context.Context, c *change) (err error) {
		if err := w.signedIn(); err != nil {
			return err
		}
		if terms, err = q.terms(); err != nil {
			return err
		}
		if !s.isAuditor(w) {
			terms = append(terms, termPrincipal+w.Principal.ID())
		}
		for _, t := range terms {
			c.note(t[:1], strings.TrimLeft(c.detail[t[:1]]+" "+t[2:], " "))
		}
		low, top, err = q.bounds()
		return err
	})
	if err != nil {
		return Found{}, err
	}
	limit := q.Limit
	if limit <= 0 || limit > maxPage {
		limit = defaultPage
	}
	return s.find(ctx, terms, low, top, limit)
}

// terms are what the statements must have.
func (q Search) terms() ([]string, error) {
	t := &termSet{seen: map[string]bool{}}
	t.add(termTable, strings.ToUpper(q.Table))
	t.add(termColumn, strings.ToUpper(q.Column))
	t.add(termUser, strings.ToLower(q.User))
	t.add(termAgent, strings.ToLower(q.Agent))
	t.add(termSession, q.Session)
	t.add(termVerdict, strings.ToLower(q.Verdict))
	if q.Emergency {
		t.add(termEmergency, "true")
	}
	found := words(q.Text, maxSearchTerms+1)
	if q.Text != "" && len(found) == 0 {
		return nil, session.Refuse(session.ErrInvalid, "The text to find has no word in it.")
	}
	for _, w := range found {
		t.add(termWord, w)
	}
	if len(t.list) > maxSearchTerms {
		return nil, session.Refuse(session.ErrInvalid, "A search may have at most %d words and filters.", maxSearchTerms)
	}
	for _, term := range t.list {
		if !plainText(term) {
			return nil, session.Refuse(session.ErrInvalid, "Texts must be UTF-8 without NUL.")
		}
	}
	return t.list, nil
}

// bounds are the ids between which the page lies: low inclusive, top exclusive.
func (q Search) bounds() (low, top int64, err error) {
	top = 1<<63 - 1
	if !q.Since.IsZero() {
		low = firstID(q.Since)
	}
	if !q.Until.IsZero() {
		top = firstID(q.Until)
	}
	if q.After != "" {
		after, err := strconv.ParseInt(q.After, 10, 64)
		if err != nil || after < 0 {
			return 0, 0, session.Refuse(session.ErrInvalid, "The position of the next page is not one that a search gave.")
		}
		top = min(top, after)
	}
	return low, top, nil
}

// find walks the statements of the rarest term, newest first, and keeps those
// that have the others too.
func (s *Store) find(ctx context.Context, terms []string, low, top int64, limit int) (Found, error) {
	out := Found{Statements: []Statement{}}
	terms, err := s.rarestFirst(ctx, terms, low, top)
	if err != nil {
		return out, err
	}
	var b strings.Builder
	args := []any{low, top, limit + 1}
	if len(terms) == 0 {
		b.WriteString(`SELECT s.id, s.doc FROM statements s WHERE s.id >= $1 AND s.id < $2 ORDER BY s.id DESC LIMIT $3`)
	} else {
		b.WriteString(`SELECT s.id, s.doc FROM (SELECT r.id FROM statement_terms r WHERE r.id >= $1 AND r.id < $2 AND r.term = $4`)
		args = append(args, terms[0])
		for _, term := range terms[1:] {
			args = append(args, term)
			fmt.Fprintf(&b, ` AND EXISTS (SELECT 1 FROM statement_terms x WHERE x.term = $%d AND x.id = r.id)`, len(args))
		}
		b.WriteString(` ORDER BY r.id DESC LIMIT $3) f JOIN statements s ON s.id = f.id ORDER BY s.id DESC`)
	}
	rows, err := s.db.read.QueryContext(ctx, b.String(), args...)
	if err != nil {
		return out, fmt.Errorf("searching: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var last int64
	for rows.Next() {
		var (
			id  int64
			doc string
			st  Statement
		)
		if err := rows.Scan(&id, &doc); err != nil {
			return out, fmt.Errorf("searching: %w", err)
		}
		if len(out.Statements) == limit {
			out.Next = strconv.FormatInt(last, 10)
			break
		}
		if err := json.Unmarshal([]byte(doc), &st); err != nil {
			return out, fmt.Errorf("reading statement %d: %w", id, errDamaged)
		}
		out.Statements, last = append(out.Statements, st), id
	}
	return out, rows.Err()
}

// rarestFirst puts the term with the fewest statements first, as far as a
// bounded count can tell.
func (s *Store) rarestFirst(ctx context.Context, terms []string, low, top int64) ([]string, error) {
	if len(terms) < 2 {
		return terms, nil
	}
	rarest, fewest := 0, enough+1
	for i, term := range terms {
		var n int
		if err := s.db.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM statement_terms WHERE term = $1 AND id >= $2 AND id < $3 LIMIT $4) t`,
			term, low, top, enough).Scan(&n); err != nil {
			return nil, fmt.Errorf("searching: %w", err)
		}
		if n < fewest {
			rarest, fewest = i, n
		}
	}
	terms = slices.Clone(terms)
	terms[0], terms[rarest] = terms[rarest], terms[0]
	return terms, nil
}
