package sandbox

import (
	"context"
	"fmt"
	"strings"
)

// ddl runs CREATE, DROP, TRUNCATE and ALTER TABLE. It commits an open transaction, as
// Snowflake does.
func (s *Server) ddl(ctx context.Context, sess *session, text string, toks []token) (*outcome, error) {
	if err := sess.endTransaction(ctx); err != nil {
		return nil, err
	}
	s.schema.Lock()
	defer s.schema.Unlock()
	d := &definition{server: s, sess: sess, ctx: ctx, text: text, toks: trimEnd(toks)}
	switch {
	case toks[0].is("CREATE"):
		return d.create()
	case toks[0].is("DROP"):
		return d.drop()
	case toks[0].is("ALTER"):
		return d.alterTable()
	}
	return d.truncate()
}

// definition is one DDL statement being read.
type definition struct {
	server *Server
	sess   *session
	ctx    context.Context // of the one statement this value lives for
	text   string
	toks   []token
	i      int

	replace, ifNotExists, ifExists bool
}

func (d *definition) peek(n int) token { return d.toks[min(d.i+n, len(d.toks)-1)] }

// accept moves past words if they stand next.
func (d *definition) accept(words ...string) bool {
	for k, w := range words {
		if !d.peek(k).is(w) {
			return false
		}
	}
	d.i += len(words)
	return true
}

func (d *definition) unexpected() error {
	t := d.peek(0)
	what := t.text
	if t.sort == sortEnd {
		what = "<EOF>"
	}
	return syntaxAt(d.text, t.pos, what)
}

func (d *definition) exec(query string) error {
	_, err := d.sess.conn.ExecContext(d.ctx, query)
	return err
}

// name reads a dotted name.
func (d *definition) name() ([]string, error) {
	parts, end := dotted(d.toks, d.i)
	if len(parts) == 0 {
		return nil, d.unexpected()
	}
	d.i = end
	return parts, nil
}

func (d *definition) create() (*outcome, error) {
	d.i = 1
	d.replace = d.accept("OR", "REPLACE")
	_ = d.accept("LOCAL") || d.accept("GLOBAL")
	_ = d.accept("TRANSIENT") || d.accept("TEMPORARY") || d.accept("TEMP") || d.accept("SECURE") || d.accept("VOLATILE")
	switch {
	case d.accept("DATABASE"):
		return d.createDatabase()
	case d.accept("SCHEMA"):
		return d.createSchema()
	case d.accept("TABLE"):
		return d.createTable()
	case d.accept("VIEW"):
		return d.createView()
	case d.peek(0).is("ROLE", "WAREHOUSE", "USER"):
		// Accepted and forgotten, like GRANT.
		return status(fmt.Sprintf("%s successfully created.", d.peek(0).val), typeDDL), nil
	}
	return nil, errUnsupported("CREATE " + d.peek(0).val)
}

// clash decides what to do about an existing object: go on, stop quietly, or
// fail. drop removes it for OR REPLACE.
func (d *definition) clash(exists bool, kind, name string, drop func() error) (stop *outcome, err error) {
	switch {
	case !exists:
		return nil, nil
	case d.replace:
		return nil, drop()
	case d.ifNotExists:
		return status(fmt.Sprintf("%s already exists, statement succeeded.", name), typeDDL), nil
	}
	return nil, errExists(name)
}

func (d *definition) createDatabase() (*outcome, error) {
	d.ifNotExists = d.accept("IF", "NOT", "EXISTS")
	parts, err := d.name()
	if err != nil {
		return nil, err
	}
	if d.peek(0).is("CLONE", "FROM", "AS") || len(parts) != 1 {
		return nil, errUnsupported("CREATE DATABASE " + d.peek(0).text)
	}
	name := parts[0]
	_, exists := d.server.cat.databases[name]
	if out, err := d.clash(exists, "Database", name, func() error { return d.dropDatabase(name) }); out != nil || err != nil {
		return out, err
	}
	d.server.cat.addDatabase(name)
	d.enter(place{name, "PUBLIC"})
	return status(fmt.Sprintf("Database %s successfully created.", name), typeDDL), nil
}

