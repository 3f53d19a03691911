package sql

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The adversarial cases are judged by a policy as simple and as strict as can
// be, so that the facts alone decide: everything but queries and metadata is
// held, and so is every doubt.

type adversarialCase struct {
	ID, SQL, Setup, Why string
	Expect              struct {
		Verdict string
		Reads   []string
		Writes  []string
		Pred    []string
		Masked  []struct {
			Pos int
			Src []string
		}
	}
}

type testCatalog map[ObjectName]Relation

func (c testCatalog) Relation(o ObjectName) (Relation, bool) { r, ok := c[o]; return r, ok }

func objectNamed(t testing.TB, s string) ObjectName {
	t.Helper()
	p := strings.Split(s, ".")
	if len(p) != 3 {
		t.Fatalf("%q is not a full name", s)
	}
	return ObjectName{p[0], p[1], p[2]}
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(sharedSQL, name))
	if err != nil {
		t.Skipf("CORPUS ABSENT, NOTHING TESTED: %v", err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

func tableCatalog(t testing.TB, tables map[string][]string) testCatalog {
	cat := testCatalog{}
	for n, cols := range tables {
		cat[objectNamed(t, n)] = Relation{Kind: ObjectTable, Columns: cols}
	}
	return cat
}

type testVerdict struct {
	blocked   bool
	inference bool
	masked    map[int]bool // by position in the last result, from 1
	anyMasked bool         // in any result
	columns   map[int][]string
	why       string
}

// judge is the strict policy of this test.
func judge(a *Analysis, err error, secret map[string]bool) testVerdict {
	v := testVerdict{masked: map[int]bool{}, columns: map[int][]string{}}
	block := func(why string) { v.blocked, v.why = true, v.why+"; "+why }
	if err != nil {
		block(err.Error())
		return v
	}
	classed := func(l Labels) bool {
		return l.Top || slices.ContainsFunc(l.Columns, func(c Column) bool { return secret[c.String()] })
	}
	for _, s := range a.Statements {
		switch s.Category {
		case CategoryQuery, CategoryMetadata, CategorySession, CategoryTransaction:
		default:
			block("category " + s.Category.String())
		}
		if s.Category == CategoryQuery && !s.OutputsKnown {
			block("outputs not known")
		}
		for _, u := range s.Unknown {
			block(u.Text)
		}
		for _, f := range s.Functions {
			if f.Risk != FunctionPure {
				block("function " + f.Name)
			}
		}
		if len(s.Writes) > 0 {
			block("writes")
		}
		v.inference = v.inference || classed(s.Predicates)
		for _, o := range s.Outputs {
			v.anyMasked = v.anyMasked || classed(o.Labels) && !o.Counts
		}
	}
	last := a.Statements[len(a.Statements)-1]
	for i, o := range last.Outputs {
		if classed(o.Labels) && !o.Counts {
			v.masked[i+1] = true
		}
		for _, c := range o.Labels.Columns {
			v.columns[i+1] = append(v.columns[i+1], c.String())
		}
	}
	return v
}

func TestNoAdversarialCaseIsSilentlyWrong(t *testing.T) {
	var file struct {
		Tables map[string][]string
		Masked []string
	}
	readJSON(t, "adversarial_catalog.json", &file)
	secret := map[string]bool{}
	for _, m := range file.Masked {
		secret[m] = true
	}
	exact := 0
	cases := readLines[adversarialCase](t, "adversarial.jsonl")
	for _, c := range cases {
		cat := tableCatalog(t, file.Tables)
		if strings.HasPrefix(c.Setup, "CREATE VIEW v_cust AS ") {
			cat[objectNamed(t, "APP.PUBLIC.V_CUST")] = Relation{Kind: ObjectView, Columns: []string{"ID", "CONTACT"},
				ViewText: strings.TrimPrefix(c.Setup, "CREATE VIEW v_cust AS ")}
		}
		if strings.HasPrefix(c.Setup, "CREATE SECURE VIEW secure_v") {
			cat[objectNamed(t, "APP.PUBLIC.SECURE_V")] = Relation{Kind: ObjectView, Columns: []string{"X"}}
		}
		a, err := Analyze(c.SQL, testContext, cat)
		v := judge(a, err, secret)
		if wrong := leaks(c, v); wrong != "" {
			t.Errorf("%s: %s\n  %.300s\n  why the case exists: %s", c.ID, wrong, c.SQL, c.Why)
		}
		if v.blocked && !strings.Contains(c.Expect.Verdict, "block") && c.Expect.Verdict != "approve" {
			t.Logf("%s expects %s and is held: %s\n  %.200s", c.ID, c.Expect.Verdict, v.why, c.SQL)
			continue
		}
		exact++
	}
	t.Logf("%d cases, %d as expected, the others held", len(cases), exact)
}

// leaks says what a verdict lets through that the case forbids.
func leaks(c adversarialCase, v testVerdict) string {
	if v.blocked {
		return ""
	}
	want := c.Expect.Verdict
	switch {
	case want == "block" || want == "approve":
		return "expected " + want + ", but nothing holds it"
	case strings.HasPrefix(want, "inference") && !v.inference:
		return "expected a predicate on a masked column"
	case strings.HasPrefix(want, "block-or-mask"), want == "mask-all-or-block":
		if len(v.masked) == 0 {
			return "expected " + want
		}
	}
	for _, m := range c.Expect.Masked {
		if !v.masked[m.Pos] {
			return fmt.Sprintf("output %d is not masked", m.Pos)
		}
		for _, src := range m.Src {
			if !slices.Contains(v.columns[m.Pos], src) {
				return fmt.Sprintf("output %d does not carry %s", m.Pos, src)
			}
		}
	}
	if len(c.Expect.Pred) > 0 && !v.inference {
		return "expected a predicate on " + strings.Join(c.Expect.Pred, ", ")
	}
	return ""
}
