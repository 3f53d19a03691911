package sql

import (
	dbsql "database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

// Non-interference, checked by running: two databases differ in nothing but
// EMAIL. A random query whose predicates do not carry EMAIL must return as
// many rows from both, and the outputs that do not carry it must hold the same
// values. SQLite only computes what the queries mean; it knows no labels, so
// a label that got lost shows as a difference.
func TestWhatCarriesNoLabelDoesNotDependOnTheData(t *testing.T) {
	const queries, pairs = 1200, 2
	var dbs [pairs][2]*dbsql.DB
	for i := range dbs {
		for j := range dbs[i] {
			dbs[i][j] = interferenceDB(t, uint64(i), uint64(i*2+j+100))
		}
	}
	cat := testCatalog{
		{"APP", "PUBLIC", "C"}: {Kind: ObjectTable, Columns: []string{"ID", "NAME", "EMAIL", "CITY"}},
		{"APP", "PUBLIC", "O"}: {Kind: ObjectTable, Columns: []string{"ID", "CUSTOMER_ID", "AMOUNT"}},
	}
	checked, free, ran, doubted := 0, 0, 0, 0
	for seed := range uint64(queries) {
		g := &generator{rand: rand.New(rand.NewPCG(seed, 7))}
		text := g.query(3, nil, 1+g.rand.IntN(3), true)
		a, err := Analyze(text, testContext, cat)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		s := a.Statements[0]
		if len(s.Unknown) > 0 || !s.OutputsKnown {
			doubted++ // an alias hid what was meant
			continue
		}
		if carriesEmail(s.Predicates) {
			continue
		}
		free++
		for _, pair := range dbs {
			x, err := project(pair[0], s)
			if err != nil {
				continue // SQLite refuses some of what Snowflake takes
			}
			y, err := project(pair[1], s)
			if err != nil {
				continue
			}
			ran++
			if len(x) > 0 {
				checked++
			}
			if !slices.Equal(x, y) {
				t.Errorf("%s\n  outputs %v\n  predicates %v\n  one database  %q\n  the other     %q", text, s.Outputs, s.Predicates, x, y)
				break
			}
		}
	}
	if free < queries/10 || checked < free || doubted > queries/10 {
		t.Errorf("only %d of %d queries ran, %d with rows, of %d free of predicates; %d are doubted", ran, queries, checked, free, doubted)
	}
	t.Logf("%d queries, %d doubted, %d without EMAIL in their predicates, %d runs compared, %d with rows", queries, doubted, free, ran, checked)
}

func carriesEmail(l Labels) bool {
	return l.Top || slices.ContainsFunc(l.Columns, func(c Column) bool { return c.Name == "EMAIL" })
}

// project runs a query and returns, for each row, what carries no EMAIL.
func project(db *dbsql.DB, s Statement) ([]string, error) {
	rows, err := db.Query(s.Text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		values := make([]any, len(s.Outputs))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			return nil, err
		}
		var b strings.Builder
		for i, o := range s.Outputs {
			if !carriesEmail(o.Labels) {
				fmt.Fprintf(&b, "%v|", *values[i].(*any))
			}
		}
		out = append(out, b.String())
	}
	slices.Sort(out)
	return out, rows.Err()
}

func interferenceDB(t *testing.T, rest, email uint64) *dbsql.DB {
	db, err := dbsql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	r, e := rand.New(rand.NewPCG(rest, 1)), rand.New(rand.NewPCG(email, 2))
	words := []any{"a", "b", "ab", "", nil}
	exec := func(text string, args ...any) {
		if _, err := db.Exec(text, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE c (id, name, email, city)")
	exec("CREATE TABLE o (id, customer_id, amount)")
	for i := range 6 {
		exec("INSERT INTO c VALUES (?, ?, ?, ?)", i%4, words[r.IntN(5)], words[e.IntN(5)], words[r.IntN(5)])
		exec("INSERT INTO o VALUES (?, ?, ?)", i%3, r.IntN(4), words[r.IntN(5)])
	}
	return db
}

// generator writes random queries that Snowflake and SQLite read alike.
type generator struct {
	rand *rand.Rand
	n    int
	ctes []generated
}

type generated struct {
	name string
	cols []string
}

func (g *generator) fresh(prefix string) string {
	g.n++
	return fmt.Sprintf("%s%d", prefix, g.n)
}

func pick[T any](g *generator, list ...T) T { return list[g.rand.IntN(len(list))] }

// query writes a query of n columns called x1, x2, …
func (g *generator) query(depth int, outer []generated, n int, top bool) string {
	if top && g.rand.IntN(3) == 0 {
		name := g.fresh("w")
		cols := 1 + g.rand.IntN(2)
		body := g.query(depth-1, nil, cols, false)
		g.ctes = append(g.ctes, generated{name, xs(cols)})
		return "WITH " + name + " AS (" + body + ") " + g.query(depth, outer, n, false)
	}
	text := g.selectCore(depth, outer, n)
	if g.rand.IntN(5) == 0 {
		text += " " + pick(g, "UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT") + " " + g.selectCore(depth, outer, n)
	}
	if g.rand.IntN(4) == 0 {
		text += fmt.Sprintf(" ORDER BY %d", 1+g.rand.IntN(n))
		if g.rand.IntN(2) == 0 {
			text += fmt.Sprintf(" LIMIT %d", 1+g.rand.IntN(3))
		}
	}
	return text
}

func xs(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("x%d", i+1))
	}
	return list
}