func (d *definition) enter(at place) {
	d.sess.mu.Lock()
	defer d.sess.mu.Unlock()
	d.sess.place = at
}

func (d *definition) createSchema() (*outcome, error) {
	d.ifNotExists = d.accept("IF", "NOT", "EXISTS")
	parts, err := d.name()
	if err != nil {
		return nil, err
	}
	if d.peek(0).is("CLONE") {
		return nil, errUnsupported("CREATE SCHEMA CLONE")
	}
	db, name, err := d.schemaName(parts)
	if err != nil {
		return nil, err
	}
	_, exists := db.schemas[name]
	if out, err := d.clash(exists, "Schema", name, func() error { return d.dropSchema(db, name) }); out != nil || err != nil {
		return out, err
	}
	d.server.cat.addSchema(db, name)
	d.enter(place{db.name, name})
	return status(fmt.Sprintf("Schema %s successfully created.", name), typeDDL), nil
}

func (d *definition) schemaName(parts []string) (*database, string, error) {
	dbName := d.sess.current().database
	if len(parts) > 2 {
		return nil, "", errAbsentKind("Schema", strings.Join(parts, "."))
	}
	if len(parts) == 2 {
		dbName = parts[0]
	}
	if dbName == "" {
		return nil, "", errNoDatabase(d.toks[0].val)
	}
	db, ok := d.server.cat.databases[dbName]
	if !ok {
		return nil, "", errAbsentKind("Database", dbName)
	}
	return db, parts[len(parts)-1], nil
}

// target reads the name of a relation to be made and its schema.
func (d *definition) target() (path, *schema, error) {
	parts, err := d.name()
	if err != nil {
		return path{}, nil, err
	}
	p, err := d.sess.current().qualify(parts, d.toks[0].val)
	if err != nil {
		return path{}, nil, err
	}
	if _, ok := d.server.cat.databases[p.database]; !ok {
		return path{}, nil, errAbsentKind("Database", p.database)
	}
	sc, ok := d.server.cat.schema(p.database, p.schema)
	if !ok {
		return path{}, nil, errAbsentKind("Schema", p.database+"."+p.schema)
	}
	return p, sc, nil
}

func (d *definition) createTable() (*outcome, error) {
	d.ifNotExists = d.accept("IF", "NOT", "EXISTS")
	p, sc, err := d.target()
	if err != nil {
		return nil, err
	}
	old, exists := sc.relations[p.name]
	if exists && !d.replace {
		return d.clash(true, "Table", p.name, nil)
	}
	r := &relation{database: p.database, schema: p.schema, name: p.name, created: d.server.cat.now()}
	var fill string
	switch {
	case d.accept("CLONE"):
		fill, err = d.cloneOf(r, "SELECT * FROM ")
	case d.accept("LIKE"):
		_, err = d.cloneOf(r, "")
	case d.peek(0).is("AS"):
		d.i++
		fill, err = d.asSelect(r)
	case d.peek(0).op("("):
		if err = d.columns(r); err == nil && d.peek(0).is("AS") {
			err = errUnsupported("CREATE TABLE (…) AS SELECT")
		}
	default:
		err = d.unexpected()
	}
	if err != nil {
		return nil, err
	}
	if err := d.fill(sc, old, r, fill); err != nil {
		return nil, err
	}
	sc.relations[r.name] = r
	return status(fmt.Sprintf("Table %s successfully created.", p.name), typeDDL), nil
}

