package sql

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// covers tells whether a holds all of b.
func covers(a, b Labels) bool {
	if b.Top && !a.Top {
		return false
	}
	for _, c := range b.Columns {
		if !slices.Contains(a.Columns, c) {
			return false
		}
	}
	return true
}

func joined(list []Output) (l Labels) {
	for _, o := range list {
		l.Top = l.Top || o.Labels.Top
		l.Columns = append(l.Columns, o.Labels.Columns...)
	}
	return l
}

// checkWrapped wraps a query in other queries that return the same values: no
// label and no predicate may get lost on the way.
func checkWrapped(t *testing.T, s Statement, cat Catalog) {
	t.Helper()
	if s.Kind != "SELECT" || len(s.Nested) > 0 || strings.Contains(s.Text, "//") || strings.Contains(s.Text, "--") || strings.Contains(s.Text, "$") {
		return // a line comment would swallow what is behind it; $n means another thing inside
	}
	for _, wrapping := range []struct {
		name, before, after string
		positions           bool // outputs correspond by position
	}{
		{"derived table", "SELECT * FROM (", ")", true},
		{"aliased derived table", "SELECT w.* FROM (", ") AS w", true},
		{"parentheses", "(", ")", true},
		{"common table expression", "WITH w_w AS (", ") SELECT * FROM w_w", true},
		{"union", "(", ") UNION ALL (SELECT * FROM c WHERE 1 = 0)", false},
		{"sorted and cut", "SELECT * FROM (", ") LIMIT 1", true},
		{"object of everything", "SELECT OBJECT_CONSTRUCT(*) FROM (", ")", false},
		{"function of everything", "SELECT UPPER(w.o) FROM (SELECT TO_JSON(OBJECT_CONSTRUCT(*)) AS o FROM (", ")) w", false},
		{"scalar subquery", "SELECT (SELECT HASH(*) FROM (", "))", false},
		{"exists", "SELECT EXISTS (", ")", false},
		{"lateral", "SELECT w.* FROM (SELECT 1 AS w_w) w_0, LATERAL (", ") w", false},
	} {
		a, err := Analyze(wrapping.before+s.Text+wrapping.after, testContext, cat)
		if err != nil {
			continue // a limit, or not allowed within parentheses
		}
		w := a.Statements[0]
		if w.Kind != "SELECT" {
			continue
		}
		if !covers(w.Predicates, s.Predicates) {
			t.Errorf("%s of %s: predicates %v became %v", wrapping.name, s.Text, s.Predicates, w.Predicates)
		}
		if !covers(w.Touched, s.Touched) {
			t.Errorf("%s of %s: touched %v became %v", wrapping.name, s.Text, s.Touched, w.Touched)
		}
		if !w.OutputsKnown {
			continue // everything is unknown
		}
		if !s.OutputsKnown && len(s.Unknown) > 0 && !joined(w.Outputs).Top && wrapping.name != "exists" {
			t.Errorf("%s of %s: the outputs were unknown", wrapping.name, s.Text)
		}
		if !covers(joined(w.Outputs), joined(s.Outputs)) {
			t.Errorf("%s of %s: labels %v became %v", wrapping.name, s.Text, joined(s.Outputs), joined(w.Outputs))
		}
		if !wrapping.positions {
			continue
		}
		if len(w.Outputs) != len(s.Outputs) {
			t.Errorf("%s of %s: %d outputs became %d", wrapping.name, s.Text, len(s.Outputs), len(w.Outputs))
			continue
		}
		for i := range w.Outputs {
			if !covers(w.Outputs[i].Labels, s.Outputs[i].Labels) {
				t.Errorf("%s of %s: output %d had %v and has %v", wrapping.name, s.Text, i, s.Outputs[i].Labels, w.Outputs[i].Labels)
			}
		}
	}
}

func TestWrappingNeverShrinksLabels(t *testing.T) {
	cat := benchmarkCatalog(t)
	for n, rel := range lineageCatalog() {
		cat[n] = rel
	}
	for _, name := range corpora {
		for _, c := range readLines[corpusLine](t, "corpus/"+name+".jsonl") {
			a, err := Analyze(c.SQL, testContext, cat)
			if err == nil && len(a.Statements) == 1 {
				checkWrapped(t, a.Statements[0], cat)
			}
		}
	}
}

// Comments and blanks between tokens change nothing, wherever they stand.
func TestBlanksAndCommentsChangeNothing(t *testing.T) {
	cat := lineageCatalog()
	texts := slices.Clone(attacks)
	for _, name := range corpora {
		for _, c := range readLines[corpusLine](t, "corpus/"+name+".jsonl") {
			texts = append(texts, c.SQL)
		}
	}
	compared := 0
	for i, text := range texts {
		a, err := Analyze(text, testContext, cat)
		if err != nil {
			continue
		}
		l, err := lex(text)
		if err != nil {
			t.Fatal(err)
		}
		gap := []string{" ", "\n", " /* ; ' */ ", " -- x '\n", "\t// \"\r\n", "  "}
		var b strings.Builder
		for j, tok := range l.tokens {
			if j > 0 && !(isWordText(text, l.tokens[j-1], "X") && tok.kind == tokenString) {
				b.WriteString(gap[(i+j)%len(gap)])
			}
			b.WriteString(text[tok.pos:tok.end])
		}
		spaced, err := Analyze(b.String(), testContext, cat)
		if err != nil {
			t.Errorf("%q is accepted, and with blanks it is not: %v", text, err)
			continue
		}
		compared++
		if x, y := withoutTexts(a.Statements), withoutTexts(spaced.Statements); !reflect.DeepEqual(x, y) {
			t.Errorf("%q has other facts with blanks:\n%+v\n%+v", text, x, y)
		}
	}
	if compared < len(texts)/2 {
		t.Errorf("only %d of %d texts compared", compared, len(texts))
	}
}

func withoutTexts(list []Statement) []Statement {
	out := sameFacts(list)
	for i := range out {
		out[i].Text = ""
		out[i].Nested = withoutTexts(out[i].Nested)
	}
	return out
}

// The case of words outside quotes changes nothing.
func TestCaseOfWordsChangesNothing(t *testing.T) {
	cat := lineageCatalog()
	for _, text := range attacks {
		a, err := Analyze(text, testContext, cat)
		if err != nil {
			continue
		}
		l, err := lex(text)
		if err != nil {
			t.Fatal(err)
		}
		swapped := []byte(text)
		for _, tok := range l.tokens {
			if tok.kind != tokenWord && (tok.kind != tokenVariable) {
				continue
			}
			for i := tok.pos; i < tok.end; i++ {
				if c := swapped[i]; isWordStart(c) && c != '_' {
					swapped[i] ^= 'a' - 'A'
				}
			}
		}
		b, err := Analyze(string(swapped), testContext, cat)
		if err != nil {
			t.Errorf("%s: %v", swapped, err)
			continue
		}
		if x, y := withoutTexts(a.Statements), withoutTexts(b.Statements); !reflect.DeepEqual(x, y) {
			t.Errorf("%s has other facts than %s:\n%+v\n%+v", swapped, text, y, x)
		}
	}
}
