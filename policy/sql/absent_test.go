package sql

import "testing"

// A column is said to be absent only where everything it could belong to is
// known: what a relation nobody described holds is never guessed.
func TestAbsentColumns(t *testing.T) {
	catalog := testCatalog{
		{"APP", "PUBLIC", "T"}: {Kind: ObjectTable, Columns: []string{"ID", "NAME"}},
		{"APP", "PUBLIC", "V"}: {Kind: ObjectView, Columns: []string{"N"}, ViewText: "SELECT ID AS N FROM T"},
	}
	for text, want := range map[string]string{
		"select naem from t":                                             "NAEM",
		"select x.naem from t x":                                         "X.NAEM",
		"select id from t where naem = 1":                                "NAEM",
		"select \"naem\" from t":                                         `"naem"`,
		"select nn from v":                                               "NN",
		"with c as (select id from t) select naem from c":                "NAEM",
		"select id from t where exists (select 1 from v where naem = n)": "NAEM",
		// Not so:
		"select name from t":                 "",
		"select naem from nobody":            "",
		"select naem from t, nobody":         "",
		"select naem":                        "",
		"select t.naem from t join nobody n": "",
		"select id from t where exists (select 1 from nobody where naem = 1)": "",
	} {
		a, err := Analyze(text, Context{Database: "APP", Schema: "PUBLIC"}, catalog)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got := ""
		for _, u := range a.Statements[0].Unknown {
			if u.Absent != "" {
				got = u.Absent
				if at := text[u.Pos:]; len(at) == 0 {
					t.Errorf("%s: position %d", text, u.Pos)
				}
			}
		}
		if got != want {
			t.Errorf("%s: absent %q, want %q (%v)", text, got, want, a.Statements[0].Unknown)
		}
	}
}
