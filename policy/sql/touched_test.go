package sql

import (
	"strings"
	"testing"
)

// What a value is computed from can be quoted by the error of the computation,
// even where nothing else of the value remains.
func TestTouchedNamesWhatOnlyAnErrorWouldTell(t *testing.T) {
	for _, text := range []string{
		`SELECT id FROM (SELECT id, MAX(TO_NUMBER(email)) x FROM c GROUP BY id)`,
		`SELECT COUNT(*) FROM (SELECT TO_NUMBER(email) x FROM c)`,
		`SELECT * EXCLUDE x FROM (SELECT id, TO_NUMBER(email) x FROM c)`,
		`SELECT id FROM (SELECT id, email FROM c UNION ALL SELECT 1, 2)`,
		`SELECT COUNT(*) FROM (SELECT * EXCLUDE id FROM c UNION ALL SELECT 1, 2, 3, 4)`,
		`SELECT COUNT(*) FROM (SELECT $3 FROM c UNION ALL SELECT 2)`,
		`SELECT COUNT(*) FROM (SELECT c.$3 FROM c UNION ALL SELECT 2)`,
		`SELECT COUNT(*) FROM v`,
		`SELECT COUNT(*) FROM (SELECT contact::NUMBER FROM v)`,
		`SELECT 1 FROM c MATCH_RECOGNIZE (ORDER BY id MEASURES TO_NUMBER(a.email) AS m PATTERN (a) DEFINE a AS 1 = 1)`,
		`WITH RECURSIVE r AS (SELECT id, TO_NUMBER(email) n FROM c UNION ALL SELECT id + 1, n FROM r WHERE id < 3) SELECT COUNT(*) FROM r`,
		`WITH x AS (SELECT TO_NUMBER(email) n FROM c) SELECT 1`,
		`SELECT o.id FROM o, LATERAL (SELECT TO_NUMBER(email) n FROM c)`,
		`SELECT EXISTS (SELECT TO_NUMBER(email) FROM c)`,
		`SELECT COUNT(*) FROM (SELECT SUM(TO_NUMBER(email)) OVER (w) s FROM c WINDOW w AS (PARTITION BY id))`,
		`SELECT COUNT(*) FROM (SELECT TO_NUMBER(email) AS n, n + 1 AS m FROM c)`,
		`SELECT 1 ->> SELECT id FROM (SELECT id, TO_NUMBER(email) FROM c)`,
		`EXECUTE IMMEDIATE 'SELECT COUNT(*) FROM (SELECT TO_NUMBER(email) FROM c)'`,
		`BEGIN SELECT COUNT(*) FROM (SELECT TO_NUMBER(email) FROM c); END`,
		`CREATE TABLE t AS SELECT COUNT(*) n FROM (SELECT TO_NUMBER(email) FROM c)`,
		`INSERT INTO o (id) SELECT COUNT(*) FROM (SELECT TO_NUMBER(email) FROM c)`,
	} {
		a, err := Analyze(text, testContext, lineageCatalog())
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if s := a.Statements[0]; !strings.Contains(short(s.Touched), "c.email") {
			t.Errorf("%s touches %s", text, short(s.Touched))
		}
	}
	for _, text := range []string{
		`SELECT COUNT(*) FROM c`, `SELECT id FROM c`, `SELECT * FROM o`, `SELECT COUNT(*) FROM (SELECT id FROM c)`,
		`WITH m AS (id + 1) SELECT m FROM c`, `WITH m AS (nothing + 1) SELECT id FROM c`,
	} {
		a, err := Analyze(text, testContext, lineageCatalog())
		if err != nil {
			continue // macros need not be taken in every form
		}
		if l := a.Statements[0].Touched; l.Top || strings.Contains(short(l), "email") {
			t.Errorf("%s touches %s", text, short(l))
		}
	}
}

func TestTouchedIncludesAllOtherLabels(t *testing.T) {
	cat := benchmarkCatalog(t)
	for n, rel := range lineageCatalog() {
		cat[n] = rel
	}
	texts := append(append([]string(nil), attacks...), ordinary...)
	for _, name := range corpora {
		for _, c := range readLines[corpusLine](t, "corpus/"+name+".jsonl") {
			texts = append(texts, c.SQL)
		}
	}
	for _, text := range texts {
		a, err := Analyze(text, testContext, cat)
		if err != nil {
			continue
		}
		for _, s := range a.Statements {
			checkTouched(t, text, s)
		}
	}
}

func checkTouched(t *testing.T, text string, s Statement) {
	t.Helper()
	for _, l := range []Labels{joined(s.Outputs), s.Predicates, s.Stored} {
		if !covers(s.Touched, l) {
			t.Errorf("%s: touches %v, and yet carries %v", text, s.Touched, l)
		}
	}
	for _, n := range s.Nested {
		checkTouched(t, text, n)
		if s.Kind != "EXPLAIN" && !covers(s.Touched, n.Touched) {
			t.Errorf("%s: %v touches %v and what is inside it %v", text, s.Kind, s.Touched, n.Touched)
		}
	}
}
