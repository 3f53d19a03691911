package sandbox_test

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/jit-access/jit/broker/credential"
	"github.com/jit-access/jit/broker/snowflake/sandbox"
	"github.com/jit-access/jit/session/secret"
)

// answer is an envelope as a raw client sees it.
type answer struct {
	Status  int
	Type    string
	Data    map[string]any
	Code    *string
	Message *string
	Success bool
}

func (a answer) code() string {
	if a.Code == nil {
		return ""
	}
	return *a.Code
}

// send makes a request and reads the envelope. token goes into Authorization.
func (w world) send(t testing.TB, method, target, token, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", `Snowflake Token="`+token+`"`)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	a := answer{Status: resp.StatusCode, Type: resp.Header.Get("Content-Type")}
	d := json.NewDecoder(resp.Body)
	d.UseNumber()
	if err := d.Decode(&a); err != nil {
		t.Fatalf("%s %s: the answer is no envelope: %v", method, target, err)
	}
	if a.Type != "application/json" {
		t.Errorf("%s %s: content type %q", method, target, a.Type)
	}
	if !a.Success && (a.Code == nil || a.Message == nil || a.Data == nil) {
		t.Errorf("%s %s: a failure without code, message or data: %+v", method, target, a)
	}
	return a
}

const passwordLogin = `{"data":{"ACCOUNT_NAME":"TESTACCT","LOGIN_NAME":"alice","PASSWORD":"` + password + `","CLIENT_APP_ID":"Raw"}}`

// login returns the session and master tokens of a new session.
func (w world) login(t testing.TB) (token, master string) {
	t.Helper()
	a := w.send(t, "POST", "/session/v1/login-request?databaseName=DEMO&schemaName=PUBLIC", "", passwordLogin)
	if !a.Success {
		t.Fatalf("login: %s %s", a.code(), *a.Message)
	}
	if _, ok := a.Data["sessionId"].(json.Number); !ok {
		t.Errorf("sessionId is %v", a.Data["sessionId"])
	}
	for _, p := range a.Data["parameters"].([]any) {
		if p.(map[string]any)["value"] == nil {
			t.Errorf("a null parameter: %v", p)
		}
	}
	return a.Data["token"].(string), a.Data["masterToken"].(string)
}

func TestTokensThatAreNotSessionTokens(t *testing.T) {
	w := start(t, nil)
	token, master := w.login(t)
	for name, tok := range map[string]string{"none": "", "unknown": "x", "master": master, "cut": token[:len(token)-1]} {
		if a := w.send(t, "POST", "/queries/v1/query-request?requestId=1", tok, `{"sqlText":"select 1"}`); a.Success || a.code() != "390111" || a.Status != 200 {
			t.Errorf("%s token: status %d, code %s", name, a.Status, a.code())
		}
	}
	if a := w.send(t, "POST", "/queries/v1/query-request", "", `{"sqlText":"select 1"}`, "Authorization", "Bearer "+token); a.Success {
		t.Error("a bearer token was accepted")
	}
	if n := len(w.Executed()); n != 0 {
		t.Errorf("%d statements ran", n)
	}
	if a := w.send(t, "POST", "/session/token-request", token, `{"requestType":"RENEW","oldSessionToken":"x"}`); a.Success || a.code() != "390114" {
		t.Errorf("renewal by the session token: %s", a.code())
	}
	if a := w.send(t, "POST", "/session/token-request", master, `{"requestType":"ISSUE"}`); a.Success {
		t.Error("a renewal of type ISSUE was accepted")
	}
}

