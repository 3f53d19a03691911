package broker

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	sf "github.com/snowflakedb/gosnowflake/v2"

	"github.com/jit-access/jit/broker/credential"
	"github.com/jit-access/jit/broker/snowflake/sandbox"
	"github.com/jit-access/jit/policy"
	jitsql "github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
	"github.com/jit-access/jit/session/secret"
)

// These tests drive the unmodified Go driver through the broker with the
// shipped bundle and the real analyser. The upstream is the sandbox, which is
// our own: they show that driver, broker and rules work together, not that
// Snowflake would answer alike.

// sandboxAccount opens upstream sessions at a sandbox.
type sandboxAccount struct {
	account
	mu       sync.Mutex
	sessions map[string]*credential.Session
}

func (a *sandboxAccount) OpenUpstream(ctx context.Context) (session.Upstream, error) {
	s, err := credential.Login(ctx, http.DefaultClient, a.url, credential.Params{Account: "testacct", User: "alice", Database: "DEMO", Schema: "PUBLIC"},
		credential.NewPassword(secret.New("sandbox-password")))
	if err != nil {
		return session.Upstream{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	id := fmt.Sprintf("up-%d", len(a.sessions)+1)
	a.sessions[id] = s
	return session.Upstream{ID: id, URL: a.url, Token: s.Token, SnowflakeID: s.SnowflakeID, Parameters: s.Parameters,
		Database: s.Info.Database, Schema: s.Info.Schema, Warehouse: s.Info.Warehouse, Role: s.Info.Role}, nil
}

func (a *sandboxAccount) CloseUpstream(ctx context.Context, id string) error {
	a.mu.Lock()
	s := a.sessions[id]
	a.mu.Unlock()
	return credential.Close(ctx, http.DefaultClient, a.url, s.Token)
}

// hops counts the query-requests the driver puts on the wire.
type hops struct {
	mu    sync.Mutex
	posts int
}

func (h *hops) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/queries/v1/query-request" {
		h.mu.Lock()
		h.posts++
		h.mu.Unlock()
	}
	return http.DefaultTransport.RoundTrip(r)
}

type driven struct {
	*rig
	sandbox *sandbox.Server
	db      *sql.DB
	direct  *sql.DB
	hops    *hops

	frontURL string
	params   map[string]*string
}

func drive(t testing.TB, opt sandbox.Options, change ...func(*Config)) *driven {
	t.Helper()
	opt.Account = "testacct"
	opt.Users = map[string]sandbox.User{"alice": {Password: secret.New("sandbox-password")}}
	opt.AnswerWithin = 300 * time.Millisecond
	box, err := sandbox.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(box.Handler())
	t.Cleanup(func() { front.Close(); _ = box.Close() })
	r := &rig{t: t, desk: newDesk(), stopped: make(chan error, 1), client: &http.Client{}, logs: &bytes.Buffer{}}
	if r.lease, err = NewLease(); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Session: session.Session{ID: "sess-1", Deadline: time.Now().Add(time.Hour), Principal: session.Principal{Email: "dev@example.com"},
			Scope: session.Scope{Connection: "demo", TTL: time.Hour}},
		LeaseDigest: r.lease.Digest(), Upstreams: &sandboxAccount{account: account{url: front.URL}, sessions: map[string]*credential.Session{}},
		Desk: r.desk, Policy: policy.Default(), Subject: policy.Subject{User: "dev", Email: "dev@example.com"}, Record: r.record,
		Logger: slog.New(slog.NewTextHandler(&lockedWriter{w: r.logs}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&cfg)
	}
	if r.b, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	r.b.analyze = jitsql.Analyze
	r.start()
	d := &driven{rig: r, sandbox: box, hops: &hops{}, frontURL: front.URL}
	d.db = d.open(r.url, "testacct", "", r.lease.Reveal(), d.hops)
	d.direct = d.open(front.URL, "testacct", "sandbox-password", "", http.DefaultTransport)
	return d
}

func (d *driven) open(base, account, password, token string, rt http.RoundTripper) *sql.DB {
	d.t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		d.t.Fatal(err)
	}
	var port int
	if _, err := fmt.Sscanf(u.Port(), "%d", &port); err != nil {
		d.t.Fatal(err)
	}
	cfg := &sf.Config{Account: account, User: "alice", Host: u.Hostname(), Port: port, Protocol: "http", Transporter: rt,
		Database: "DEMO", Schema: "PUBLIC", Params: d.params}
	if token != "" {
		cfg.Authenticator, cfg.Token = sf.AuthTypePat, token
	} else {
		cfg.Password = password
	}
	db := sql.OpenDB(sf.NewConnector(sf.SnowflakeDriver{}, *cfg))
	d.t.Cleanup(func() { _ = db.Close() })
	return db
}

