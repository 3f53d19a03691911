package sandbox

import (
	"fmt"
	"strings"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
)

// table is a result under construction: SHOW, DESCRIBE and the information
// schema fill one.
type table struct {
	columns []outCol
	rows    [][]any
}

// columnsOf makes columns of "name" (text) or "name:kind" with kind one of ltz,
// fixed.
func columnsOf(names ...string) []outCol {
	out := make([]outCol, len(names))
	for i, n := range names {
		name, k, _ := strings.Cut(n, ":")
		typ := textType()
		switch k {
		case "ltz":
			typ = colType{kind: kindLTZ, scale: 3}
		case "fixed":
			typ = fixed(38, 0)
		}
		out[i] = outCol{name: name, typ: typ, nullable: true}
	}
	return out
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// show is SHOW [TERSE] kind [LIKE 'pattern'] [IN …].
func (s *Server) show(sess *session, toks []token) (*outcome, error) {
	toks = trimEnd(toks)
	i := 1
	if toks[i].is("TERSE") {
		i++
	}
	kind := toks[i].val
	i++
	if kind == "PRIMARY" || kind == "IMPORTED" || kind == "UNIQUE" {
		i++ // KEYS
	}
	like := "%"
	if toks[i].is("HISTORY") {
		i++
	}
	if toks[i].is("LIKE") && toks[i+1].sort == sortString {
		like = toks[i+1].val
		i += 2
	}
	s.schema.RLock()
	defer s.schema.RUnlock()
	schemas, table, err := s.within(sess, toks, i)
	if err != nil {
		return nil, err
	}
	t, err := s.showRows(sess, kind, schemas, table)
	if err != nil {
		return nil, err
	}
	out := &outcome{columns: t.columns, typeID: typeShow}
	nameAt := 0
	for k, c := range t.columns {
		if c.name == "name" || c.name == "key" || c.name == "column_name" {
			nameAt = k
			break
		}
	}
	for _, row := range t.rows {
		if likeMatch(like, show(row[nameAt]), 0, true) {
			out.rows = append(out.rows, row)
		}
	}
	return out, nil
}

// within reads IN ACCOUNT | DATABASE [x] | SCHEMA [x] | TABLE x | x and returns
// the schemas meant, and the table for IN TABLE.
func (s *Server) within(sess *session, toks []token, i int) ([]*schema, *relation, error) {
	at := sess.current()
	kind := ""
	if toks[i].is("IN", "FOR") {
		i++
		if toks[i].is("ACCOUNT", "DATABASE", "SCHEMA", "TABLE", "VIEW", "SESSION", "USER", "WAREHOUSE") {
			kind = toks[i].val
			i++
		}
	} else if toks[i].is("STARTS", "LIMIT") {
		kind = ""
	} else if toks[i].sort != sortEnd {
		return nil, nil, syntaxAt("", toks[i].pos, toks[i].text)
	} else if at.database == "" {
		kind = "ACCOUNT"
	}
	parts, _ := dotted(toks, i)
	switch {
	case kind == "TABLE" || kind == "VIEW":
		p, err := at.qualify(parts, "SHOW")
		if err != nil {
			return nil, nil, err
		}
		r, err := s.cat.find(p)
		return nil, r, err
	case kind == "SCHEMA" || kind == "" && len(parts) == 2:
		db := at.database
		name := at.schema
		if len(parts) > 0 {
			name = parts[len(parts)-1]
		}
		if len(parts) == 2 {
			db = parts[0]
		}
		sc, ok := s.cat.schema(db, name)
		if !ok {
			return nil, nil, errNotPerformed()
		}
		return []*schema{sc}, nil, nil
	case kind == "DATABASE" || len(parts) == 1:
		name := at.database
		if len(parts) > 0 {
			name = parts[0]
		}
		db, ok := s.cat.databases[name]
		if !ok {
			return nil, nil, errNotPerformed()
		}
		return sorted(db.schemas), nil, nil
	case kind == "" && at.schema != "":
		if sc, ok := s.cat.schema(at.database, at.schema); ok {
			return []*schema{sc}, nil, nil
		}
	}
	var all []*schema
	for _, db := range sorted(s.cat.databases) {
		all = append(all, sorted(db.schemas)...)
	}
	return all, nil, nil
}

func (s *Server) showRows(sess *session, kind string, schemas []*schema, of *relation) (table, error) {
	at, warehouse, role := sess.facts()
	yes := func(b bool) string {
		if b {
			return "Y"
		}
		return "N"
	}
	var t table
	switch kind {
	case "DATABASES":
		t.columns = columnsOf("created_on:ltz", "name", "is_default", "is_current", "origin", "owner", "comment", "options", "retention_time", "kind")
		for _, d := range sorted(s.cat.databases) {
			t.rows = append(t.rows, []any{stamp(d.created), d.name, "N", yes(d.name == at.database), "", role, "", "", "1", "STANDARD"})
		}
	case "SCHEMAS":
		t.columns = columnsOf("created_on:ltz", "name", "is_default", "is_current", "database_name", "owner", "comment", "options", "retention_time")
		for _, sc := range schemas {
			current := sc.name == at.schema && sc.database == at.database
			t.rows = append(t.rows, []any{stamp(sc.created), sc.name, "N", yes(current), sc.database, role, "", "", "1"})
		}
	case "TABLES", "VIEWS", "OBJECTS":
		t = s.showRelations(sess, kind, schemas)
	case "COLUMNS":
		t.columns = columnsOf("table_name", "schema_name", "column_name", "data_type", "null?", "default", "kind", "expression", "comment", "database_name", "autoincrement")
		relations := []*relation{of}
		if of == nil {
			relations = nil
			for _, sc := range schemas {
				relations = append(relations, sorted(sc.relations)...)
			}
		}
		for _, r := range relations {
			for _, c := range r.columns {
				data := fmt.Sprintf(`{"type":%q,"nullable":%t}`, strings.ToUpper(c.typ.wire()), !c.notNull)
				t.rows = append(t.rows, []any{r.name, r.schema, c.name, data, fmt.Sprint(!c.notNull), c.fallback, "COLUMN", "", "", r.database, ""})
			}
		}
	case "PARAMETERS":
		t.columns = columnsOf("key", "value", "default", "level", "description", "type")
		for _, p := range defaultParameters() {
			t.rows = append(t.rows, parameterRow(sess, p))
		}
	case "WAREHOUSES":
		t.columns = columnsOf("name", "state", "type", "size", "is_default", "is_current")
		if warehouse != "" {
			t.rows = [][]any{{warehouse, "STARTED", "STANDARD", "X-Small", "N", "Y"}}
		}
	case "ROLES":
		t.columns = columnsOf("created_on:ltz", "name", "is_default", "is_current")
		t.rows = [][]any{{stamp(time.Unix(0, 0)), role, "Y", "Y"}}
	case "PRIMARY", "IMPORTED", "UNIQUE":
		t.columns = columnsOf("created_on:ltz", "database_name", "schema_name", "table_name", "column_name")
	default:
		return table{}, errUnsupported("SHOW " + kind)
	}
	return t, nil
}

func parameterRow(sess *session, p snowflake.Parameter) []any {
	def := strings.Trim(string(p.Value), `"`)
	typ := "STRING"
	switch {
	case def == "true" || def == "false":
		typ = "BOOLEAN"
	case len(p.Value) > 0 && digit(p.Value[0]):
		typ = "NUMBER"
	}
	value, level := def, ""
	if v, ok := sess.param(p.Name); ok {
		value, level = v, "SESSION"
	}
	return []any{p.Name, value, def, level, "", typ}
}

func (s *Server) showRelations(sess *session, kind string, schemas []*schema) table {
	t := table{columns: columnsOf("created_on:ltz", "name", "database_name", "schema_name", "kind", "comment", "cluster_by", "rows:fixed", "bytes:fixed", "owner", "is_dynamic", "is_iceberg")}
	if kind == "VIEWS" {
		t.columns = columnsOf("created_on:ltz", "name", "reserved", "database_name", "schema_name", "owner", "comment", "text", "is_secure", "is_materialized")
	}
	_, _, role := sess.facts()
	for _, sc := range schemas {
		for _, r := range sorted(sc.relations) {
			switch {
			case kind == "VIEWS" && r.view:
				t.rows = append(t.rows, []any{stamp(r.created), r.name, "", r.database, r.schema, role, "", r.text, "false", "false"})
			case kind == "OBJECTS", kind == "TABLES" && !r.view:
				n := s.count(sess, r)
				t.rows = append(t.rows, []any{stamp(r.created), r.name, r.database, r.schema, kindOf(r), "", "", n, 64 * n, role, "N", "N"})
			}
		}
	}
	return t
}

// describeObject is DESC[RIBE] [TABLE|VIEW|SCHEMA|DATABASE] name.
func (s *Server) describeObject(sess *session, toks []token) (*outcome, error) {
	toks = trimEnd(toks)
	i := 1
	kind := "TABLE"
	if toks[i].is("TABLE", "VIEW", "SCHEMA", "DATABASE") {
		kind = toks[i].val
		i++
	} else if toks[i].is("USER", "STAGE", "RESULT", "FUNCTION", "PROCEDURE", "WAREHOUSE", "INTEGRATION", "SECRET") {
		return nil, errUnsupported("DESCRIBE " + toks[i].val)
	}
	parts, end := dotted(toks, i)
	if len(parts) == 0 {
		return nil, syntaxAt("", toks[end].pos, toks[end].text)
	}
	s.schema.RLock()
	defer s.schema.RUnlock()
	if kind == "SCHEMA" || kind == "DATABASE" {
		return nil, errUnsupported("DESCRIBE " + kind)
	}
	p, err := sess.current().qualify(parts, "DESCRIBE")
	if err != nil {
		return nil, err
	}
	r, err := s.cat.find(p)
	if err != nil {
		return nil, err
	}
	out := &outcome{typeID: typeDescribe, columns: columnsOf("name", "type", "kind", "null?", "default", "primary key", "unique key", "check", "expression", "comment", "policy name", "privacy domain")}
	for _, c := range r.columns {
		null := "Y"
		if c.notNull {
			null = "N"
		}
		var def any
		if c.fallback != "" {
			def = c.fallback
		}
		out.rows = append(out.rows, []any{c.name, c.typ.ddl(), "COLUMN", null, def, "N", "N", nil, nil, nil, nil, nil})
	}
	return out, nil
}

func tableDDL(r *relation) string {
	var defs []string
	for _, c := range r.columns {
		def := "\t" + ident(c.name) + " " + c.typ.ddl()
		if c.notNull {
			def += " NOT NULL"
		}
		if c.fallback != "" {
			def += " DEFAULT " + c.fallback
		}
		defs = append(defs, def)
	}
	return "create or replace TABLE " + ident(r.name) + " (\n" + strings.Join(defs, ",\n") + "\n);"
}

// ident quotes an identifier if it needs to be.
func ident(name string) string {
	toks, err := lex(name)
	if err == nil && len(toks) == 1+lookahead && toks[0].sort == sortWord && toks[0].val == name {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