func TestSessionLife(t *testing.T) {
	w := start(t, func(o *sandbox.Options) { o.SessionTTL = 400 * time.Millisecond })
	token, master := w.login(t)
	// By polling: the token must go from good to expired.
	deadline := time.Now().Add(5 * time.Second)
	for w.send(t, "POST", "/session/heartbeat", token, "").code() != "390112" {
		if time.Now().After(deadline) {
			t.Fatal("the token does not expire")
		}
	}
	if a := w.send(t, "POST", "/session?delete=true", token, ""); a.code() != "390112" || len(w.OpenSessions()) != 1 {
		t.Errorf("closing by an expired token: %s, %d sessions are open", a.code(), len(w.OpenSessions()))
	}
	a := w.send(t, "POST", "/session/token-request", master, `{"requestType":"RENEW","oldSessionToken":"`+token+`"}`)
	renewed, _ := a.Data["sessionToken"].(string)
	if !a.Success || renewed == "" || renewed == token {
		t.Fatalf("renewal: %+v", a)
	}
	if a := w.send(t, "POST", "/session/heartbeat", token, ""); a.code() != "390111" {
		t.Errorf("the old token after the renewal: %s", a.code())
	}
	if a := w.send(t, "POST", "/session?delete=true", renewed, ""); !a.Success {
		t.Errorf("closing: %s", a.code())
	}
	if a := w.send(t, "POST", "/session/heartbeat", renewed, ""); a.code() != "390111" {
		t.Errorf("a heartbeat after closing: %s", a.code())
	}
	if a := w.send(t, "POST", "/session/token-request", a.Data["masterToken"].(string), `{"requestType":"RENEW"}`); a.Success {
		t.Error("the master token of a closed session renews")
	}
}

func TestRequestIDRunsOnce(t *testing.T) {
	w := start(t, nil)
	token, _ := w.login(t)
	const insert = `{"sqlText":"insert into products values (77, 'x', 1, 1)"}`
	first := w.send(t, "POST", "/queries/v1/query-request?requestId=r1", token, insert)
	again := w.send(t, "POST", "/queries/v1/query-request?requestId=r1&retryCount=1", token, insert)
	empty := w.send(t, "POST", "/queries/v1/query-request?requestId=r1", token, `{}`)
	for name, a := range map[string]answer{"repeat": again, "resubmission without text": empty} {
		if !a.Success || a.Data["queryId"] != first.Data["queryId"] {
			t.Errorf("%s: %v, first %v", name, a.Data["queryId"], first.Data["queryId"])
		}
	}
	if n := len(w.Executed()); n != 1 {
		t.Errorf("%d executions", n)
	}
	other, _ := w.login(t)
	if a := w.send(t, "POST", "/queries/v1/query-request?requestId=r1", other, `{}`); a.Success {
		t.Error("a requestId worked in another session")
	}
}

func TestPythonShapes(t *testing.T) {
	w := start(t, nil)
	pack := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, s)
		_ = z.Close()
		return b.String()
	}
	a := w.send(t, "POST", "/session/v1/login-request?request_id=1&databaseName=demo&schemaName=public", "None", pack(passwordLogin), "Content-Encoding", "gzip")
	if !a.Success {
		t.Fatalf("login: %s", a.code())
	}
	token := a.Data["token"].(string)
	a = w.send(t, "POST", "/queries/v1/query-request?requestId=2", token,
		pack(`{"sqlText":"select name, ssn from customers where id = 1","asyncExec":false,"sequenceId":1,"parameters":{"PYTHON_CONNECTOR_QUERY_RESULT_FORMAT":"JSON"},"queryContextDTO":{}}`))
	if got, _ := json.Marshal(a.Data["rowset"]); string(got) != `[["Ada Example","900-10-1000"]]` || a.Data["queryResultFormat"] != "json" {
		t.Errorf("rowset %s", got)
	}
	for _, c := range a.Data["rowtype"].([]any) {
		c := c.(map[string]any)
		for _, key := range []string{"name", "type", "nullable", "length", "precision", "scale", "database", "schema", "table"} {
			if _, ok := c[key]; !ok {
				t.Errorf("rowtype without %s: %v", key, c)
			}
		}
		if c["table"] != "CUSTOMERS" || c["database"] != "DEMO" || c["schema"] != "PUBLIC" {
			t.Errorf("provenance %v", c)
		}
	}
}

