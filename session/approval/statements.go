package approval

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// Statement is one recorded statement, as the index keeps it. The recording is
// the evidence; this is how to find it.
type Statement struct {
	SessionID  string    `json:"session_id"`
	Seq        int64     `json:"seq" doc:"of its event in the recording"`
	At         time.Time `json:"at"`
	User       string    `json:"user"`
	Agent      string    `json:"agent,omitempty"`
	Connection string    `json:"connection,omitempty"`
	Role       string    `json:"role,omitempty"`
	Verdict    string    `json:"verdict" doc:"of the policy: allow, hold or deny; whether a held one ran is in the recording"`
	Rule       string    `json:"rule,omitempty"`
	Kinds      []string  `json:"kinds,omitempty"`
	Reads      []string  `json:"reads,omitempty"`
	Writes     []string  `json:"writes,omitempty"`
	Columns    []string  `json:"columns,omitempty" doc:"in outputs and predicates"`
	Unknown    bool      `json:"unknown,omitempty" doc:"it may touch more than is listed"`
	Text       string    `json:"text"`
	Cut        bool      `json:"cut,omitempty" doc:"the text is longer; the recording has all of it"`
	Emergency  bool      `json:"emergency,omitempty" doc:"of a session that was opened without a reviewer"`
}

// The sizes of what the index keeps of one statement.
const (
	maxIndexed     = 4 << 10  // bytes of text
	maxIndexedList = 256      // names of a list
	maxEventLine   = 16 << 20 // a longer event is not a statement
)

// indexStatements adds the statements of an event log's bytes to the index. The
// witness has just seen them: the index holds nothing but what was cosigned. A
// line that cannot be read is left out, and said in the log; it is in the
// recording all the same, and a reader of that stumbles over it.
func (s *Store) indexStatements(ctx context.Context, c *change, sessionID string, events io.Reader) error {
	ses, err := s.loadSession(ctx, c, sessionID)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, maxEventLine)
	for lines.Scan() {
		e, err := recording.ParseEvent(lines.Bytes())
		if err != nil {
			s.log.WarnContext(ctx, "a recorded event is not indexed", "session", sessionID, "error", err)
			continue
		}
		if e.Kind != recording.KindStatement || e.SQL == nil || e.SQL.Describe {
			continue
		}
		if err := s.indexStatement(ctx, c, ses, e); err != nil {
			return fmt.Errorf("indexing event %d: %w", e.Seq, err)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		s.log.WarnContext(ctx, "a recorded event is too long to be indexed, and so are those after it", "session", sessionID)
	} else if err != nil {
		return err
	}
	return nil
}

func (s *Store) indexStatement(ctx context.Context, c *change, ses session.Session, e recording.Event) error {
	at := e.At.UTC().Truncate(time.Microsecond)
	// The broker's clock, within what this one has seen of the session.
	if at.Before(ses.OpenedAt) {
		at = ses.OpenedAt
	}
	at = earlier(at, c.now)
	st := Statement{
		SessionID: ses.ID, Seq: e.Seq, At: at, User: ses.Principal.Display(), Agent: agentName(ses.Agent), Connection: ses.Scope.Connection,
		Role: ses.Scope.Role, Verdict: e.SQL.Verdict, Rule: e.SQL.Rule, Kinds: cutList(e.SQL.Kinds), Reads: cutList(e.SQL.Reads), Writes: cutList(e.SQL.Writes),
		Columns: cutList(columnsOf(e.SQL)), Unknown: len(e.SQL.Unknown) > 0, Text: e.SQL.Text, Emergency: ses.Emergency,
	}
	if len(st.Text) > maxIndexed {
		st.Text, st.Cut = strings.ToValidUTF8(st.Text[:maxIndexed], ""), true
	}
	doc, err := json.Marshal(st)
	if err != nil {
		return err
	}
	id := statementID(at, ses.ID, e.Seq)
	for err = session.ErrConflict; errors.Is(err, session.ErrConflict); id++ {
		// Another statement may have the id; then the next one is as good.
		err = c.exactlyOne(ctx, `INSERT INTO statements (id, session_id, seq, doc) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING`, id, ses.ID, e.Seq, string(doc))
	}
	if err != nil {
		return err
	}
	id-- // the loop went one further
	terms := termsOf(ses, e.SQL)
	var b strings.Builder
	b.WriteString(`INSERT INTO statement_terms (id, term) VALUES `)
	args := []any{id}
	for i, term := range terms {
		if i > 0 {
			b.WriteByte(',')
		}
		args = append(args, strings.ReplaceAll(term, "\x00", ""))
		b.WriteString("($1,$" + strconv.Itoa(len(args)) + ")")
	}
	_, err = c.ExecContext(ctx, b.String()+` ON CONFLICT DO NOTHING`, args...)
	return err
}

func cutList(list []string) []string { return list[:min(len(list), maxIndexedList)] }
