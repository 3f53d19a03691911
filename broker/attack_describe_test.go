package broker

import (
	"strings"
	"testing"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
)

// A dynamic pivot names its columns after values. Describing it, which nobody
// approves, must not name them to the agent.
func TestAgentReadsValuesAsTheColumnNamesOfADescribedPivot(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Policy = policy.Default() })
	r.b.analyze = sql.Analyze
	r.up.setAnswer(func(q seenQuery) (int, string) {
		col := func(name, typ string) string {
			return `{"name":"` + name + `","database":"APP","schema":"PUBLIC","table":"CUSTOMERS","nullable":true,"type":"` + typ + `","length":320,"byteLength":1280,"precision":38,"scale":0}`
		}
		head := `{"data":{"rowtype":[`
		tail := `],"rowset":[],"total":0,"returned":0,"queryId":"01c0ffee-0000-0000-0000-000000000009","finalDatabaseName":"APP","finalSchemaName":"PUBLIC","finalWarehouseName":"WH","finalRoleName":"READER","statementTypeId":4096,"queryResultFormat":"json"},"code":null,"message":null,"success":true}`
		switch {
		case strings.HasPrefix(q.SQL, "SHOW VIEWS"):
			return 200, head + col("name", "text") + "," + col("text", "text") + tail
		case strings.Contains(q.SQL, "PIVOT"):
			return 200, head + col("'ann@example.com'", "fixed") + "," + col("'bob@example.com'", "fixed") + tail
		}
		return 200, head + col("ID", "fixed") + "," + col("EMAIL", "text") + "," + col("SSN", "text") + tail
	})
	tk := r.login()
	a := r.query(tk, "", "SELECT * FROM (SELECT id, email FROM customers) PIVOT (MAX(id) FOR email IN (ANY ORDER BY email))", `"describeOnly":true`)
	t.Logf("requests filed: %d, answer %s", len(r.desk.order), a.Raw)
	if strings.Contains(a.Raw, "ann@example.com") {
		t.Error("the agent read classified values without a decision")
	}
}

// A held SHOW described: whatever Snowflake makes of the flag, its rows must
// not come through without a decision.
func TestAgentReadsAHeldShowByDescribingIt(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Policy = policy.Default() })
	r.b.analyze = sql.Analyze
	r.up.setAnswer(func(q seenQuery) (int, string) { return 200, strings.ReplaceAll(plainRow, `[["1"]]`, `[["42"]]`) })
	tk := r.login()
	a := r.query(tk, "", "SHOW USERS", `"describeOnly":true`)
	for _, q := range r.up.seen() {
		if strings.Contains(q.SQL, "SHOW USERS") {
			t.Errorf("a held SHOW went upstream without a decision")
		}
	}
	if strings.Contains(a.Raw, `"42"`) {
		t.Errorf("rows of a held statement: %s", a.Raw)
	}
}
