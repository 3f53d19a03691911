package sandbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	sf "github.com/snowflakedb/gosnowflake/v2"
	"golang.org/x/sync/errgroup"

	"github.com/jit-access/jit/broker/snowflake/sandbox"
)

// formats runs a test against JSON results, Arrow results, and both in chunks.
func formats(t *testing.T, f func(t *testing.T, w world, db *sql.DB)) {
	arrow := func(c *sf.Config) {
		format := "ARROW"
		c.Params = map[string]*string{"GO_QUERY_RESULT_FORMAT": &format}
	}
	chunked := func(o *sandbox.Options) { o.ChunkRows = 7 }
	for _, tt := range []struct {
		name   string
		option func(*sandbox.Options)
		config func(*sf.Config)
	}{{"json", nil, nil}, {"arrow", nil, arrow}, {"json chunks", chunked, nil}, {"arrow chunks", chunked, arrow}} {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, tt.option)
			f(t, w, w.open(t, tt.config))
		})
	}
}

func TestAllTypes(t *testing.T) {
	formats(t, func(t *testing.T, _ world, db *sql.DB) {
		exec(t, db, `create table all_types (n number(38,0), d number(12,2), f float, s varchar, b boolean, dt date, tm time(9),
			ntz timestamp_ntz(9), ltz timestamp_ltz(9), tz timestamp_tz(9), ms timestamp_ntz(3), v variant, bin binary)`)
		exec(t, db, `insert into all_types values
			(9007199254740993, 12.3, 2.5, 'é"\n', true, '1969-12-31', '23:59:59.123456789', '1969-12-31 23:59:58', '2024-02-29 12:00:00',
			 '2024-02-29 12:00:00.25 +05:30', '2024-02-29 12:00:00.125', '{"a":[1,null]}', x'00ff'),
			(-1, -0.05, -1e300, '', false, '2024-02-29', '00:00:00', '2024-02-29 00:00:00', '1970-01-01 00:00:00', '1970-01-01 00:00:00 -08:00', '1970-01-01', 'null', x''),
			(null, null, null, null, null, null, null, null, null, null, null, null, null)`)
		rs, err := db.QueryContext(t.Context(), "select * from all_types order by n desc nulls last")
		if err != nil {
			t.Fatal(err)
		}
		defer rs.Close()
		types, err := rs.ColumnTypes()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range types {
			names = append(names, c.DatabaseTypeName())
		}
		if got, want := strings.Join(names, " "), "FIXED FIXED REAL TEXT BOOLEAN DATE TIME TIMESTAMP_NTZ TIMESTAMP_LTZ TIMESTAMP_TZ TIMESTAMP_NTZ VARIANT BINARY"; got != want {
			t.Errorf("types %s, want %s", got, want)
		}
		if p, s, ok := types[1].DecimalSize(); !ok || p != 12 || s != 2 {
			t.Errorf("precision and scale of NUMBER(12,2): %d, %d", p, s)
		}
		type values struct {
			n, d, f             sql.NullString
			s                   sql.NullString
			b                   sql.NullBool
			dt, tm, ntz, ltz, z sql.NullTime
			ms                  sql.NullTime
			v                   sql.NullString
			bin                 []byte
		}
		var got []values
		for rs.Next() {
			var x values
			if err := rs.Scan(&x.n, &x.d, &x.f, &x.s, &x.b, &x.dt, &x.tm, &x.ntz, &x.ltz, &x.z, &x.ms, &x.v, &x.bin); err != nil {
				t.Fatal(err)
			}
			got = append(got, x)
		}
		if err := rs.Err(); err != nil || len(got) != 3 {
			t.Fatalf("%d rows, %v", len(got), err)
		}
		x := got[0]
		if x.n.String != "9007199254740993" || !number(x.d.String, "12.3") || x.f.String != "2.5" || x.s.String != "é\"\n" || !x.b.Bool {
			t.Errorf("numbers and text: %+v", x)
		}
		for name, tt := range map[string]struct {
			got  sql.NullTime
			want string
		}{
			"date":      {x.dt, "1969-12-31T00:00:00Z"},
			"ntz":       {x.ntz, "1969-12-31T23:59:58Z"},
			"ltz":       {x.ltz, "2024-02-29T12:00:00Z"},
			"tz":        {x.z, "2024-02-29T06:30:00.25Z"},
			"ms":        {x.ms, "2024-02-29T12:00:00.125Z"},
			"date 2":    {got[1].dt, "2024-02-29T00:00:00Z"},
			"tz 2":      {got[1].z, "1970-01-01T08:00:00Z"},
			"ntz 2":     {got[1].ntz, "2024-02-29T00:00:00Z"},
			"ms is day": {got[1].ms, "1970-01-01T00:00:00Z"},
		} {
			if s := tt.got.Time.UTC().Format(time.RFC3339Nano); !tt.got.Valid || s != tt.want {
				t.Errorf("%s: %s, want %s", name, s, tt.want)
			}
		}
		if s := x.tm.Time.Format("15:04:05.000000000"); s != "23:59:59.123456789" {
			t.Errorf("time: %s", s)
		}
		if _, offset := x.z.Time.Zone(); offset != (5*60+30)*60 {
			t.Errorf("offset of tz: %d", offset)
		}
		if x.v.String != `{"a":[1,null]}` || string(x.bin) != "\x00\xff" {
			t.Errorf("variant %q, binary %x", x.v.String, x.bin)
		}
		if y := got[1]; y.n.String != "-1" || !number(y.d.String, "-0.05") || !number(y.f.String, "-1e300") || !y.s.Valid || y.s.String != "" || y.b.Bool || !y.b.Valid || y.v.String != "null" {
			t.Errorf("second row: %+v", y)
		}
		z := got[2]
		for i, valid := range []bool{z.n.Valid, z.d.Valid, z.f.Valid, z.s.Valid, z.b.Valid, z.dt.Valid, z.tm.Valid, z.ntz.Valid, z.ltz.Valid, z.z.Valid, z.ms.Valid, z.v.Valid, z.bin != nil} {
			if valid {
				t.Errorf("column %d of the NULL row is not NULL", i)
			}
		}
	})
}

