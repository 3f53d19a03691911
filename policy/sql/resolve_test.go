package sql

import (
	"slices"
	"strings"
	"testing"
)

// c is customers, o orders: the tests below read as a specification of which
// columns outputs and predicates depend on.
func lineageCatalog() testCatalog {
	table := func(cols string) Relation { return Relation{Kind: ObjectTable, Columns: strings.Fields(cols)} }
	view := func(text, cols string) Relation {
		return Relation{Kind: ObjectView, Columns: strings.Fields(cols), ViewText: text}
	}
	return testCatalog{
		{"APP", "PUBLIC", "C"}:       table("ID NAME EMAIL PROFILE CITY"),
		{"APP", "PUBLIC", "O"}:       table("ID CUSTOMER_ID AMOUNT TS"),
		{"APP", "PUBLIC", "ODD"}:     table("ID email Email"),
		{"APP", "OTHER", "C"}:        table("ID SAFE"),
		{"APP", "PUBLIC", "V"}:       view("SELECT id, LOWER(email) AS contact FROM c", "ID CONTACT"),
		{"APP", "PUBLIC", "VV"}:      view("SELECT contact x FROM v WHERE id > 1;", "X"),
		{"APP", "OTHER", "V"}:        view("SELECT safe FROM c", "SAFE"),
		{"APP", "PUBLIC", "SECURE"}:  view("", "X"),
		{"APP", "PUBLIC", "BROKEN"}:  view("SELEC 1", "X"),
		{"APP", "PUBLIC", "SELF"}:    view("SELECT x FROM self", "X"),
		{"APP", "PUBLIC", "GROWN"}:   view("SELECT * FROM c", "A B"),
		{"APP", "PUBLIC", "HIDDEN"}:  view("SELECT id FROM c WHERE email LIKE 'a%'", "ID"),
		{"OTHER", "PUBLIC", "THERE"}: table("X"),
	}
}

// short writes labels as c.email, with * for ⊤ first; columns of views are
// left out unless they are all there is.
func short(l Labels) string {
	var list []string
	if l.Top {
		list = append(list, "*")
	}
	for _, c := range l.Columns {
		switch c.Object.Name {
		case "V", "VV", "GROWN", "HIDDEN", "SELF", "BROKEN":
			continue
		}
		name := strings.ToLower(c.Object.Name)
		if c.Object.Schema == "OTHER" {
			name = "other." + name
		}
		list = append(list, name+"."+strings.ToLower(c.Name))
	}
	return strings.Join(list, "+")
}

func describe(s Statement) (out, pred string) {
	var list []string
	for _, o := range s.Outputs {
		list = append(list, short(o.Labels))
	}
	if !s.OutputsKnown {
		list = append(list, "?")
	}
	return strings.Join(list, ", "), short(s.Predicates)
}

