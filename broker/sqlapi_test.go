package broker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/broker/snowflake/sandbox"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
)

// apiAnswer is an answer of the SQL API.
type apiAnswer struct {
	Status  int         `json:"-"`
	Raw     string      `json:"-"`
	Header  http.Header `json:"-"`
	Code    string
	State   string `json:"sqlState"`
	Message string
	Handle  string   `json:"statementHandle"`
	Handles []string `json:"statementHandles"`
	URL     string   `json:"statementStatusUrl"`
	Meta    struct {
		NumRows int64
		Format  string
		RowType []struct{ Name, Type string }
		Parts   []struct{ RowCount, UncompressedSize int64 } `json:"partitionInfo"`
	} `json:"resultSetMetaData"`
	Data [][]*string
}

func (a apiAnswer) cells() string {
	var s strings.Builder
	for _, row := range a.Data {
		for i, c := range row {
			if i > 0 {
				s.WriteByte('|')
			}
			if c == nil {
				s.WriteString("NULL")
			} else {
				s.WriteString(*c)
			}
		}
		s.WriteByte('\n')
	}
	return s.String()
}

// rest makes one call of the SQL API with the lease.
func (r *rig) rest(method, path string, body any, edit ...func(*http.Request)) apiAnswer {
	r.t.Helper()
	var raw []byte
	switch b := body.(type) {
	case nil:
	case string:
		raw = []byte(b)
	default:
		raw, _ = json.Marshal(b)
	}
	req, err := http.NewRequest(method, r.url+path, bytes.NewReader(raw))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+r.lease.Reveal())
	req.Header.Set("X-Snowflake-Authorization-Token-Type", "PROGRAMMATIC_ACCESS_TOKEN")
	for _, f := range edit {
		f(req)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := apiAnswer{Status: resp.StatusCode, Raw: string(out), Header: resp.Header}
	if err := json.Unmarshal(out, &a); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		r.t.Fatalf("%s %s answered no JSON: %v: %s", method, path, err, out)
	}
	return a
}

func wantAPI(t testing.TB, a apiAnswer, status int, jit string) {
	t.Helper()
	if a.Status != status || !strings.HasPrefix(a.Message, jit+" ") || a.Code == "" || a.State == "" {
		t.Fatalf("want %d %s, got %d %s", status, jit, a.Status, a.Raw)
	}
}

const statements = "/api/v2/statements"

type body map[string]any

// openAnalysis is a query whose columns nobody knows.
func openAnalysis(text string, _ sql.Context, _ sql.Catalog) (*sql.Analysis, error) {
	return &sql.Analysis{Canonical: text, Statements: []sql.Statement{{Kind: "SELECT", Category: sql.CategoryQuery, Text: text}}}, nil
}