func TestProvenance(t *testing.T) {
	w := start(t, nil)
	token, _ := w.login(t)
	for _, tt := range []struct{ sql, want string }{
		{"select id as x, upper(name), ssn || '' from customers", "CUSTOMERS  "},
		{"select * from order_totals", "ORDER_TOTALS ORDER_TOTALS ORDER_TOTALS ORDER_TOTALS"},
		{"select name, total from order_totals", "ORDER_TOTALS ORDER_TOTALS"},
		{"select c.name, o.amount, p.name from customers c, orders o, products p where 1 = 0", "CUSTOMERS ORDERS PRODUCTS"},
		{"with a as (select ssn as s from customers) select s from a", "CUSTOMERS"},
		{"select s from (select ssn as s from customers) q", "CUSTOMERS"},
		{"select 1, max(ssn) from customers", " "},
	} {
		body, _ := json.Marshal(map[string]any{"sqlText": tt.sql, "describeOnly": true})
		a := w.send(t, "POST", "/queries/v1/query-request", token, string(body))
		var got []string
		columns, _ := a.Data["rowtype"].([]any)
		for _, c := range columns {
			got = append(got, c.(map[string]any)["table"].(string))
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %q, want %q", tt.sql, s, tt.want)
		}
		if rs, ok := a.Data["rowset"].([]any); !ok || len(rs) != 0 {
			t.Errorf("%s: a description with rowset %v", tt.sql, a.Data["rowset"])
		}
	}
}

func TestPollAbortAndMonitor(t *testing.T) {
	w := start(t, func(o *sandbox.Options) { o.AnswerWithin = 10 * time.Millisecond })
	token, _ := w.login(t)
	stranger, _ := w.login(t)
	a := w.send(t, "POST", "/queries/v1/query-request?requestId=slow", token, `{"sqlText":"select system$wait(3600)"}`)
	id, _ := a.Data["queryId"].(string)
	if !a.Success || a.code() != "333333" || a.Data["getResultUrl"] != "/queries/"+id+"/result" {
		t.Fatalf("a slow statement: %+v", a)
	}
	status := func() any {
		m := w.send(t, "GET", "/monitoring/queries/"+id, token, "")
		return m.Data["queries"].([]any)[0].(map[string]any)["status"]
	}
	if s := status(); s != "RUNNING" {
		t.Errorf("status %v", s)
	}
	if a := w.send(t, "GET", "/queries/"+id+"/result", token, ""); a.code() != "333333" {
		t.Errorf("a poll: %s", a.code())
	}
	if a := w.send(t, "POST", "/queries/v1/abort-request?requestId=9", stranger, `{"requestId":"slow"}`); a.code() != "000605" {
		t.Errorf("an abort by another session: %s", a.code())
	}
	if a := w.send(t, "POST", "/queries/v1/abort-request?requestId=10", token, `{"requestId":"slow"}`); !a.Success {
		t.Errorf("the abort: %s", a.code())
	}
	deadline := time.Now().Add(5 * time.Second)
	for a = w.send(t, "GET", "/queries/"+id+"/result", token, ""); a.code() == "333333"; a = w.send(t, "GET", "/queries/"+id+"/result", token, "") {
		if time.Now().After(deadline) {
			t.Fatal("the abort does not end the statement")
		}
	}
	if a.code() != "000604" || a.Data["sqlState"] != "57014" {
		t.Errorf("after the abort: %s %v", a.code(), a.Data["sqlState"])
	}
	if s := status(); s != "FAILED_WITH_ERROR" {
		t.Errorf("status after the abort: %v", s)
	}
	if a := w.send(t, "POST", "/queries/"+id+"/abort-request", token, ""); a.code() != "000605" {
		t.Errorf("a second abort: %s", a.code())
	}
	for _, bad := range []string{"00000000-0000-0000-0000-000000000000", "x"} {
		if a := w.send(t, "GET", "/queries/"+bad+"/result", token, ""); a.code() != "000709" {
			t.Errorf("an unknown query id: %s", a.code())
		}
	}
}

