package sandbox_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	sf "github.com/snowflakedb/gosnowflake/v2"

	"github.com/jit-access/jit/broker/snowflake/sandbox"
	"github.com/jit-access/jit/session/secret"
)

const password = "sandbox-password"

// TestMain keeps the driver from probing clouds and writing into the home
// folder.
func TestMain(m *testing.M) {
	home, err := os.MkdirTemp("", "sandbox-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for k, v := range map[string]string{"SNOWFLAKE_DISABLE_PLATFORM_DETECTION": "true", "SF_DISABLE_MINICORE": "true",
		"SNOWFLAKE_DISABLE_MINICORE": "true", "SF_TELEMETRY_DISABLE_CONNECTION_SHAPE": "true", "SNOWFLAKE_HOME": home, "HOME": home,
		"NO_PROXY": "127.0.0.1"} {
		os.Setenv(k, v)
	}
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}

// world is a running sandbox.
type world struct {
	*sandbox.Server
	url string
}

func start(t testing.TB, change func(*sandbox.Options)) world {
	t.Helper()
	opt := sandbox.Options{
		Account:      "testacct",
		Users:        map[string]sandbox.User{"alice": {Password: secret.New(password), PAT: secret.New("pat-1")}, "bob": {Password: secret.New(password)}},
		AnswerWithin: 300 * time.Millisecond,
		Logger:       slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&opt)
	}
	s, err := sandbox.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		srv.Close()
		if err := s.Close(); err != nil {
			t.Errorf("closing the sandbox: %v", err)
		}
	})
	return world{s, srv.URL}
}

// config is a driver configuration for the sandbox.
func (w world) config(t testing.TB) *sf.Config {
	t.Helper()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return &sf.Config{Account: "testacct", User: "alice", Password: password, Host: host, Port: n, Protocol: "http",
		Database: "DEMO", Schema: "PUBLIC", Warehouse: "WH", Role: "ANALYST"}
}

func (w world) open(t testing.TB, change func(*sf.Config)) *sql.DB {
	t.Helper()
	cfg := w.config(t)
	if change != nil {
		change(cfg)
	}
	db := sql.OpenDB(sf.NewConnector(sf.SnowflakeDriver{}, *cfg))
	t.Cleanup(func() { db.Close() })
	return db
}

// rows reads a query as text.
func rows(t testing.TB, db interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, query string, args ...any) [][]string {
	t.Helper()
	rs, err := db.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rs.Close()
	return drain(t, rs)
}

func drain(t testing.TB, rs *sql.Rows) [][]string {
	t.Helper()
	cols, err := rs.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for rs.Next() {
		row, into := make([]sql.NullString, len(cols)), make([]any, len(cols))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rs.Scan(into...); err != nil {
			t.Fatal(err)
		}
		texts := make([]string, len(cols))
		for i, c := range row {
			texts[i] = c.String
			if !c.Valid {
				texts[i] = "NULL"
			}
		}
		out = append(out, texts)
	}
	if err := rs.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLogins(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w := start(t, func(o *sandbox.Options) {
		o.Users["alice"] = sandbox.User{Password: secret.New(password), PublicKey: &key.PublicKey, PAT: secret.New("pat-1"), Roles: []string{"analyst", "loader"}}
	})
	for _, tt := range []struct {
		name   string
		change func(*sf.Config)
		code   int // 0: logs in
	}{
		{"password", nil, 0},
		{"wrong password", func(c *sf.Config) { c.Password = "x" }, 390100},
		{"unknown user", func(c *sf.Config) { c.User = "mallory" }, 390100},
		{"wrong account", func(c *sf.Config) { c.Account = "otheracct" }, 390100},
		{"key pair", func(c *sf.Config) { c.Authenticator, c.PrivateKey, c.Password = sf.AuthTypeJwt, key, "" }, 0},
		{"wrong key", func(c *sf.Config) { c.Authenticator, c.PrivateKey = sf.AuthTypeJwt, other }, 390144},
		{"key of another user", func(c *sf.Config) { c.Authenticator, c.PrivateKey, c.User = sf.AuthTypeJwt, key, "bob" }, 390144},
		{"pat", func(c *sf.Config) { c.Authenticator, c.Token, c.Password = sf.AuthTypePat, "pat-1", "" }, 0},
		{"wrong pat", func(c *sf.Config) { c.Authenticator, c.Token = sf.AuthTypePat, "pat-2" }, 394400},
		{"role not granted", func(c *sf.Config) { c.Role = "ACCOUNTADMIN" }, 390189},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := w.open(t, tt.change)
			err := db.PingContext(t.Context())
			var se *sf.SnowflakeError
			switch {
			case tt.code == 0 && err != nil:
				t.Fatal(err)
			case tt.code != 0 && (!errors.As(err, &se) || se.Number != tt.code):
				t.Fatalf("error %v, want %d", err, tt.code)
			}
		})
	}
}

