package broker

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session/recording"
)

func TestStopClosesEveryUpstreamSession(t *testing.T) {
	r := newRig(t)
	r.login()
	r.login()
	r.stop()
	if len(r.account.closed) != 2 {
		t.Errorf("closed %v", r.account.closed)
	}
}

func TestQueries(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	t.Run("bind stage", func(t *testing.T) {
		wantRefusal(t, r.query(tk, "", "insert into t values (?)", `"bindStage":"@SYSTEM$BIND/x"`), "000002", "JIT-2003")
	})
	t.Run("statement parameters", func(t *testing.T) {
		wantRefusal(t, r.query(tk, "", "select 1", `"parameters":{"SEARCH_PATH":"x"}`), "000002", "JIT-2003")
		a := r.query(tk, "", "select 1", `"parameters":{"QUERY_TAG":"t","CLIENT_X":1,"GO_QUERY_RESULT_FORMAT":"JSON"}`)
		p := r.up.seen()[len(r.up.seen())-1].Parameters
		if !a.Success || p["GO_QUERY_RESULT_FORMAT"] != "JSON" || p["JDBC_QUERY_RESULT_FORMAT"] != "JSON" || p["CLIENT_X"] != nil || p["QUERY_TAG"] != "t" || p["MULTI_STATEMENT_COUNT"] != 1.0 {
			t.Errorf("forwarded %v", p)
		}
	})
	t.Run("not understood", func(t *testing.T) {
		wantRefusal(t, r.query(tk, "", "frobnicate"), "001003", "JIT-2002")
		wantRefusal(t, r.query(tk, "", " ; "), "001003", "JIT-2002")
	})
	t.Run("upstream answers garbage", func(t *testing.T) {
		defer r.up.setAnswer(func(q seenQuery) (int, string) { return 200, plainRow })
		for _, body := range []string{"", "<html>", "{}", `{"success":true}`, `{"success":true,"data":7}`, `{"success":false,"code":null}`,
			`{"success":true,"success":false,"data":{}}`, plainRow[:len(plainRow)-30], `{"success":true,"data":{"rowset":[["leak"]]}}`} {
			r.up.setAnswer(func(q seenQuery) (int, string) { return 200, body })
			a := r.query(tk, "", "select 1")
			if a.Success || a.code() != "000603" || strings.Contains(a.Raw, "leak") {
				t.Errorf("%q: %s", body, a.Raw)
			}
		}
	})
	t.Run("upstream is not there", func(t *testing.T) {
		defer r.up.setAnswer(func(q seenQuery) (int, string) { return 200, plainRow })
		r.up.setAnswer(func(q seenQuery) (int, string) { return 404, "nothing here" })
		wantRefusal(t, r.query(tk, "", "select 1"), "000603", "JIT-4001")
	})
	r.noSecrets()
}

func TestNothingWithoutItsEvent(t *testing.T) {
	for _, c := range []struct {
		kind      recording.Kind
		forwarded int
	}{{recording.KindStatement, 0}, {recording.KindForwarded, 0}, {recording.KindResult, 1}} {
		t.Run(string(c.kind), func(t *testing.T) {
			r := newRig(t)
			tk := r.login()
			r.mu.Lock()
			r.refuse = func(e recording.Event) error {
				if e.Kind == c.kind {
					return errors.New("disk full at /secret/path")
				}
				return nil
			}
			r.mu.Unlock()
			a := r.query(tk, "", "select ID, EMAIL, SSN from customers")
			wantRefusal(t, a, "000603", "JIT-4003")
			if strings.Contains(a.Raw, "secret") || strings.Contains(a.Raw, "planted") {
				t.Errorf("leaks: %s", a.Raw)
			}
			if n := len(r.up.seen()); n != c.forwarded {
				t.Errorf("%d forwarded, want %d", n, c.forwarded)
			}
		})
	}
}

