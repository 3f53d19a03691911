package sandbox

import (
	"context"
	"strconv"
)

// dml runs INSERT, UPDATE or DELETE and reports the rows as Snowflake does: a
// row of counts. An array bind runs the statement once for each of its rows.
func (s *Server) dml(ctx context.Context, sess *session, toks []token, bindings map[string]bind, describe bool) (*outcome, error) {
	verb := toks[0].val
	if verb == "INSERT" && !toks[1].is("INTO") {
		return nil, errUnsupported("INSERT " + toks[1].text)
	}
	s.schema.RLock()
	defer s.schema.RUnlock()
	tr, err := translate(trimEnd(toks), s.cat, sess.current(), sess.functions)
	if err != nil {
		return nil, err
	}
	if len(tr.refs) > 0 && tr.refs[0].view {
		return nil, errUnsupported("writing to a view")
	}
	args, err := arguments(bindings, tr.binds, describe)
	if err != nil {
		return nil, err
	}
	if _, err := columnInfo(sess.conn, tr.sql); err != nil { // compiles it
		return nil, err
	}
	if describe {
		out := counts(verb, 0)
		out.rows = nil
		return out, nil
	}
	// The savepoint makes the statement whole: all its rows or none.
	if _, err := sess.conn.ExecContext(ctx, "SAVEPOINT statement"); err != nil {
		return nil, err
	}
	n, err := s.execAll(ctx, sess, tr.sql, args)
	end := "RELEASE statement"
	if err != nil {
		end = "ROLLBACK TO statement; RELEASE statement"
	}
	// Not ctx: a cancelled statement must still be undone.
	if _, endErr := sess.conn.ExecContext(context.WithoutCancel(ctx), end); err == nil {
		err = endErr
	}
	if err != nil {
		return nil, err
	}
	return counts(verb, n), nil
}

func (s *Server) execAll(ctx context.Context, sess *session, query string, args [][]any) (int64, error) {
	var total int64
	for _, row := range args {
		res, err := sess.conn.ExecContext(ctx, query, row...)
		if err != nil {
			return 0, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// counts is the outcome of a DML statement that touched n rows.
func counts(verb string, n int64) *outcome {
	number := func(name string) outCol { return outCol{name: name, typ: fixed(19, 0)} }
	switch verb {
	case "INSERT":
		return &outcome{columns: []outCol{number("number of rows inserted")}, rows: [][]any{{n}}, typeID: typeInsert, inserted: n}
	case "UPDATE":
		return &outcome{columns: []outCol{number("number of rows updated"), number("number of multi-joined rows updated")},
			rows: [][]any{{n, int64(0)}}, typeID: typeUpdate, updated: n}
	default:
		return &outcome{columns: []outCol{number("number of rows deleted")}, rows: [][]any{{n}}, typeID: typeDelete, deleted: n}
	}
}

// explain answers EXPLAIN [USING JSON|TABULAR|TEXT] with a plan that has the
// global figures only: the tables the statement names count as one partition
// each, and a row as 64 bytes.
func (s *Server) explain(sess *session, toks []token) (*outcome, error) {
	i := 1
	if toks[i].is("USING") {
		i += 2
	}
	if !toks[i].is("SELECT", "WITH", "INSERT", "UPDATE", "DELETE") {
		return nil, syntaxAt("", toks[i].pos, toks[i].text)
	}
	s.schema.RLock()
	defer s.schema.RUnlock()
	tr, err := translate(trimEnd(toks[i:]), s.cat, sess.current(), sess.functions)
	if err != nil {
		return nil, err
	}
	var bytes int64
	for _, r := range tr.refs {
		if !r.view {
			bytes += 64 * s.count(sess, r)
		}
	}
	parts := strconv.Itoa(len(tr.refs))
	plan := `{"GlobalStats":{"partitionsTotal":` + parts + `,"partitionsAssigned":` + parts + `,"bytesAssigned":` + strconv.FormatInt(bytes, 10) + `},"Operations":[[]]}`
	return &outcome{columns: []outCol{{name: "content", typ: textType(), nullable: true}}, rows: [][]any{{plan}}, typeID: typeSelect}, nil
}

// count is how many rows a table has, 0 if that cannot be told.
func (s *Server) count(sess *session, r *relation) int64 {
	var n int64
	if r.view || sess.conn.QueryRowContext(sess.ctx, "SELECT COUNT(*) FROM "+tick(r.physical())).Scan(&n) != nil {
		return 0
	}
	return n
}