func TestSessionFacts(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	got := rows(t, db, "SELECT CURRENT_USER(), CURRENT_ROLE(), CURRENT_DATABASE(), CURRENT_SCHEMA(), CURRENT_WAREHOUSE(), CURRENT_ACCOUNT()")
	if want := "[[ALICE ANALYST DEMO PUBLIC WH TESTACCT]]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if n := len(w.OpenSessions()); n != 1 {
		t.Errorf("%d sessions are open, want 1", n)
	}
	db.Close()
	if n := len(w.OpenSessions()); n != 0 {
		t.Errorf("%d sessions are open after the driver closed, want 0", n)
	}
}

func TestQueries(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	for _, tt := range []struct{ query, want string }{
		{"select 1", "[[1]]"},
		{"select 'it''s', 'a\\tb', $$raw 'x'$$", "[[it's a\tb raw 'x']]"},
		{"select id, name from customers where id <= 2 order by id", "[[1 Ada Example] [2 Bram Example]]"},
		{"select c.name from DEMO.PUBLIC.CUSTOMERS c where c.id = 3", "[[Chloé Example]]"},
		{`select "NAME" from "DEMO"."PUBLIC"."CUSTOMERS" where id = 3`, "[[Chloé Example]]"},
		{"select customers.name from customers where customers.id = 3", "[[Chloé Example]]"},
		{"select demo.public.customers.name from demo.public.customers where id = 3", "[[Chloé Example]]"},
		{"select count(*) from customers, orders where customers.id = orders.customer_id", "[[150]]"},
		{"select count(*) from customers c join orders o on o.customer_id = c.id left join products p on p.id = o.product_id", "[[150]]"},
		{"with a as (select id from customers), b (x) as (select id from a where id < 4) select count(*) from a, b", "[[150]]"},
		{"select n from (select name as n from customers where id = 1) x", "[[Ada Example]]"},
		{"select count(*) from customers where id in (select customer_id from orders where status = 'PAID')", "[[25]]"},
		{"select city, count(*) n from customers group by city having count(*) > 5 order by city limit 2", "[[Hillcrest 10] [Lakeview 10]]"},
		{"select iff(1 = 1, 'y', 'n'), nvl(null, 'z'), left('abcdef', 2), right('abcdef', 2), split_part('a@b', '@', 2)", "[[y z ab ef b]]"},
		{"select '12'::int + 1, cast('2024-02-29' as date)::varchar, (1 + 1)::varchar || 'x'", "[[13 2024-02-29 2x]]"},
		{"select profile:tier::string, profile:tags[0]::string, profile:visits::int from customers where id = 2", "[[silver a1 3]]"},
		{"select dateadd(day, 1, '2024-02-28'::date)::varchar, datediff('month', '2024-01-31', '2024-03-01')", "[[2024-02-29 2]]"},
		{"select id from customers where name ilike 'ada%' order by 1 limit 1", "[[1]]"},
		{"select id from customers where name like 'ada%' or name not ilike '%' or email like '%a^_b%' escape '^'", "[]"},
		{"select 1 union all select 2 order by 1", "[[1] [2]]"},
		{"select total is not null from order_totals where customer_id = 1", "[[1]]"},
		{"select count(*) from analytics.web.events -- the end\n;", "[[200]]"},
		{"select table_name from demo.information_schema.tables order by 1", "[[CUSTOMERS] [ORDERS] [ORDER_TOTALS] [PRODUCTS]]"},
		{"select case when 1 = 2 then 'a' else 'b' end as x", "[[b]]"},
		{"select sum(amount) over (partition by status) from orders where id = 1000", "[[5.00]]"},
		{"select max(birthday), min(created_at) from customers where id = 1", "[[1950-01-01T00:00:00Z 2021-01-04T08:30:00Z]]"},
		{"(select 1);", "[[1]]"},
		{"((with a as (select 2 as x) select x from a))", "[[2]]"},
		{"values (1, 'a'), (2, 'b')", "[[1 a] [2 b]]"},
	} {
		if got := fmt.Sprint(rows(t, db, tt.query)); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.query, got, tt.want)
		}
	}
}

