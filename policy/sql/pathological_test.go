package sql

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// pathological are texts made to cost time, memory or stack. Work is counted
// in steps, not in time: the test holds on any machine.
var pathological = []struct {
	name   string
	text   func() string
	refuse bool // must be an *UnsupportedError
}{
	{"1,000 parentheses", func() string { return nested("(", "1", ")", 1000) }, true},
	{"100,000 parentheses", func() string { return nested("(", "1", ")", 100_000) }, true},
	{"200 parentheses", func() string { return nested("(", "1", ")", 200) }, false},
	{"1,000,000 parentheses", func() string { return nested("(", "1", ")", 1_000_000) }, true},
	{"100 calls", func() string { return nested("UPPER(", "email", ")", 100) }, false},
	{"100,000 calls", func() string { return nested("f(", "email", ")", 100_000) }, true},
	{"100 subqueries", func() string {
		return "SELECT * FROM " + strings.Repeat("(SELECT * FROM ", 100) + "c" + strings.Repeat(")", 100)
	}, false},
	{"10,000 subqueries", func() string {
		return "SELECT * FROM " + strings.Repeat("(SELECT * FROM ", 10_000) + "c" + strings.Repeat(")", 10_000)
	}, true},
	{"10,000 CASE", func() string { return nested("CASE WHEN 1 THEN ", "1", " END", 10_000) }, true},
	{"100,000 NOT", func() string { return "SELECT " + strings.Repeat("NOT ", 100_000) + "email FROM c" }, false},
	{"50,000 minus signs", func() string { return "SELECT " + strings.Repeat("- ", 50_000) + "id FROM c" }, false},
	{"20,000 AND terms", func() string { return "SELECT 1 FROM c WHERE " + strings.Repeat("email = 'a' AND ", 20_000) + "1 = 1" }, false},
	{"10,000 concatenations", func() string { return "SELECT email" + strings.Repeat(" || name", 10_000) + " FROM c" }, false},
	{"100,000 casts", func() string { return "SELECT 1" + strings.Repeat("::int", 40_000) }, true},
	{"10,000 path steps", func() string { return "SELECT profile" + strings.Repeat("[0]", 10_000) + " FROM c" }, true},
	{"1,000 UNION ALL", func() string { return "SELECT email FROM c" + strings.Repeat(" UNION ALL SELECT name FROM c", 1000) }, false},
	{"1,000 UNION and INTERSECT", func() string {
		return "SELECT email FROM c" + strings.Repeat(" UNION SELECT name FROM c INTERSECT SELECT city FROM c", 500)
	}, false},
	{"10,000 columns", func() string { return "SELECT id" + strings.Repeat(", email", 10_000) + " FROM c" }, false},
	{"500 joins", func() string { return "SELECT 1 FROM c" + joins(500) }, false},
	{"3,000 joins and stars", func() string {
		return "SELECT " + strings.Repeat("*, ", 2000) + "1 FROM c" + joins(2000)
	}, true},
	{"100,000 in a list", func() string { return "SELECT 1 FROM c WHERE id IN (1" + strings.Repeat(", 1", 100_000) + ")" }, false},
	{"20,000 rows", func() string { return "INSERT INTO c VALUES (1, 'a')" + strings.Repeat(", (1, 'a')", 20_000) }, false},
	{"10,000 statements", func() string { return strings.Repeat("SELECT email FROM c;", 10_000) }, true},
	{"2,000 statements", func() string { return strings.Repeat("SELECT email FROM c;", 2_000) }, false},
	{"statements of a block", func() string { return "BEGIN " + strings.Repeat("SELECT email FROM c;", 2_000) + " END" }, true},
	{"100,000 variables", func() string {
		var b strings.Builder
		for i := range 100_000 {
			fmt.Fprintf(&b, "SET x%d='a';", i)
		}
		return b.String()[:maxText]
	}, true},
	{"2,000 variables", func() string {
		var b strings.Builder
		for i := range 2_000 {
			fmt.Fprintf(&b, "SET x%d = 'a';", i)
		}
		return b.String()
	}, false},
	{"qualified columns of many tables", func() string {
		return "SELECT " + strings.Repeat("o1.id, ", 30_000) + "1 FROM c" + joins(4_000)
	}, true},
	{"unknown qualifiers over many tables", func() string {
		return "SELECT " + strings.Repeat("x.id, ", 30_000) + "1 FROM c" + strings.Repeat(", c", 4_000)
	}, true},
	{"qualified stars of many tables", func() string {
		return "SELECT " + strings.Repeat("c.*, ", 30_000) + "1 FROM o" + strings.Repeat(", o", 4_000) + ", c"
	}, true},
	{"positions over many tables", func() string {
		return "SELECT " + strings.Repeat("$9999, ", 30_000) + "1 FROM c" + strings.Repeat(", c", 4_000)
	}, true},
	{"qualifiers through many scopes", func() string {
		return "SELECT " + strings.Repeat("(SELECT (", 100) + strings.Repeat("x.id + ", 20_000) + "1" + strings.Repeat(") FROM o, o, o, o, o, o, o, o, o, o)", 100) + " FROM c"
	}, true},
	{"aliases of one name", func() string {
		return "SELECT " + strings.Repeat("1 AS a, ", 30_000) + strings.Repeat("a, ", 30_000) + "1 FROM c"
	}, true},
	{"columns of one name", func() string {
		return "SELECT " + strings.Repeat("a, ", 30_000) + "1 FROM (SELECT " + strings.Repeat("1 AS a, ", 30_000) + "1)"
	}, true},
	{"many pivoted values", func() string {
		return "SELECT " + strings.Repeat("a, ", 20_000) + "1 FROM c PIVOT (MAX(id) FOR name IN ('a'" + strings.Repeat(", 'a'", 30_000) + "))"
	}, true},
	{"merged columns", func() string {
		cols := strings.Repeat("1 AS a, ", 3_000)
		return "SELECT 1 FROM (SELECT " + cols + "1) x JOIN (SELECT " + cols + "1) y USING (a" + strings.Repeat(", a", 10_000) + ")"
	}, true},
	{"stars that leave out many", func() string {
		return "SELECT " + strings.Repeat("* EXCLUDE (id, name), ", 15_000) + "1 FROM c"
	}, true},
	{"common table expressions of one name", func() string {
		return "WITH a AS (SELECT 1 x)" + strings.Repeat(", a AS (SELECT x FROM a)", 10_000) + " SELECT x FROM a"
	}, false},
	{"many parameters", func() string {
		return "SELECT " + strings.Repeat("TRANSFORM([1], x -> ", 150) + strings.Repeat("x + ", 50_000) + "1" + strings.Repeat(")", 150) + " FROM c"
	}, true},
	{"20,000 semicolons", func() string { return "SELECT 1" + strings.Repeat(";", 20_000) }, false},
	{"macros that double", func() string {
		var b strings.Builder
		b.WriteString("WITH m0 AS (email || name)")
		for i := 1; i < 60; i++ {
			fmt.Fprintf(&b, ", m%d AS (m%d || m%d)", i, i-1, i-1)
		}
		return b.String() + " SELECT m59 FROM c"
	}, true},
	{"a macro of itself", func() string { return "WITH m AS (m || 'x') SELECT m FROM c" }, true},
	{"tables that double", func() string {
		var b strings.Builder
		b.WriteString("WITH t0 AS (SELECT * FROM c)")
		for i := 1; i < 60; i++ {
			fmt.Fprintf(&b, ", t%d AS (SELECT a.*, b.* FROM t%d a, t%d b)", i, i-1, i-1)
		}
		return b.String() + " SELECT * FROM t59"
	}, true},
	{"aliases that refer forward", func() string {
		var b strings.Builder
		b.WriteString("SELECT ")
		for i := range 5000 {
			fmt.Fprintf(&b, "a%d + 1 AS a%d, ", i+1, i)
		}
		return b.String() + "1 AS a5000"
	}, true},
	{"aliases that refer back", func() string {
		var b strings.Builder
		b.WriteString("SELECT email AS a0")
		for i := range 5000 {
			fmt.Fprintf(&b, ", a%d || 'x' AS a%d", i, i+1)
		}
		return b.String() + " FROM c"
	}, false},
	{"recursion over many columns", func() string {
		var a, b, n strings.Builder
		for i := range 200 {
			fmt.Fprintf(&n, ", x%d", i)
			fmt.Fprintf(&a, ", %d", i)
			fmt.Fprintf(&b, ", x%d", (i+1)%200)
		}
		return "WITH r (e" + n.String() + ") AS (SELECT email" + a.String() + " FROM c UNION ALL SELECT x0" + b.String() + " FROM r) SELECT * FROM r"
	}, false},
	{"statements in statements", func() string {
		s := "SELECT 1"
		for range 12 {
			s = "EXECUTE IMMEDIATE '" + strings.ReplaceAll(s, "'", "''") + "'"
			if len(s) > 100_000 {
				break
			}
		}
		return s
	}, true},
	{"a pattern of star ILIKE", func() string {
		return "SELECT * ILIKE '" + strings.Repeat("%a", 200_000) + "' FROM c"
	}, false},
	{"blocks in blocks", func() string { return strings.Repeat("BEGIN ", 5000) + "NULL; " + strings.Repeat("END; ", 5000) }, false},
	{"comments", func() string { return "SELECT 1" + strings.Repeat(" /**/", 100_000) }, false},
	{"windows of windows", func() string { return "SELECT SUM(1) OVER w FROM c WINDOW w AS (v), v AS (w)" }, false},
	{"100,000 quotes", func() string { return "SELECT '" + strings.Repeat("''", 100_000) + "'" }, false},
	{"more than 1 MiB", func() string { return "SELECT '" + strings.Repeat("x", maxText) + "'" }, true},
	{"too many tokens", func() string { return "SELECT 1" + strings.Repeat(",1", maxTokens/2+8) }, true},
}

