package broker

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
)

// A dynamic pivot in Arrow: the columns are named after values in the column list,
// which is written anew, and once more in the schema of the stream.
func TestAttackReadValuesAsTheColumnNamesOfAnArrowPivot(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Policy = policy.Default() })
	r.b.analyze = sql.Analyze
	col := func(name, typ string) string {
		return `{"name":"` + name + `","database":"APP","schema":"PUBLIC","table":"CUSTOMERS","nullable":true,"type":"` + typ + `","length":320,"byteLength":1280,"precision":38,"scale":0}`
	}
	raw, err := base64.StdEncoding.DecodeString(arrowResult(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ID", "EMAIL", "SSN"} { // flatbuffers: names of one length take another's place
		raw = []byte(strings.Replace(string(raw), name+"\x00", strings.Repeat("'", len(name))+"\x00", 1))
	}
	encoded := base64.StdEncoding.EncodeToString(raw)
	r.up.setAnswer(func(q seenQuery) (int, string) {
		head, tail := `{"data":{"rowtype":[`, `"total":0,"returned":0,"queryId":"01c0ffee-0000-0000-0000-000000000009","finalDatabaseName":"APP","finalSchemaName":"PUBLIC","finalWarehouseName":"WH","finalRoleName":"READER","statementTypeId":4096,"queryResultFormat":"json"},"code":null,"message":null,"success":true}`
		switch {
		case strings.HasPrefix(q.SQL, "SHOW VIEWS"):
			return 200, head + col("name", "text") + "," + col("text", "text") + `],"rowset":[],` + tail
		case strings.Contains(q.SQL, "PIVOT"):
			return 200, head + col("''", "fixed") + "," + col("'''''", "text") + "," + col("'''", "fixed") + `],"rowsetBase64":"` + encoded + `",` +
				strings.Replace(strings.Replace(tail, `"json"`, `"arrow"`, 1), `"total":0,"returned":0`, `"total":2,"returned":2`, 1)
		}
		return 200, head + col("ID", "fixed") + "," + col("EMAIL", "text") + "," + col("SSN", "text") + `],"rowset":[],` + tail
	})
	tk := r.login()
	done := make(chan answer, 1)
	go func() {
		done <- r.query(tk, "", "SELECT * FROM (SELECT id, email FROM customers) PIVOT (MAX(id) FOR email IN (ANY ORDER BY email))")
	}()
	r.decide(<-r.desk.filed, session.OutcomeApprove)
	a := <-done
	if !a.Success {
		t.Fatalf("got %s", a.Raw)
	}
	out, err := base64.StdEncoding.DecodeString(a.data(t)["rowsetBase64"].(string))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "COLUMN2") || strings.Contains(string(out), "''") {
		t.Errorf("the stream names its columns as Snowflake did: %q", out[:min(len(out), 600)])
	}
}