// number compares decimal texts as numbers.
func number(a, b string) bool {
	x, ok1 := new(big.Rat).SetString(a)
	y, ok2 := new(big.Rat).SetString(b)
	return ok1 && ok2 && x.Cmp(y) == 0
}

func TestSampleData(t *testing.T) {
	formats(t, func(t *testing.T, _ world, db *sql.DB) {
		got := rows(t, db, "select * from customers order by id")
		if len(got) != 50 || len(got[0]) != 11 {
			t.Fatalf("%d rows of %d columns", len(got), len(got[0]))
		}
		seen := map[string]bool{}
		for i, r := range got {
			if r[0] != fmt.Sprint(i+1) || !strings.HasSuffix(r[2], "@example.com") || len(r[4]) != 11 || r[4][0] != '9' || r[4][3] != '-' || r[4][6] != '-' || seen[r[4]] {
				t.Errorf("row %v", r)
			}
			seen[r[4]] = true
		}
		if n := rows(t, db, "select count(*), count(distinct customer_id) from orders"); fmt.Sprint(n) != "[[150 50]]" {
			t.Errorf("orders: %v", n)
		}
		if n := rows(t, db, "select * from customers where 1 = 0"); len(n) != 0 {
			t.Errorf("an empty result has %d rows", len(n))
		}
	})
}

func exec(t testing.TB, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, query string, args ...any) int64 {
	t.Helper()
	res, err := db.ExecContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return -1 // not DML
	}
	return n
}

func TestDML(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	exec(t, db, "create table t (id int not null, s varchar default 'none', d date)")
	for _, tt := range []struct {
		query string
		want  int64
	}{
		{"insert into t values (1, 'a', '2024-01-01'), (2, 'b', null)", 2},
		{"insert into t (id) values (3)", 1},
		{"insert into t select id + 10, s, d from t", 3},
		{"update t set s = upper(s) where id < 3", 2},
		{"update t x set s = 'x' where x.id = 3", 1},
		{"delete from t where id > 10", 3},
		{"delete from demo.public.t where id = 99", 0},
		{"truncate table t", -1},
	} {
		if tt.query == "truncate table t" {
			if got := fmt.Sprint(rows(t, db, "select id, s, d from t order by id")); got != "[[1 A 2024-01-01T00:00:00Z] [2 B NULL] [3 x NULL]]" {
				t.Errorf("the table holds %s", got)
			}
		}
		if n := exec(t, db, tt.query); n != tt.want && tt.want >= 0 {
			t.Errorf("%s: %d rows, want %d", tt.query, n, tt.want)
		}
	}
	// A statement that fails half way leaves nothing behind.
	if _, err := db.ExecContext(t.Context(), "insert into t (id, d) values (1, '2024-01-01'), (2, 'nonsense')"); err == nil {
		t.Error("a bad date was inserted")
	}
	if got := fmt.Sprint(rows(t, db, "select count(*) from t")); got != "[[0]]" {
		t.Errorf("after a failed insert: %s rows", got)
	}
}

