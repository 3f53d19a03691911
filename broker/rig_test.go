package broker

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
	"github.com/jit-access/jit/session/secret"
)

// The parts around the broker in these tests are our own: a scripted upstream
// that answers what a test tells it to, a desk and an account of upstream
// sessions in memory, and rules and an analyser that read the text's first
// word. They show what the broker does, not that Snowflake would agree.

// seenQuery is one query-request as the scripted upstream got it.
type seenQuery struct {
	RequestID, RetryCount, Token string
	Header                       http.Header
	SQL                          string `json:"sqlText"`
	Describe                     bool   `json:"describeOnly"`
	Async                        bool   `json:"asyncExec"`
	Parameters                   map[string]any
	Bindings                     json.RawMessage
	Raw                          string
}

// scripted is the upstream. answer is called for every query; by default it
// gives a fixed table.
type scripted struct {
	*httptest.Server
	mu      sync.Mutex
	queries []seenQuery
	aborts  []string
	paths   []string
	answer  func(q seenQuery) (status int, body string)
	results map[string]string // by query id
	extra   http.HandlerFunc  // other paths
	instead http.HandlerFunc  // of all that is above
}

const customers = `{"data":{"parameters":[{"name":"CLIENT_STAGE_ARRAY_BINDING_THRESHOLD","value":65280},{"name":"TIMEZONE","value":"UTC"}],
"rowtype":[{"name":"ID","database":"APP","schema":"PUBLIC","table":"CUSTOMERS","nullable":false,"type":"fixed","length":null,"byteLength":null,"precision":38,"scale":0,"collation":null},
{"name":"EMAIL","database":"APP","schema":"PUBLIC","table":"CUSTOMERS","nullable":true,"type":"text","length":320,"byteLength":1280,"precision":null,"scale":null,"collation":null},
{"name":"SSN","database":"APP","schema":"PUBLIC","table":"CUSTOMERS","nullable":false,"type":"fixed","length":null,"byteLength":null,"precision":9,"scale":0,"collation":null}],
"rowset":[["1","planted-ada@example.com","987654321"],["2",null,"987654322"],["9007199254740993","planted-\"grace\"\n@example.com",null]],
"total":3,"returned":3,"queryId":"01c0ffee-0000-0000-0000-000000000001","databaseProvider":null,"finalDatabaseName":"APP","finalSchemaName":"PUBLIC",
"finalWarehouseName":"WH","finalRoleName":"READER","numberOfBinds":0,"statementTypeId":4096,"version":1,"smkId":92233720368547758079,
"queryResultFormat":"json","unknownKey":{"kept":[1.0,1e2]}},"code":null,"message":null,"success":true}`

const plainRow = `{"data":{"rowtype":[{"name":"ONE","database":"","schema":"","table":"","nullable":false,"type":"fixed","length":null,"byteLength":null,"precision":1,"scale":0}],
"rowset":[["1"]],"total":1,"returned":1,"queryId":"01c0ffee-0000-0000-0000-000000000002","finalDatabaseName":"APP","finalSchemaName":"PUBLIC","finalWarehouseName":"WH","finalRoleName":"READER","statementTypeId":4096,"queryResultFormat":"json"},"code":null,"message":null,"success":true}`

func newScripted(t testing.TB) *scripted {
	u := &scripted{results: map[string]string{}}
	u.answer = func(q seenQuery) (int, string) {
		if strings.Contains(strings.ToLower(q.SQL), "customers") {
			return 200, customers
		}
		return 200, plainRow
	}
	u.Server = httptest.NewServer(http.HandlerFunc(u.serve))
	t.Cleanup(u.Close)
	return u
}

func (u *scripted) intercept(h http.HandlerFunc) {
	u.mu.Lock()
	u.instead = h
	u.mu.Unlock()
}