func TestChunkURLs(t *testing.T) {
	w := start(t, func(o *sandbox.Options) { o.ChunkRows = 20; o.ChunkLife = time.Second })
	token, _ := w.login(t)
	a := w.send(t, "POST", "/queries/v1/query-request?requestId=c", token, `{"sqlText":"select id, name, phone from customers order by id"}`)
	chunks, _ := a.Data["chunks"].([]any)
	if len(chunks) != 2 || len(a.Data["rowset"].([]any)) != 20 || a.Data["total"] != json.Number("50") {
		t.Fatalf("%d chunks, %d rows inline, total %v", len(chunks), len(a.Data["rowset"].([]any)), a.Data["total"])
	}
	headers := a.Data["chunkHeaders"].(map[string]any)
	target := chunks[1].(map[string]any)["url"].(string)
	get := func(change func(http.Header)) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", target, nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range headers {
			req.Header.Set(k, v.(string))
		}
		change(req.Header)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
			t.Error("a chunk is served as application/json")
		}
		return resp.StatusCode, string(b)
	}
	code, body := get(func(http.Header) {})
	var cells [][]*string
	if err := json.Unmarshal([]byte("["+body+"]"), &cells); code != 200 || err != nil || len(cells) != 10 || *cells[9][0] != "50" || cells[9][2] != nil {
		t.Errorf("chunk: status %d, %v, %s", code, err, body)
	}
	if _, plain := get(func(h http.Header) { h.Set("Accept-Encoding", "identity") }); plain != body {
		t.Error("the chunk differs without compression")
	}
	for name, change := range map[string]func(http.Header){
		"without the key":      func(h http.Header) { h.Del("x-amz-server-side-encryption-customer-key") },
		"with another key":     func(h http.Header) { h.Set("x-amz-server-side-encryption-customer-key", "AAAA") },
		"without an algorithm": func(h http.Header) { h.Del("x-amz-server-side-encryption-customer-algorithm") },
		"with a session token": func(h http.Header) { h.Set("Authorization", `Snowflake Token="`+token+`"`) },
	} {
		if code, _ := get(change); code != 403 {
			t.Errorf("%s: status %d, want 403", name, code)
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for code, _ := get(func(http.Header) {}); code != 403; code, _ = get(func(http.Header) {}) {
		if time.Now().After(deadline) {
			t.Fatal("the chunk's URL does not expire")
		}
	}
	// By id: as many chunks, with fresh URLs.
	b := w.send(t, "GET", "/queries/"+a.Data["queryId"].(string)+"/result?disableOfflineChunks=false", token, "")
	fresh, _ := b.Data["chunks"].([]any)
	if len(fresh) != 2 || fresh[1].(map[string]any)["url"] == target {
		t.Errorf("refreshed chunks %v", fresh)
	}
}

func TestNodeNeverGetsArrow(t *testing.T) {
	w := start(t, nil)
	a := w.send(t, "POST", "/session/v1/login-request?databaseName=DEMO", "", strings.Replace(passwordLogin, "Raw", "JavaScript", 1))
	a = w.send(t, "POST", "/queries/v1/query-request", a.Data["token"].(string), `{"sqlText":"select 1","parameters":{"PYTHON_CONNECTOR_QUERY_RESULT_FORMAT":"ARROW"}}`)
	if a.Data["queryResultFormat"] != "json" {
		t.Errorf("format %v", a.Data["queryResultFormat"])
	}
}

func TestUnknownEndpointsAndBodies(t *testing.T) {
	w := start(t, nil)
	token, _ := w.login(t)
	for _, target := range []string{"/api/v2/statements", "/console/login", "/session/authenticator-request", "/", "/queries/v1/query-request/x"} {
		if a := w.send(t, "POST", target, token, "{}"); a.Status != 404 || a.Success {
			t.Errorf("%s: status %d", target, a.Status)
		}
	}
	for _, body := range []string{"", "{", "[]", `{"sqlText":5}`, "\x1f\x8bnot gzip"} {
		if a := w.send(t, "POST", "/queries/v1/query-request?requestId=b", token, body); a.Success {
			t.Errorf("body %q was accepted", body)
		}
		if a := w.send(t, "POST", "/session/v1/login-request", "", body); a.Success {
			t.Errorf("login body %q was accepted", body)
		}
	}
}

// TestCredentialPackageLogsIn joins the two ends: the login the approval
// server uses, and the sandbox.
func TestCredentialPackageLogsIn(t *testing.T) {
	w := start(t, nil)
	p := credential.Params{Account: "testacct.local", User: "alice", Role: "ANALYST", Database: "DEMO", Schema: "PUBLIC", Warehouse: "WH",
		SessionParameters: map[string]string{"QUERY_TAG": "jit"}}
	s, err := credential.Login(t.Context(), nil, w.url, p, credential.NewPassword(secret.New(password)))
	if err != nil {
		t.Fatal(err)
	}
	if s.Info.Database != "DEMO" || s.Info.Role != "ANALYST" || s.SnowflakeID == 0 || s.ValidFor != time.Hour {
		t.Errorf("session %+v", s)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := credential.ParseKeyPair(secret.New(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))), secret.Text{})
	if err != nil {
		t.Fatal(err)
	}
	var refused *credential.LoginError
	if _, err := credential.Login(t.Context(), nil, w.url, p, pair); !errors.As(err, &refused) || refused.Code != "390144" {
		t.Errorf("a key that is not registered: %v", err)
	}
	keyed := start(t, func(o *sandbox.Options) { o.Users["alice"] = sandbox.User{PublicKey: &key.PublicKey} })
	if _, err := credential.Login(t.Context(), nil, keyed.url, p, pair); err != nil {
		t.Errorf("by key pair: %v", err)
	}
	if _, err := credential.Login(t.Context(), nil, keyed.url, p, credential.NewPassword(secret.New(""))); err == nil {
		t.Error("a user without a password logged in with an empty one")
	}
	old := s.Token
	if s, err = credential.Renew(t.Context(), nil, w.url, s); err != nil {
		t.Fatal(err)
	}
	if err := credential.Heartbeat(t.Context(), nil, w.url, s.Token); err != nil {
		t.Error(err)
	}
	if err := credential.Heartbeat(t.Context(), nil, w.url, old); err == nil {
		t.Error("the old token still works")
	}
	if a := w.send(t, "POST", "/queries/v1/query-request", s.Token.Reveal(), `{"sqlText":"select 1"}`); !a.Success || w.Executed()[0].QueryTag != "jit" {
		t.Errorf("a query in the session: %+v", w.Executed())
	}
	w.ExpireTokens()
	if err := credential.Logout(t.Context(), nil, w.url, s); err != nil {
		t.Error(err)
	}
	if len(w.OpenSessions()) != 0 {
		t.Error("the session is still open")
	}
}