func TestLineage(t *testing.T) {
	for _, c := range []struct {
		sql, out, pred string
	}{
		// values
		{"SELECT email FROM c", "c.email", ""},
		{"SELECT UPPER(email) || 'x' FROM c", "c.email", ""},
		{"SELECT 1, 'a', NULL, DATE '2026-01-01', :b, ? FROM c", ", , , , , ", ""},
		{"SELECT c.email:a.b::string, profile['x'], profile[id] FROM c", "c.email, c.profile, c.id+c.profile", ""},
		{"SELECT CASE WHEN email LIKE 'a%' THEN 1 ELSE 0 END, IFF(id > 0, name, '') FROM c", "c.email, c.id+c.name", ""},
		{"SELECT app.public.c.email, public.c.email, c.email, app..c.email FROM c", "c.email, c.email, c.email, c.email", ""},
		{"SELECT $3, c.$2 FROM c", "c.email, c.name", ""},
		{"SELECT POSITION('@' IN email), EXTRACT(year FROM ts) FROM c, o", "c.email, o.ts", ""},
		{"SELECT CURRENT_DATE, CURRENT_TIMESTAMP(), CURRENT_USER() FROM c", ", , ", ""},
		{"SELECT DATEADD(day, 1, ts), DATE_TRUNC(month, ts), DATE_TRUNC('month', ts) FROM o", "o.ts, o.ts, o.ts", ""},
		{"SELECT TRUNC(amount, d) FROM (SELECT amount, LENGTH(email) d FROM o, c)", "c.email+o.amount", ""},
		{"SELECT {fn UCASE(email)} FROM c", "c.email", ""},
		{"SELECT IDENTIFIER('email'), IDENTIFIER('c.name') FROM IDENTIFIER('c')", "c.email, c.name", ""},

		// stars
		{"SELECT * FROM c", "c.id, c.name, c.email, c.profile, c.city", ""},
		{"SELECT * EXCLUDE (id, email) FROM c", "c.name, c.profile, c.city", ""},
		{"SELECT * EXCLUDE id RENAME (email AS city2) FROM c", "c.name, c.email, c.profile, c.city", ""},
		{"SELECT * REPLACE (email AS name) FROM c", "c.id, c.email, c.email, c.profile, c.city", ""},
		{"SELECT * ILIKE '%A%' FROM c", "c.name, c.email", ""},
		{"SELECT o.*, c.id FROM c, o", "o.id, o.customer_id, o.amount, o.ts, c.id", ""},
		{"SELECT HASH(*), COUNT(*), COUNT(c.*) FROM c", "c.city+c.email+c.id+c.name+c.profile, , c.city+c.email+c.id+c.name+c.profile", ""},
		{"SELECT {*}, {c.* EXCLUDE email}, [*], OBJECT_CONSTRUCT(*) FROM (SELECT id, email FROM c) c", "c.email+c.id, c.id, c.email+c.id, c.email+c.id", ""},
		{"SELECT GREATEST(* EXCLUDE id) FROM (SELECT id, email FROM c)", "c.email", ""},

		// scopes
		{"SELECT e FROM (SELECT email e FROM c)", "c.email", ""},
		{"SELECT x.e FROM (SELECT email FROM c) x(e)", "c.email", ""},
		{"SELECT x FROM (SELECT id AS x, email AS x FROM c)", "c.email+c.id", ""},
		{"SELECT email AS a, a || '!' AS b, b FROM c", "c.email, c.email, c.email", ""},
		{"SELECT a || '!' AS b, email AS a FROM c", "c.email, c.email", ""},
		{"SELECT city AS email, email AS city FROM c", "c.city, c.email", ""},
		{"SELECT id AS email FROM c WHERE email = 'x'", "c.id", "c.email+c.id"},
		{"SELECT id FROM c WHERE EXISTS (SELECT 1 FROM o WHERE o.ts = c.email)", "c.id", "c.email+o.ts"},
		{"SELECT (SELECT MAX(email) FROM c) FROM o", "c.email", ""},
		{"SELECT EXISTS (SELECT 1 FROM c WHERE email = 'a') FROM o", "c.email", "c.email"},
		{"SELECT (SELECT COUNT(*) FROM c WHERE email = 'a')", "c.email", "c.email"},
		{"SELECT id IN (SELECT id FROM c WHERE email = 'a') FROM o", "c.email+c.id+o.id", "c.email"},
		{"SELECT (SELECT id FROM c ORDER BY email LIMIT 1)", "c.email+c.id", "c.email"},
		{"SELECT email FROM app.other.c", "*", ""},
		{"SELECT safe FROM other.c", "other.c.safe", ""},
		{"SELECT \"email\", \"Email\", email FROM odd", "odd.email, odd.email, *", ""},
		{"SELECT nothing FROM c", "*", ""},
		{"SELECT t.x FROM c AS \"t\"", "*", ""},

		// common table expressions
		{"WITH x AS (SELECT email e FROM c) SELECT e FROM x", "c.email", ""},
		{"WITH c AS (SELECT 1 AS email) SELECT email FROM c", "", ""},
		{"WITH c AS (SELECT 1 AS email) SELECT email FROM app.public.c", "c.email", ""},
		{"WITH c AS (SELECT * FROM c) SELECT email FROM c", "c.email", ""},
		{"WITH a AS (SELECT * FROM o), o AS (SELECT email id FROM c) SELECT id FROM a", "*", ""},
		{"WITH RECURSIVE r AS (SELECT id, email e FROM c UNION ALL SELECT o.id, r.e FROM o JOIN r ON o.id = r.id) SELECT e FROM r", "c.email", "c.id+o.id"},
		{"WITH r(a, b) AS (SELECT email, 1 FROM c UNION ALL SELECT b, a FROM r) SELECT a, b FROM r", "c.email, c.email", ""},
		{"WITH v AS (email || name) SELECT v FROM c", "c.email+c.name", ""},
		{"WITH x AS (SELECT 1 a FROM c WHERE email = 'x') SELECT EXISTS (SELECT 1 FROM x)", "c.email", "c.email"},

		// set operations
		{"SELECT id, email FROM c UNION ALL SELECT email, id FROM c", "c.email+c.id, c.email+c.id", ""},
		{"SELECT name, 1 email FROM c UNION ALL BY NAME SELECT 2 email, email name FROM c", "c.email+c.name, ", ""},
		{"SELECT email FROM c INTERSECT SELECT 'guess'", "c.email", "c.email"},
		{"SELECT 1 FROM c MINUS SELECT id FROM c WHERE email = 'a'", "c.id", "c.email+c.id"},
		{"SELECT id FROM c UNION SELECT 1", "c.id", "c.id"},
		{"SELECT DISTINCT email FROM c", "c.email", "c.email"},
		{"SELECT id FROM c UNION ALL SELECT 1 ORDER BY id", "c.id", "c.id"},
		{"VALUES (1, (SELECT email FROM c))", ", c.email", ""},
		{"SELECT column2 FROM VALUES (1, 'a'), (2, (SELECT email FROM c)) v", "c.email", ""},

		// joins
		{"SELECT * FROM c JOIN o USING (id)", "c.id+o.id, c.name, c.email, c.profile, c.city, o.customer_id, o.amount, o.ts", "c.id+o.id"},
		{"SELECT id FROM c JOIN o USING (id)", "c.id+o.id", "c.id+o.id"},
		{"SELECT x.id FROM c NATURAL JOIN o x", "o.id", "c.id+o.id"},
		{"SELECT o.id FROM o ASOF JOIN c MATCH_CONDITION (o.ts >= c.email)", "o.id", "c.email+o.ts"},
		{"SELECT o.id FROM o LEFT JOIN c ON c.email = 'a' AND c.id = o.id", "o.id", "c.email+c.id+o.id"},
		{"SELECT a.email FROM (c a JOIN o ON true)", "c.email", ""},
		{"SELECT x.e FROM c, LATERAL (SELECT c.email e) x", "c.email", ""},
		{"SELECT f.value, f.key FROM c, LATERAL FLATTEN(INPUT => c.profile:emails) f", "c.profile, c.profile", "c.profile"},
		{"SELECT value FROM c, TABLE(SPLIT_TO_TABLE(email, '@'))", "c.email", "c.email"},
		{"SELECT SEQ4() FROM TABLE(GENERATOR(ROWCOUNT => 10))", "", ""},

		// rows and their order
		{"SELECT id FROM c WHERE email LIKE 'a%'", "c.id", "c.email"},
		{"SELECT id FROM c ORDER BY email", "c.id", "c.email"},
		{"SELECT email, id FROM c ORDER BY 1", "c.email, c.id", "c.email"},
		{"SELECT id, email FROM c ORDER BY ALL", "c.id, c.email", "c.email+c.id"},
		{"SELECT city, COUNT(*) FROM c GROUP BY city HAVING MAX(email) > 'm'", "c.city, ", "c.city+c.email"},
		{"SELECT city, MAX(email) FROM c GROUP BY ALL", "c.city, c.email", "c.city"},
		{"SELECT COUNT(*) FROM c GROUP BY ROLLUP(email, id)", "", "c.email+c.id"},
		{"SELECT COUNT(*) FROM c GROUP BY GROUPING SETS ((email), ())", "", "c.email"},
		{"SELECT id FROM c QUALIFY ROW_NUMBER() OVER (ORDER BY email) = 1", "c.id", "c.email"},
		{"SELECT SUM(id) OVER (PARTITION BY email ORDER BY name ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM c", "c.email+c.id+c.name", "c.email+c.name"},
		{"SELECT SUM(id) OVER w FROM c WINDOW w AS (PARTITION BY email)", "c.email+c.id", "c.email"},
		{"SELECT LISTAGG(name) WITHIN GROUP (ORDER BY email) FROM c", "c.email+c.name", ""},
		{"SELECT COUNT(*) FILTER (WHERE email = 'a') FROM c", "c.email", ""},
		{"SELECT id FROM c START WITH email = 'a' CONNECT BY PRIOR id = city", "c.id", "c.city+c.email+c.id"},
		{"SELECT LEVEL, CONNECT_BY_ROOT email FROM c CONNECT BY PRIOR id = id", ", c.email", "c.id"},
		{"SELECT id FROM c LIMIT $n", "c.id", "*"},
		{"SELECT id FROM c AT (TIMESTAMP => (SELECT MAX(ts) FROM o))", "c.id", "o.ts"},

		// reshaping
		{"SELECT * FROM (SELECT id, city, email FROM c) PIVOT (MAX(email) FOR city IN ('NY', 'LA'))", "c.id, c.city+c.email, c.city+c.email", "c.city+c.id"},
		{"SELECT ny FROM (SELECT id, city, email FROM c) PIVOT (MAX(email) FOR city IN ('NY', 'LA')) p (id, ny, la)", "c.city+c.email", "c.city+c.id"},
		{"SELECT * FROM (SELECT id, name, email FROM c) UNPIVOT (v FOR n IN (name, email))", "c.id, , c.email+c.name", "c.email+c.name"},
		{"SELECT m FROM c MATCH_RECOGNIZE (PARTITION BY city ORDER BY id MEASURES LAST(x.email) AS m PATTERN (x+) DEFINE x AS x.name = 'a')", "c.city+c.email+c.id+c.name", "c.city+c.id+c.name"},

		// lambdas
		{"SELECT FILTER(profile:e, x -> x:a = email) FROM c", "c.email+c.profile", ""},
		{"SELECT REDUCE([1], name, (a, b) -> a || b) FROM c", "c.name", ""},
		{"SELECT TRANSFORM(profile, email -> email) FROM c", "c.email+c.profile", ""},

		// views
		{"SELECT contact FROM v", "c.email", ""},
		{"SELECT * FROM vv", "c.email", "c.id"},
		{"SELECT safe FROM other.v", "other.c.safe", ""},
		{"SELECT id FROM hidden", "c.id", "c.email"},
		{"SELECT EXISTS (SELECT 1 FROM hidden)", "c.email", "c.email"},
		{"SELECT * FROM secure", "*+secure.x", ""},
		{"SELECT * FROM broken", "*", ""},
		{"SELECT * FROM self", "*", ""},
		{"SELECT a FROM grown", "*+c.city+c.email+c.id+c.name+c.profile", ""},

		// what nobody knows
		{"SELECT * FROM unknown", "?", ""},
		{"SELECT x FROM unknown", "*+unknown.x", ""},
		{"SELECT my_udf(id) FROM c", "*+c.id", ""},
		{"SELECT $v", "*", ""},
		{"SELECT $1 FROM @s", "*", ""},
		{"SELECT * FROM TABLE(RESULT_SCAN('x'))", "?", "*"},
		{"SELECT * FROM IDENTIFIER($t)", "?", ""},
		{"SELECT * FROM TABLE(?)", "?", ""},
		{"SELECT * ILIKE 'e\\\\_%' FROM c", "?", ""},
		{"SELECT x FROM TABLE(all_cust())", "*", "*"},
		{"SELECT email FROM c ->> SELECT $1, email FROM $1", "c.email, c.email", ""},
		{"SHOW TABLES ->> SELECT \"name\" FROM $1", "*", ""},
	} {
		a, err := Analyze(c.sql, testContext, lineageCatalog())
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		s := a.Statements[len(a.Statements)-1]
		out, pred := describe(s)
		if out != c.out || pred != c.pred {
			t.Errorf("%s\n  outputs    %s\n  want       %s\n  predicates %s\n  want       %s", c.sql, out, c.out, pred, c.pred)
		}
		top := s.Predicates.Top || slices.ContainsFunc(s.Outputs, func(o Output) bool { return o.Labels.Top }) || !s.OutputsKnown
		if top && len(s.Unknown) == 0 {
			t.Errorf("%s: something is unknown, and no reason is given", c.sql)
		}
	}
}

