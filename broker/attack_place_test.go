package broker

import (
	"strings"
	"testing"

	"github.com/jit-access/jit/policy/sql"
)

// TestAttackLeaveTheGrantSideways works in another role or warehouse than the
// grant's by ways that are not a plain USE: names held in variables, and a
// warehouse that the same request has just created and is in. The rules here
// allow everything.
func TestAttackLeaveTheGrantSideways(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Policy = anything{} })
	r.b.analyze = sql.Analyze
	tk := r.login()
	count := `"parameters":{"MULTI_STATEMENT_COUNT":0}`
	for _, text := range []string{
		"USE ROLE IDENTIFIER($R)", "use warehouse identifier($w)", "USE ROLE IDENTIFIER('ACCOUNTADMIN')",
		"BEGIN USE ROLE IDENTIFIER(:R); END", "SELECT 1 ->> USE ROLE ACCOUNTADMIN", "USE WAREHOUSE IDENTIFIER('BIG')",
		"CREATE WAREHOUSE BIG; SELECT 1", "select 1; create or replace interactive warehouse big; select 2",
		"BEGIN CREATE WAREHOUSE IF NOT EXISTS BIG; SELECT 1; END", "EXECUTE IMMEDIATE 'CREATE WAREHOUSE BIG'",
		"CREATE WAREHOUSE BIG ->> SELECT 1",
	} {
		if a := r.query(tk, "", text, count); a.Success || !strings.Contains(a.Raw, "JIT-2011") {
			t.Errorf("%s: %s", text, a.Raw)
		}
	}
	if q := r.up.seen(); len(q) != 0 {
		t.Fatalf("forwarded %v", q)
	}
	if a := r.query(tk, "", "CREATE WAREHOUSE BIG"); !a.Success { // what it moves is seen before anything else runs
		t.Errorf("CREATE WAREHOUSE alone: %s", a.Raw)
	}
}
