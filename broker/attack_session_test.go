package broker

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
)

// withParameters is an account whose sessions start with other parameters.
type withParameters struct {
	session.Upstreams
	parameters string
}

func (w withParameters) OpenUpstream(ctx context.Context) (session.Upstream, error) {
	up, err := w.Upstreams.OpenUpstream(ctx)
	up.Parameters = []byte(w.parameters)
	return up, err
}

// With such defaults "o" is O, and a name of an expression that of a table.
func TestAccountDefaultsChangeWhatNamesMean(t *testing.T) {
	for parameters, ok := range map[string]bool{
		`[]`: true,
		`[{"name":"QUOTED_IDENTIFIERS_IGNORE_CASE","value":false},{"name":"SEARCH_PATH","value":"$current, $public"}]`: true,
		`[{"name":"QUOTED_IDENTIFIERS_IGNORE_CASE","value":true}]`:                                                     false,
		`[{"name":"quoted_identifiers_ignore_case","value":"true"}]`:                                                   false,
		`[{"name":"SEARCH_PATH","value":"other.schema, $current"}]`:                                                    false,
		`{"name":"SEARCH_PATH"}`: false,
	} {
		var acc *account
		r := newRig(t, func(c *Config) {
			acc = c.Upstreams.(*account)
			c.Upstreams = withParameters{c.Upstreams, parameters}
		})
		a := r.loginWith(r.patFields(), "")
		if a.Success != ok {
			t.Errorf("%s: %s", parameters, a.Raw)
		}
		if !ok {
			eventually(t, "the upstream session is closed", func() bool {
				acc.mu.Lock()
				defer acc.mu.Unlock()
				return len(acc.closed) == 1
			})
		}
	}
}

// What reviewers decided on a table is not decided on another under its name.
func TestTableIsReplacedBetweenApprovalAndUse(t *testing.T) {
	columns := "ID"
	r := newRig(t, func(c *Config) { c.Policy = policy.Default(); c.Hold = 30 * time.Millisecond })
	r.b.analyze = sql.Analyze
	r.up.setAnswer(func(q seenQuery) (int, string) {
		if strings.HasPrefix(q.SQL, "SELECT * FROM") {
			return 200, strings.ReplaceAll(strings.ReplaceAll(plainRow, `"ONE"`, `"`+columns+`"`), `[["1"]]`, `[]`)
		}
		if strings.HasPrefix(q.SQL, "SHOW VIEWS") {
			return 200, strings.ReplaceAll(strings.ReplaceAll(plainRow, `"ONE"`, `"name"`), `[["1"]]`, `[]`)
		}
		return 200, plainRow
	})
	const text = "DELETE FROM app.public.junk WHERE junk.id IN (SELECT id FROM app.public.other)"
	tk := r.login()
	wantRefusal(t, r.query(tk, "", text), "003001", "JIT-3001")
	first := <-r.desk.filed
	r.decide(first, session.OutcomeApprove)
	columns = "EMAIL" // neither table has the column any more: it is another statement
	for l := range r.b.logins {
		l.catalog.clear()
	}
	wantRefusal(t, r.query(tk, "", text), "003001", "JIT-3001")
	second := <-r.desk.filed
	if second == first || r.desk.redeemed != 0 {
		t.Fatalf("request %s, %d redeemed", second, r.desk.redeemed)
	}
	r.decide(second, session.OutcomeApprove)
	if a := r.query(tk, "", text); !a.Success || r.desk.redeemed != 1 {
		t.Errorf("the second approval, of what it means now: %d redeemed, %s", r.desk.redeemed, a.Raw)
	}
}

// A statement that was given up may still switch the schema under the next one:
// nothing follows it in its session.
func TestAgentAbortsAUseAndQueriesOn(t *testing.T) {
	release := make(chan struct{})
	r := newRig(t)
	r.up.setAnswer(func(q seenQuery) (int, string) {
		if strings.HasPrefix(q.SQL, "use") {
			<-release
		}
		return 200, plainRow
	})
	defer close(release)
	tk := r.login()
	done := make(chan answer, 1)
	go func() { done <- r.query(tk, "the-use", "use schema other") }()
	eventually(t, "it is on its way", func() bool { return len(r.up.seen()) == 1 })
	r.send(http.MethodPost, "/queries/v1/abort-request?requestId=x", tk.token, []byte(`{"requestId":"the-use"}`))
	if a := <-done; a.code() != "390111" {
		t.Errorf("answer %s", a.Raw)
	}
	if a := r.query(tk, "", "select 1"); a.Success {
		t.Error("the session was used on")
	}
}

// A view may be redefined by another connection of the session.
func TestAnotherConnectionRedefinesTheView(t *testing.T) {
	r := newRig(t)
	one, two := r.login(), r.login()
	name := sql.ObjectName{Database: "APP", Schema: "PUBLIC", Name: "REPORT"}
	for l := range r.b.logins {
		l.catalog.put(name, learnt{relation: sql.Relation{Kind: sql.ObjectView}, known: true, at: time.Now()})
	}
	request, final := r.held(one, "", "drop view report")
	r.decide(request, session.OutcomeApprove)
	if a := <-final; !a.Success {
		t.Fatal(a.Raw)
	}
	for l := range r.b.logins {
		if _, known := l.catalog.Relation(name); known {
			t.Error("a connection goes by what the view was")
		}
	}
	_ = two
}
