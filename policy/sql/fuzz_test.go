package sql

import (
	"errors"
	"testing"
)

var fuzzSeeds = []string{
	"SELECT email FROM c WHERE id = 1 -- x",
	"WITH RECURSIVE r(a) AS (SELECT id FROM c UNION ALL SELECT a FROM r) SELECT * EXCLUDE a RENAME (b AS d) FROM r",
	"SELECT c.email:a.b[0]::string, $1, t.$2, {*}, [1, **x], f(x -> x:y) OVER (PARTITION BY 1) FROM c, LATERAL FLATTEN(INPUT => profile) f",
	"BEGIN LET x := 1; FOR r IN c DO INSERT INTO o SELECT 1; END FOR; EXCEPTION WHEN OTHER THEN RAISE; END",
	"EXECUTE IMMEDIATE $$BEGIN EXECUTE IMMEDIATE 'SELECT 1'; END$$",
	"MERGE INTO o USING c ON o.id = c.id WHEN MATCHED THEN UPDATE SET ts = email WHEN NOT MATCHED THEN INSERT VALUES (1)",
	"SELECT * FROM c PIVOT (MAX(id) FOR city IN ('a')) p UNPIVOT (v FOR n IN (x)) MATCH_RECOGNIZE (PATTERN (^ a+ $) DEFINE a AS 1)",
	"COPY INTO 's3://x/' FROM (SELECT * FROM c) STORAGE_INTEGRATION = i; PUT file:///x @~; GET @~ file:///y",
	"SHOW TABLES ->> SELECT \"name\" FROM $1; USE d.s; SET (a, b) = (1, $$x$$); CREATE TABLE t AS SELECT 1",
	"SELECT ((((1)))), 'a''b\\'c', \"d\"\"e\", 1.5e3 /* x */ // y\n, z",
	"SELECT * FROM v JOIN vv USING (x) NATURAL JOIN secure AT (OFFSET => -1)",
	"CREATE PROCEDURE p() RETURNS INT LANGUAGE SQL AS BEGIN RETURN CASE WHEN 1 = 1 THEN 1 END; END; DROP TABLE c",
}

func addSeeds(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s)
	}
}

// The tokens and comments of a text cover it in order, without overlap.
func FuzzLex(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := lex(text)
		if err != nil {
			return
		}
		at, c := 0, 0
		blank := func(s string) {
			for i := 0; i < len(s); i++ {
				if s[i] != ' ' && s[i] != '\t' && s[i] != '\n' && s[i] != '\r' {
					t.Fatalf("%q: %q is lost", text, s)
				}
			}
		}
		step := func(pos, end int) {
			if pos < at || end <= pos || end > len(text) {
				t.Fatalf("%q: token at [%d, %d) behind %d", text, pos, end, at)
			}
			blank(text[at:pos])
			at = end
		}
		for i, tok := range l.tokens {
			for c < len(l.comments) && int(l.comments[c].before) <= i {
				step(int(l.comments[c].pos), int(l.comments[c].end))
				c++
			}
			step(int(tok.pos), int(tok.end))
		}
		for ; c < len(l.comments); c++ {
			step(int(l.comments[c].pos), int(l.comments[c].end))
		}
		blank(text[at:])
	})
}

// The parser never panics, and the nodes it makes lie within the text.
func FuzzParse(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := lex(text)
		if err != nil {
			return
		}
		cuts, err := split(l, 0, len(l.tokens))
		if err != nil {
			return
		}
		for _, c := range cuts {
			s, err := parseStatement(l, c[0], c[1], false)
			if err != nil {
				var syntax *SyntaxError
				var unsupported *UnsupportedError
				if errors.As(err, &syntax) && (syntax.Pos < 0 || syntax.Pos > len(text)) ||
					errors.As(err, &unsupported) && (unsupported.Pos < 0 || unsupported.Pos > len(text)) {
					t.Fatalf("%q: %v", text, err)
				}
				continue
			}
			walk(s, func(n node) bool {
				if n.Pos() < 0 || n.End() > len(text) || n.Pos() > n.End() {
					t.Fatalf("%q: %T at [%d, %d)", text, n, n.Pos(), n.End())
				}
				return true
			})
		}
	})
}

// Labels never shrink when a query is wrapped in another one, and what is
// unknown carries a reason.
func FuzzResolve(f *testing.F) {
	addSeeds(f)
	cat := lineageCatalog()
	f.Fuzz(func(t *testing.T, text string) {
		a, err := analyze(text, testContext, cat)
		if err != nil {
			return
		}
		for _, s := range a.Statements {
			if s.Kind == "" || s.Category == CategoryUnknown && len(s.Unknown) == 0 {
				t.Fatalf("%q: %+v", text, s)
			}
			for _, o := range s.Outputs {
				if o.Labels.Top && (len(s.Unknown) == 0 || o.Direct) {
					t.Fatalf("%q: unknown without a reason: %+v", text, s)
				}
			}
		}
		if len(a.Statements) == 1 {
			checkWrapped(t, a.Statements[0], cat)
		}
	})
}

type faultyCatalog struct{}

func (faultyCatalog) Relation(ObjectName) (Relation, bool) { panic("a bug") }

func TestAFaultRefusesTheText(t *testing.T) {
	a, err := Analyze("SELECT 1 FROM t", testContext, faultyCatalog{})
	var unsupported *UnsupportedError
	if a != nil || !errors.As(err, &unsupported) || unsupported.Msg != internalFault {
		t.Errorf("got %v, %v", a, err)
	}
}

// The canonical text has the facts of the text.
func FuzzCanonical(f *testing.F) {
	addSeeds(f)
	cat := lineageCatalog()
	f.Fuzz(func(t *testing.T, text string) { checkCanonical(t, text, cat) })
}
