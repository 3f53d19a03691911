package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"testing"
	"time"
)

// FuzzRun: no statement makes the server panic, hang, or answer with anything
// but a result or one of Snowflake's errors. It is deep, not wide: the seeds
// name every kind of statement.
func FuzzRun(f *testing.F) {
	for _, s := range []string{
		"select *, id::varchar x, profile:a[0].b::int from customers c left join orders o on o.customer_id = c.id where name like 'a%' order by 1 limit 3",
		"with a (x) as (select max(ssn) over (partition by city) from customers) select x, count(*) from a group by x",
		"select cast(? as number(10,2)), dateadd(day, 1, current_date), to_date('2024-01-01'), x'00', $$a$$",
		"insert into products (id, name) select id, name from customers", "update products p set price = price * 2 where id = 1", "delete from products",
		"create or replace table t (id int not null default 5, s varchar(3) comment 'c', primary key (id))", "create view v (a, b) as select id, name from customers",
		"create table t2 as select * from customers", "create table c clone customers", "alter table products add column x int", "alter table products rename column price to cost",
		"drop table if exists products cascade", "drop database old_reports", "truncate table orders", "create schema s", "use schema analytics.web", "use role x",
		"show tables like 'c%' in database demo", "show columns in table customers", "show parameters", "describe table customers", "desc view order_totals",
		"alter session set query_tag = 'x'", "alter session unset query_tag", "begin", "commit", "rollback", "explain using json select * from customers",
		"select get_ddl('view', 'order_totals')", "select * from table(result_scan(last_query_id()))", "select system$wait(0)", "grant select on t to role r",
		"create table n (a number(38,37), b number(99999999,99999999), c time(12), d timestamp_ntz(10), e varchar(0), f number(5,6))",
		"select 1::number(1,99999999), 1::time(12), '1'::number(38,37), '23:00'::time(0)", "select 1e300::number, 99999999999999999999999999999999999999999.1, -1e37::number(38,0), 9::number(38,37)", "select table_name from information_schema.columns", "values (1, 'a')", "(select 1) union all (select 2)", "merge into t using s on 1 = 1", "select * from a.b.c.d",
	} {
		f.Add(s)
	}
	s, err := New(Options{Account: "fuzz"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	request := httptest.NewRequest("GET", "http://127.0.0.1/", nil)
	f.Fuzz(func(t *testing.T, text string) {
		sess, err := s.newSession("FUZZ", "R")
		if err != nil {
			t.Fatal(err)
		}
		defer sess.close()
		s.enter(sess, "DEMO", "PUBLIC")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		one := bind{Type: "FIXED", Value: json.RawMessage(`"1"`)}
		for _, describe := range []bool{true, false} {
			out, err := s.run(ctx, sess, text, map[string]bind{"1": one, "2": one, "3": one}, describe)
			var known *sqlError
			if err != nil && !errors.As(err, &known) {
				t.Fatalf("an error that is not Snowflake's: %v", err)
			}
			if err != nil {
				continue
			}
			for _, arrow := range []string{"ARROW", "JSON"} {
				ex := &execution{session: sess, out: out, req: queryRequest{Params: map[string]any{"GO_QUERY_RESULT_FORMAT": arrow}}}
				_, err := s.render(request, ex)
				if err != nil && !errors.As(err, &known) {
					t.Fatalf("rendering as %s: %v", arrow, err)
				}
			}
		}
	})
}