func TestDirectIsOnlyAColumnPassedOn(t *testing.T) {
	for text, want := range map[string]bool{
		"SELECT email FROM c":                               true,
		"SELECT (email) AS x FROM c":                        true,
		"SELECT c.$3 FROM c":                                true,
		"SELECT x.e FROM (SELECT email e FROM c) x":         true,
		"WITH x AS (SELECT * FROM c) SELECT email FROM x":   true,
		"SELECT email FROM c UNION ALL SELECT email FROM c": true,
		"SELECT email FROM c UNION ALL SELECT name FROM c":  false,
		"SELECT email FROM c UNION ALL SELECT 'x'":          false,
		"SELECT email || '' FROM c":                         false,
		"SELECT email::string FROM c":                       false,
		"SELECT -email FROM c":                              false, "SELECT CONNECT_BY_ROOT email FROM c CONNECT BY PRIOR id = id": false,
		"SELECT email:a FROM c":                         false,
		"SELECT MAX(email) FROM c":                      false,
		"SELECT (SELECT email FROM c)":                  false,
		"SELECT contact FROM v":                         false,
		"SELECT 1":                                      false,
		"SELECT id FROM c FULL JOIN o USING (id)":       false,
		"SELECT value FROM c, LATERAL FLATTEN(profile)": false,
		"SELECT v FROM (SELECT id, email FROM c) UNPIVOT(v FOR n IN (email))": false,
	} {
		a, err := Analyze(text, testContext, lineageCatalog())
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := a.Statements[0].Outputs[0].Direct; got != want {
			t.Errorf("%s: direct is %v", text, got)
		}
	}
}

