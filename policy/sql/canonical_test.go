package sql

import (
	"reflect"
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT 1":                                               "SELECT 1",
		"  SELECT\t1 ,\r\n    2  \n\nFROM t ; ":                  "  SELECT 1 ,\n    2\n\nFROM t",
		"SELECT a.b::int||'x  y' FROM t":                         "SELECT a.b::int||'x  y' FROM t",
		";;; ;SELECT 1;;SELECT 2;;":                              "     SELECT 1; SELECT 2",
		"/* dbt: model */ SELECT 1 -- tail":                      "/* dbt: model */ SELECT 1 -- tail",
		"SELECT 1 -- a  \n, 2 // b":                              "SELECT 1 -- a  \n, 2 // b",
		"SELECT 1; -- tail":                                      "SELECT 1  -- tail",
		"SELECT *;/* c */":                                       "SELECT * /* c */",
		"SELECT 1" + strings.Repeat(" ", 500) + ", email FROM c": "SELECT 1" + strings.Repeat(" ", maxBlanks) + ", email FROM c",
		"SELECT 'a\r\nb'":                                        "SELECT 'a\r\nb'",
		"SELECT 1 /* a */ /* b */ , 2":                           "SELECT 1 /* a */ /* b */ , 2",
	} {
		a, err := Analyze(text, testContext, nil)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if a.Canonical != want {
			t.Errorf("%q\n  becomes %q\n  want    %q", text, a.Canonical, want)
		}
	}
}

func TestStatementTextsAreCanonical(t *testing.T) {
	a, err := Analyze("/* lead */ SELECT 1 /* in */ , 2 /* tail */ ; \n-- next\nSELECT\t3;", testContext, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"SELECT 1 /* in */ , 2", "SELECT 3"} {
		if got := a.Statements[i].Text; got != want {
			t.Errorf("statement %d is %q, want %q", i, got, want)
		}
	}
}

// A line of the canonical text is the same line of the author's text, so that
// a server's error position means the same to both.
func TestLinesStayWhereTheyAre(t *testing.T) {
	text := "\n\nSELECT 1,\r\n\r\n   email -- x\n\n  FROM c;\n\n"
	a, err := Analyze(text, testContext, nil)
	if err != nil {
		t.Fatal(err)
	}
	lineOf := func(s, word string) int { return strings.Count(s[:strings.Index(s, word)], "\n") }
	for _, word := range []string{"SELECT", "email", "FROM"} {
		if got, want := lineOf(a.Canonical, word), lineOf(text, word); got != want {
			t.Errorf("%s is in line %d, was in %d", word, got, want)
		}
	}
}

// sameFacts drops what may differ between a text and its canonical form.
func sameFacts(list []Statement) []Statement {
	out := append([]Statement(nil), list...)
	for i := range out {
		out[i].Pos, out[i].End = 0, 0
		unknown := append([]Reason(nil), out[i].Unknown...)
		for j := range unknown {
			unknown[j].Pos = 0
		}
		out[i].Unknown = unknown
		out[i].Nested = sameFacts(out[i].Nested)
	}
	return out
}

// checkCanonical holds invariant 3: the canonical text has the facts of the
// text, and is its own canonical text.
func checkCanonical(t *testing.T, text string, cat Catalog) {
	t.Helper()
	a, err := analyze(text, testContext, cat)
	if err != nil {
		return
	}
	b, err := analyze(a.Canonical, testContext, cat)
	if err != nil {
		t.Fatalf("%q: the canonical text %q is refused: %v", text, a.Canonical, err)
	}
	if b.Canonical != a.Canonical {
		t.Fatalf("%q: %q becomes %q", text, a.Canonical, b.Canonical)
	}
	if x, y := sameFacts(a.Statements), sameFacts(b.Statements); !reflect.DeepEqual(x, y) {
		t.Fatalf("%q: the facts of the canonical text differ:\n%+v\n%+v", text, x, y)
	}
	if n := strings.Count(a.Canonical, ";"); n > strings.Count(text, ";") {
		t.Fatalf("%q: the canonical text has more semicolons", text)
	}
	for _, s := range a.Statements {
		if s.Pos < 0 || s.End > len(text) || s.Pos >= s.End {
			t.Fatalf("%q: statement at [%d, %d)", text, s.Pos, s.End)
		}
		checkReasons(t, text, s)
	}
}

func checkReasons(t *testing.T, text string, s Statement) {
	for _, u := range s.Unknown {
		if u.Pos < 0 || u.Pos > len(text) || u.Text == "" {
			t.Fatalf("%q: reason %+v", text, u)
		}
	}
	for _, n := range s.Nested {
		checkReasons(t, text, n)
	}
}

func TestCanonicalTextsOfTheCorporaHaveTheSameFacts(t *testing.T) {
	cat := benchmarkCatalog(t)
	for _, name := range corpora {
		for _, c := range readLines[corpusLine](t, "corpus/"+name+".jsonl") {
			checkCanonical(t, c.SQL, cat)
		}
	}
}