func TestSQLAPI(t *testing.T) {
	t.Run("a result, masked, in the SQL API's cells", func(t *testing.T) {
		r := newRig(t)
		a := r.rest("POST", statements, body{"statement": "select ID, EMAIL, SSN from customers", "timeout": 60, "role": "READER"})
		want := "1|‹masked:pii.email›|NULL\n2|NULL|NULL\n9007199254740993|‹masked:pii.email›|NULL\n"
		if a.Status != 200 || a.cells() != want || a.Code != "090001" || a.State != "00000" || a.Meta.NumRows != 3 || a.Meta.Format != "jsonv2" ||
			len(a.Meta.Parts) != 1 || a.Meta.Parts[0].RowCount != 3 || a.Meta.RowType[1].Name != "EMAIL" || uuid.Validate(a.Handle) != nil {
			t.Fatalf("got %d %s", a.Status, a.Raw)
		}
		if !strings.Contains(a.Header.Get("Link"), `?partition=0>; rel="first"`) {
			t.Errorf("links %q", a.Header.Get("Link"))
		}
		q := r.up.seen()[0]
		if q.Parameters["STATEMENT_TIMEOUT_IN_SECONDS"] != 60.0 || q.Parameters["GO_QUERY_RESULT_FORMAT"] != "JSON" {
			t.Errorf("forwarded %s", q.Raw)
		}
		for _, p := range r.up.paths {
			if strings.HasPrefix(p, "/api/") {
				t.Error("passed through")
			}
		}
		if again := r.rest("GET", a.URL, nil); again.cells() != want {
			t.Errorf("asked again: %s", again.Raw)
		}
		r.noSecrets()
	})
	t.Run("cells of each type", func(t *testing.T) {
		r := newRig(t)
		columns, cells := "", ""
		for i, c := range [][2]string{{"boolean", "1"}, {"boolean", "0"}, {"date", "-1"}, {"time", "43200.5"}, {"timestamp_ntz", "1700000000.123"},
			{"timestamp_tz", "-1.000000000 1500"}, {"timestamp_ltz", "7"}, {"real", "inf"}, {"fixed", "12.30"}, {"variant", `{\"a\":1}`}, {"binary", "00FF"}} {
			columns += fmt.Sprintf(`,{"name":"C%d","type":"%s","nullable":true}`, i, c[0])
			cells += `,"` + c[1] + `"`
		}
		r.b.analyze = openAnalysis
		r.up.setAnswer(func(seenQuery) (int, string) {
			return 200, `{"data":{"rowtype":[` + columns[1:] + `],"rowset":[[` + cells[1:] + `]],"total":1,"queryId":"` + uuid.NewString() + `","statementTypeId":4096,"queryResultFormat":"json"},"code":null,"message":null,"success":true}`
		})
		a := r.rest("POST", statements, body{"statement": "select 1"})
		want := "true|false|-1|43200.500000000|1700000000.123000000|-1.000000000 1500|7.000000000|inf|12.30|{\"a\":1}|00FF\n"
		if a.cells() != want {
			t.Errorf("got %s", a.Raw)
		}
	})
	t.Run("refused, and nothing runs", func(t *testing.T) {
		r := newRig(t)
		lease := r.lease.Reveal()
		for name, c := range map[string]struct {
			status int
			jit    string
			path   string
			body   any
			edit   func(*http.Request)
		}{
			"by policy":          {422, "JIT-2001", "", body{"statement": "grant x"}, nil},
			"not understood":     {422, "JIT-2002", "", body{"statement": "frobnicate"}, nil},
			"another role":       {403, "JIT-1005", "", body{"statement": "select 1", "role": "ACCOUNTADMIN"}, nil},
			"another warehouse":  {403, "JIT-1005", "", body{"statement": "select 1", "warehouse": "BIG"}, nil},
			"an unknown key":     {400, "JIT-2007", "", body{"statement": "select 1", "dataframeAst": "x"}, nil},
			"a key twice":        {400, "JIT-2007", "", `{"statement":"select 1","statement":"drop table t"}`, nil},
			"another case":       {400, "JIT-2007", "", body{"statement": "select 1", "Statement": "drop table t"}, nil},
			"no JSON":            {400, "JIT-2007", "", "hello", nil},
			"no statement":       {400, "JIT-2007", "", body{}, nil},
			"an unknown option":  {400, "JIT-2007", "?x=1", body{"statement": "select 1"}, nil},
			"a bad option":       {400, "JIT-2007", "?async=maybe", body{"statement": "select 1"}, nil},
			"an option twice":    {400, "JIT-2007", "?async=true&async=false", body{"statement": "select 1"}, nil},
			"nulls as words":     {422, "JIT-2003", "?nullable=false", body{"statement": "select 1"}, nil},
			"a parameter":        {422, "JIT-2003", "", body{"statement": "select 1", "parameters": body{"search_path": "X"}}, nil},
			"a format":           {422, "JIT-2003", "", body{"statement": "select 1", "parameters": body{"date_output_format": "YYYY"}}, nil},
			"autocommit":         {422, "JIT-2003", "", body{"statement": "insert into t values (1)", "parameters": body{"autocommit": false}}, nil},
			"a lone USE":         {422, "JIT-2003", "", body{"statement": "use schema other"}, nil},
			"a form":             {415, "JIT-2007", "", body{"statement": "select 1"}, func(q *http.Request) { q.Header.Set("Content-Type", "text/plain") }},
			"two, none told":     {422, "JIT-2009", "", body{"statement": "select 1; select 2"}, nil},
			"another lease":      {401, "JIT-1001", "", body{"statement": "select 1"}, func(q *http.Request) { q.Header.Set("Authorization", "Bearer x") }},
			"no token":           {401, "JIT-1001", "", body{"statement": "select 1"}, func(q *http.Request) { q.Header.Del("Authorization") }},
			"a session token":    {401, "JIT-1001", "", body{"statement": "select 1"}, func(q *http.Request) { q.Header.Set("Authorization", `Snowflake Token="`+lease+`"`) }},
			"two tokens":         {401, "JIT-1001", "", body{"statement": "select 1"}, func(q *http.Request) { q.Header.Add("Authorization", "Bearer "+lease) }},
			"a key pair":         {401, "JIT-1003", "", body{"statement": "select 1"}, func(q *http.Request) { q.Header.Set("X-Snowflake-Authorization-Token-Type", "KEYPAIR_JWT") }},
			"RESULT_SCAN of any": {422, "JIT-4004", "", body{"statement": "select * from table(result_scan('" + uuid.NewString() + "'))"}, nil},
		} {
			t.Run(name, func(t *testing.T) {
				wantAPI(t, r.rest("POST", statements+c.path, c.body, func(q *http.Request) {
					if c.edit != nil {
						c.edit(q)
					}
				}), c.status, c.jit)
			})
		}
		wantAPI(t, r.rest("GET", statements+"/"+uuid.NewString(), nil), 404, "JIT-4004")
		wantAPI(t, r.rest("POST", statements+"/"+uuid.NewString()+"/cancel", nil), 404, "JIT-4004")
		for _, path := range []string{"/api/v2/databases", "/api/v2/cortex/inference:complete", "/api/v2/statements/x/retry", "/api/v2/"} {
			wantAPI(t, r.rest("POST", path, nil), 404, "JIT-5001")
		}
		wantAPI(t, r.rest("PUT", statements, nil), 405, "JIT-5001")
		if q := r.up.seen(); len(q) != 0 {
			t.Errorf("forwarded %v", q)
		}
		r.noSecrets()
	})
	t.Run("held: 202, then the result", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Hold = time.Millisecond }) // a driver's patience is not the SQL API's
		r.b.poll = 50 * time.Millisecond
		a := r.rest("POST", statements, body{"statement": "drop table t"})
		if a.Status != 202 || a.Code != "333333" || a.URL != statements+"/"+a.Handle || !strings.Contains(a.Message, "NOT run") {
			t.Fatalf("got %d %s", a.Status, a.Raw)
		}
		request := <-r.desk.filed
		if again := r.rest("GET", a.URL, nil); again.Status != 202 || again.Handle != a.Handle {
			t.Fatalf("got %d %s", again.Status, again.Raw)
		}
		// Another request does not wait behind the held one.
		r.b.poll = longPoll
		if other := r.rest("POST", statements, body{"statement": "select 1"}); other.Status != 200 {
			t.Fatalf("got %d %s", other.Status, other.Raw)
		}
		r.decide(request, session.OutcomeApprove)
		eventually(t, "the result", func() bool { return r.rest("GET", a.URL, nil).Status == 200 })
		if r.desk.redeemed != 1 || len(r.up.seen()) != 2 {
			t.Errorf("%d redeemed, ran %v", r.desk.redeemed, r.up.seen())
		}
	})
	t.Run("held: denied, canceled", func(t *testing.T) {
		r := newRig(t)
		a := r.rest("POST", statements+"?async=true", body{"statement": "drop table t"})
		if a.Status != 202 || a.Code != "333334" {
			t.Fatalf("got %d %s", a.Status, a.Raw)
		}
		r.decide(<-r.desk.filed, session.OutcomeDeny)
		var d apiAnswer
		eventually(t, "denied", func() bool { d = r.rest("GET", a.URL, nil); return d.Status == 422 })
		wantAPI(t, d, 422, "JIT-3002")
		c := r.rest("POST", statements+"?async=true", body{"statement": "drop table u"})
		request := <-r.desk.filed
		if got := r.rest("POST", c.URL+"/cancel", nil); got.Status != 200 {
			t.Fatalf("got %d %s", got.Status, got.Raw)
		}
		eventually(t, "withdrawn", func() bool { return r.desk.state(request) == session.StateWithdrawn })
		wantAPI(t, r.rest("GET", c.URL, nil), 422, "JIT-3004")
		if got := r.rest("POST", c.URL+"/cancel", nil); got.Status != 422 || got.Code != "000605" {
			t.Errorf("canceled twice: %s", got.Raw)
		}
		if len(r.up.seen()) != 0 {
			t.Error("something ran")
		}
	})
	t.Run("a request id runs once", func(t *testing.T) {
		r := newRig(t)
		id := uuid.NewString()
		var work sync.WaitGroup
		for range 8 {
			work.Go(func() {
				if a := r.rest("POST", statements+"?requestId="+id+"&retry=true", body{"statement": "select 1"}); a.Status != 200 {
					t.Errorf("got %s", a.Raw)
				}
			})
		}
		work.Wait()
		if n := len(r.up.seen()); n != 1 {
			t.Errorf("executed %d times", n)
		}
		if q := r.up.seen()[0]; q.RequestID == id {
			t.Error("the client's request id went upstream")
		}
		wantAPI(t, r.rest("POST", statements+"?requestId="+id+"&retry=true", body{"statement": "select 2"}), 422, "JIT-2004")
		wantAPI(t, r.rest("POST", statements+"?requestId="+id+"&retry=true", body{"statement": "select 1", "schema": "OTHER"}), 422, "JIT-2004")
		refused := uuid.NewString()
		a := r.rest("POST", statements+"?requestId="+refused, body{"statement": "grant x"})
		if b := r.rest("POST", statements+"?requestId="+refused+"&retry=true", body{"statement": "grant x"}); b.Raw != a.Raw || a.Status != 422 {
			t.Errorf("refused another way: %s", b.Raw)
		}
	})
	t.Run("sessions are reused, never after a batch, and make room", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.MaxLogins = 2 })
		opened := func() int { r.account.mu.Lock(); defer r.account.mu.Unlock(); return r.account.opened }
		for range 3 {
			r.rest("POST", statements, body{"statement": "select 1"})
		}
		if n := opened(); n != 1 {
			t.Fatalf("%d sessions for one place", n)
		}
		r.up.setAnswer(func(q seenQuery) (int, string) {
			return 200, strings.Replace(plainRow, `"statementTypeId":4096`, `"statementTypeId":40960,"resultIds":"01c0ffee-0000-0000-0000-00000000000a,01c0ffee-0000-0000-0000-00000000000b","resultTypes":"4096,4096"`, 1)
		})
		r.rest("POST", statements, body{"statement": "use schema other; select 1", "parameters": body{"MULTI_STATEMENT_COUNT": "2"}})
		r.up.setAnswer(func(seenQuery) (int, string) { return 200, plainRow })
		r.rest("POST", statements, body{"statement": "select 1"})
		if n := opened(); n != 2 {
			t.Fatalf("%d sessions", n)
		}
		if a := r.rest("POST", statements, body{"statement": "select 1", "schema": "THIRD"}); a.Status != 200 {
			t.Fatalf("no room was made: %s", a.Raw)
		}
		r.login() // a driver gets room, too
	})
	t.Run("too many at once", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.MaxLogins = 1 })
		a := r.rest("POST", statements+"?async=true", body{"statement": "drop table t"})
		<-r.desk.filed
		wantAPI(t, r.rest("POST", statements, body{"statement": "select 1"}), 429, "JIT-1004")
		r.rest("POST", a.URL+"/cancel", nil)
	})
	t.Run("errors of Snowflake", func(t *testing.T) {
		r := newRig(t)
		for code, status := range map[string]int{"000630": 408, "002003": 422} {
			r.up.setAnswer(func(seenQuery) (int, string) {
				return 200, `{"data":{"sqlState":"57014","errorCode":"` + code + `"},"code":"` + code + `","message":"planted-cell","success":false}`
			})
			a := r.rest("POST", statements, body{"statement": "select ID, EMAIL, SSN from customers"})
			if a.Status != status || a.Code != code || strings.Contains(a.Raw, "planted") {
				t.Errorf("got %d %s", a.Status, a.Raw)
			}
		}
	})
	t.Run("the session ends", func(t *testing.T) {
		r := newRig(t)
		r.rest("POST", statements, body{"statement": "select 1"})
		r.desk.events <- sessionEnded("sess-1")
		eventually(t, "401", func() bool { return r.rest("POST", statements, body{"statement": "select 1"}).Status == 401 })
	})
	t.Run("idle sessions are closed", func(t *testing.T) {
		r := newRig(t)
		a := r.rest("POST", statements, body{"statement": "select 1"})
		r.b.dropIdle(time.Now().Add(apiLife + time.Minute))
		eventually(t, "closed", func() bool {
			r.account.mu.Lock()
			defer r.account.mu.Unlock()
			return slices.Equal(r.account.closed, []string{"up-1"})
		})
		wantAPI(t, r.rest("GET", a.URL, nil), 404, "JIT-4004")
		r.b.dropIdle(time.Now().Add(apiLife + time.Minute))
		if len(r.b.api.calls)+len(r.b.api.free) != 0 {
			t.Error("something is remembered")
		}
	})
	t.Run("handles and ids of drivers are apart", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		id, _ := r.query(tk, "", "select 1").data(t)["queryId"].(string)
		wantAPI(t, r.rest("GET", statements+"/"+id, nil), 404, "JIT-4004")
		h := r.rest("POST", statements, body{"statement": "select 1", "schema": "PUBLIC"}).Handle
		if a := r.send("GET", "/queries/"+h+"/result", tk.token, nil); a.code() != "000709" {
			t.Errorf("got %s", a.Raw)
		}
	})
}