func TestEventOrder(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	r.query(tk, "", "select ID, EMAIL, SSN from customers")
	want := []recording.Kind{recording.KindLogin, recording.KindStatement, recording.KindForwarded, recording.KindResult}
	if got := r.kinds(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if e := r.events[3].Result; e.Rows != 3 || e.Columns != 3 || !slices.Equal(e.Masked, []string{"EMAIL", "SSN"}) || e.Bytes == 0 || e.QueryID == "" {
		t.Errorf("result event %+v", e)
	}
}

func TestBudgets(t *testing.T) {
	for name, limits := range map[string]policy.Limits{"rows": {Rows: 2}, "bytes": {Bytes: 100}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Policy = firstWord{limits: limits} })
			a := r.query(r.login(), "", "select ID, EMAIL, SSN from customers")
			wantRefusal(t, a, "003001", "JIT-2005")
			if strings.Contains(a.Raw, "example.com") {
				t.Error("rows came with the refusal")
			}
		})
	}
}

func TestOneStatementCameBackAsTwo(t *testing.T) {
	r, tk := batchRig(t, batchAnswer(childA+","+childB, "4096,4096"))
	wantRefusal(t, r.query(tk, "", "select 1"), "000603", "JIT-4002")
}

func asynchronous(t *testing.T) {
	const id = "01c0ffee-0000-0000-0000-0000000000aa"
	r := newRig(t)
	tk := r.login()
	r.up.setAnswer(func(q seenQuery) (int, string) {
		if !q.Async {
			t.Error("asyncExec was dropped")
		}
		return 200, `{"data":{"queryId":"` + id + `","getResultUrl":"/queries/` + id + `/result"},"code":"333334","message":"running","success":true}`
	})
	r.up.mu.Lock()
	r.up.results[id] = strings.Replace(customers, "01c0ffee-0000-0000-0000-000000000001", id, 1)
	r.up.mu.Unlock()
	body := []byte(`{"sqlText":"select ID, EMAIL, SSN from customers","asyncExec":true}`)
	a := r.send("POST", "/queries/v1/query-request?requestId="+uuid.NewString(), tk.token, body)
	if a.code() != "333334" || a.data(t)["queryId"] != id {
		t.Fatalf("A01: %s", a.Raw)
	}
	eventually(t, "SUCCESS", func() bool {
		m := r.send("GET", "/monitoring/queries/"+id, tk.token, nil)
		return strings.Contains(m.Raw, `"status":"SUCCESS"`) && !strings.Contains(m.Raw, "customers")
	})
	if a := r.send("GET", "/queries/"+id+"/result", tk.token, nil); !a.Success || strings.Contains(a.Raw, "planted") {
		t.Errorf("A01 result: %s", a.Raw)
	}
	n := len(r.up.seen())
	if a := r.query(tk, "", "select * from table(result_scan('"+id+"'))"); !a.Success || strings.Contains(a.Raw, "planted") || strings.Contains(a.Raw, "987654321") {
		t.Errorf("A02: %s", a.Raw)
	}
	if len(r.up.seen()) != n {
		t.Error("A02 went upstream as SQL")
	}
	wantRefusal(t, r.query(tk, "", "SELECT * FROM TABLE(RESULT_SCAN('"+uuid.NewString()+"'))"), "000709", "JIT-4004")
	wantRefusal(t, r.query(tk, "", "select a from table(result_scan('"+id+"'))"), "000002", "JIT-2003")
	other := r.login()
	wantRefusal(t, r.query(other, "", "select * from table(result_scan('"+id+"'))"), "000709", "JIT-4004")
	if a := r.send("GET", "/monitoring/queries/"+id, other.token, nil); a.code() != "000709" {
		t.Errorf("another login monitors it: %s", a.Raw)
	}
}