func TestErrors(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	for _, tt := range []struct {
		query string
		code  int
		state string
		text  string
	}{
		{"select * from nowhere", 2003, "42S02", "DEMO.PUBLIC.NOWHERE"},
		{"select * from nodb.public.t", 2003, "02000", "Database 'NODB'"},
		{"select nocolumn from customers", 904, "42000", "NOCOLUMN"},
		{`select "no such" from customers`, 904, "42000", "no such"},
		{"selekt 1", 1003, "42000", "selekt"},
		{"select 'open", 1003, "42000", "syntax error"},
		{"select 1 from", 1003, "42000", "syntax error"},
		{"select nofunction(1)", 2140, "42601", "NOFUNCTION"},
		{"select 'x'::int", 100038, "22018", "Numeric value 'x'"},
		{"select cast('x' as date)", 100040, "22018", "Date 'x'"},
		{"create table customers (id int)", 2002, "42710", "already exists"},
		{"create table t (id nosuchtype)", 2040, "42601", "nosuchtype"},
		{"create table t (t time(12))", 2040, "42601", "time"},
		{"select 1::number(39,0)", 1003, "42000", ""},
		{"insert into customers (id) values ('x')", 100038, "22018", "Numeric value"},
		{"insert into customers (id) values (null)", 100072, "22000", "NULL"},
		{"drop table nowhere", 2003, "42S02", "NOWHERE"},
		{"drop database nowhere", 2003, "02000", "NOWHERE"},
		{"use database nowhere", 2043, "02000", ""},
		{"copy into @~ from customers", 2, "0A000", "COPY"},
		{"select 1; select 2", 8, "0A000", "2"},
		{"attach database '/etc/passwd' as x", 1003, "42000", "attach"},
		{"pragma writable_schema = on", 1003, "42000", "pragma"},
		{"select * from sqlite_master", 2003, "42S02", "SQLITE_MASTER"},
		{"select * from pragma_table_info('x')", 2, "0A000", ""},
		{"select load_extension('x')", 3001, "42501", "Insufficient privileges"},
	} {
		_, err := db.ExecContext(t.Context(), tt.query)
		var se *sf.SnowflakeError
		if !errors.As(err, &se) {
			t.Errorf("%s: error %v, want a SnowflakeError", tt.query, err)
			continue
		}
		if se.Number != tt.code || se.SQLState != tt.state || !strings.Contains(se.Message, tt.text) {
			t.Errorf("%s: %d (%s) %q, want %d (%s) with %q", tt.query, se.Number, se.SQLState, se.Message, tt.code, tt.state, tt.text)
		}
		if strings.ContainsAny(se.Message, "\x1f\x01") {
			t.Errorf("%s: the message shows the engine's names: %q", tt.query, se.Message)
		}
	}
	if got := fmt.Sprint(rows(t, db, "select 1")); got != "[[1]]" {
		t.Errorf("the session is not usable after errors: %s", got)
	}
}
