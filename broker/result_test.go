package broker

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/jit-access/jit/policy"
)

func TestMasking(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	const text = "select ID, EMAIL, SSN from customers"
	t.Run("R01 R02 Q13 only the masked cells differ", func(t *testing.T) {
		a := r.query(tk, "", text)
		want := strings.NewReplacer(`"planted-ada@example.com"`, `"‹masked:pii.email›"`, `"planted-\"grace\"\n@example.com"`, `"‹masked:pii.email›"`,
			`"987654321"`, "null", `"987654322"`, "null").Replace(customers)
		rows := func(s string) string {
			i, j := strings.Index(s, `"rowset":`), strings.Index(s, `"total"`)
			return s[i:j]
		}
		if strings.TrimRight(rows(a.Raw), ",\n") != strings.TrimRight(rows(want), ",\n") {
			t.Errorf("rows %s\nwant %s", rows(a.Raw), rows(want))
		}
		for _, kept := range []string{`"smkId":92233720368547758079`, `"unknownKey":{"kept":[1.0,1e2]}`, `"value":2147483647`} {
			if !strings.Contains(a.Raw, kept) {
				t.Errorf("%s is lost", kept)
			}
		}
	})
	t.Run("Q15 describeOnly has the same rowtype and no rows", func(t *testing.T) {
		run := r.query(tk, "", text)
		r.up.setAnswer(func(q seenQuery) (int, string) {
			if !q.Describe {
				return 200, customers
			}
			i, j := strings.Index(customers, `"rowset":`), strings.Index(customers, `"total":3`)
			return 200, customers[:i] + `"rowset":[],` + customers[j:]
		})
		describe := r.query(tk, "", text, `"describeOnly":true`)
		if a, b := toText(describe.data(t)["rowtype"]), toText(run.data(t)["rowtype"]); a != b || !strings.Contains(a, `"nullable":true`) {
			t.Errorf("described %s\nran %s", a, b)
		}
		r.up.setAnswer(func(q seenQuery) (int, string) { return 200, customers })
	})
	t.Run("Q15 describing a held statement asks nobody", func(t *testing.T) {
		n := len(r.desk.order)
		wantRefusal(t, r.query(tk, "", "drop table t", `"describeOnly":true`), "003001", "JIT-2001")
		if len(r.desk.order) != n {
			t.Error("a request was filed")
		}
	})
	t.Run("R08 the result is not the one that was judged", func(t *testing.T) {
		for name, change := range map[string][2]string{
			"another name":        {`"name":"EMAIL"`, `"name":"PHONE"`},
			"another table":       {`"table":"CUSTOMERS","nullable":true`, `"table":"SALARIES","nullable":true`},
			"another kind":        {`"statementTypeId":4096`, `"statementTypeId":12544`},
			"a cell too many":     {`["1","planted-ada@example.com","987654321"]`, `["1","planted-ada@example.com","987654321","x"]`},
			"a cell too few":      {`["1","planted-ada@example.com","987654321"]`, `["1","planted-ada@example.com"]`},
			"a bare number":       {`["1",`, `[1,`},
			"a nested cell":       {`["1",`, `[["1"],`},
			"duplicate keys":      {`"rowset":`, `"rowset":[],"rowset":`},
			"rows twice":          {`"rowset":`, `"rowsetBase64":"AAAA","rowset":`},
			"not UTF-8":           {"planted-ada", "planted-\xff"},
			"a format of its own": {`"queryResultFormat":"json"`, `"queryResultFormat":"parquet"`},
			"rows that are text":  {`"rowset":[`, `"rowset":"planted","x":[`},
			"storage of a stage":  {`"version":1`, `"stageInfo":{"creds":{}}`},
		} {
			t.Run(name, func(t *testing.T) {
				r.up.setAnswer(func(q seenQuery) (int, string) { return 200, strings.Replace(customers, change[0], change[1], 1) })
				a := r.query(tk, "", text)
				if a.Success || a.code() != "000603" || strings.Contains(a.Raw, "planted") {
					t.Errorf("got %s", a.Raw)
				}
			})
		}
	})
	t.Run("R09 DML is not masked", func(t *testing.T) {
		body := `{"data":{"rowtype":[{"name":"number of rows inserted","type":"fixed","nullable":false,"scale":0,"precision":19}],"rowset":[["3"]],"total":1,"returned":1,"queryId":"01c0ffee-0000-0000-0000-000000000009","statementTypeId":12544,"queryResultFormat":"json"},"code":null,"message":null,"success":true}`
		r.up.setAnswer(func(q seenQuery) (int, string) { return 200, body })
		if a := r.query(tk, "", "insert into t values (1)"); a.Raw != body {
			t.Errorf("got %s", a.Raw)
		}
	})
	t.Run("R12 error texts", func(t *testing.T) {
		failed := `{"data":{"errorCode":"100038","sqlState":"22018","queryId":"01c0ffee-0000-0000-0000-00000000000e","line":1,"detail":"planted-value"},"code":"100038","message":"Numeric value 'planted-value' is not recognized","success":false}`
		r.up.setAnswer(func(q seenQuery) (int, string) { return 200, failed })
		a := r.query(tk, "", text)
		if a.code() != "100038" || strings.Contains(a.Raw, "planted") || a.data(t)["sqlState"] != "22018" || a.data(t)["queryId"] != "01c0ffee-0000-0000-0000-00000000000e" {
			t.Errorf("got %s", a.Raw)
		}
		if a := r.query(tk, "", "select 1"); a.Raw != failed {
			t.Errorf("an error without classed data changed: %s", a.Raw)
		}
	})
	t.Run("values that show what they are", func(t *testing.T) {
		body := strings.NewReplacer(`"type":"fixed"`, `"type":"text"`, `[["1"]]`, `[["harmless"],["detect-me-please"]]`).Replace(plainRow)
		r.up.setAnswer(func(q seenQuery) (int, string) { return 200, body })
		a := r.query(tk, "", "select 1")
		if !a.Success || strings.Contains(a.Raw, "detect-me") || !strings.Contains(a.Raw, "‹masked:secret.key›") {
			t.Errorf("got %s", a.Raw)
		}
	})
	t.Run("a ruling that does not fit shows nothing", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Policy = forgetful{} })
		a := r.query(r.login(), "", text)
		if !a.Success || strings.Contains(a.Raw, "planted") || strings.Contains(a.Raw, "987654321") || strings.Contains(a.Raw, "9007199254740993") {
			t.Errorf("got %s", a.Raw)
		}
	})
}