func rows(t testing.TB, db *sql.DB, ctx context.Context, text string, args ...any) ([][]string, error) {
	t.Helper()
	rs, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rs.Close()
	names, err := rs.Columns()
	if err != nil {
		return nil, err
	}
	var out [][]string
	for rs.Next() {
		cells := make([]any, len(names))
		for i := range cells {
			cells[i] = new(sql.NullString)
		}
		if err := rs.Scan(cells...); err != nil {
			return nil, err
		}
		row := make([]string, len(names))
		for i, c := range cells {
			row[i] = "NULL"
			if n := c.(*sql.NullString); n.Valid {
				row[i] = n.String
			}
		}
		out = append(out, row)
	}
	return out, rs.Err()
}

func TestDriverReads(t *testing.T) {
	for name, opt := range map[string]sandbox.Options{"inline": {}, "chunks": {ChunkRows: 7}} {
		for _, format := range []string{"ARROW", "JSON"} {
			t.Run(name+" "+format, func(t *testing.T) {
				d := drive(t, opt)
				ctx := t.Context()
				d.params = map[string]*string{"GO_QUERY_RESULT_FORMAT": &format}
				d.db = d.open(d.url, "testacct", "", d.lease.Reveal(), d.hops)
				d.direct = d.open(d.frontURL, "testacct", "sandbox-password", "", http.DefaultTransport)
				const text = "select ID, NAME, EMAIL, SSN, BALANCE, ACTIVE, BIRTHDAY, CREATED_AT, PROFILE from CUSTOMERS"
				got, err := rows(t, d.db, ctx, text)
				if err != nil {
					t.Fatalf("%v\n%s", err, d.logs)
				}
				want, err := rows(t, d.direct, ctx, text)
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != len(want) || len(got) < 50 {
					t.Fatalf("%d rows, directly %d", len(got), len(want))
				}
				masked := map[int]bool{}
				for i := range want {
					for c := range want[i] {
						if got[i][c] != want[i][c] {
							masked[c] = true
						} else if (c == 2 || c == 3) && want[i][c] != "NULL" {
							t.Errorf("row %d column %d came unmasked", i, c)
						}
					}
				}
				for _, c := range []int{0, 4, 5, 7} {
					if masked[c] {
						t.Errorf("column %d differs: %q, directly %q", c, got[0][c], want[0][c])
					}
				}
			})
		}
	}
}

func TestDriverViewsAreSeenThrough(t *testing.T) {
	d := drive(t, sandbox.Options{Data: append(sandbox.SampleData(), "CREATE VIEW DEMO.PUBLIC.HARMLESS AS SELECT ID AS N, EMAIL AS CONTACT FROM DEMO.PUBLIC.CUSTOMERS")})
	got, err := rows(t, d.db, t.Context(), "select N, CONTACT from HARMLESS order by N limit 2")
	if err != nil {
		t.Fatalf("%v\n%s", err, d.logs)
	}
	for _, row := range got {
		if strings.Contains(row[1], "ada") || !strings.Contains(row[1], "masked") {
			t.Errorf("the view shows %q", row[1])
		}
	}
}

func TestDriverMissingTable(t *testing.T) {
	d := drive(t, sandbox.Options{})
	_, err := rows(t, d.db, t.Context(), "select * from NO_SUCH_TABLE")
	var sfErr *sf.SnowflakeError
	if !errors.As(err, &sfErr) || sfErr.Number != 2003 || !strings.Contains(sfErr.Message, "does not exist") || len(d.desk.order) != 0 {
		t.Fatalf("got %v, %d requests", err, len(d.desk.order))
	}
	if _, err := d.direct.ExecContext(t.Context(), "create table NO_SUCH_TABLE (A NUMBER)"); err != nil {
		t.Fatal(err)
	}
	d.b.mu.Lock()
	for l := range d.b.logins {
		l.catalog.clear()
	}
	d.b.mu.Unlock()
	if _, err := rows(t, d.db, t.Context(), "select * from NO_SUCH_TABLE"); err != nil {
		t.Errorf("after it was created: %v", err)
	}
}

// A mistyped column of a known table is answered at once, as Snowflake does, and
// is never run; what Snowflake would compile after all is held as before.
func TestDriverMissingColumn(t *testing.T) {
	d := drive(t, sandbox.Options{}, func(c *Config) { c.Hold = 50 * time.Millisecond })
	var sfErr *sf.SnowflakeError
	for text, at := range map[string][2]int{
		"select ID, naem from CUSTOMERS":                     {1, 11},
		"select c.ID\n  from CUSTOMERS c where c.naem = 'x'": {2, 25},
	} {
		_, err := rows(t, d.db, t.Context(), text)
		if !errors.As(err, &sfErr) || sfErr.Number != 904 || sfErr.SQLState != "42000" || len(d.desk.order) != 0 ||
			!strings.Contains(sfErr.Message, fmt.Sprintf("line %d at position %d", at[0], at[1])) || !strings.Contains(sfErr.Message, "NAEM'") ||
			!strings.Contains(sfErr.Message, "NOT run") {
			t.Fatalf("got %v, %d requests", err, len(d.desk.order))
		}
	}
	for _, e := range d.events {
		if e.Kind == recording.KindForwarded {
			t.Error("something was run")
		}
	}
	// The table has got the column meanwhile; here it is not known yet.
	if _, err := d.direct.ExecContext(t.Context(), "alter table CUSTOMERS add column NAEM VARCHAR(10)"); err != nil {
		t.Fatal(err)
	}
	_, err := rows(t, d.db, t.Context(), "select ID, naem from CUSTOMERS")
	if err == nil || !errors.As(err, &sfErr) || sfErr.Number == 904 {
		t.Errorf("got %v", err)
	}
	if got, err := rows(t, d.db, t.Context(), "select ID, naem from CUSTOMERS"); err != nil || len(got) == 0 {
		t.Errorf("once it is known: %v", err)
	}
}