func (u *scripted) serve(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	instead := u.instead
	u.mu.Unlock()
	if instead != nil {
		instead(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	u.paths = append(u.paths, r.URL.Path)
	u.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/queries/v1/query-request":
		q := seenQuery{RequestID: r.URL.Query().Get("requestId"), RetryCount: r.URL.Query().Get("retryCount"),
			Token: r.Header.Get("Authorization"), Header: r.Header, Raw: string(body)}
		if err := json.Unmarshal(body, &q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		u.mu.Lock()
		u.queries = append(u.queries, q)
		answer := u.answer
		u.mu.Unlock()
		status, text := answer(q)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	case strings.HasSuffix(r.URL.Path, "/abort-request"):
		u.mu.Lock()
		u.aborts = append(u.aborts, r.URL.Path+" "+string(body))
		u.mu.Unlock()
		_, _ = io.WriteString(w, `{"data":null,"code":null,"message":null,"success":true}`)
	case strings.HasPrefix(r.URL.Path, "/queries/"):
		u.mu.Lock()
		text, ok := u.results[pathID(r.URL.Path)]
		u.mu.Unlock()
		if !ok {
			text = `{"data":{"sqlState":"02000"},"code":"000709","message":"not found","success":false}`
		}
		_, _ = io.WriteString(w, text)
	case u.extra != nil:
		u.extra(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (u *scripted) seen() []seenQuery {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.queries)
}

func (u *scripted) setAnswer(f func(q seenQuery) (int, string)) {
	u.mu.Lock()
	u.answer = f
	u.mu.Unlock()
}

// account is the Upstreams of the tests.
type account struct {
	url     string
	mu      sync.Mutex
	opened  int
	renewed int
	closed  []string
	openErr error
	renew   error
	session session.Session // what the server says of it
	asked   int             // how often
}

func (a *account) OpenUpstream(context.Context) (session.Upstream, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.openErr != nil {
		return session.Upstream{}, a.openErr
	}
	a.opened++
	return session.Upstream{ID: fmt.Sprintf("up-%d", a.opened), URL: a.url, Token: secret.New(fmt.Sprintf("upstream-secret-%d", a.opened)),
		SnowflakeID: int64(1000 + a.opened), Database: "APP", Schema: "PUBLIC", Warehouse: "WH", Role: "READER", ServerVersion: "9.0.0",
		Parameters: []byte(`[{"name":"CLIENT_TELEMETRY_ENABLED","value":true},{"name":"CLIENT_STAGE_ARRAY_BINDING_THRESHOLD","value":65280},{"name":"NULLED","value":null},{"name":"TIMEZONE","value":"America/Los_Angeles"}]`)}, nil
}

func (a *account) RenewUpstream(_ context.Context, id string) (session.Upstream, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.renew != nil {
		return session.Upstream{}, a.renew
	}
	a.renewed++
	return session.Upstream{ID: id, Token: secret.New(fmt.Sprintf("upstream-secret-renewed-%d", a.renewed))}, nil
}

func (a *account) CloseUpstream(_ context.Context, id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = append(a.closed, id)
	return nil
}
func (a *account) Session(context.Context, string) (session.Session, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	return a.session, nil
}
func (a *account) Close(context.Context) error                         { return nil }
func (a *account) Cosign(context.Context, []byte) ([]byte, error)      { return nil, nil }
func (a *account) Upload(context.Context, string, int64, []byte) error { return nil }

// desk is the Desk of the tests.
type desk struct {
	mu        sync.Mutex
	requests  map[string]*session.Request
	order     []string
	events    chan session.Event
	submit    error
	redeemed  int
	keepMasks bool
	filed     chan string
}

func newDesk() *desk {
	return &desk{requests: map[string]*session.Request{}, events: make(chan session.Event, 16), filed: make(chan string, 16)}
}

func (d *desk) Submit(_ context.Context, s session.Submission) (session.Request, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.submit != nil {
		return session.Request{}, d.submit
	}
	for _, r := range d.requests {
		if r.Case.Digest() == s.Case.Digest() && (r.State == session.StatePending || r.State == session.StateApproved) {
			return *r, nil
		}
	}
	r := &session.Request{ID: uuid.NewString(), Kind: s.Kind, Case: s.Case, Rule: s.Rule, RuleText: s.RuleText, Approvals: s.Approvals,
		CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
	d.requests[r.ID] = r
	d.order = append(d.order, r.ID)
	d.filed <- r.ID
	return *r, nil
}

func (d *desk) Request(_ context.Context, id string) (session.Request, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.requests[id]; r != nil {
		return *r, nil
	}
	return session.Request{}, session.ErrNotFound
}
func (d *desk) Pending(context.Context, session.Filter) ([]session.Request, error) { return nil, nil }
func (d *desk) Decide(_ context.Context, id string, c session.Choice) (session.Request, error) {
	d.mu.Lock()
	r := d.requests[id]
	r.State = session.StateDenied
	if c.Outcome == session.OutcomeApprove {
		r.State = session.StateApproved
	}
	r.Decisions = append(r.Decisions, session.Decision{RequestID: id, Outcome: c.Outcome, Reason: c.Reason,
		Reviewer: session.Principal{Email: "reviewer@example.com"}})
	out := *r
	d.mu.Unlock()
	d.events <- session.Event{Kind: session.EventRequestDecided, RequestID: id}
	return out, nil
}

func (d *desk) Withdraw(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.requests[id]; r != nil && r.State == session.StatePending {
		r.State = session.StateWithdrawn
		return nil
	}
	return session.ErrConflict
}

func (d *desk) Comment(context.Context, string, string) (session.Request, error) {
	return session.Request{}, session.ErrForbidden // a broker says nothing
}

func (d *desk) Redeem(_ context.Context, id, digest string) (session.Decision, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.requests[id]
	if r == nil || r.State != session.StateApproved || r.Case.Digest() != digest {
		return session.Decision{}, session.ErrConflict
	}
	r.State = session.StateUsed
	d.redeemed++
	dec := r.Decisions[0]
	dec.KeepMasks = d.keepMasks
	return dec, nil
}

func (d *desk) Watch(ctx context.Context, _ int64) (<-chan session.Event, error) {
	out := make(chan session.Event)
	go func() {
		defer close(out)
		for {
			select {
			case e := <-d.events:
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (d *desk) state(id string) session.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.requests[id].State
}

// firstWord rules: SELECT and USE are allowed with EMAIL and SSN masked, DROP
// and CALL are held, GRANT is denied.
type firstWord struct {
	limits  policy.Limits
	keeping policy.Keeping
}

func (f firstWord) Keeping() policy.Keeping { return f.keeping }

func (firstWord) Digest() string { return "test-policy" }
func (firstWord) DetectColumn(sample []string, _ ...string) (policy.ColumnMask, bool) {
	for _, v := range sample {
		if strings.HasPrefix(v, "detect-me") {
			return policy.ColumnMask{Class: "secret.key", Mask: policy.MaskRedact}, true
		}
	}
	return policy.ColumnMask{}, false
}

func (f firstWord) Statement(in policy.Input) policy.Ruling {
	r := policy.Ruling{Verdict: policy.Allow, Rule: "test-allow", Limits: f.limits}
	for _, s := range in.Statements {
		var masks []policy.ColumnMask
		for _, o := range s.Outputs {
			m := policy.ColumnMask{}
			switch o.Name {
			case "EMAIL":
				m = policy.ColumnMask{Class: "pii.email", Mask: policy.MaskRedact}
			case "SSN":
				m = policy.ColumnMask{Class: "pii.ssn", Mask: policy.MaskKeepLast4}
			}
			r.ReadsClassed = r.ReadsClassed || m.Hides()
			masks = append(masks, m)
		}
		r.Masks = append(r.Masks, masks)
		rest := policy.ColumnMask{}
		switch s.Category {
		case sql.CategoryDefine:
			r.Verdict, r.Rule, r.Reason, r.Approvals = min(r.Verdict, policy.Hold), "test-hold", "A person decides on drops.", 1
		case sql.CategoryCall:
			r.Verdict, r.Rule, r.Approvals = min(r.Verdict, policy.Hold), "test-call", 1
			rest = policy.ColumnMask{Class: policy.UnknownClass, Mask: policy.MaskRedact}
		case sql.CategoryPrivilege, sql.CategoryRole:
			r.Verdict, r.Rule, r.Reason = policy.Deny, "test-deny", "Nobody grants here."
		}
		r.Rest = append(r.Rest, rest)
	}
	return r
}

// wordAnalysis stands for the analyser where a test is about the broker alone.
func wordAnalysis(text string, cx sql.Context, _ sql.Catalog) (*sql.Analysis, error) {
	a := &sql.Analysis{Canonical: text}
	for _, part := range strings.Split(text, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		words := strings.Fields(part)
		st := sql.Statement{Text: part, Kind: sql.Kind(strings.ToUpper(words[0]))}
		switch st.Kind {
		case "SELECT":
			st.Category, st.OutputsKnown = sql.CategoryQuery, true
			table := sql.ObjectName{Database: cx.Database, Schema: cx.Schema, Name: strings.ToUpper(words[len(words)-1])}
			columns, _, from := strings.Cut(strings.ToUpper(strings.Join(words[1:], " ")), " FROM ")
			if from {
				st.Reads = []sql.Object{{Kind: sql.ObjectTable, Name: table}}
			}
			for _, c := range strings.Split(columns, ",") {
				o := sql.Output{}
				if from {
					o = sql.Output{Name: strings.TrimSpace(c), Direct: true, Labels: sql.Labels{Columns: []sql.Column{{Object: table, Name: strings.TrimSpace(c)}}}}
				}
				st.Outputs = append(st.Outputs, o)
			}
			if strings.Contains(columns, "RESULT_SCAN") || strings.Contains(part, "result_scan") {
				st.Functions = []sql.Function{{Name: "RESULT_SCAN", Risk: sql.FunctionSystem}}
			}
		case "USE":
			st.Category = sql.CategorySession
			switch strings.ToUpper(words[1]) {
			case "SCHEMA":
				st.Effects.UseSchema = strings.ToUpper(words[2])
			case "DATABASE":
				st.Effects.UseDatabase = strings.ToUpper(words[2])
			case "ROLE":
				st.Category = sql.CategoryRole
			}
		case "ALTER":
			st.Category = sql.CategorySession
		case "SHOW":
			st.Category = sql.CategoryMetadata
		case "INSERT":
			st.Category = sql.CategoryWrite
		case "DROP":
			st.Category = sql.CategoryDefine
			st.Effects.CatalogChanged = true
		case "CALL":
			st.Category = sql.CategoryCall
		case "GRANT":
			st.Category = sql.CategoryPrivilege
		default:
			return nil, &sql.SyntaxError{Pos: 0, Msg: "unknown first word"}
		}
		a.Statements = append(a.Statements, st)
	}
	return a, nil
}

// rig is a running broker and everything around it.
type rig struct {
	t       testing.TB
	b       *Broker
	url     string
	lease   secret.Text
	up      *scripted
	account *account
	desk    *desk
	cancel  context.CancelFunc
	client  *http.Client
	stopped chan error

	mu     sync.Mutex
	events []recording.Event
	refuse func(recording.Event) error
	logs   *bytes.Buffer
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	noLeaks(t)
	r := &rig{t: t, up: newScripted(t), desk: newDesk(), stopped: make(chan error, 1), client: &http.Client{Transport: &http.Transport{}}, logs: &bytes.Buffer{}}
	r.account = &account{url: r.up.URL}
	var err error
	if r.lease, err = NewLease(); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Session: session.Session{ID: "sess-1", Deadline: time.Now().Add(time.Hour), Principal: session.Principal{Email: "dev@example.com"},
			Scope: session.Scope{Connection: "demo", Role: "READER", Warehouse: "WH", TTL: time.Hour}},
		LeaseDigest: r.lease.Digest(), Account: "acct", Upstreams: r.account, Desk: r.desk, Policy: firstWord{},
		Record: r.record, Hold: 20 * time.Second,
		Logger: slog.New(slog.NewTextHandler(&lockedWriter{w: r.logs}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&cfg)
	}
	if r.b, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	r.b.analyze = wordAnalysis
	r.start()
	return r
}

func (r *rig) start() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.url = "http://" + ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.stopped <- r.b.Serve(ctx, ln) }()
	r.t.Cleanup(r.stop)
}

func (r *rig) stop() {
	r.cancel()
	r.client.CloseIdleConnections()
	select {
	case err := <-r.stopped:
		if err != nil {
			r.t.Errorf("Serve: %v", err)
		}
		r.stopped <- nil
	case <-time.After(15 * time.Second):
		r.t.Error("Serve did not stop")
	}
}

func (r *rig) record(_ context.Context, e recording.Event) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		if err := r.refuse(e); err != nil {
			return 0, err
		}
	}
	r.events = append(r.events, e)
	return int64(len(r.events)), nil
}

func (r *rig) kinds() []recording.Kind {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []recording.Kind
	for _, e := range r.events {
		out = append(out, e.Kind)
	}
	return out
}

// reply of the broker, as a driver decodes it.
type answer struct {
	Status  int
	Type    string
	Raw     string
	Code    *string
	Message *string
	Success bool
	Data    json.RawMessage
}

func (a answer) code() string {
	if a.Code == nil {
		return ""
	}
	return *a.Code
}

func (a answer) data(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(a.Data))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("data of %s: %v", a.Raw, err)
	}
	return m
}

// send makes one raw request. token "" sends none.
func (r *rig) send(method, path, token string, body []byte, edit ...func(*http.Request)) answer {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", `Snowflake Token="`+token+`"`)
	}
	for _, f := range edit {
		f(req)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := answer{Status: resp.StatusCode, Type: resp.Header.Get("Content-Type"), Raw: string(raw)}
	if err := json.Unmarshal(raw, &a); err != nil {
		r.t.Fatalf("%s %s answered no JSON: %v: %s", method, path, err, raw)
	}
	return a
}

type tokens struct{ token, master string }

func loginBody(fields map[string]any) []byte {
	b, err := json.Marshal(map[string]any{"data": fields})
	if err != nil {
		panic(err)
	}
	return b
}

func (r *rig) loginWith(fields map[string]any, query string, edit ...func(*http.Request)) answer {
	r.t.Helper()
	return r.send("POST", "/session/v1/login-request?requestId="+uuid.NewString()+query, "", loginBody(fields), edit...)
}

func (r *rig) patFields() map[string]any {
	return map[string]any{"CLIENT_APP_ID": "Go", "CLIENT_APP_VERSION": "2.1.0", "ACCOUNT_NAME": "acct", "LOGIN_NAME": "alice",
		"AUTHENTICATOR": "PROGRAMMATIC_ACCESS_TOKEN", "TOKEN": r.lease.Reveal()}
}

func (r *rig) login() tokens {
	r.t.Helper()
	a := r.loginWith(r.patFields(), "")
	if !a.Success {
		r.t.Fatalf("login: %s", a.Raw)
	}
	return tokensOf(r.t, a)
}

func tokensOf(t testing.TB, a answer) tokens {
	d := a.data(t)
	return tokens{d["token"].(string), d["masterToken"].(string)}
}

func queryBody(text string, more ...string) []byte {
	b, _ := json.Marshal(text)
	s := `{"sqlText":` + string(b) + `,"asyncExec":false,"sequenceId":1,"isInternal":false`
	for _, m := range more {
		s += "," + m
	}
	return []byte(s + "}")
}

func (r *rig) query(tk tokens, id, text string, more ...string) answer {
	r.t.Helper()
	if id == "" {
		id = uuid.NewString()
	}
	return r.send("POST", "/queries/v1/query-request?requestId="+id, tk.token, queryBody(text, more...))
}

func gz(b []byte) []byte {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	_, _ = z.Write(b)
	_ = z.Close()
	return buf.Bytes()
}

// eventually polls a condition that another goroutine brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func wantRefusal(t testing.TB, a answer, gs, jit string) {
	t.Helper()
	if a.Status != 200 || a.Success || a.code() != gs || a.Message == nil || !strings.HasPrefix(*a.Message, jit+" ") ||
		a.Type != "application/json" || len(a.Data) == 0 || string(a.Data) == "null" {
		t.Fatalf("want %s %s, got %d %s", gs, jit, a.Status, a.Raw)
	}
}
