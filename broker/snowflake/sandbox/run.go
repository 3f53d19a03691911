package sandbox

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"time"
)

// The statement types drivers look at.
const (
	typeSelect   = 0x1000
	typeInsert   = 0x3100
	typeUpdate   = 0x3200
	typeDelete   = 0x3300
	typeAlter    = 0x4100 // ALTER SESSION
	typeUse      = 0x4300
	typeShow     = 0x4400
	typeDescribe = 0x4500
	typeTCL      = 0x5000
	typeDDL      = 0x6000
	typeMulti    = 0xA000
)

// outCol is one column of a result: what it is called, its type, and the
// relation it comes from when it is a plain projection.
type outCol struct {
	name     string
	typ      colType
	from     *relation
	nullable bool
}

// outcome is what a statement came to. Values are in stored form.
type outcome struct {
	columns  []outCol
	rows     [][]any
	typeID   int
	inserted int64
	updated  int64
	deleted  int64
	children []*execution
	answer   *Answer // a scripted one, in place of columns and rows
}

// status is the outcome of a statement that says only that it is done.
func status(text string, typeID int) *outcome {
	return &outcome{columns: []outCol{{name: "status", typ: textType(), nullable: true}}, rows: [][]any{{text}}, typeID: typeID}
}

// run executes one statement, or describes it. It waits for its turn in the
// session.
func (s *Server) run(ctx context.Context, sess *session, text string, bindings map[string]bind, describe bool) (*outcome, error) {
	if out, err := s.scripted(ctx, text, describe); out != nil || err != nil {
		return out, err
	}
	toks, err := lex(text)
	if err != nil {
		return nil, err
	}
	if seconds, ok := isWait(toks); ok {
		return s.wait(ctx, seconds, describe)
	}
	select {
	case sess.turn <- struct{}{}:
		defer func() { <-sess.turn }()
	case <-ctx.Done():
		return nil, errCanceled()
	}
	out, err := s.dispatch(ctx, sess, text, toks, bindings, describe)
	if err != nil {
		if ctx.Err() != nil {
			return nil, errCanceled()
		}
		return nil, fromEngine(text, err)
	}
	return out, nil
}

func (s *Server) dispatch(ctx context.Context, sess *session, text string, toks []token, bindings map[string]bind, describe bool) (*outcome, error) {
	first := toks[0]
	switch {
	case first.is("SELECT", "WITH", "VALUES"), first.op("("):
		return s.selects(ctx, sess, toks, bindings, describe)
	case first.is("SHOW"):
		return s.show(sess, toks)
	case first.is("DESC", "DESCRIBE"):
		return s.describeObject(sess, toks)
	case first.is("INSERT", "UPDATE", "DELETE"):
		return s.dml(ctx, sess, toks, bindings, describe)
	case first.is("EXPLAIN"):
		return s.explain(sess, toks)
	}
	// What follows changes something: describing it must not.
	if describe {
		return describeOther(first)
	}
	switch {
	case first.is("CREATE", "DROP", "TRUNCATE"), first.is("ALTER") && toks[1].is("TABLE"):
		return s.ddl(ctx, sess, text, toks)
	case first.is("ALTER") && toks[1].is("SESSION"):
		return s.alterSession(sess, toks)
	case first.is("USE"):
		return s.use(sess, toks)
	case first.is("BEGIN", "START", "COMMIT", "ROLLBACK"):
		return s.transaction(ctx, sess, toks)
	case first.is("GRANT", "REVOKE", "COMMENT"):
		// There are no privileges here: the statement is taken and forgotten.
		return status("Statement executed successfully.", typeDDL), nil
	case first.is("ALTER", "UNDROP", "MERGE", "COPY", "PUT", "GET", "CALL", "EXECUTE", "SET", "UNSET", "LIST", "LS", "REMOVE", "DECLARE", "UNLOAD"):
		return nil, errUnsupported(first.val)
	}
	return nil, syntaxAt(text, first.pos, first.text)
}

func describeOther(first token) (*outcome, error) {
	if first.sort != sortWord {
		return nil, syntaxAt("", first.pos, first.text)
	}
	out := status("", typeDDL)
	out.rows = nil
	return out, nil
}

// isWait recognises SELECT SYSTEM$WAIT(n [, 'SECONDS'|'MILLISECONDS'|'MINUTES']).
func isWait(toks []token) (time.Duration, bool) {
	if !toks[0].is("SELECT") || !toks[1].is("SYSTEM$WAIT") || !toks[2].op("(") || toks[3].sort != sortNumber {
		return 0, false
	}
	n, err := strconv.ParseFloat(toks[3].val, 64)
	if err != nil || n < 0 || n > 86400 {
		return 0, false
	}
	unit := time.Second
	if toks[4].op(",") {
		switch strings.ToUpper(toks[5].val) {
		case "MILLISECONDS":
			unit = time.Millisecond
		case "MINUTES":
			unit = time.Minute
		}
	}
	return time.Duration(n * float64(unit)), true
}

// wait is SYSTEM$WAIT: the slow statement of the tests. It can be cancelled.
func (s *Server) wait(ctx context.Context, d time.Duration, describe bool) (*outcome, error) {
	out := &outcome{columns: []outCol{{name: "SYSTEM$WAIT", typ: textType(), nullable: true}}, typeID: typeSelect}
	if describe {
		return out, nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		out.rows = [][]any{{"waited " + strconv.FormatFloat(d.Seconds(), 'g', -1, 64) + " seconds"}}
		return out, nil
	case <-ctx.Done():
		return nil, errCanceled()
	}
}

// transaction runs BEGIN, COMMIT or ROLLBACK on the session's connection.
func (s *Server) transaction(ctx context.Context, sess *session, toks []token) (*outcome, error) {
	done := status("Statement executed successfully.", typeTCL)
	begin := toks[0].is("BEGIN", "START")
	if begin && !(toks[1].sort == sortEnd || toks[1].op(";") || toks[1].is("TRANSACTION", "WORK", "NAME")) {
		return nil, errUnsupported("scripting block")
	}
	if begin == sess.tx { // a second BEGIN and a COMMIT of nothing do nothing
		return done, nil
	}
	verb := "BEGIN"
	if !begin {
		verb = toks[0].val
	}
	if _, err := sess.conn.ExecContext(ctx, verb); err != nil {
		return nil, err
	}
	sess.tx = begin
	return done, nil
}

// endTransaction commits what is open: DDL does so in Snowflake.
func (sess *session) endTransaction(ctx context.Context) error {
	if !sess.tx {
		return nil
	}
	sess.tx = false
	_, err := sess.conn.ExecContext(ctx, "COMMIT")
	return err
}

// rowsOf reads all rows of a query.
func rowsOf(ctx context.Context, conn *sql.Conn, query string, args []any) ([]string, [][]any, error) {
	rows, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what reading found
	names, err := rows.Columns()
	if err != nil {
		return nil, nil, err
	}
	var all [][]any
	for rows.Next() {
		row := make([]any, len(names))
		into := make([]any, len(names))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, nil, err
		}
		all = append(all, row)
	}
	return names, all, rows.Err()
}