// fill makes the table r and its rows by the query fill, if any. The source may
// be the table old that r replaces: the rows go by way of a table of their own.
func (d *definition) fill(sc *schema, old, r *relation, fill string) error {
	staging := *r
	staging.name += sep + "NEW"
	if fill != "" {
		if err := d.exec(d.tableSQL(&staging)); err != nil {
			return err
		}
		defer func() { _ = d.exec("DROP TABLE " + tick(staging.physical())) }()
		if err := d.exec("INSERT INTO " + tick(staging.physical()) + " " + fill); err != nil {
			return err
		}
	}
	if old != nil {
		if err := d.dropRelation(sc, old); err != nil {
			return err
		}
	}
	if err := d.exec(d.tableSQL(r)); err != nil || fill == "" {
		return err
	}
	return d.exec("INSERT INTO " + tick(r.physical()) + " SELECT * FROM " + tick(staging.physical()))
}

// cloneOf takes the columns of another table.
func (d *definition) cloneOf(r *relation, query string) (string, error) {
	parts, err := d.name()
	if err != nil {
		return "", err
	}
	p, err := d.sess.current().qualify(parts, "CREATE")
	if err != nil {
		return "", err
	}
	source, err := d.server.cat.find(p)
	if err != nil {
		return "", err
	}
	if source.view {
		return "", errUnsupported("cloning a view")
	}
	r.columns = append([]column(nil), source.columns...)
	return query + tick(source.physical()), nil
}

// asSelect takes the columns of a query and returns its translation.
func (d *definition) asSelect(r *relation) (string, error) {
	rest := bareQuery(d.toks[d.i:])
	out, err := d.server.evaluate(d.ctx, d.sess, rest, nil, false)
	if err != nil {
		return "", err
	}
	tr, err := translate(rest, d.server.cat, d.sess.current(), d.sess.functions)
	if err != nil {
		return "", err
	}
	if tr.binds > 0 {
		return "", errUnsupported("bind variables in DDL")
	}
	for _, c := range out.columns {
		r.columns = append(r.columns, column{name: c.name, typ: c.typ})
	}
	return tr.sql, nil
}

// columns reads the column list of CREATE TABLE.
func (d *definition) columns(r *relation) error {
	d.i++
	for {
		if d.peek(0).is("CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN") {
			d.skipToComma() // declared, not enforced, as in Snowflake
		} else if err := d.column(r); err != nil {
			return err
		}
		switch {
		case d.peek(0).op(","):
			d.i++
		case d.peek(0).op(")"):
			d.i++
			if len(r.columns) == 0 {
				return d.unexpected()
			}
			return nil
		default:
			return d.unexpected()
		}
	}
}

func (d *definition) column(r *relation) error {
	if !d.peek(0).name() {
		return d.unexpected()
	}
	c := column{name: d.peek(0).val}
	if _, dup := r.column(c.name); dup {
		return &sqlError{code: "002025", state: "42S21", line: -1, pos: -1, message: "SQL compilation error:\nduplicate column name '" + c.name + "'"}
	}
	d.i++
	typ, n := parseType(d.toks, d.i)
	if n == 0 {
		return &sqlError{code: "002040", state: "42601", line: -1, pos: -1, message: "SQL compilation error:\nUnsupported data type '" + d.peek(0).text + "'."}
	}
	c.typ = typ
	d.i += n
	for !d.peek(0).op(",") && !d.peek(0).op(")") && d.peek(0).sort != sortEnd {
		switch {
		case d.accept("NOT", "NULL"):
			c.notNull = true
		case d.accept("NULL"), d.accept("UNIQUE"):
		case d.accept("PRIMARY", "KEY"):
			c.notNull = true
		case d.accept("COMMENT"), d.accept("COLLATE"):
			d.i++
		case d.accept("DEFAULT"):
			from := d.peek(0).pos
			d.skipToOption()
			c.fallback = strings.TrimSpace(d.text[from:d.peek(0).pos])
		case d.peek(0).is("AUTOINCREMENT", "IDENTITY"):
			return errUnsupported(d.peek(0).val)
		case d.accept("REFERENCES"):
			d.skipToComma()
		default:
			return d.unexpected()
		}
	}
	r.columns = append(r.columns, c)
	return nil
}