// forgetful allows without saying what to mask.
type forgetful struct{ firstWord }

func (forgetful) Statement(policy.Input) policy.Ruling {
	return policy.Ruling{Verdict: policy.Allow, Rule: "forgetful"}
}

func TestLargeResultsAreFetchedAgain(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	big := strings.Replace(plainRow, `"unknown"`, "", 1)
	row := `["` + strings.Repeat("x", 1000) + `"],`
	big = strings.Replace(big, `[["1"]]`, "["+strings.Repeat(row, 400)+`["1"]]`, 1)
	r.up.setAnswer(func(q seenQuery) (int, string) { return 200, big })
	r.up.results["01c0ffee-0000-0000-0000-000000000002"] = big
	id := uuid.NewString()
	a := r.query(tk, id, "select 1")
	b := r.query(tk, id, "select 1")
	if !a.Success || a.Raw != b.Raw || len(r.up.seen()) != 1 {
		t.Errorf("%d executions, equal %v", len(r.up.seen()), a.Raw == b.Raw)
	}
}

// TestAnswersAreDriversJSON holds Q14: every answer has the keys and types
// drivers rely on.
func TestAnswersAreDriversJSON(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	for name, a := range map[string]answer{
		"heartbeat": r.send("POST", "/session/heartbeat", tk.token, nil),
		"refusal":   r.query(tk, "", "grant x"),
		"abort":     r.send("POST", "/queries/v1/abort-request", tk.token, []byte(`{"requestId":"x"}`)),
		"no route":  r.send("GET", "/nothing", "", nil),
		"no login":  r.query(tokens{}, "", "select 1"),
		"no id":     r.send("GET", "/monitoring/queries/x", tk.token, nil),
		"renewal":   r.send("POST", "/session/token-request", "x", []byte("{}")),
	} {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(a.Raw), &m); err != nil || a.Type != "application/json" {
			t.Errorf("%s: %v %s", name, err, a.Type)
		}
		if _, ok := m["code"]; !ok {
			t.Errorf("%s has no code", name)
		}
		if !a.Success && (m["data"] == nil || m["data"][0] != '{' || a.Message == nil) {
			t.Errorf("%s: %s", name, a.Raw)
		}
	}
}
