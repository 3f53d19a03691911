package broker

import (
	"strings"
	"testing"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
)

// TestGrantPlace: the grant's role and warehouse are limits, in every way a
// login, a statement or the SQL API can name another; its database and schema
// are where work starts. The rules here allow all of it: the limit is the
// broker's own.
func TestGrantPlace(t *testing.T) {
	setup := func(t *testing.T) (*rig, tokens) {
		r := newRig(t, func(c *Config) { c.Policy = anything{} })
		r.b.analyze = sql.Analyze
		return r, r.login()
	}
	t.Run("statements", func(t *testing.T) {
		r, tk := setup(t)
		count := `"parameters":{"MULTI_STATEMENT_COUNT":0}`
		for _, text := range []string{"USE WAREHOUSE BIG", "use warehouse big", `USE WAREHOUSE "wh"`, "USE ROLE ACCOUNTADMIN", "USE SECONDARY ROLES ALL",
			"select 1; USE WAREHOUSE BIG; select 2; USE WAREHOUSE WH", "EXECUTE IMMEDIATE 'USE WAREHOUSE BIG'", "BEGIN USE ROLE ACCOUNTADMIN; END",
			"USE /* x */ WAREHOUSE /* y */ BIG"} {
			wantRefusal(t, r.query(tk, "", text, count), "003001", "JIT-2011")
		}
		if q := r.up.seen(); len(q) != 0 {
			t.Fatalf("forwarded %v", q)
		}
		for _, text := range []string{"USE WAREHOUSE WH", "use role reader", "USE SECONDARY ROLES NONE", "USE DATABASE OTHER", "USE SCHEMA OTHER.PUBLIC"} {
			if a := r.query(tk, "", text); !a.Success {
				t.Errorf("%s: %s", text, a.Raw)
			}
		}
	})
	t.Run("logins", func(t *testing.T) {
		r, _ := setup(t)
		for query, ok := range map[string]bool{"&warehouse=BIG": false, "&roleName=ACCOUNTADMIN": false, "&warehouse=wh&roleName=reader": true,
			"&databaseName=OTHER&schemaName=S": true} {
			if a := r.loginWith(r.patFields(), query); a.Success != ok || !ok && !strings.HasPrefix(*a.Message, "JIT-1005") {
				t.Errorf("%s: %s", query, a.Raw)
			}
		}
	})
	t.Run("a warehouse that came unasked", func(t *testing.T) { // CREATE WAREHOUSE switches to it
		r, tk := setup(t)
		moved := strings.ReplaceAll(plainRow, `"finalWarehouseName":"WH"`, `"finalWarehouseName":"BIG"`)
		r.up.setAnswer(func(seenQuery) (int, string) { return 200, moved })
		if a := r.query(tk, "", "CREATE WAREHOUSE BIG"); !a.Success {
			t.Fatalf("got %s", a.Raw)
		}
		wantRefusal(t, r.query(tk, "", "select 1"), "003001", "JIT-2011")
		r.up.setAnswer(func(seenQuery) (int, string) { return 200, plainRow })
		if a := r.query(tk, "", "USE WAREHOUSE WH"); !a.Success {
			t.Fatalf("no way back: %s", a.Raw)
		}
		if a := r.query(tk, "", "select 1"); !a.Success {
			t.Errorf("got %s", a.Raw)
		}
	})
	t.Run("no warehouse in the grant", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Policy, c.Session.Scope.Warehouse, c.Session.Scope.Role = anything{}, "", "" })
		r.b.analyze = sql.Analyze
		tk := r.login()
		if a := r.query(tk, "", "USE WAREHOUSE BIG"); !a.Success {
			t.Errorf("got %s", a.Raw)
		}
		wantRefusal(t, r.query(tk, "", "USE ROLE ACCOUNTADMIN"), "003001", "JIT-2011") // the session's own role is the limit
	})
}

// anything allows all, and masks nothing.
type anything struct{ firstWord }

func (anything) Statement(in policy.Input) policy.Ruling {
	r := policy.Ruling{Verdict: policy.Allow, Rule: "anything"}
	for _, s := range in.Statements {
		r.Masks, r.Rest = append(r.Masks, make([]policy.ColumnMask, len(s.Outputs))), append(r.Rest, policy.ColumnMask{})
	}
	return r
}