func TestBinds(t *testing.T) {
	formats(t, func(t *testing.T, w world, db *sql.DB) {
		when := time.Date(2024, 2, 29, 12, 30, 0, 5000, time.UTC)
		got := rows(t, db, "select ?::int, ?, ?::float, ?::boolean, ?::varchar", 42, "it's", 2.5, true, nil)
		if fmt.Sprint(got) != "[[42 it's 2.5 1 NULL]]" && fmt.Sprint(got) != "[[42 it's 2.5 true NULL]]" {
			t.Errorf("got %v", got)
		}
		exec(t, db, "create or replace table bound (n int, s varchar, f float, b boolean, ts timestamp_ntz, d date, bin binary)")
		exec(t, db, "insert into bound values (?, ?, ?, ?, ?, ?, ?)", 1, "x", 1.5, true, sf.DataTypeTimestampNtz, when, sf.DataTypeDate, when, sf.DataTypeBinary, []byte{1, 2})
		var ts, d time.Time
		var bin []byte
		if err := db.QueryRowContext(t.Context(), "select ts, d, bin from bound where n = :1 and s = :2", 1, "x").Scan(&ts, &d, &bin); err != nil {
			t.Fatal(err)
		}
		if !ts.Equal(when) || d.Format("2006-01-02") != "2024-02-29" || string(bin) != "\x01\x02" {
			t.Errorf("bound values came back as %v, %v, %x", ts, d, bin)
		}
		ids, names := []int{2, 3, 4}, []string{"b", "c", "d"}
		ba, err := sf.Array(&ids)
		if err != nil {
			t.Fatal(err)
		}
		bb, err := sf.Array(&names)
		if err != nil {
			t.Fatal(err)
		}
		if n := exec(t, db, "insert into bound (n, s) values (?, ?)", ba, bb); n != 3 {
			t.Errorf("an array bind inserted %d rows", n)
		}
		if got := fmt.Sprint(rows(t, db, "select n, s from bound order by n")); got != "[[1 x] [2 b] [3 c] [4 d]]" {
			t.Errorf("after the array bind: %s", got)
		}
		last := w.Executed()[len(w.Executed())-2]
		if last.Binds != 3 {
			t.Errorf("the execution had %d rows of binds: %+v", last.Binds, last)
		}
	})
}