func (g *generator) selectCore(depth int, outer []generated, n int) string {
	from, scope := g.from(depth, outer)
	grouped := g.rand.IntN(4) == 0
	var items []string
	key := ""
	if grouped {
		key = g.expr(0, scope, outer)
	}
	for i := range n {
		var e string
		switch {
		case grouped && g.rand.IntN(2) == 0:
			e = key
		case grouped:
			e = pick(g, "COUNT", "MAX", "MIN") + "(" + g.expr(depth-1, scope, outer) + ")"
		case g.rand.IntN(8) == 0:
			e = pick(g, "MAX", "LAG", "FIRST_VALUE") + "(" + g.expr(0, scope, outer) + ") OVER (PARTITION BY " + g.expr(0, scope, outer) +
				" ORDER BY " + g.expr(0, scope, outer) + ")"
		default:
			e = g.expr(depth-1, scope, outer)
		}
		items = append(items, fmt.Sprintf("%s AS x%d", e, i+1))
	}
	text := "SELECT "
	if g.rand.IntN(8) == 0 {
		text += "DISTINCT "
	}
	text += strings.Join(items, ", ") + " FROM " + from
	if g.rand.IntN(3) == 0 {
		text += " WHERE " + g.cond(depth-1, scope, outer)
	}
	if grouped {
		text += " GROUP BY " + key
		if g.rand.IntN(3) == 0 {
			text += " HAVING COUNT(" + g.expr(0, scope, outer) + ") > 1"
		}
	}
	return text
}

func (g *generator) from(depth int, outer []generated) (string, []generated) {
	text, one := g.table(depth)
	scope := []generated{one}
	for range g.rand.IntN(3) {
		next, t := g.table(depth)
		if slices.ContainsFunc(scope, func(s generated) bool { return s.name == t.name }) {
			continue
		}
		scope = append(scope, t)
		switch {
		case g.rand.IntN(3) == 0:
			text += " CROSS JOIN " + next
		default:
			text += pick(g, " JOIN ", " LEFT JOIN ") + next + " ON " + g.cond(0, scope, outer)
		}
	}
	return text, scope
}

func (g *generator) table(depth int) (string, generated) {
	alias := g.fresh("t")
	if g.rand.IntN(2) == 0 { // a name that columns and tables have as well
		alias = pick(g, "id", "id", "amount", "name", "x1", "c", "o")
	}
	switch k := g.rand.IntN(6); {
	case k == 0 && depth > 0:
		n := 1 + g.rand.IntN(2)
		return "(" + g.query(depth-1, nil, n, false) + ") AS " + alias, generated{alias, xs(n)}
	case k == 1 && len(g.ctes) > 0:
		c := pick(g, g.ctes...)
		return c.name + " AS " + alias, generated{alias, c.cols}
	case k <= 3:
		return "o AS " + alias, generated{alias, []string{"id", "customer_id", "amount"}}
	}
	return "c AS " + alias, generated{alias, []string{"id", "name", "email", "city"}}
}

func (g *generator) column(scope, outer []generated) string {
	if len(outer) > 0 && g.rand.IntN(4) == 0 {
		scope = outer
	}
	t := pick(g, scope...)
	return t.name + "." + pick(g, t.cols...)
}

func (g *generator) expr(depth int, scope, outer []generated) string {
	e := func() string { return g.expr(depth-1, scope, outer) }
	k := g.rand.IntN(14)
	if depth <= 0 && k > 4 {
		k = g.rand.IntN(5)
	}
	switch k {
	case 0:
		return pick(g, "'a'", "'b'", "NULL")
	case 5:
		return "UPPER(" + e() + ")"
	case 6:
		return "LENGTH(" + e() + ")"
	case 7:
		return "COALESCE(" + e() + ", " + e() + ")"
	case 8:
		return "(" + e() + " || " + e() + ")"
	case 9:
		return "CASE WHEN " + g.cond(depth-1, scope, outer) + " THEN " + e() + " ELSE " + e() + " END"
	case 10:
		return "(SELECT MAX(q.x1) FROM (" + g.query(depth-1, nil, 1, false) + ") AS q)"
	case 11:
		return "(" + g.scalar(depth-1, scope) + ")"
	case 12:
		return "NULLIF(" + e() + ", " + e() + ")"
	case 13:
		return "EXISTS (" + g.scalar(depth-1, scope) + ")"
	}
	return g.column(scope, outer)
}

// scalar writes a correlated subquery of one column. Its aggregate is over the
// inner tables: one over the outer tables alone would belong to the outer query.
func (g *generator) scalar(depth int, outer []generated) string {
	from, scope := g.from(0, outer)
	return pick(g, "SELECT MAX(", "SELECT COUNT(", "SELECT MIN(") + g.expr(0, scope, nil) + ") FROM " + from + " WHERE " + g.cond(depth, scope, outer)
}

func (g *generator) cond(depth int, scope, outer []generated) string {
	e := func() string { return g.expr(min(depth, 1), scope, outer) }
	switch k := g.rand.IntN(8); {
	case k == 0 && depth > 0:
		return "NOT (" + g.cond(depth-1, scope, outer) + ")"
	case k == 1 && depth > 0:
		return "(" + g.cond(depth-1, scope, outer) + pick(g, " AND ", " OR ") + g.cond(depth-1, scope, outer) + ")"
	case k == 2 && depth > 0:
		return e() + " IN (" + g.query(depth-1, nil, 1, false) + ")"
	case k == 3:
		return e() + " IS NULL"
	case k == 4:
		return e() + " LIKE 'a%'"
	}
	return e() + pick(g, " = ", " < ", " <> ") + e()
}
