package sql

import (
	"errors"
	"strings"
	"testing"
)

// Texts that two readers of Snowflake SQL may cut differently are refused
// before anything looks at them.
func TestAmbiguousTextIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"nested comment":              "SELECT /* a /* b */ email /* */ FROM customers",
		"comment that may be whole":   "SELECT /*/ email /*/ FROM customers",
		"unterminated comment":        "SELECT 1 /* ; DROP TABLE customers",
		"bare CR":                     "SELECT 1\rFROM t",
		"bare CR in a line comment":   "SELECT 1 -- x\rDROP TABLE customers",
		"bare CR in a block comment":  "SELECT 1 /* x\r */",
		"bare CR in a string":         "SELECT 'a\rb'",
		"U+2028 in a comment":         "SELECT 1 -- x\u2028; DROP TABLE customers",
		"U+2029 in a string":          "SELECT 'x\u2029'",
		"U+0085 in a comment":         "SELECT 1 -- x\u0085",
		"zero width space":            "SELECT\u200b email FROM customers",
		"zero width space in a name":  "SELECT \"e\u200bmail\" FROM customers",
		"zero width joiner in string": "SELECT 'a\u200db'",
		"byte order mark":             "\ufeffSELECT 1",
		"no-break space":              "SELECT\u00a0email FROM customers",
		"bidi override":               "SELECT \u202eliame\u202c FROM customers",
		"bidi isolate in a comment":   "SELECT 1 -- \u2066x\u2069",
		"bidi mark in a string":       "SELECT 'a\u200fb'",
		"tag character":               "SELECT 'a\U000E0041'",
		"filler that draws nothing":   "SELECT 'a\u3164'",
		"soft hyphen":                 "SELECT \"a\u00adb\" FROM t",
		"NUL":                         "SELECT 'a\x00b'",
		"NUL outside":                 "SELECT 1\x00",
		"escape character":            "SELECT 'a\x1b[2Jb'",
		"vertical tab":                "SELECT\v1",
		"form feed":                   "SELECT\f1",
		"delete character":            "SELECT '\x7f'",
		"C1 control":                  "SELECT '\u0090'",
		"invalid UTF-8":               "SELECT '\xff'",
		"overlong UTF-8":              "SELECT '\xc0\xaf'",
		"number sign":                 "SELECT 1 # comment",
		"backtick":                    "SELECT `email` FROM customers",
		"backslash":                   "SELECT \\1",
		"tagged dollar quote":         "SELECT $x$email$x$",
		"unterminated string":         "SELECT 'a",
		"string ended by a backslash": `SELECT 'a\'`,
		"unterminated identifier":     `SELECT "a`,
		"empty identifier":            `SELECT "" FROM t`,
		"unterminated dollar quote":   "SELECT $$a$",
		"comment marker in a stage":   "SELECT $1 FROM @s//x",
		"line comment in a stage":     "SELECT $1 FROM @s--x",
		"comment in a stage":          "SELECT $1 FROM @s/*x*/",
		"URL in a block":              "BEGIN PUT file:///x @~; END",
		"name into a dollar quote":    "SELECT a$$ , email FROM c --$$ FROM o",
		"stage without a name":        "SELECT $1 FROM @ s",
		"letters behind a number":     "SELECT 1a",
		"hexadecimal number":          "SELECT 0x41",
		"position with letters":       "SELECT $1a FROM t",
		"parenthesis left open":       "SELECT (1",
		"parenthesis never opened":    "SELECT 1)",
		"semicolon in parentheses":    "SELECT (1; DROP TABLE customers)",
		"letter beyond ASCII":         "SELECT é FROM t",
		"look-alike letter":           "SELECT \u0435mail FROM customers",
		"full-width semicolon":        "SELECT 1\uff1b DROP TABLE t",
		"file URL in a query":         "SELECT * FROM file://x",
		"escape beyond ASCII":         "SELECT '\\é'",
		"block without END":           "DECLARE x INT; BEGIN SELECT 1;",
		"nothing":                     "",
		"only a comment":              "-- nothing",
		"only semicolons":             ";;;",
	} {
		a, err := Analyze(text, testContext, nil)
		var syntax *SyntaxError
		var unsupported *UnsupportedError
		if !errors.As(err, &syntax) && !errors.As(err, &unsupported) {
			t.Errorf("%s: %q gives %v, %v", name, text, a, err)
		}
	}
}

func TestUnambiguousTextIsCutAsSnowflakeDoes(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // tokens
	}{
		{"SELECT--x\nemail--y\nFROM t", "SELECT|email|FROM|t"},
		{"SELECT 1 // ; DROP\n, 2", "SELECT|1|,|2"},
		{"SELECT 1 /* ; ' */ + 2", "SELECT|1|+|2"},
		{`SELECT 'a''b', 'c\'d', 'e\\'`, `SELECT|'a''b'|,|'c\'d'|,|'e\\'`},
		{`SELECT "a""b; --"`, `SELECT|"a""b; --"`},
		{`SELECT $$it's a \$$, x`, `SELECT|$$it's a \$$|,|x`},
		{"SELECT 1.5e3, .5, 1., 1e+2, t.$1, $v", "SELECT|1.5e3|,|.5|,|1.|,|1e+2|,|t|.|$1|,|$v"},
		{"a::b:c=>d->e->>f||g<>h<=i>=j!=k:=l**m", "a|::|b|:|c|=>|d|->|e|->>|f||||g|<>|h|<=|i|>=|j|!=|k|:=|l|**|m"},
		{`PUT file:///tmp/a//b @~/x`, "PUT|file:///tmp/a//b|@~/x"},
		{`SELECT $1 FROM @db."My Stage"/p/0:1/f@x.csv`, `SELECT|$1|FROM|@db."My Stage"/p/0:1/f@x.csv`},
		{"SELECT 'zwölf 🙂', \"é\"", "SELECT|'zwölf 🙂'|,|\"é\""},
		{"SELECT 1\r\n-- c\r\nFROM t", "SELECT|1|FROM|t"},
	} {
		l, err := lex(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		var got []string
		for _, tok := range l.tokens {
			got = append(got, l.text[tok.pos:tok.end])
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%q is cut into %s, want %s", c.text, s, c.want)
		}
	}
}

func TestKeywordTableIsComplete(t *testing.T) {
	for k := wordNone + 1; k < keywordCount; k++ {
		if keywordNames[k] == "" || lookupKeyword(strings.ToLower(keywordNames[k])) != k {
			t.Errorf("keyword %d %q", k, keywordNames[k])
		}
	}
	for k, w := range map[keyword]string{wAlert: "ALERT", wIdentifier: "IDENTIFIER", wMinus: "MINUS", wSelect: "SELECT", wTryCast: "TRY_CAST", wZone: "ZONE"} {
		if keywordNames[k] != w {
			t.Errorf("keyword %s is called %s: the table is shifted", w, keywordNames[k])
		}
	}
}

func TestStringEscapes(t *testing.T) {
	for text, want := range map[string]string{
		`'a'`: "a", `'a''b'`: "a'b", `'a\'b'`: "a'b", `'a\\b'`: `a\b`, `'a\nb'`: "a\nb", "$$a\\n$$": `a\n`,
	} {
		if got, ok := unquoteString(text); !ok || got != want {
			t.Errorf("%s is %q, %v", text, got, ok)
		}
	}
	for _, text := range []string{`'\u0041'`, `'\x41'`, `'\101'`, `'\0'`} {
		if got, ok := unquoteString(text); ok {
			t.Errorf("%s is taken for %q", text, got)
		}
	}
}
