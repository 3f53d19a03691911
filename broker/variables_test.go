package broker

import (
	"strconv"
	"testing"

	"github.com/jit-access/jit/policy/sql"
)

// What a text can read besides itself is told apart by what it holds, and by
// nothing else.
func TestVariables(t *testing.T) {
	run := func(texts ...string) variables {
		t.Helper()
		var v variables
		for i, text := range texts {
			a, err := sql.Analyze(text, sql.Context{Database: "D", Schema: "S", Variables: v.literals}, nil)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			v = v.after("by-"+strconv.Itoa(i), a.Statements)
		}
		return v
	}
	for name, c := range map[string]struct {
		one, two variables
		same     bool
	}{
		"the same value again":         {run("SET a = 'x'"), run("SET a = 'y'", "SET a = 'x'"), true},
		"another value":                {run("SET a = 'x'"), run("SET a = 'y'"), false},
		"a value nobody knows":         {run("SET a = CURRENT_USER()"), run("SET b = 'x'", "SET a = CURRENT_USER()"), false},
		"nobody knows any more":        {run("SET a = 'x'"), run("SET a = 'x'", "CALL p()"), false},
		"a tag":                        {run(), run("ALTER SESSION SET QUERY_TAG = 'dbt'"), true},
		"a format":                     {run(), run("ALTER SESSION SET DATE_INPUT_FORMAT = 'DD/MM/YYYY'"), false},
		"a format behind a tag":        {run(), run("ALTER /* a QUERY_TAG */ SESSION SET DATE_INPUT_FORMAT = 'DD/MM/YYYY'"), false},
		"the last format counts":       {run("ALTER SESSION SET TIMEZONE = 'UTC'"), run("ALTER SESSION SET timezone = 'Asia/Tokyo'", "ALTER SESSION SET TIMEZONE = 'UTC'"), true},
		"a quote in a name or value":   {run(`SET a = '"},"$b":{"value":"'`), run("SET a = ''", "SET b = ''"), false},
		"more than are kept of a kind": {run(), run(many()...), false},
	} {
		first, second := string(listed(c.one)), string(listed(c.two))
		if (first == second) != c.same {
			t.Errorf("%s:\n%s\n%s", name, first, second)
		}
	}
}

func listed(v variables) []byte { return v.object().Append(nil) }

func many() []string {
	var texts []string
	for i := range trackedMost + 1 {
		texts = append(texts, "SET v"+strconv.Itoa(i)+" = 'x'")
	}
	return texts
}