func TestDDL(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	db.SetMaxOpenConns(1) // one session: USE must hold
	for _, q := range []string{
		"create database if not exists lab", "create schema lab.s1", "use schema lab.s1",
		"create table a (id int primary key, constraint x unique (id))", "insert into a values (1), (2)",
		"create table b as select id, id * 2 as twice from a", "create or replace table a as select id + 1 as id from a",
		"create table c clone b", "create or replace transient table g as (with x as (select 1 as n) select n from x)", "create or replace view h as (select n from g);", "create table d like b", "create view v (x) as select twice from b where id = 2",
		"create or replace view v as select twice as y from lab.s1.b", "create table if not exists a (id int)",
		"create table e (id int, s varchar)", "insert into e values (1, 'x')", "alter table e add column n number(5,1) default 2.5",
		"alter table lab.s1.e rename column s to t", "alter table e add u varchar", "alter table e drop column u", "alter table e rename to lab.public.f",
		"create table \"MixedCase\" (\"col umn\" int)", "insert into \"MixedCase\" values (7)",
	} {
		exec(t, db, q)
	}
	for q, want := range map[string]string{
		"select current_database(), current_schema()": "[[LAB S1]]",
		"select id from a order by 1":                 "[[2] [3]]",
		"select id, twice from c order by id":         "[[1 2] [2 4]]",
		"select count(*) from d":                      "[[0]]",
		"select y from v order by 1":                  "[[2] [4]]",
		`select "col umn" from "MixedCase"`:           "[[7]]",
		"select * from lab.public.f":                  "[[1 x 2.5]]",
		"select n from h":                             "[[1]]",
		"select n from lab.public.f where t = 'x'":    "[[2.5]]",
		"select get_ddl('view', 'lab.s1.v')":          "[[create or replace view v as select twice as y from lab.s1.b]]",
		"select get_ddl('table', 'b')":                "[[create or replace TABLE B (\n\tID NUMBER(38,0),\n\tTWICE NUMBER(38,0)\n);]]",
	} {
		if got := fmt.Sprint(rows(t, db, q)); got != want {
			t.Errorf("%s: got %s, want %s", q, got, want)
		}
	}
	for _, q := range []string{"select * from e", "alter table c drop column nope", "alter table c rename column id to twice", "alter table c swap with d", "alter table c add"} {
		if _, err := db.ExecContext(t.Context(), q); err == nil {
			t.Errorf("%s: no error", q)
		}
	}
	if _, err := db.ExecContext(t.Context(), "select * from mixedcase"); err == nil {
		t.Error("a quoted name was found without its quotes")
	}
	exec(t, db, "drop database lab")
	if _, err := db.ExecContext(t.Context(), "select * from lab.s1.b"); err == nil {
		t.Error("a table survived its database")
	}
	if got := fmt.Sprint(rows(t, db, "select current_database()")); got != "[[NULL]]" {
		t.Errorf("the current database after its drop: %s", got)
	}
	exec(t, db, "drop database if exists lab")
	exec(t, db, "use database demo")
	exec(t, db, "grant select on table customers to role analyst")
	exec(t, db, "drop database old_reports")
	for _, r := range rows(t, db, "show databases") {
		if r[1] == "OLD_REPORTS" {
			t.Error("OLD_REPORTS is still there")
		}
	}
}

func TestShowAndDescribe(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	column := func(query, name string) []string {
		t.Helper()
		rs, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		defer rs.Close()
		cols, _ := rs.Columns()
		at := -1
		for i, c := range cols {
			if c == name {
				at = i
			}
		}
		if at < 0 {
			t.Fatalf("%s has no column %s: %v", query, name, cols)
		}
		var out []string
		for _, r := range drain(t, rs) {
			out = append(out, r[at])
		}
		return out
	}
	for _, tt := range []struct{ query, column, want string }{
		{"show databases", "name", "ANALYTICS DEMO OLD_REPORTS"},
		{"show terse databases like 'de%'", "name", "DEMO"},
		{"show schemas in database analytics", "name", "PUBLIC WEB"},
		{"show tables", "name", "CUSTOMERS ORDERS PRODUCTS"},
		{"show tables in schema analytics.web", "name", "EVENTS"},
		{"show tables in analytics", "name", "EVENTS"},
		{"show tables in account", "name", "EVENTS CUSTOMERS ORDERS PRODUCTS REPORT_2019"},
		{"show tables like 'ord%' in database demo", "rows", "150"},
		{"show views", "name", "ORDER_TOTALS"},
		{"show columns in table products", "column_name", "ID NAME PRICE WEIGHT"},
		{"describe table products", "type", "NUMBER(38,0) VARCHAR(100) NUMBER(10,2) FLOAT"},
		{"desc view order_totals", "name", "CUSTOMER_ID NAME ORDERS TOTAL"},
		{"desc view order_totals", "type", "NUMBER(38,0) VARCHAR(100) NUMBER(18,0) NUMBER(38,2)"},
		{"show parameters like 'timezone'", "value", "UTC"},
	} {
		if got := strings.Join(column(tt.query, tt.column), " "); got != tt.want {
			t.Errorf("%s: %s = %s, want %s", tt.query, tt.column, got, tt.want)
		}
	}
}