func TestCountsIsOnlyANumberOfPlainColumns(t *testing.T) {
	for text, want := range map[string]bool{
		"SELECT COUNT(email) FROM c":          true,
		"SELECT COUNT(DISTINCT email) FROM c": true,
		"SELECT HLL(email) FROM c":            true,
		"SELECT COUNT(DISTINCT e) FROM (SELECT email e FROM c UNION ALL SELECT 'guess')": false,
		"SELECT COUNT(NULLIF(email, 'guess')) FROM c":                                    false,
		"SELECT COUNT(CASE WHEN email LIKE 'a%' THEN 1 END) FROM c":                      false,
		"SELECT COUNT_IF(email = 'a') FROM c":                                            false,
		"SELECT COUNT(email) FILTER (WHERE email = 'a') FROM c":                          false,
		"SELECT COUNT(email) OVER (ORDER BY email) FROM c":                               false,
		"SELECT COUNT(email) + 0 FROM c":                                                 false,
		"SELECT COUNT(contact) FROM v":                                                   false,
		"SELECT MAX(email) FROM c":                                                       false,
	} {
		a, err := Analyze(text, testContext, lineageCatalog())
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := a.Statements[0].Outputs[0].Counts; got != want {
			t.Errorf("%s: counts is %v", text, got)
		}
	}
}

func TestMissingNamesWhatTheCatalogLacks(t *testing.T) {
	a, err := Analyze("SELECT * FROM x.y JOIN c ON true JOIN d.e.\"f\" ON true, x.y z", testContext, lineageCatalog())
	if err != nil {
		t.Fatal(err)
	}
	want := []ObjectName{{"APP", "X", "Y"}, {"D", "E", "f"}}
	if !slices.Equal(a.Missing, want) {
		t.Errorf("missing %v, want %v", a.Missing, want)
	}
	a, err = Analyze("SELECT * FROM c", Context{}, lineageCatalog())
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Missing) != 0 || len(a.Statements[0].Unknown) == 0 {
		t.Errorf("a name without a schema is looked up: %v", a.Missing)
	}
}
