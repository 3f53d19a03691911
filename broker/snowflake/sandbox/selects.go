package sandbox

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"modernc.org/sqlite"
)

// selects runs a query. A description runs it too and drops the rows, since
// the types of expressions may come from the values.
func (s *Server) selects(ctx context.Context, sess *session, toks []token, bindings map[string]bind, describe bool) (*outcome, error) {
	if out, ok, err := s.special(sess, toks); ok || err != nil {
		return out, err
	}
	s.schema.RLock()
	defer s.schema.RUnlock()
	out, err := s.evaluate(ctx, sess, toks, bindings, describe)
	if err == nil && describe {
		out.rows = nil
	}
	return out, err
}

// evaluate translates and runs a query; s.schema is held.
func (s *Server) evaluate(ctx context.Context, sess *session, toks []token, bindings map[string]bind, describe bool) (*outcome, error) {
	tr, err := translate(bareQuery(toks), s.cat, sess.current(), sess.functions)
	if err != nil {
		return nil, err
	}
	args, err := arguments(bindings, tr.binds, describe)
	if err != nil {
		return nil, err
	}
	info, err := columnInfo(sess.conn, tr.sql)
	if err != nil {
		return nil, err
	}
	names, rows, err := rowsOf(ctx, sess.conn, tr.sql, args[0])
	if err != nil {
		return nil, err
	}
	out := &outcome{rows: rows, typeID: typeSelect}
	out.columns = s.label(sess, tr, names, info)
	settle(out)
	return out, nil
}

// trimEnd drops semicolons at the end.
func trimEnd(toks []token) []token {
	end := len(toks) - lookahead
	closing := toks[end:]
	for end > 0 && toks[end-1].op(";") {
		end--
	}
	return append(toks[:end:end], closing...)
}

// bareQuery drops semicolons at the end and parentheses around the whole, which
// SQLite takes in subqueries only.
func bareQuery(toks []token) []token {
	toks = trimEnd(toks)
	for toks[0].op("(") {
		depth, i := 0, 0
		for ; toks[i].sort != sortEnd; i++ {
			if toks[i].op("(") {
				depth++
			}
			if toks[i].op(")") {
				if depth--; depth == 0 {
					break
				}
			}
		}
		if toks[i].sort == sortEnd || toks[i+1].sort != sortEnd {
			return toks
		}
		toks = append(toks[1:i:i], toks[i+1:]...)
	}
	return toks
}

// columnInfo is SQLite's account of a query's columns: which of a table they
// are, if they are.
func columnInfo(conn *sql.Conn, query string) (info []sqlite.ColumnInfo, err error) {
	err = conn.Raw(func(c any) error {
		d, ok := c.(interface {
			ColumnInfo(string) ([]sqlite.ColumnInfo, error)
		})
		if !ok {
			return fmt.Errorf("the SQLite driver %T has no column info", c)
		}
		info, err = d.ColumnInfo(query)
		return err
	})
	return info, err
}

// label names and types the columns: by SQLite's origin, by the views and
// tables named in the query, by the text of the item. What none of them knows
// stays kindUnknown.
func (s *Server) label(sess *session, tr *translated, names []string, info []sqlite.ColumnInfo) []outCol {
	items := align(tr.items, len(names))
	columns := make([]outCol, len(names))
	for i := range columns {
		c := outCol{name: names[i], nullable: true}
		it := items[i]
		if it != nil && it.name != "" {
			c.name = it.name
		}
		s.originate(&c, tr, it, names[i], info[i])
		if c.typ.kind == kindUnknown && it != nil {
			c.typ = it.typ
		}
		columns[i] = c
	}
	s.probe(sess, tr, items, columns)
	return columns
}

// align matches items with result columns: one to one without a star, from
// both ends around a single one. Columns of a star have no item.
func align(items []item, n int) []*item {
	out := make([]*item, n)
	stars, at := 0, -1
	for i := range items {
		if items[i].star {
			stars, at = stars+1, i
		}
	}
	switch {
	case stars == 0 && len(items) == n:
		for i := range items {
			out[i] = &items[i]
		}
	case stars == 1 && len(items)-1 <= n:
		for i := range at {
			out[i] = &items[i]
		}
		for k := 1; k < len(items)-at; k++ {
			out[n-k] = &items[len(items)-k]
		}
	}
	return out
}

// originate finds the relation and type of a plain projection. Snowflake names
// the view a column is read from; SQLite names the table behind it.
func (s *Server) originate(c *outCol, tr *translated, it *item, column string, info sqlite.ColumnInfo) {
	if it != nil && it.column != "" {
		column = it.column
	}
	base := s.physical(info.TableName)
	if base != nil {
		if col, ok := base.column(info.OriginName); ok {
			c.typ = col.typ
			c.nullable = !col.notNull
		}
		for _, r := range tr.refs {
			if r == base {
				c.from = base
				return
			}
		}
	}
	if it != nil && it.column == "" {
		return // an expression
	}
	var found *relation
	for _, r := range tr.refs {
		if _, ok := r.column(column); ok && r.view {
			if found != nil {
				return
			}
			found = r
		}
	}
	if found != nil {
		col, _ := found.column(column)
		c.typ, c.from = col.typ, found
	}
}