// TestClosingTwiceAtOnce: of two closings of a session that runs a statement,
// both return, and the statement ends.
func TestClosingTwiceAtOnce(t *testing.T) {
	w := start(t, func(o *sandbox.Options) { o.AnswerWithin = 10 * time.Millisecond })
	token, _ := w.login(t)
	if a := w.send(t, "POST", "/queries/v1/query-request?requestId=slow", token, `{"sqlText":"with recursive r(n) as (select 1 union all select n + 1 from r) select count(*) from r"}`); a.code() != "333333" {
		t.Fatalf("the slow statement: %s", a.code())
	}
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			if a := w.send(t, "POST", "/session?delete=true", token, ""); !a.Success && a.code() != "390111" {
				return errors.New("closing: " + a.code())
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if n := len(w.OpenSessions()); n != 0 {
		t.Errorf("%d sessions are open", n)
	}
}

// TestLogsHoldNoSecret: the log says what happened, not with which password,
// token, text or value.
func TestLogsHoldNoSecret(t *testing.T) {
	var logged syncBuffer
	w := start(t, func(o *sandbox.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	token, master := w.login(t)
	w.send(t, "POST", "/session/v1/login-request", "", strings.Replace(passwordLogin, password, "wrong-canary", 1))
	w.send(t, "POST", "/queries/v1/query-request", token, `{"sqlText":"select 'text-canary', ssn from customers"}`)
	w.send(t, "POST", "/queries/v1/query-request", token, `{"sqlText":"select 'value-canary'::int"}`)
	w.send(t, "POST", "/session?delete=true", token, "")
	text := logged.String()
	for _, planted := range []string{password, "canary", token, master, "900-10-1000"} {
		if strings.Contains(text, planted) {
			t.Errorf("the log holds %q", planted)
		}
	}
	for _, said := range []string{"session opened", "login refused", "statement ended", "session closed"} {
		if !strings.Contains(text, said) {
			t.Errorf("the log does not say %q:\n%s", said, text)
		}
	}
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