// skipToComma moves to the comma or parenthesis that ends a definition.
func (d *definition) skipToComma() {
	d.skip(func(token) bool { return false })
}

// skipToOption moves also to a word that begins another column option.
func (d *definition) skipToOption() {
	d.skip(func(t token) bool {
		return t.is("NOT", "COMMENT", "UNIQUE", "PRIMARY", "REFERENCES", "COLLATE")
	})
}

func (d *definition) skip(stop func(token) bool) {
	depth := 0
	for t := d.peek(0); t.sort != sortEnd; t = d.peek(0) {
		if depth == 0 && (t.op(",") || t.op(")") || stop(t)) {
			return
		}
		if t.op("(") {
			depth++
		}
		if t.op(")") {
			depth--
		}
		d.i++
	}
}

// tableSQL is the CREATE TABLE of SQLite. A check makes SQLite refuse values
// that are not of the column's type, as Snowflake does.
func (d *definition) tableSQL(r *relation) string {
	var defs []string
	for _, c := range r.columns {
		def := tick(c.name) + " " + c.typ.storage()
		if c.notNull {
			def += " NOT NULL"
		}
		if c.fallback != "" {
			if toks, err := lex(c.fallback); err == nil {
				if tr, err := translate(toks, d.server.cat, place{}, stored); err == nil {
					def += " DEFAULT (" + tr.sql + ")"
				}
			}
		}
		if c.typ.kind != kindText {
			def += " CHECK (SF_VALID(" + tick(c.name) + "," + typeArgs(c.typ) + "))"
		}
		defs = append(defs, def)
	}
	return "CREATE TABLE " + tick(r.physical()) + " (" + strings.Join(defs, ", ") + ")"
}

// stored gives the session functions a DEFAULT may use: those that SQLite
// evaluates at each insertion.
func stored(name string) (string, bool) {
	switch name {
	case "CURRENT_TIMESTAMP", "SYSDATE", "GETDATE":
		return "CURRENT_TIMESTAMP", true
	case "CURRENT_DATE":
		return "CURRENT_DATE", true
	}
	return "", false
}

func (d *definition) createView() (*outcome, error) {
	d.ifNotExists = d.accept("IF", "NOT", "EXISTS")
	p, sc, err := d.target()
	if err != nil {
		return nil, err
	}
	old, exists := sc.relations[p.name]
	if exists && !d.replace {
		return d.clash(true, "View", p.name, nil)
	}
	r := &relation{database: p.database, schema: p.schema, name: p.name, view: true, text: d.text, created: d.server.cat.now()}
	var names []string
	if d.peek(0).op("(") {
		for d.i++; !d.peek(0).op(")"); d.i++ {
			if d.peek(0).sort == sortEnd {
				return nil, d.unexpected()
			}
			if d.peek(0).name() && !d.peek(-1).is("COMMENT") {
				names = append(names, d.peek(0).val)
			}
		}
		d.i++
	}
	if d.accept("COMMENT") {
		d.i += 2
	}
	if !d.accept("AS") {
		return nil, d.unexpected()
	}
	query, err := d.asSelect(r)
	if err != nil {
		return nil, err
	}
	if names != nil && len(names) != len(r.columns) {
		return nil, d.unexpected()
	}
	for i := range names {
		r.columns[i].name = names[i]
	}
	if exists {
		if err := d.dropRelation(sc, old); err != nil {
			return nil, err
		}
	}
	var list []string
	for _, c := range r.columns {
		list = append(list, tick(c.name))
	}
	if err := d.exec("CREATE VIEW " + tick(r.physical()) + " (" + strings.Join(list, ",") + ") AS " + query); err != nil {
		return nil, err
	}
	sc.relations[r.name] = r
	return status(fmt.Sprintf("View %s successfully created.", p.name), typeDDL), nil
}