// physical finds a relation by its name in SQLite; s.schema is held.
func (s *Server) physical(name string) *relation {
	parts := strings.Split(name, sep)
	if len(parts) != 3 {
		return nil
	}
	r, err := s.cat.find(path{parts[0], parts[1], parts[2]})
	if err != nil {
		return nil
	}
	return r
}

// probe finds the types of MIN(x), SUM(x), COALESCE(x, …) by asking SQLite
// about the same query with x in their place.
func (s *Server) probe(sess *session, tr *translated, items []*item, columns []outCol) {
	pieces := append([]string(nil), tr.out...)
	asked := false
	for i, it := range items {
		if it == nil || !it.followsArguments || columns[i].typ.kind != kindUnknown || it.argTo <= it.argFrom {
			continue
		}
		asked = true
		arg := strings.Join(tr.out[it.argFrom:it.argTo], " ")
		for k := it.outFrom; k < it.outTo; k++ {
			pieces[k] = ""
		}
		pieces[it.outFrom] = arg + " AS " + tick(it.name)
	}
	if !asked {
		return
	}
	info, err := columnInfo(sess.conn, strings.Join(pieces, " "))
	if err != nil || len(info) != len(columns) {
		return // the values will tell
	}
	for i, it := range items {
		if it == nil || !it.followsArguments || columns[i].typ.kind != kindUnknown {
			continue
		}
		base := s.physical(info[i].TableName)
		if base == nil {
			continue
		}
		col, ok := base.column(info[i].OriginName)
		if !ok {
			continue
		}
		columns[i].typ = aggregate(it.fn, col.typ)
	}
}

// aggregate is the type of fn over a column of type t.
func aggregate(fn string, t colType) colType {
	if t.kind != kindFixed {
		return t
	}
	switch fn {
	case "SUM":
		return fixed(38, t.scale)
	case "AVG":
		return fixed(38, min(37, t.scale+6))
	}
	return t
}

// settle gives the columns that are still unknown the type of their values.
func settle(out *outcome) {
	for i := range out.columns {
		if out.columns[i].typ.kind != kindUnknown {
			continue
		}
		values := make([]any, len(out.rows))
		for k, row := range out.rows {
			values[k] = row[i]
		}
		out.columns[i].typ = guess(values)
	}
}

// special answers the queries that are about the session's own past or about
// definitions: SELECT * FROM TABLE(RESULT_SCAN(…)) and SELECT GET_DDL(…).
func (s *Server) special(sess *session, toks []token) (*outcome, bool, error) {
	if toks[0].is("SELECT") && toks[1].op("*") && toks[2].is("FROM") && toks[3].is("TABLE") && toks[5].is("RESULT_SCAN") {
		out, err := s.resultScan(sess, toks[7])
		return out, true, err
	}
	if toks[0].is("SELECT") && toks[1].is("GET_DDL") && toks[3].sort == sortString && toks[5].sort == sortString {
		out, err := s.getDDL(sess, toks[5].val)
		return out, true, err
	}
	return nil, false, nil
}

func (s *Server) resultScan(sess *session, arg token) (*outcome, error) {
	id := arg.val
	if arg.is("LAST_QUERY_ID") {
		sess.mu.Lock()
		id = sess.lastQuery
		sess.mu.Unlock()
	}
	s.mu.Lock()
	ex := s.results[id]
	s.mu.Unlock()
	if ex == nil || ex.session.user != sess.user {
		return nil, &sqlError{code: "000709", state: "02000", line: -1, pos: -1, message: "Statement " + id + " not found"}
	}
	select {
	case <-ex.done:
	default:
		return nil, &sqlError{code: "000710", state: "02000", line: -1, pos: -1, message: "Statement " + id + " has not finished"}
	}
	if ex.err != nil {
		return nil, ex.err
	}
	again := *ex.out
	again.typeID = typeSelect
	return &again, nil
}

func (s *Server) getDDL(sess *session, name string) (*outcome, error) {
	toks, err := lex(name)
	if err != nil {
		return nil, err
	}
	parts, _ := dotted(toks, 0)
	p, err := sess.current().qualify(parts, "SELECT")
	if err != nil {
		return nil, err
	}
	s.schema.RLock()
	defer s.schema.RUnlock()
	r, err := s.cat.find(p)
	if err != nil {
		return nil, err
	}
	text := r.text
	if !r.view {
		text = tableDDL(r)
	}
	return &outcome{columns: []outCol{{name: "GET_DDL", typ: textType(), nullable: true}}, rows: [][]any{{text}}, typeID: typeSelect}, nil
}

// dotted reads a dotted name at toks[i] and returns where it ends.
func dotted(toks []token, i int) ([]string, int) {
	if !toks[i].name() {
		return nil, i
	}
	parts := []string{toks[i].val}
	i++
	for toks[i].op(".") && toks[i+1].name() {
		parts = append(parts, toks[i+1].val)
		i += 2
	}
	return parts, i
}
