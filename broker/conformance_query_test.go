package broker

import (
	"strings"
	"testing"

	"github.com/google/uuid"
)

var queryCases = []conformanceCase{
	{"Q01", "nothing masked: byte for byte", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		if a := r.query(tk, "", "select 1"); a.Raw != plainRow {
			t.Errorf("got %s", a.Raw)
		}
	}},
	{"Q02", "gzip without a header", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		a := r.send("POST", "/queries/v1/query-request?requestId="+uuid.NewString(), tk.token, gz(queryBody("select 1")))
		if a.Raw != plainRow {
			t.Errorf("got %s", a.Raw)
		}
	}},
	{"Q03", "keys that are dropped", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		a := r.query(tk, "", "select 1", `"dataframeAst":"AAAA"`, `"describedJobId":"x"`, `"surprise":{"a":1}`)
		last := r.up.seen()[len(r.up.seen())-1].Raw
		if !a.Success || strings.Contains(last, "dataframeAst") || strings.Contains(last, "surprise") || !strings.Contains(last, `"isInternal":false`) {
			t.Errorf("forwarded %s", last)
		}
	}},
	{"Q04", "duplicate and look-alike keys", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		before := len(r.up.seen())
		for _, body := range []string{`{"sqlText":"select 1","sqlText":"drop table t"}`, `{"sqlText":"select 1","SQLTEXT":"drop table t"}`,
			`{"sqlText":"select 1","sql\u0054ext":"x"}`, "\xef\xbb\xbf" + `{"sqlText":"select 1"}`, `{"sqlText":"select 1"}{"sqlText":"x"}`,
			`{"sqlText":"\ud800"}`, `{"sqlText":1}`, `{"sqlText":"select 1","bindings":{"1":{"type":"TEXT","value":"a","value":"b"}}}`} {
			a := r.send("POST", "/queries/v1/query-request?requestId="+uuid.NewString(), tk.token, []byte(body))
			wantRefusal(t, a, "000002", "JIT-2007")
		}
		if len(r.up.seen()) != before {
			t.Error("something was forwarded")
		}
	}},
	{"Q05 Q06", "refused, and refused the same way again", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		before := len(r.up.seen())
		id := uuid.NewString()
		a := r.query(tk, id, "grant all on t to x")
		wantRefusal(t, a, "003001", "JIT-2001")
		b := r.send("POST", "/queries/v1/query-request?requestId="+id+"&retryCount=1&retryReason=0", tk.token, queryBody("grant all on t to x"))
		if a.Raw != b.Raw || len(r.up.seen()) != before {
			t.Errorf("repeat: %s", b.Raw)
		}
		if a := r.query(tk, "", "select 1"); !a.Success {
			t.Error("the session is not usable any more")
		}
	}},
	{"Q07", "executed once", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		before := len(r.up.seen())
		id := uuid.NewString()
		a, b := r.query(tk, id, "select 1"), r.query(tk, id, "select 1")
		if a.Raw != b.Raw || len(r.up.seen()) != before+1 {
			t.Errorf("%d executions", len(r.up.seen())-before)
		}
		if q := r.up.seen()[before]; q.RequestID == id || uuid.Validate(q.RequestID) != nil {
			t.Error("the driver's request id went upstream")
		}
	}},
	{"Q08", "same id, another text", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		before := len(r.up.seen())
		id := uuid.NewString()
		r.query(tk, id, "select 1")
		wantRefusal(t, r.query(tk, id, "select 2"), "003001", "JIT-2004")
		if len(r.up.seen()) != before+1 {
			t.Error("forwarded")
		}
	}},
	{"Q09", "resubmission of an unknown id", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		a := r.send("POST", "/queries/v1/query-request?requestId="+uuid.NewString(), tk.token, []byte(`{"disableOfflineChunks":false}`))
		wantRefusal(t, a, "003001", "JIT-2004")
	}},
	{"Q11", "upstream 503 twice", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		before, n := len(r.up.seen()), 0
		r.up.setAnswer(func(q seenQuery) (int, string) {
			if n++; n < 3 {
				return 503, "busy"
			}
			return 200, plainRow
		})
		defer r.up.setAnswer(func(q seenQuery) (int, string) { return 200, plainRow })
		if a := r.query(tk, "", "select 1"); !a.Success {
			t.Fatalf("got %s", a.Raw)
		}
		q := r.up.seen()[before:]
		if len(q) != 3 || q[0].RequestID != q[2].RequestID || q[1].RetryCount != "1" || q[2].RetryCount != "2" {
			t.Errorf("attempts %+v", q)
		}
	}},
	{"Q16", "binds", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		a := r.query(tk, "", "select 1", `"bindings":{"10":{"type":"TEXT","value":null},"2":{"value":["a","b",null],"type":"FIXED"},"1":{"type":"TEXT","value":"it's é"}}`)
		q := r.up.seen()[len(r.up.seen())-1]
		want := `{"1":{"type":"TEXT","value":"it's é"},"2":{"type":"FIXED","value":["a","b",null]},"10":{"type":"TEXT","value":null}}`
		if !a.Success || string(q.Bindings) != want {
			t.Errorf("forwarded %s", q.Bindings)
		}
	}},
	{"Q17", "context follows the server", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		r.up.setAnswer(func(q seenQuery) (int, string) {
			return 200, strings.ReplaceAll(plainRow, `"finalSchemaName":"PUBLIC"`, `"finalSchemaName":"OTHER"`)
		})
		r.query(tk, "", "use schema other")
		r.up.setAnswer(func(q seenQuery) (int, string) {
			return 200, strings.ReplaceAll(customers, "PUBLIC", "OTHER")
		})
		if a := r.query(tk, "", "select ID, EMAIL, SSN from customers"); !a.Success {
			t.Errorf("got %s", a.Raw)
		}
	}},
	{"Q18", "roles", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		wantRefusal(t, r.query(tk, "", "use role accountadmin"), "003001", "JIT-2001")
	}},
}