func TestMultiStatement(t *testing.T) {
	formats(t, func(t *testing.T, w world, db *sql.DB) {
		ctx := sf.WithMultiStatement(t.Context(), 3)
		rs, err := db.QueryContext(ctx, "select 1 as a; insert into products values (9, ';', 1, 1); select count(*) from products;")
		if err != nil {
			t.Fatal(err)
		}
		defer rs.Close()
		var got []string
		for {
			got = append(got, fmt.Sprint(drain(t, rs)))
			if !rs.NextResultSet() {
				break
			}
		}
		if s := strings.Join(got, " "); s != "[[1]] [[1]] [[6]]" {
			t.Errorf("results %s", s)
		}
		var texts []string
		for _, e := range w.Executed() {
			texts = append(texts, e.SQL)
		}
		if s := strings.Join(texts, "|"); s != "select 1 as a|insert into products values (9, ';', 1, 1)|select count(*) from products" {
			t.Errorf("executed %s", s)
		}
		if _, err := db.ExecContext(sf.WithMultiStatement(t.Context(), 0), "delete from products; delete from nowhere"); err == nil {
			t.Error("a failing part did not fail the whole")
		}
		res, err := db.ExecContext(sf.WithMultiStatement(t.Context(), 2), "update orders set status = 'X' where id < 1002; delete from orders where status = 'X'")
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := res.RowsAffected(); n != 4 {
			t.Errorf("two DML statements touched %d rows", n)
		}
	})
}

func TestSlowStatementIsPolled(t *testing.T) {
	w := start(t, func(o *sandbox.Options) { o.AnswerWithin = 30 * time.Millisecond })
	db := w.open(t, nil)
	if got := fmt.Sprint(rows(t, db, "select system$wait(200, 'MILLISECONDS')")); got != "[[waited 0.2 seconds]]" {
		t.Errorf("got %s", got)
	}
}

func TestCancel(t *testing.T) {
	w := start(t, func(o *sandbox.Options) { o.AnswerWithin = 30 * time.Millisecond })
	db := w.open(t, nil)
	for _, q := range []string{"select system$wait(3600)", "with recursive r(n) as (select 1 union all select n + 1 from r) select count(*) from r"} {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		begin := time.Now()
		_, err := db.ExecContext(ctx, q)
		cancel()
		if err == nil || time.Since(begin) > 20*time.Second {
			t.Errorf("%s: error %v after %v", q, err, time.Since(begin))
		}
	}
	if n := len(w.Aborted()); n != 2 {
		t.Errorf("%d aborts arrived, want 2", n)
	}
	if got := fmt.Sprint(rows(t, db, "select 1")); got != "[[1]]" {
		t.Errorf("after the cancels: %s", got)
	}
}

func TestAsync(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	rs, err := db.QueryContext(sf.WithAsyncMode(t.Context()), "select id from products order by id")
	if err != nil {
		t.Fatal(err)
	}
	defer rs.Close()
	if got := fmt.Sprint(drain(t, rs)); got != "[[1] [2] [3] [4] [5]]" {
		t.Errorf("got %s", got)
	}
}

