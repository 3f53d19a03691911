package broker

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session/recording"
)

func TestSessions(t *testing.T) {
	t.Run("S01 tokens that are none", func(t *testing.T) {
		r := newRig(t)
		r.login()
		for name, header := range map[string][]string{
			"missing": nil, "bearer": {"Bearer x"}, "malformed": {"Snowflake Token=x"}, "foreign": {`Snowflake Token="x"`},
			"lease": {`Snowflake Token="` + r.lease.Reveal() + `"`}, "twice": {`Snowflake Token="x"`, `Snowflake Token="y"`},
		} {
			a := r.send("POST", "/queries/v1/query-request?requestId="+uuid.NewString(), "", queryBody("select 1"), func(q *http.Request) {
				q.Header["Authorization"] = header
				q.Header.Set("X-Snowflake-External-Session-ID", "stolen")
			})
			if a.code() != "390111" {
				t.Errorf("%s: %s", name, a.Raw)
			}
		}
		if n := len(r.up.seen()); n != 0 {
			t.Errorf("%d queries forwarded", n)
		}
	})
	t.Run("S02 expiry, renewal, same request id", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		r.age(tk)
		id := uuid.NewString()
		if a := r.query(tk, id, "select 1"); a.code() != "390112" {
			t.Fatalf("got %s", a.Raw)
		}
		a := r.send("POST", "/session/token-request?requestId="+uuid.NewString(), tk.master, gz([]byte(`{"oldSessionToken":"x","requestType":"RENEW"}`)))
		d := a.data(t)
		next := tokens{d["sessionToken"].(string), d["masterToken"].(string)}
		if next == tk || next.token == tk.token || next.master == tk.master {
			t.Fatal("the pair did not change")
		}
		for range 2 {
			if a := r.query(next, id, "select 1"); !a.Success {
				t.Fatalf("got %s", a.Raw)
			}
		}
		if n := len(r.up.seen()); n != 1 {
			t.Errorf("executed %d times", n)
		}
	})
	t.Run("S03 renewal of other kinds", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		for name, c := range map[string][2]string{"issue": {tk.master, "ISSUE"}, "clone": {tk.master, "CLONE"}, "session token": {tk.token, "RENEW"}, "none": {"", "RENEW"}} {
			if a := r.send("POST", "/session/token-request", c[0], []byte(`{"requestType":"`+c[1]+`"}`)); a.Success || a.code() != "390114" {
				t.Errorf("%s: %s", name, a.Raw)
			}
		}
	})
	t.Run("S04 Q12 upstream expiry is invisible", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		r.up.setAnswer(func(q seenQuery) (int, string) {
			if !strings.Contains(q.Token, "renewed") {
				return 200, `{"data":null,"code":"390112","message":"expired","success":false}`
			}
			return 200, plainRow
		})
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				if a := r.query(tk, "", "select 1"); !a.Success {
					t.Errorf("got %s", a.Raw)
				}
			})
		}
		work.Wait()
		if r.account.renewed != 1 {
			t.Errorf("renewed %d times", r.account.renewed)
		}
		if q := r.up.seen(); q[0].RequestID == "" {
			t.Error("no request id")
		}
	})
	t.Run("S05 revoked while idle", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		r.desk.events <- sessionEnded("sess-1")
		eventually(t, "390111", func() bool { return r.query(tk, "", "select 1").code() == "390111" })
		if a := r.send("POST", "/session/heartbeat", tk.token, nil); a.code() != "390111" {
			t.Errorf("heartbeat: %s", a.Raw)
		}
		if a := r.loginWith(r.patFields(), ""); a.code() != "390100" || !strings.Contains(*a.Message, "revoked") {
			t.Errorf("login: %s", a.Raw)
		}
	})
	t.Run("S05 another session's end is not ours", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		r.desk.events <- sessionEnded("sess-2")
		r.desk.events <- sessionEnded("sess-3")
		if a := r.query(tk, "", "select 1"); !a.Success {
			t.Errorf("got %s", a.Raw)
		}
	})
	t.Run("S06 delete", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		if a := r.send("POST", "/session?delete=true", tk.token, gz([]byte("{}"))); !a.Success {
			t.Fatalf("got %s", a.Raw)
		}
		if a := r.query(tk, "", "select 1"); a.code() != "390111" {
			t.Errorf("got %s", a.Raw)
		}
		eventually(t, "closed upstream", func() bool {
			r.account.mu.Lock()
			defer r.account.mu.Unlock()
			return slices.Equal(r.account.closed, []string{"up-1"})
		})
	})
	t.Run("L12 heartbeat", func(t *testing.T) {
		r := newRig(t)
		if a := r.send("POST", "/session/heartbeat", "nobody", nil); a.Success {
			t.Error("a heartbeat of nobody succeeded")
		}
		if a := r.send("POST", "/session/heartbeat", r.login().token, nil); !a.Success {
			t.Errorf("got %s", a.Raw)
		}
	})
	t.Run("stop closes every upstream session", func(t *testing.T) {
		r := newRig(t)
		r.login()
		r.login()
		r.stop()
		if len(r.account.closed) != 2 {
			t.Errorf("closed %v", r.account.closed)
		}
	})
}

