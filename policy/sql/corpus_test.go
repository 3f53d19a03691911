package sql

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sharedSQL is where the corpora lie, relative to this package: they belong to
// others and are never part of the project.
const sharedSQL = "../../../shared/sql"

type corpusLine struct {
	Source   string
	ID       string
	SQL      string
	Kind     string
	Fragment bool
}

func readLines[T any](t testing.TB, name string) []T {
	t.Helper()
	f, err := os.Open(filepath.Join(sharedSQL, name))
	if err != nil {
		t.Skipf("CORPUS ABSENT, NOTHING TESTED: %v", err)
	}
	defer f.Close()
	var list []T
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 4<<20)
	for sc.Scan() {
		var v T
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		list = append(list, v)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

var corpora = []string{"antlr_examples", "dbt", "omni_official", "sqlfluff", "sqlglot", "sqlglot_cross", "sqlparser_rs",
	"tpcds", "tpch", "wild_aiready", "wild_cheats", "wild_coco", "wild_toolbox"}

var testContext = Context{Database: "APP", Schema: "PUBLIC"}

func isQueryOrDML(kind string) bool {
	switch kind {
	case "SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE":
		return true
	}
	return false
}

// notSnowflake are the texts of the corpora taken for queries or DML that no
// rule here accepts, and why. The list is checked both ways: a text that is
// accepted must leave it.
var notSnowflake = map[string]string{
	"SELECT a LIKE ANY FUN('foo')":                                                       "LIKE ANY takes a list",
	"SELECT a ILIKE ANY FUN('foo')":                                                      "ILIKE ANY takes a list",
	"SELECT REGEXP_SUBSTR(subject, pattern, pos, occ, params, group)":                    "GROUP is reserved",
	"SELECT REGEXP_SUBSTR(subject, pattern, 1, 1, 'c', group)":                           "GROUP is reserved",
	"SELECT REGEXP_SUBSTR_ALL(subject, pattern, pos, occ, param, group)":                 "GROUP is reserved",
	"SELECT ROUND(SCALE => 1, EXPR => 2.25, , ROUNDING_MODE => 'HALF_TO_EVEN') AS value": "two commas in a row",
	"SELECT * FROM x ASOF JOIN y OFFSET MATCH_CONDITION (x.a > y.a)":                     "a keyword as an alias without AS",
	"SELECT * FROM x ASOF JOIN y LIMIT MATCH_CONDITION (x.a > y.a)":                      "a keyword as an alias without AS",
	"SELECT STAR(tbl, exclude := [foo])":                                                 "the notation of another dialect",
	"SELECT 1 /* /* */":                                                                  "ambiguous comment",
	"INSERT OVERWRITE TABLE t SELECT 1":                                                  "the notation of another dialect",
	"WITH t (SELECT 1 AS c) SELECT c FROM t":                                             "AS is missing",
	"SELECT * FROM t, UNNEST(x) WITH ORDINALITY":                                         "the notation of another dialect",
	"SELECT a FROM test unpivot":                                                         "a keyword as an alias without AS",
	"SELECT FLOOR(__time TO WEEK)":                                                       "the notation of another dialect",
	"SELECT 1, EXCEPT":                                                                   "a reserved word as a column",
	"SELECT * FROM tbl UNPIVOT":                                                          "a keyword as an alias without AS",
	"SELECT * FROM tbl, LIMIT":                                                           "a keyword as a table",
}

// notUnderstood are texts that Snowflake does take and this package refuses.
var notUnderstood = map[string]string{
	"sqlfluff/semi_structured_4.sql#0":                                                 "a string behind a path, of unclear meaning",
	"wild_coco/skills/semantic-view-patterns/snippets/inline_sv/README.md#1.0":         "a semantic view in WITH",
	"wild_coco/skills/semantic-view-patterns/snippets/inline_sv/semantic_view.sql#0.4": "a semantic view in WITH",
	"wild_coco/skills/semantic-view-patterns/snippets/inline_sv/semantic_view.sql#0.5": "a semantic view in WITH",
}

func TestQueriesOfTheCorporaAreAccepted(t *testing.T) {
	for _, name := range corpora {
		t.Run(name, func(t *testing.T) {
			accepted, total := 0, 0
			for _, c := range readLines[corpusLine](t, "corpus/"+name+".jsonl") {
				if c.Fragment || !isQueryOrDML(c.Kind) {
					continue
				}
				_, err := Analyze(c.SQL, testContext, nil)
				id := name + "/" + c.ID
				foreign, listed := notSnowflake[c.SQL]
				reason, known := notUnderstood[id]
				switch {
				case err == nil && (listed || known):
					t.Errorf("%s is accepted; take it off the list (%s%s)", id, foreign, reason)
				case err != nil && !listed && !known:
					t.Errorf("%s: %v\n  %.300s", id, err, c.SQL)
				}
				if listed {
					continue
				}
				total++
				if err == nil {
					accepted++
				}
			}
			if share := float64(accepted) / float64(total); share < 0.98 || total == 0 || strings.HasPrefix(name, "tpc") && share < 1 {
				t.Errorf("%d of %d accepted", accepted, total)
			} else {
				t.Logf("%d of %d accepted", accepted, total)
			}
		})
	}
}

// refusedAsText are the statements of the corpora that are not even cut into
// statements: client commands, fragments and characters nobody agrees on.
func refusedAsText(sql string) bool {
	for _, sign := range []string{"!", ", ", "DECLARE ", "CURRENT_ROLE()             \u2192"} {
		if strings.HasPrefix(sql, sign) {
			return true
		}
	}
	return strings.ContainsAny(sql, "`#") || strings.Contains(sql, "\n    ...\n")
}

func TestEveryStatementOfTheCorporaHasAKind(t *testing.T) {
	for _, name := range corpora {
		t.Run(name, func(t *testing.T) {
			unknown := 0
			for _, c := range readLines[corpusLine](t, "corpus/"+name+".jsonl") {
				if c.Fragment || isQueryOrDML(c.Kind) {
					continue
				}
				a, err := Analyze(c.SQL, testContext, nil)
				if err != nil {
					if !refusedAsText(c.SQL) {
						t.Errorf("%s (%s): %v\n  %.200s", c.ID, c.Kind, err, c.SQL)
					}
					continue
				}
				for _, s := range a.Statements {
					if s.Kind == "" {
						t.Errorf("%s: no kind", c.ID)
					}
					if s.Category == CategoryUnknown && len(s.Unknown) == 0 {
						t.Errorf("%s: unknown without a reason", c.ID)
					}
					if s.Kind == KindUnknown {
						unknown++
						if s.Category != CategoryUnknown {
							t.Errorf("%s: an unknown kind has category %s", c.ID, s.Category)
						}
					}
				}
			}
			t.Logf("%d statements of unknown kind", unknown)
		})
	}
}

// Of the statements that another parser rejects most are refused here too; the
// others are of other dialects' making, or commands of which only the target
// is read.
func TestStatementsThatAreWrongAreMostlyRefused(t *testing.T) {
	const atLeast = 139 // of 213
	refused := 0
	for _, c := range readLines[corpusLine](t, "corpus/sqlparser_rs_neg.jsonl") {
		a, err := Analyze(c.SQL, testContext, nil)
		if err != nil || slices.ContainsFunc(a.Statements, func(s Statement) bool { return s.Category == CategoryUnknown }) {
			refused++
		}
	}
	if refused < atLeast {
		t.Errorf("only %d are refused", refused)
	}
}
