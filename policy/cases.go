package policy

import (
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/jit-access/jit/policy/sql"
)

// Case is one statement of tests/*.yaml and the ruling it must get.
type Case struct {
	File string
	Line int
	Name string
	SQL  string

	Subject Subject
	Setting Setting
	Catalog Tables

	Verdict Verdict
	Rule    string   // "" = any
	Masked  []string // names of masked outputs, in order; nil = not checked
}

// Tables is a catalog given as a table of columns.
type Tables map[sql.ObjectName]sql.Relation

// Relation implements sql.Catalog.
func (t Tables) Relation(n sql.ObjectName) (sql.Relation, bool) {
	r, ok := t[n]
	return r, ok
}

// loadCases reads one file of tests:
//
//	subject: {user: ana, groups: [analysts], agent: claude}
//	setting: {connection: prod, role: ANALYST, warehouse: WH, database: APP, schema: PUBLIC}
//	catalog:
//	  APP.PUBLIC.CUSTOMERS: [ID, NAME, EMAIL]
//	  APP.PUBLIC.CONTACTS: {columns: [ID, CONTACT], view: "SELECT id, email FROM customers"}
//	tests:
//	  - name: classified columns arrive masked
//	    sql: SELECT id, email FROM customers
//	    verdict: allow
//	    rule: reads
//	    masked: [EMAIL]
//
// subject, setting and catalog hold for the whole file.
func loadCases(name string, data []byte, ps *problems) []Case {
	y := yamlFile{name, ps}
	shared, tests := readScene(y, data)
	var out []Case
	for _, n := range tests {
		c := shared
		c.File, c.Line = name, lineOf(n)
		y.oneCase(n, &c)
		out = append(out, c)
	}
	if len(out) == 0 {
		ps.add(name, 0, "the file holds no tests")
	}
	return out
}

// readScene reads what the tests of a file share, and their nodes.
func readScene(y yamlFile, data []byte) (shared Case, tests []ast.Node) {
	root := y.parse(data)
	if root == nil {
		return shared, nil
	}
	for _, e := range y.mapping(root, "the file") {
		switch e.key {
		case "subject":
			shared.Subject = y.subject(e.node)
		case "setting":
			shared.Setting = y.setting(e.node)
		case "catalog":
			shared.Catalog = y.catalog(e.node)
		case "tests":
			tests = y.list(e.node, "tests")
		default:
			y.ps.add(y.name, e.line, "unknown key %q: subject, setting, catalog and tests are known", e.key)
		}
	}
	return shared, tests
}

func (y yamlFile) oneCase(n ast.Node, c *Case) {
	decided := false
	for _, e := range y.mapping(n, "a test") {
		switch e.key {
		case "name":
			c.Name, c.Line = y.text(e.node, "name"), e.line
		case "sql":
			c.SQL = y.text(e.node, "sql")
		case "rule":
			c.Rule = y.text(e.node, "rule")
		case "masked":
			c.Masked = append([]string{}, y.texts(e.node, "masked")...)
		case "verdict":
			word := y.text(e.node, "verdict")
			v, ok := ParseVerdict(word)
			if !ok {
				y.ps.add(y.name, e.line, "unknown verdict %q: allow, hold and deny are known", word)
			}
			c.Verdict, decided = v, true
		default:
			y.ps.add(y.name, e.line, "unknown key %q: name, sql, verdict, rule and masked are known", e.key)
		}
	}
	if c.Name == "" || c.SQL == "" || !decided {
		y.ps.add(y.name, c.Line, "a test needs a name, sql and a verdict")
	}
}

func (y yamlFile) subject(n ast.Node) (s Subject) {
	for _, e := range y.mapping(n, "subject") {
		switch e.key {
		case "user":
			s.User = y.text(e.node, "user")
		case "email":
			s.Email = y.text(e.node, "email")
		case "groups":
			s.Groups = y.texts(e.node, "groups")
		case "agent":
			s.Agent = y.text(e.node, "agent")
		default:
			y.ps.add(y.name, e.line, "unknown key %q: user, email, groups and agent are known", e.key)
		}
	}
	return s
}

func (y yamlFile) setting(n ast.Node) (s Setting) {
	fields := map[string]*string{
		"connection": &s.Connection, "role": &s.Role, "warehouse": &s.Warehouse, "database": &s.Database, "schema": &s.Schema,
	}
	for _, e := range y.mapping(n, "setting") {
		if p := fields[e.key]; p != nil {
			*p = y.text(e.node, e.key)
			continue
		}
		if e.key == "emergency" {
			v, ok := e.node.(*ast.BoolNode)
			if !ok {
				y.ps.add(y.name, e.line, "emergency must be true or false")
				continue
			}
			s.Emergency = v.Value
			continue
		}
		y.ps.add(y.name, e.line, "unknown key %q: connection, role, warehouse, database, schema and emergency are known", e.key)
	}
	return s
}

// catalog reads tables as lists of columns, and views as mappings.
func (y yamlFile) catalog(n ast.Node) Tables {
	out := make(Tables)
	for _, e := range y.mapping(n, "catalog") {
		name, ok := ParseObjectName(e.key)
		if !ok {
			y.ps.add(y.name, e.line, "table %q: write DATABASE.SCHEMA.TABLE, quoting names that need it", e.key)
			continue
		}
		if _, isList := e.node.(*ast.SequenceNode); isList {
			out[name] = sql.Relation{Kind: sql.ObjectTable, Columns: y.texts(e.node, "the columns of "+e.key)}
			continue
		}
		r := sql.Relation{Kind: sql.ObjectView}
		for _, f := range y.mapping(e.node, e.key+" (a list of columns, or a view)") {
			switch f.key {
			case "columns":
				r.Columns = y.texts(f.node, "the columns of "+e.key)
			case "view":
				r.ViewText = y.text(f.node, "view")
			default:
				y.ps.add(y.name, f.line, "unknown key %q: columns and view are known", f.key)
			}
		}
		out[name] = r
	}
	return out
}

// ParseObjectName reads DATABASE.SCHEMA.NAME as Snowflake folds it.
func ParseObjectName(s string) (sql.ObjectName, bool) {
	parts, err := parseGlob(s + ".X")
	if err != nil {
		return sql.ObjectName{}, false
	}
	for _, p := range parts {
		if p.wild {
			return sql.ObjectName{}, false
		}
	}
	return sql.ObjectName{Database: parts[0].text, Schema: parts[1].text, Name: parts[2].text}, true
}

// ParseVerdict reads allow, hold or deny. The verdict of anything else is Deny.
func ParseVerdict(s string) (Verdict, bool) {
	i := slices.Index(verdictNames[:], s)
	return Verdict(max(i, 0)), i >= 0
}

// checkCases refuses tests that expect a rule the bundle does not have.
func checkCases(cases []Case, rules []*rule, ps *problems) {
	for _, c := range cases {
		known := c.Rule == "" || slices.Contains(reservedIDs, c.Rule) ||
			slices.ContainsFunc(rules, func(r *rule) bool { return r.id == c.Rule })
		if !known {
			ps.add(c.File, c.Line, "test %q expects rule %q, which the bundle does not have", c.Name, c.Rule)
		}
	}
}