func TestQueries(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	t.Run("Q01 nothing masked: byte for byte", func(t *testing.T) {
		if a := r.query(tk, "", "select 1"); a.Raw != plainRow {
			t.Errorf("got %s", a.Raw)
		}
	})
	t.Run("Q02 gzip without a header", func(t *testing.T) {
		a := r.send("POST", "/queries/v1/query-request?requestId="+uuid.NewString(), tk.token, gz(queryBody("select 1")))
		if a.Raw != plainRow {
			t.Errorf("got %s", a.Raw)
		}
	})
	t.Run("Q03 keys that are dropped", func(t *testing.T) {
		a := r.query(tk, "", "select 1", `"dataframeAst":"AAAA"`, `"describedJobId":"x"`, `"surprise":{"a":1}`)
		last := r.up.seen()[len(r.up.seen())-1].Raw
		if !a.Success || strings.Contains(last, "dataframeAst") || strings.Contains(last, "surprise") || !strings.Contains(last, `"isInternal":false`) {
			t.Errorf("forwarded %s", last)
		}
	})
	t.Run("Q04 duplicate and look-alike keys", func(t *testing.T) {
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
	})
	t.Run("Q05 Q06 refused, and refused the same way again", func(t *testing.T) {
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
	})
	t.Run("Q07 executed once", func(t *testing.T) {
		before := len(r.up.seen())
		id := uuid.NewString()
		a, b := r.query(tk, id, "select 1"), r.query(tk, id, "select 1")
		if a.Raw != b.Raw || len(r.up.seen()) != before+1 {
			t.Errorf("%d executions", len(r.up.seen())-before)
		}
		if q := r.up.seen()[before]; q.RequestID == id || uuid.Validate(q.RequestID) != nil {
			t.Error("the driver's request id went upstream")
		}
	})
	t.Run("Q08 same id, another text", func(t *testing.T) {
		before := len(r.up.seen())
		id := uuid.NewString()
		r.query(tk, id, "select 1")
		wantRefusal(t, r.query(tk, id, "select 2"), "003001", "JIT-2004")
		if len(r.up.seen()) != before+1 {
			t.Error("forwarded")
		}
	})
	t.Run("Q09 resubmission of an unknown id", func(t *testing.T) {
		a := r.send("POST", "/queries/v1/query-request?requestId="+uuid.NewString(), tk.token, []byte(`{"disableOfflineChunks":false}`))
		wantRefusal(t, a, "003001", "JIT-2004")
	})
	t.Run("Q11 upstream 503 twice", func(t *testing.T) {
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
	})
	t.Run("Q16 binds", func(t *testing.T) {
		a := r.query(tk, "", "select 1", `"bindings":{"10":{"type":"TEXT","value":null},"2":{"value":["a","b",null],"type":"FIXED"},"1":{"type":"TEXT","value":"it's é"}}`)
		q := r.up.seen()[len(r.up.seen())-1]
		want := `{"1":{"type":"TEXT","value":"it's é"},"2":{"type":"FIXED","value":["a","b",null]},"10":{"type":"TEXT","value":null}}`
		if !a.Success || string(q.Bindings) != want {
			t.Errorf("forwarded %s", q.Bindings)
		}
	})
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
	t.Run("Q17 context follows the server", func(t *testing.T) {
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
	})
	t.Run("Q18 roles", func(t *testing.T) {
		wantRefusal(t, r.query(tk, "", "use role accountadmin"), "003001", "JIT-2001")
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

func TestMultiStatement(t *testing.T) {
	batch := func(ids, types string) string {
		return strings.Replace(plainRow, `"statementTypeId":4096`, `"statementTypeId":40960,"resultIds":"`+ids+`","resultTypes":"`+types+`"`, 1)
	}
	a, b := "01c0ffee-0000-0000-0000-00000000000a", "01c0ffee-0000-0000-0000-00000000000b"
	setup := func(t *testing.T, answer string) (*rig, tokens) {
		r := newRig(t)
		r.up.setAnswer(func(q seenQuery) (int, string) { return 200, answer })
		r.up.results[a] = strings.Replace(plainRow, "000000000002", "00000000000a", 1)
		r.up.results[b] = strings.Replace(customers, "000000000001", "00000000000b", 1)
		return r, r.login()
	}
	t.Run("M01 children under their own masks", func(t *testing.T) {
		r, tk := setup(t, batch(a+","+b, "4096,4096"))
		if got := r.query(tk, "", "select 1; select ID, EMAIL, SSN from customers", `"parameters":{"MULTI_STATEMENT_COUNT":2}`); !got.Success {
			t.Fatalf("got %s", got.Raw)
		}
		if q := r.up.seen()[0]; q.Parameters["MULTI_STATEMENT_COUNT"] != 2.0 {
			t.Errorf("count %v", q.Parameters)
		}
		if got := r.send("GET", "/queries/"+a+"/result", tk.token, nil); !got.Success {
			t.Errorf("first child %s", got.Raw)
		}
		got := r.send("GET", "/queries/"+b+"/result", tk.token, nil)
		if !got.Success || strings.Contains(got.Raw, "planted") || strings.Contains(got.Raw, "987654321") {
			t.Errorf("second child %s", got.Raw)
		}
		other := r.login()
		if got := r.send("GET", "/queries/"+b+"/result", other.token, nil); got.code() != "000709" {
			t.Errorf("another login read it: %s", got.Raw)
		}
	})
	t.Run("M01 children that do not fit", func(t *testing.T) {
		for _, answer := range []string{batch(a, "4096"), batch(a+","+b, "4096"), batch(a+","+b+","+a, "1,2,3"), plainRow} {
			r, tk := setup(t, answer)
			wantRefusal(t, r.query(tk, "", "select 1; select 2", `"parameters":{"MULTI_STATEMENT_COUNT":0}`), "000603", "JIT-4002")
		}
	})
	t.Run("one statement that came back as two", func(t *testing.T) {
		r, tk := setup(t, batch(a+","+b, "4096,4096"))
		wantRefusal(t, r.query(tk, "", "select 1"), "000603", "JIT-4002")
	})
	t.Run("M02 refused as a whole", func(t *testing.T) {
		r, tk := setup(t, plainRow)
		wantRefusal(t, r.query(tk, "", "select 1; grant all to x", `"parameters":{"MULTI_STATEMENT_COUNT":0}`), "003001", "JIT-2001")
		wantRefusal(t, r.query(tk, "", "select 1; select 2"), "000008", "JIT-2009")
		wantRefusal(t, r.query(tk, "", "select 1", `"parameters":{"MULTI_STATEMENT_COUNT":2}`), "000008", "JIT-2009")
		if len(r.up.seen()) != 0 {
			t.Error("something was forwarded")
		}
	})
}

func TestAsync(t *testing.T) {
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

func TestRoutes(t *testing.T) {
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
