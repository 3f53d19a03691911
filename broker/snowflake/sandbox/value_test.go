package sandbox

import "testing"

// TestCells: the JSON encodings of the protocol, also before 1970.
func TestCells(t *testing.T) {
	ts := func(k kind, scale int) colType { return colType{kind: k, scale: scale} }
	for _, tt := range []struct {
		v    any
		typ  colType
		want string // "error" for none
	}{
		{int64(5), fixed(38, 0), "5"},
		{int64(12), fixed(12, 2), "12.00"},
		{12.3, fixed(12, 2), "12.30"},
		{"7", fixed(38, 0), "7"},
		{"x", fixed(38, 0), "error"},
		{1e39, fixed(38, 0), "error"},
		{int64(100), fixed(38, 37), "error"},
		{int64(9), fixed(38, 37), "9.0000000000000000000000000000000000000"},
		{2.5, colType{kind: kindReal}, "2.5"},
		{int64(1), colType{kind: kindBoolean}, "1"},
		{"false", colType{kind: kindBoolean}, "0"},
		{"1970-01-02", colType{kind: kindDate}, "1"},
		{"1969-12-31", colType{kind: kindDate}, "-1"},
		{"1969-12-30 23:00:00", colType{kind: kindDate}, "-2"},
		{"12:00:00.123", ts(kindTime, 9), "43200.123000000"},
		{"12:00:00", ts(kindTime, 0), "43200"},
		{"1970-01-01 00:00:01.5", ts(kindNTZ, 9), "1.500000000"},
		{"1970-01-01 00:00:01.5", ts(kindNTZ, 3), "1.500"},
		{"1969-12-31 23:59:58.5", ts(kindNTZ, 9), "-1.500000000"},
		{"1969-12-31 23:59:59.5", ts(kindNTZ, 9), "-0.500000000"},
		{"1970-01-01 00:00:00 -08:00", ts(kindTZ, 9), "28800.000000000 960"},
		{[]byte{0, 255}, colType{kind: kindBinary}, "00FF"},
		{`{"a":1}`, colType{kind: kindVariant}, `{"a":1}`},
		{int64(3), textType(), "3"},
	} {
		got, err := cell(tt.v, tt.typ)
		switch {
		case err != nil && tt.want != "error":
			t.Errorf("cell(%v, %s): %v", tt.v, tt.typ.ddl(), err)
		case err == nil && *got != tt.want:
			t.Errorf("cell(%v, %s) = %q, want %q", tt.v, tt.typ.ddl(), *got, tt.want)
		}
	}
	if got, err := cell(nil, fixed(1, 0)); got != nil || err != nil {
		t.Errorf("NULL is %v, %v", got, err)
	}
}

func TestLikeMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, s  string
		escape      rune
		like, ilike bool
	}{
		{"%", "", 0, true, true},
		{"a%", "ABC", 0, false, true},
		{"a_c", "abc", 0, true, true},
		{"a_c", "ac", 0, false, false},
		{"%b%", "abc", 0, true, true},
		{"%b", "abc", 0, false, false},
		{"", "a", 0, false, false},
		{"%%c", "abc", 0, true, true},
		{"é_", "Éa", 0, false, true},
		{"a^%", "a%", '^', true, true},
		{"a^%", "ab", '^', false, false},
		{"^_%", "_x", '^', true, true},
	} {
		if got := likeMatch(tt.pattern, tt.s, tt.escape, false); got != tt.like {
			t.Errorf("%q LIKE %q: %v", tt.s, tt.pattern, got)
		}
		if got := likeMatch(tt.pattern, tt.s, tt.escape, true); got != tt.ilike {
			t.Errorf("%q ILIKE %q: %v", tt.s, tt.pattern, got)
		}
	}
}

// FuzzTranslate: no text makes the lexer or translator panic or loop.
func FuzzTranslate(f *testing.F) {
	for _, s := range []string{"select a.b:c[0]::int, cast(x as number(1,2)) from t, (select 1) u where x = ?", "with a as (select 1) select * from a",
		"insert into t (a) values (:1)", "select 'x", "$$a$$ -- x", "((((", ")", "a..b", "select x::", "update t x set a = 1", "select ::int", "cast(", "select :", "x:a.", "from (", "select * from"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		toks, err := lex(text)
		if err != nil {
			return
		}
		cat := &catalog{databases: map[string]*database{"D": {name: "D", schemas: map[string]*schema{"S": {database: "D", name: "S",
			relations: map[string]*relation{"T": {database: "D", schema: "S", name: "T"}}}}}}}
		_, _ = translate(trimEnd(toks), cat, place{"D", "S"}, func(string) (string, bool) { return "", false })
		_, _ = split(text)
		_, _ = isWait(toks)
	})
}