const (
	childA = "01c0ffee-0000-0000-0000-00000000000a"
	childB = "01c0ffee-0000-0000-0000-00000000000b"
)

// batchAnswer is Snowflake's to several statements.
func batchAnswer(ids, types string) string {
	return strings.Replace(plainRow, `"statementTypeId":4096`, `"statementTypeId":40960,"resultIds":"`+ids+`","resultTypes":"`+types+`"`, 1)
}

// batchRig has an upstream that gives answer, and two children.
func batchRig(t *testing.T, answer string) (*rig, tokens) {
	r := newRig(t)
	r.up.setAnswer(func(q seenQuery) (int, string) { return 200, answer })
	r.up.results[childA] = strings.Replace(plainRow, "000000000002", "00000000000a", 1)
	r.up.results[childB] = strings.Replace(customers, "000000000001", "00000000000b", 1)
	return r, r.login()
}

var batchCases = []conformanceCase{
	{"M01", "children under their own masks", func(t *testing.T) {
		r, tk := batchRig(t, batchAnswer(childA+","+childB, "4096,4096"))
		if got := r.query(tk, "", "select 1; select ID, EMAIL, SSN from customers", `"parameters":{"MULTI_STATEMENT_COUNT":2}`); !got.Success {
			t.Fatalf("got %s", got.Raw)
		}
		if q := r.up.seen()[0]; q.Parameters["MULTI_STATEMENT_COUNT"] != 2.0 {
			t.Errorf("count %v", q.Parameters)
		}
		if got := r.send("GET", "/queries/"+childA+"/result", tk.token, nil); !got.Success {
			t.Errorf("first child %s", got.Raw)
		}
		got := r.send("GET", "/queries/"+childB+"/result", tk.token, nil)
		if !got.Success || strings.Contains(got.Raw, "planted") || strings.Contains(got.Raw, "987654321") {
			t.Errorf("second child %s", got.Raw)
		}
		other := r.login()
		if got := r.send("GET", "/queries/"+childB+"/result", other.token, nil); got.code() != "000709" {
			t.Errorf("another login read it: %s", got.Raw)
		}
	}},
	{"M01", "children that do not fit", func(t *testing.T) {
		for _, answer := range []string{batchAnswer(childA, "4096"), batchAnswer(childA+","+childB, "4096"), batchAnswer(childA+","+childB+","+childA, "1,2,3"), plainRow} {
			r, tk := batchRig(t, answer)
			wantRefusal(t, r.query(tk, "", "select 1; select 2", `"parameters":{"MULTI_STATEMENT_COUNT":0}`), "000603", "JIT-4002")
		}
	}},
	{"M02", "refused as a whole", func(t *testing.T) {
		r, tk := batchRig(t, plainRow)
		wantRefusal(t, r.query(tk, "", "select 1; grant all to x", `"parameters":{"MULTI_STATEMENT_COUNT":0}`), "003001", "JIT-2001")
		wantRefusal(t, r.query(tk, "", "select 1; select 2"), "000008", "JIT-2009")
		wantRefusal(t, r.query(tk, "", "select 1", `"parameters":{"MULTI_STATEMENT_COUNT":2}`), "000008", "JIT-2009")
		if len(r.up.seen()) != 0 {
			t.Error("something was forwarded")
		}
	}},
}