func TestSQLAPIPartitions(t *testing.T) {
	r := newRig(t)
	var cut atomic.Bool
	r.up.extra = func(w http.ResponseWriter, _ *http.Request) {
		z := gz([]byte(chunkRows))
		if cut.Load() {
			z = z[:len(z)-9]
		}
		_, _ = w.Write(z)
	}
	r.up.setAnswer(func(seenQuery) (int, string) { return 200, chunked(r, 2, storageHeaders) })
	a := r.rest("POST", statements, body{"statement": "select ID, EMAIL, SSN from customers"})
	if a.Status != 200 || len(a.Meta.Parts) != 3 || a.Meta.NumRows != 7 || a.Meta.Parts[2].RowCount != 2 ||
		strings.Contains(a.Raw, "jit/chunk") || strings.Contains(a.Raw, "SSE-C-KEY") || strings.Contains(a.Raw, "planted") {
		t.Fatalf("got %s", a.Raw)
	}
	for _, gzipped := range []bool{true, false} {
		for n := 1; n <= 2; n++ {
			p := r.rest("GET", fmt.Sprintf("%s?partition=%d", a.URL, n), nil, func(q *http.Request) {
				if !gzipped {
					q.Header.Set("Accept-Encoding", "identity")
				}
			})
			if p.Status != 200 || p.Raw != `{"data":[["10","‹masked:pii.email›",null],["11",null,null]]}` {
				t.Errorf("partition %d: %d %s", n, p.Status, p.Raw)
			}
		}
	}
	wantAPI(t, r.rest("GET", a.URL+"?partition=3", nil), 404, "JIT-4004")
	wantAPI(t, r.rest("GET", a.URL+"?partition=-1", nil), 400, "JIT-2007")

	cut.Store(true)
	req, _ := http.NewRequest("GET", r.url+a.URL+"?partition=1", nil)
	req.Header.Set("Authorization", "Bearer "+r.lease.Reveal())
	resp, err := r.client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		if raw, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("a cut chunk ended cleanly: %s", raw)
		}
	}
}