func TestDriverHold(t *testing.T) {
	d := drive(t, sandbox.Options{})
	run := func(text string) <-chan error {
		done := make(chan error, 1)
		go func() { _, err := d.db.ExecContext(context.Background(), text); done <- err }()
		return done
	}
	done := run("DROP DATABASE OLD_REPORTS")
	id := <-d.desk.filed
	d.decide(id, session.OutcomeApprove)
	if err := <-done; err != nil {
		t.Fatalf("approved: %v\n%s", err, d.logs)
	}
	if _, err := rows(t, d.direct, t.Context(), "select * from OLD_REPORTS.PUBLIC.REPORT_2019"); err == nil {
		t.Error("it did not run")
	}

	posts := d.hops.posts
	done = run("DROP DATABASE ANALYTICS")
	d.decide(<-d.desk.filed, session.OutcomeDeny)
	err := <-done
	var sfErr *sf.SnowflakeError
	if !errors.As(err, &sfErr) || sfErr.Number != 3001 || sfErr.SQLState != "42501" || !strings.HasPrefix(sfErr.Message, "JIT-3002") {
		t.Fatalf("denied: %v", err)
	}
	if n := d.hops.posts - posts; n != 1 {
		t.Errorf("%d requests on the wire", n)
	}
	if got, err := rows(t, d.db, t.Context(), "select 1"); err != nil || got[0][0] != "1" {
		t.Errorf("afterwards: %v %v", got, err)
	}
}

func TestDriverDenied(t *testing.T) {
	d := drive(t, sandbox.Options{})
	if err := d.db.PingContext(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, d.logs)
	}
	posts, ran := d.hops.posts, len(d.sandbox.Executed())
	_, err := d.db.ExecContext(t.Context(), "ALTER USER alice ADD PROGRAMMATIC ACCESS TOKEN x")
	var sfErr *sf.SnowflakeError
	if !errors.As(err, &sfErr) || sfErr.Number != 3001 || !strings.HasPrefix(sfErr.Message, "JIT-2001") {
		t.Fatalf("got %v", err)
	}
	if d.hops.posts != posts+1 || len(d.sandbox.Executed()) != ran {
		t.Errorf("%d requests, %d executions", d.hops.posts-posts, len(d.sandbox.Executed())-ran)
	}
}

func TestDriverCancel(t *testing.T) {
	d := drive(t, sandbox.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := d.db.ExecContext(ctx, "DROP DATABASE ANALYTICS"); done <- err }()
	id := <-d.desk.filed
	cancel()
	if err := <-done; err == nil {
		t.Fatal("no error")
	}
	eventually(t, "withdrawn", func() bool { return d.desk.state(id) == session.StateWithdrawn })
	if _, err := rows(t, d.direct, t.Context(), "select * from ANALYTICS.WEB.EVENTS limit 1"); err != nil {
		t.Errorf("it ran: %v", err)
	}
}

func TestDriverRevoked(t *testing.T) {
	d := drive(t, sandbox.Options{})
	if _, err := rows(t, d.db, t.Context(), "select 1"); err != nil {
		t.Fatal(err)
	}
	d.desk.events <- sessionEnded("sess-1")
	eventually(t, "refused", func() bool { _, err := rows(t, d.db, t.Context(), "select 1"); return err != nil })
	eventually(t, "upstream closed", func() bool { return len(d.sandbox.OpenSessions()) == 0 })
}

func TestDriverMultiAndBinds(t *testing.T) {
	d := drive(t, sandbox.Options{})
	ctx := sf.WithMultiStatement(t.Context(), 2)
	rs, err := d.db.QueryContext(ctx, "select 1; select EMAIL from CUSTOMERS limit 3")
	if err != nil {
		t.Fatalf("%v\n%s", err, d.logs)
	}
	defer func() { _ = rs.Close() }()
	if !rs.Next() || !rs.NextResultSet() {
		t.Fatal("no second result")
	}
	for rs.Next() {
		var email sql.NullString
		if err := rs.Scan(&email); err != nil || !strings.Contains(email.String, "masked") {
			t.Errorf("%q %v", email.String, err)
		}
	}
	got, err := rows(t, d.db, t.Context(), "select NAME from CUSTOMERS where ID = ?", 1)
	if err != nil || len(got) != 1 {
		t.Errorf("%v %v", got, err)
	}
}
