package broker

import (
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
)

// Snowpark stops what it left running when it closes. Only that, and only in
// this connection's own session, needs nobody.
func TestCancelAllQueriesOfTheOwnSession(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Policy = policy.Default(); c.Hold = 20 * time.Millisecond })
	r.b.analyze = sql.Analyze
	a := r.loginWith(r.patFields(), "")
	tk := tokensOf(t, a)
	_, rest, _ := strings.Cut(a.Raw, `"sessionId":`)
	id := rest[:strings.IndexAny(rest, ",}")]
	if len(id) < 2 {
		t.Fatalf("session id %q", id)
	}
	for _, text := range []string{
		"select system$cancel_all_queries(" + id + ")",
		"SELECT SYSTEM$CANCEL_ALL_QUERIES(" + id + ");",
	} {
		if a := r.query(tk, "", text); !a.Success {
			t.Errorf("%s: %s", text, a.Raw)
		}
	}
	ran := len(r.up.seen())
	if ran != 2 {
		t.Fatalf("%d statements went upstream", ran)
	}
	for _, text := range []string{
		"select system$cancel_all_queries(" + id + "1)",
		"select system$cancel_all_queries(" + id[1:] + ")",
		"select system$cancel_all_queries(-" + id + ")",
		"select system$cancel_all_queries(" + id + ".0)",
		"select system$cancel_all_queries('" + id + "')",
		"select system$cancel_all_queries(" + id + " + 1)",
		"select system$cancel_all_queries(" + id + "), system$cancel_all_queries(1)",
		"select system$cancel_all_queries(" + id + ") from customers",
		"select system$cancel_all_queries(" + id + ") union select system$cancel_all_queries(2)",
		"select \"system$cancel_all_queries\"(" + id + ")",
		"select x.system$cancel_all_queries(" + id + ")",
		"select \u017fystem$cancel_all_queries(" + id + ")",
		"select system$cancel_query(" + id + ")",
		"select system$cancel_all_queries(?)",
	} {
		if a := r.query(tk, "", text); a.Success {
			t.Errorf("%s ran unattended", text)
		}
	}
	for _, q := range r.up.seen()[ran:] {
		if strings.Contains(strings.ToUpper(q.SQL), "SYSTEM$") {
			t.Errorf("%s went upstream", q.SQL)
		}
	}
}

// Clients' own marks are dropped; what could change a statement still refuses it.
func TestSnowparkStatementParameters(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	a := r.query(tk, "", "select 1", `"parameters":{"_PLAN_UUID":"5c0c6c1e","auto_clean_up_temp_table":true,"SNOWPARK_API":"x"}`)
	if !a.Success {
		t.Fatal(a.Raw)
	}
	for name := range r.up.seen()[0].Parameters {
		if strings.Contains(strings.ToUpper(name), "PLAN") || strings.Contains(strings.ToUpper(name), "CLEAN") {
			t.Errorf("%s went upstream", name)
		}
	}
	wantRefusal(t, r.query(tk, "", "select 1", `"parameters":{"_PLAN_UUID2":"5c0c6c1e"}`), "000002", "JIT-2003")
}