// TestSQLAPILargeResult: what is not kept is asked for again, under the same plan.
func TestSQLAPILargeResult(t *testing.T) {
	r := newRig(t)
	big := strings.Replace(customers, `[["1",`, `[`+strings.Repeat(`["7","planted-x@example.com",null],`, 20000)+`["1",`, 1)
	r.up.setAnswer(func(seenQuery) (int, string) { return 200, big })
	r.up.results["01c0ffee-0000-0000-0000-000000000001"] = big
	a := r.rest("POST", statements, body{"statement": "select ID, EMAIL, SSN from customers"})
	b := r.rest("GET", a.URL, nil)
	if a.Status != 200 || len(a.Data) != 20003 || a.cells() != b.cells() || strings.Contains(a.Raw+b.Raw, "planted") || len(r.up.seen()) != 1 {
		t.Errorf("%d and %d rows, %d executions", len(a.Data), len(b.Data), len(r.up.seen()))
	}
}

// TestSQLAPISlowStorage: 503 in time, and the transfer is taken up again.
func TestSQLAPISlowStorage(t *testing.T) {
	r := newRig(t)
	release := make(chan struct{})
	var fetches atomic.Int64
	r.up.extra = func(w http.ResponseWriter, _ *http.Request) {
		fetches.Add(1)
		<-release
		_, _ = w.Write([]byte(chunkRows))
	}
	r.up.setAnswer(func(seenQuery) (int, string) { return 200, chunked(r, 1, "") })
	a := r.rest("POST", statements, body{"statement": "select ID, EMAIL, SSN from customers"})
	r.b.poll = 30 * time.Millisecond
	for range 2 {
		if p := r.rest("GET", a.URL+"?partition=1", nil); p.Status != 503 || !strings.Contains(p.Message, "ask for the partition again") {
			t.Fatalf("got %d %s", p.Status, p.Raw)
		}
	}
	close(release)
	eventually(t, "the partition", func() bool {
		p := r.rest("GET", a.URL+"?partition=1", nil)
		return p.Status == 200 && p.cells() == "10|‹masked:pii.email›|NULL\n11|NULL|NULL\n"
	})
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches from the storage", n)
	}
}