func routesClosed(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	t.Run("T01 telemetry", func(t *testing.T) {
		if a := r.send("POST", "/telemetry/send", "", []byte("anything")); !a.Success || string(a.Data) != `"Log Received"` {
			t.Errorf("got %s", a.Raw)
		}
	})
	for _, path := range []string{"/api/v2/databases", "/api/v2/cortex/inference:complete", "/console/login",
		"/oauth/token-request", "/queries/../session", "//queries/v1/query-request", "/queries/%2e%2e/x", "/queries/v1/query-request/",
		"/queries/v1%2fquery-request", "/", "/queries//result", "/monitoring/queries///x", "/monitoring/queries//x//y", "/jit/chunk/a/b", "/queries/v1/query-request;x"} {
		t.Run("T02 T03 T04 "+path, func(t *testing.T) {
			req, _ := http.NewRequest("POST", r.url, strings.NewReader("{}"))
			req.URL.Opaque = path
			req.Header.Set("Authorization", `Snowflake Token="`+tk.token+`"`)
			resp, err := r.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 404 || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("status %d type %q", resp.StatusCode, resp.Header.Get("Content-Type"))
			}
		})
	}
	for name, edit := range map[string]func(*http.Request){
		"host":         func(q *http.Request) { q.Host = "evil.example" },
		"host no port": func(q *http.Request) { q.Host = "127.0.0.1" },
		"origin":       func(q *http.Request) { q.Header.Set("Origin", "http://evil.example") },
		"upgrade":      func(q *http.Request) { q.Header.Set("Connection", "Upgrade"); q.Header.Set("Upgrade", "h2c") },
		"method":       func(q *http.Request) { q.Method = "PUT" },
	} {
		t.Run("T04 "+name, func(t *testing.T) {
			if a := r.send("POST", "/queries/v1/query-request?requestId=x", tk.token, queryBody("select 1"), edit); a.Status != 404 {
				t.Errorf("got %d %s", a.Status, a.Raw)
			}
		})
	}
	t.Run("T04 raw request lines", func(t *testing.T) {
		host := strings.TrimPrefix(r.url, "http://")
		for _, line := range []string{"POST http://" + host + "/telemetry/send HTTP/1.1", "CONNECT " + host + " HTTP/1.1", "OPTIONS * HTTP/1.1", "POST /telemetry/send HTTP/1.0"} {
			got := rawRequest(t, host, line+"\r\nHost: "+host+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			if !strings.Contains(got, " 404 ") && !strings.Contains(got, " 400 ") {
				t.Errorf("%s: %q", line, got)
			}
		}
	})
	if len(r.up.seen()) != 0 {
		t.Error("something was forwarded")
	}
	n := 0
	for _, k := range r.kinds() {
		if k == recording.KindProtocol {
			n++
		}
	}
	if n == 0 || n > 25 {
		t.Errorf("%d protocol events", n)
	}
}

// TestBatchFailsAfterUse is an attack: a batch switches the schema, then fails.
// The next unqualified name means another table than before.
func TestBatchFailsAfterUse(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	var place string
	r.up.setAnswer(func(q seenQuery) (int, string) {
		switch {
		case strings.HasPrefix(q.SQL, "use"):
			return 200, `{"data":{"sqlState":"22012"},"code":"100051","message":"Division by zero","success":false}`
		case strings.HasPrefix(q.SQL, "SELECT CURRENT_DATABASE()"):
			return 200, place
		}
		return 200, strings.ReplaceAll(customers, "PUBLIC", "OTHER")
	})
	cell := `{"name":"X","type":"text","nullable":true}`
	place = `{"data":{"rowtype":[` + cell + "," + cell + "," + cell + "," + cell + `],"rowset":[["APP","OTHER","WH","READER"]],"total":1},"code":null,"message":null,"success":true}`
	if a := r.query(tk, "", "use schema other; select 1", `"parameters":{"MULTI_STATEMENT_COUNT":2}`); a.code() != "100051" {
		t.Fatalf("got %s", a.Raw)
	}
	if a := r.query(tk, "", "select ID, EMAIL, SSN from customers"); !a.Success {
		t.Fatalf("got %s", a.Raw)
	}
	r.mu.Lock()
	var reads []string
	for _, e := range r.events {
		if e.SQL != nil {
			reads = e.SQL.Reads
		}
	}
	r.mu.Unlock()
	if !slices.Equal(reads, []string{"APP.OTHER.CUSTOMERS"}) {
		t.Errorf("judged as a read of %v", reads)
	}

	place = "garbage"
	r.query(tk, "", "use schema other; select 1", `"parameters":{"MULTI_STATEMENT_COUNT":2}`)
	r.query(tk, "", "select ID, EMAIL, SSN from customers")
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.SQL != nil {
			reads = e.SQL.Reads
		}
	}
	if !slices.Equal(reads, []string{"CUSTOMERS"}) {
		t.Errorf("an unknown context was taken for %v", reads)
	}
}