func TestFetchByQueryID(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	ids := make(chan string, 1)
	rs, err := db.QueryContext(sf.WithQueryIDChan(t.Context(), ids), "select name from products where id = 2")
	if err != nil {
		t.Fatal(err)
	}
	rs.Close()
	id := <-ids
	rs, err = db.QueryContext(sf.WithFetchResultByID(t.Context(), id), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(drain(t, rs)); got != "[[Stapler]]" {
		t.Errorf("by id: %s", got)
	}
	if got := fmt.Sprint(rows(t, db, "select * from table(result_scan('"+id+"'))")); got != "[[Stapler]]" {
		t.Errorf("by result_scan: %s", got)
	}
	// Another user must not see it.
	other := w.open(t, func(c *sf.Config) { c.User = "bob" })
	if _, err := other.QueryContext(t.Context(), "select * from table(result_scan('"+id+"'))"); err == nil {
		t.Error("another user read the result by result_scan")
	}
	if _, err := other.QueryContext(sf.WithFetchResultByID(t.Context(), id), ""); err == nil {
		t.Error("another user read the result by id")
	}
}

func TestTransactions(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	count := func(q interface {
		QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	}) string {
		return rows(t, q, "select count(*) from products")[0][0]
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, tx, "delete from products where id = 1")
	if in, out := count(tx), count(db); in != "4" || out != "5" {
		t.Errorf("within %s, without %s; want 4 and 5", in, out)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if n := count(db); n != "5" {
		t.Errorf("after rollback: %s", n)
	}
	if tx, err = db.BeginTx(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	exec(t, tx, "delete from products where id = 1")
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if n := count(db); n != "4" {
		t.Errorf("after commit: %s", n)
	}
}

func TestManySessionsAtOnce(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	db.SetMaxOpenConns(6)
	exec(t, db, "create table counted (worker int, n int)")
	var g errgroup.Group
	for worker := range 6 {
		g.Go(func() error {
			for n := range 5 {
				if _, err := db.ExecContext(t.Context(), "insert into counted values (?, ?)", worker, n); err != nil {
					return err
				}
				if _, err := db.ExecContext(t.Context(), fmt.Sprintf("create or replace table own_%d as select * from counted where worker = %d", worker, worker)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(rows(t, db, "select count(*), count(distinct worker) from counted")); got != "[[30 6]]" {
		t.Errorf("got %s", got)
	}
}

func TestArrowByDefault(t *testing.T) {
	w := start(t, func(o *sandbox.Options) { o.Arrow = true })
	token, _ := w.login(t)
	for params, want := range map[string]string{`{}`: "arrow", `{"GO_QUERY_RESULT_FORMAT":"JSON"}`: "json"} {
		a := w.send(t, "POST", "/queries/v1/query-request", token, `{"sqlText":"select 1","parameters":`+params+`}`)
		if a.Data["queryResultFormat"] != want {
			t.Errorf("%s: format %v, want %s", params, a.Data["queryResultFormat"], want)
		}
	}
}

func TestExpiredTokenIsRenewed(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	db.SetMaxOpenConns(1)
	exec(t, db, "use schema analytics.web")
	w.ExpireTokens()
	if got := fmt.Sprint(rows(t, db, "select current_schema()")); got != "[[WEB]]" {
		t.Errorf("after the renewal: %s", got)
	}
	if n := w.Logins(); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	if n := len(w.Executed()); n != 2 {
		t.Errorf("%d executions, want 2", n)
	}
}

func TestQueryTagAndParameters(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	db.SetMaxOpenConns(1)
	exec(t, db, "alter session set query_tag = 'from session', timezone = 'Europe/Zurich'")
	exec(t, db, "select 1")
	ctx := sf.WithQueryTag(t.Context(), "from statement")
	if _, err := db.ExecContext(ctx, "select 2"); err != nil {
		t.Fatal(err)
	}
	ex := w.Executed()
	if ex[1].QueryTag != "from session" || ex[2].QueryTag != "from statement" || ex[2].RequestID == "" || ex[2].User != "ALICE" {
		t.Errorf("executed %+v", ex)
	}
	if got := rows(t, db, "show parameters like 'timezone'")[0][1]; got != "Europe/Zurich" {
		t.Errorf("TIMEZONE is %s", got)
	}
}

func TestDescribeOnly(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	ctx := sf.WithDescribeOnly(t.Context())
	rs, err := db.QueryContext(ctx, "select id, name, balance * 2 as double, max(birthday) over () from customers")
	if err != nil {
		t.Fatal(err)
	}
	defer rs.Close()
	types, err := rs.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range types {
		got = append(got, c.Name()+" "+c.DatabaseTypeName())
	}
	if s := strings.Join(got, ", "); s != "ID FIXED, NAME TEXT, DOUBLE REAL, MAX(BIRTHDAY) OVER () DATE" {
		t.Errorf("described as %s", s)
	}
	if rs.Next() {
		t.Error("a description has rows")
	}
	if _, err := db.QueryContext(ctx, "delete from customers"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.QueryContext(ctx, "drop database demo"); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(rows(t, db, "select count(*) from customers")); got != "[[50]]" {
		t.Errorf("describing changed the data: %s", got)
	}
	if len(w.Described()) != 3 || len(w.Executed()) != 1 {
		t.Errorf("described %d, executed %d", len(w.Described()), len(w.Executed()))
	}
}

func TestClosedWorldRefuses(t *testing.T) {
	w := start(t, func(o *sandbox.Options) { o.Data = []string{} })
	db := w.open(t, nil)
	_, err := db.QueryContext(t.Context(), "select * from customers")
	var se *sf.SnowflakeError
	if !errors.As(err, &se) || se.Number != 90105 {
		t.Errorf("error %v", err)
	}
}