func nested(open, middle, close string, n int) string {
	return "SELECT " + strings.Repeat(open, n) + middle + strings.Repeat(close, n) + " FROM c"
}

func joins(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " JOIN o o%d ON o%d.id = c.id", i, i)
	}
	return b.String()
}

// resolveCounting is Analyze that tells how many steps the resolver took.
func resolveCounting(text string) (steps int, err error) {
	l, err := lex(text)
	if err != nil {
		return 0, err
	}
	cuts, err := split(l, 0, len(l.tokens))
	if err != nil {
		return 0, err
	}
	r := &resolver{cat: lineageCatalog(), ctx: testContext}
	for _, c := range cuts {
		s, err := parseStatement(l, c[0], c[1], false)
		if err != nil {
			return r.steps, err
		}
		if _, err := r.resolve(s); err != nil {
			return r.steps, err
		}
	}
	return r.steps, nil
}

func TestPathologicalTextsCostBoundedWork(t *testing.T) {
	for _, c := range pathological {
		t.Run(c.name, func(t *testing.T) {
			text := c.text()
			steps, err := resolveCounting(text)
			var unsupported *UnsupportedError
			if c.refuse != errors.As(err, &unsupported) {
				t.Errorf("got %v after %d steps", err, steps)
			}
			if !c.refuse && err != nil {
				t.Errorf("refused: %v", err)
			}
			if steps > 2*maxSteps {
				t.Errorf("%d steps, limit %d", steps, maxSteps)
			}
			if _, err2 := Analyze(text, testContext, lineageCatalog()); (err == nil) != (err2 == nil) {
				t.Errorf("Analyze answers %v, its parts %v", err2, err)
			}
		})
	}
}

func BenchmarkPathological(b *testing.B) {
	for _, c := range pathological {
		b.Run(strings.ReplaceAll(c.name, " ", "_"), func(b *testing.B) {
			text := c.text()
			for b.Loop() {
				_, _ = Analyze(text, testContext, lineageCatalog())
			}
		})
	}
}