// TestSQLAPISandbox is the SQL API against a server that runs SQL, with the
// shipped bundle and the real analyser.
func TestSQLAPISandbox(t *testing.T) {
	d := drive(t, sandbox.Options{ChunkRows: 7})
	direct, err := rows(t, d.direct, t.Context(), "select ID, EMAIL, ACTIVE from DEMO.PUBLIC.CUSTOMERS order by ID")
	if err != nil {
		t.Fatal(err)
	}
	a := d.rest("POST", statements, body{"statement": "select ID, EMAIL, ACTIVE from CUSTOMERS order by ID", "database": "demo", "schema": "PUBLIC"})
	if a.Status != 200 || len(a.Meta.Parts) < 2 || a.Meta.NumRows != int64(len(direct)) {
		t.Fatalf("got %d %s", a.Status, a.Raw)
	}
	got := a.Data
	for n := 1; n < len(a.Meta.Parts); n++ {
		got = append(got, d.rest("GET", fmt.Sprintf("%s?partition=%d", a.URL, n), nil).Data...)
	}
	if len(got) != len(direct) {
		t.Fatalf("%d rows, directly %d", len(got), len(direct))
	}
	for i, row := range got {
		if *row[0] != direct[i][0] || *row[2] != map[string]string{"1": "true", "0": "false"}[direct[i][2]] || row[1] != nil && !strings.Contains(*row[1], "masked") {
			t.Errorf("row %d is %s, directly %v", i, apiAnswer{Data: [][]*string{row}}.cells(), direct[i])
		}
	}

	b := d.rest("POST", statements, body{"statement": "use schema ANALYTICS.WEB; select count(*) from DEMO.PUBLIC.CUSTOMERS; select max(ID) from EVENTS where ID <= 3",
		"parameters": body{"multi_statement_count": "3"}})
	if b.Status != 200 || len(b.Handles) != 3 || b.cells() != "Multiple statements executed successfully.\n" {
		t.Fatalf("got %d %s", b.Status, b.Raw)
	}
	for n, want := range []string{"", fmt.Sprintf("%d\n", len(direct)), "3\n"} {
		if c := d.rest("GET", statements+"/"+b.Handles[n], nil); c.Status != 200 || want != "" && c.cells() != want {
			t.Errorf("statement %d: %d %s", n+1, c.Status, c.Raw)
		}
	}
	c := d.rest("POST", statements, body{"statement": "select ID from DEMO.PUBLIC.CUSTOMERS where ID = ?", "bindings": body{"1": body{"type": "FIXED", "value": "2"}}})
	if c.cells() != "2\n" {
		t.Errorf("bindings: %d %s", c.Status, c.Raw)
	}

	h := d.rest("POST", statements+"?async=true", body{"statement": "drop table DEMO.PUBLIC.ORDERS"})
	if h.Status != 202 {
		t.Fatalf("got %d %s", h.Status, h.Raw)
	}
	d.decide(<-d.desk.filed, session.OutcomeApprove)
	eventually(t, "the drop", func() bool { return d.rest("GET", h.URL, nil).Status == 200 })
	if _, err := rows(t, d.direct, t.Context(), "select 1 from DEMO.PUBLIC.ORDERS"); err == nil {
		t.Error("the table is still there")
	}
}
