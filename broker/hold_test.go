package broker

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// held sends a statement that is held and returns when the desk has it.
func (r *rig) held(tk tokens, id, text string) (request string, final <-chan answer) {
	r.t.Helper()
	done := make(chan answer, 1)
	go func() { done <- r.query(tk, id, text) }()
	select {
	case request = <-r.desk.filed:
	case <-time.After(5 * time.Second):
		r.t.Fatal("nothing was filed")
	}
	return request, done
}

func (r *rig) decide(id string, o session.Outcome) {
	r.t.Helper()
	if _, err := r.desk.Decide(r.t.Context(), id, session.Choice{Outcome: o, Reason: "because"}); err != nil {
		r.t.Fatal(err)
	}
}

func holdApproved(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	id := uuid.NewString()
	request, final := r.held(tk, id, "drop table t")
	if len(r.up.seen()) != 0 {
		t.Fatal("forwarded before the decision")
	}
	again := make(chan answer, 1)
	go func() { again <- r.query(tk, id, "drop table t") }() // Q10: the driver sends it again
	r.decide(request, session.OutcomeApprove)
	if a := <-final; !a.Success || a.Raw != plainRow {
		t.Fatalf("H01: %s", a.Raw)
	}
	if a := <-again; !a.Success {
		t.Fatalf("Q10: %s", a.Raw)
	}
	if n := len(r.up.seen()); n != 1 || r.desk.redeemed != 1 {
		t.Errorf("%d executions, %d redemptions", n, r.desk.redeemed)
	}
	want := []recording.Kind{recording.KindLogin, recording.KindStatement, recording.KindRequest, recording.KindDecision, recording.KindForwarded, recording.KindResult}
	got := r.kinds()
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("events %v", got)
		}
	}
	// The approval is spent: the same text asks again.
	request2, final2 := r.held(tk, "", "drop table t")
	if request2 == request {
		t.Error("a spent approval was offered again")
	}
	r.decide(request2, session.OutcomeDeny)
	a := <-final2
	wantRefusal(t, a, "003001", "JIT-3002") // H04
	if !strings.Contains(*a.Message, "because") || !strings.Contains(*a.Message, "request="+request2) {
		t.Errorf("message %q", *a.Message)
	}
	if len(r.up.seen()) != 1 {
		t.Error("a denied statement ran")
	}
	if m := r.send("GET", "/monitoring/queries/"+a.data(t)["queryId"].(string), tk.token, nil); !strings.Contains(m.Raw, "FAILED_WITH_ERROR") {
		t.Errorf("H12: %s", m.Raw)
	}
}

func TestHoldPatience(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Hold = 50 * time.Millisecond })
	tk := r.login()
	request, final := r.held(tk, "", "drop table t")
	a := <-final
	wantRefusal(t, a, "003001", "JIT-3001")
	if !regexp.MustCompile(`^JIT-3001 APPROVAL_PENDING request=`+request+` rule=test-hold expires=\d{4}-`).MatchString(*a.Message) ||
		!strings.Contains(*a.Message, "It has NOT run.") {
		t.Errorf("message %q", *a.Message)
	}
	if r.desk.state(request) != session.StatePending {
		t.Fatal("the request did not outlive the statement")
	}
	r.decide(request, session.OutcomeApprove)
	if a := r.query(tk, "", "drop table t"); !a.Success {
		t.Fatalf("the approval did not apply: %s", a.Raw)
	}
	if r.desk.redeemed != 1 || len(r.desk.order) != 1 {
		t.Errorf("%d redeemed, %d filed", r.desk.redeemed, len(r.desk.order))
	}
	// Another one is left pending when the session ends: it is withdrawn.
	pending, final := r.held(tk, "", "drop table u")
	<-final
	r.stop()
	if s := r.desk.state(pending); s != session.StateWithdrawn {
		t.Errorf("state %v", s)
	}
}

func holdPolling(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	id := uuid.NewString()
	request, final := r.held(tk, id, "drop table t")
	var s *statement
	for l := range r.b.logins {
		s = l.statements[id]
	}
	path := "/queries/" + s.id + "/result"
	if !regexp.MustCompile(`^/queries/[0-9a-f-]{36}/result$`).MatchString(path) {
		t.Fatalf("H03: %s", path)
	}
	if m := r.send("GET", "/monitoring/queries/"+s.id, tk.token, nil); !strings.Contains(m.Raw, `"status":"QUEUED"`) || strings.Contains(m.Raw, "drop") {
		t.Errorf("H12: %s", m.Raw)
	}
	if m := r.send("GET", "/monitoring/queries//"+s.id, tk.token, nil); !strings.Contains(m.Raw, `"status":"QUEUED"`) {
		t.Errorf("the Python connector's spelling: %s", m.Raw)
	}
	other := r.login() // H09
	if a := r.send("GET", path, other.token, nil); a.code() != "000709" {
		t.Errorf("H09 poll: %s", a.Raw)
	}
	if a := r.send("POST", "/queries/"+s.id+"/abort-request", other.token, nil); a.code() != "000605" {
		t.Errorf("H09 abort by id: %s", a.Raw)
	}
	if a := r.send("POST", "/queries/v1/abort-request?requestId=x", other.token, []byte(`{"requestId":"`+id+`"}`)); a.code() != "000605" {
		t.Errorf("H09 abort: %s", a.Raw)
	}
	polled := make(chan answer, 1)
	go func() { polled <- r.send("GET", path, tk.token, nil) }() // H07
	r.decide(request, session.OutcomeApprove)
	if a, b := <-final, <-polled; a.Raw != b.Raw || !a.Success {
		t.Errorf("H07: %s", b.Raw)
	}
	if a := r.send("GET", path, tk.token, nil); !a.Success {
		t.Errorf("the provisional id is lost: %s", a.Raw)
	}
}

func holdCanceled(t *testing.T) {
	for name, abort := range map[string]func(r *rig, tk tokens, requestID, queryID string) answer{
		"H06 by request id": func(r *rig, tk tokens, requestID, _ string) answer {
			return r.send("POST", "/queries/v1/abort-request?requestId="+uuid.NewString(), tk.token, []byte(`{"sqlText":"x","requestId":"`+requestID+`"}`))
		},
		"H06 by query id": func(r *rig, tk tokens, _, queryID string) answer {
			return r.send("POST", "/queries/"+queryID+"/abort-request", tk.token, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			tk := r.login()
			id := uuid.NewString()
			request, final := r.held(tk, id, "drop table t")
			var s *statement
			for l := range r.b.logins {
				s = l.statements[id]
			}
			if a := abort(r, tk, id, s.id); !a.Success {
				t.Fatalf("got %s", a.Raw)
			}
			wantRefusal(t, <-final, "000604", "JIT-3004")
			eventually(t, "withdrawn", func() bool { return r.desk.state(request) == session.StateWithdrawn })
			if len(r.up.seen()) != 0 {
				t.Error("it ran")
			}
		})
	}
}

func TestHoldEndsWithSession(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	request, final := r.held(tk, "", "drop table t")
	r.desk.events <- sessionEnded("sess-1")
	if a := <-final; a.code() != "390111" {
		t.Errorf("got %s", a.Raw)
	}
	eventually(t, "withdrawn", func() bool { return r.desk.state(request) == session.StateWithdrawn })
}

func holdOrder(t *testing.T) { // H08
	r := newRig(t)
	tk := r.login()
	request, final := r.held(tk, "", "drop table t")
	second := make(chan answer, 1)
	go func() { second <- r.query(tk, "", "select 1") }()
	eventually(t, "the second is queued", func() bool {
		n := 0
		r.b.mu.Lock()
		defer r.b.mu.Unlock()
		for l := range r.b.logins {
			l.mu.Lock()
			n += len(l.statements)
			l.mu.Unlock()
		}
		return n == 2
	})
	if len(r.up.seen()) != 0 {
		t.Fatal("the second overtook the first")
	}
	r.decide(request, session.OutcomeApprove)
	<-final
	if a := <-second; !a.Success {
		t.Fatalf("got %s", a.Raw)
	}
	if q := r.up.seen(); len(q) != 2 || !strings.HasPrefix(q[0].SQL, "drop") {
		t.Errorf("order %v", q)
	}
}

func holdMeaningChanged(t *testing.T) { // H10
	r := newRig(t)
	tk := r.login()
	replaced := make(chan struct{})
	r.b.analyze = func(text string, cx sql.Context, cat sql.Catalog) (*sql.Analysis, error) {
		a, err := wordAnalysis(text, cx, cat)
		select {
		case <-replaced:
			a.Statements[0].Writes = []sql.Object{{Kind: sql.ObjectTable, Name: sql.ObjectName{Name: "OTHER"}}}
		default:
		}
		return a, err
	}
	request, final := r.held(tk, "", "drop table t")
	close(replaced)
	r.decide(request, session.OutcomeApprove)
	wantRefusal(t, <-final, "003001", "JIT-3005")
	if r.desk.redeemed != 0 || len(r.up.seen()) != 0 {
		t.Error("the approval was used for something else")
	}
}

func TestHoldWithoutDesk(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	r.desk.mu.Lock()
	r.desk.submit = errors.Join(session.ErrUnavailable, errors.New("dial secret-host"))
	r.desk.mu.Unlock()
	a := r.query(tk, "", "drop table t")
	wantRefusal(t, a, "000603", "JIT-3006")
	if strings.Contains(a.Raw, "secret-host") || len(r.up.seen()) != 0 {
		t.Errorf("got %s", a.Raw)
	}
	if a := r.query(tk, "", "select 1"); !a.Success {
		t.Error("what needs no decision is refused too")
	}
}

func TestRunningCanceled(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	release := make(chan struct{})
	entered := make(chan struct{}, 1)
	r.up.setAnswer(func(q seenQuery) (int, string) {
		entered <- struct{}{}
		<-release
		return 200, plainRow
	})
	defer close(release)
	id := uuid.NewString()
	final := make(chan answer, 1)
	go func() { final <- r.query(tk, id, "select 1") }()
	<-entered
	if a := r.send("POST", "/queries/v1/abort-request?requestId=x", tk.token, []byte(`{"requestId":"`+id+`"}`)); !a.Success {
		t.Fatalf("got %s", a.Raw)
	}
	wantRefusal(t, <-final, "000604", "JIT-4005")
	eventually(t, "aborted upstream", func() bool {
		r.up.mu.Lock()
		defer r.up.mu.Unlock()
		return len(r.up.aborts) == 1 && strings.Contains(r.up.aborts[0], r.up.queries[0].RequestID)
	})
}

func longPolled(t *testing.T) { // H02 H03
	r := newRig(t)
	r.b.poll = 30 * time.Millisecond
	tk := r.login()
	request, final := r.held(tk, "", "drop table t")
	first := <-final
	if first.code() != "333333" || !first.Success {
		t.Fatalf("got %s", first.Raw)
	}
	path := first.data(t)["getResultUrl"].(string)
	for range 3 {
		if a := r.send("GET", path, tk.token, nil); a.Raw != first.Raw {
			t.Fatalf("another answer: %s", a.Raw)
		}
	}
	r.decide(request, session.OutcomeApprove)
	eventually(t, "the result", func() bool { return r.send("GET", path, tk.token, nil).Raw == plainRow })
	if len(r.up.seen()) != 1 {
		t.Error("not executed once")
	}
}

func TestHeldAsync(t *testing.T) {
	r := newRig(t)
	r.b.asyncPoll = 30 * time.Millisecond
	tk := r.login()
	body := []byte(`{"sqlText":"drop table t","asyncExec":true}`)
	a := r.send("POST", "/queries/v1/query-request?requestId="+uuid.NewString(), tk.token, body)
	id, _ := a.data(t)["queryId"].(string)
	if a.code() != "333334" || uuid.Validate(id) != nil {
		t.Fatalf("got %s", a.Raw)
	}
	if m := r.send("GET", "/monitoring/queries/"+id, tk.token, nil); !strings.Contains(m.Raw, "QUEUED") {
		t.Errorf("got %s", m.Raw)
	}
	r.decide(<-r.desk.filed, session.OutcomeApprove)
	eventually(t, "SUCCESS", func() bool {
		return strings.Contains(r.send("GET", "/monitoring/queries/"+id, tk.token, nil).Raw, "SUCCESS")
	})
}

func TestDeadline(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Session.Scope.TTL = 300 * time.Millisecond // counts from the first login
	})
	tk := r.login()
	request, final := r.held(tk, "", "drop table t")
	if a := <-final; a.code() != "390111" || !strings.Contains(*a.Message, "deadline") {
		t.Errorf("held: %s", a.Raw)
	}
	if a := r.query(tk, "", "select 1"); a.code() != "390111" {
		t.Errorf("next: %s", a.Raw)
	}
	if a := r.loginWith(r.patFields(), ""); a.code() != "390100" || !strings.Contains(*a.Message, "deadline") {
		t.Errorf("login: %s", a.Raw)
	}
	eventually(t, "withdrawn", func() bool { return r.desk.state(request) == session.StateWithdrawn })
}

func TestDeadlineClocks(t *testing.T) {
	now := time.Now()
	d := deadlineAt(now, now.Add(time.Minute))
	for name, c := range map[string]struct {
		now  time.Time
		over bool
	}{
		"before": {now.Add(59 * time.Second), false}, "after": {now.Add(time.Minute), true},
		"wall clock alone (after a suspend)": {now.Add(time.Hour).Round(0), true},
	} {
		if over := d.left(c.now) <= 0; over != c.over {
			t.Errorf("%s: over is %v", name, over)
		}
	}
}

func TestTimeBudget(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Policy = firstWord{limits: policy.Limits{Wall: 50 * time.Millisecond}} })
	release := make(chan struct{})
	r.up.setAnswer(func(q seenQuery) (int, string) { <-release; return 200, plainRow })
	defer close(release)
	wantRefusal(t, r.query(r.login(), "", "select 1"), "000604", "JIT-2006")
	eventually(t, "aborted upstream", func() bool { r.up.mu.Lock(); defer r.up.mu.Unlock(); return len(r.up.aborts) == 1 })
}

func TestUpstreamSessionLost(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	r.up.setAnswer(func(q seenQuery) (int, string) {
		return 200, `{"data":null,"code":"390111","message":"session gone","success":false}`
	})
	if a := r.query(tk, "", "select 1"); a.code() != "390111" || strings.Contains(a.Raw, "session gone") {
		t.Errorf("got %s", a.Raw)
	}
	r.up.setAnswer(func(q seenQuery) (int, string) { return 200, plainRow })
	if a := r.query(r.login(), "", "select 1"); !a.Success {
		t.Errorf("a new login: %s", a.Raw)
	}
}

func TestRevokedAtRenewal(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	r.account.renew = session.ErrRevoked
	r.up.setAnswer(func(q seenQuery) (int, string) {
		return 200, `{"data":null,"code":"390112","message":"expired","success":false}`
	})
	if a := r.query(tk, "", "select 1"); a.code() != "390111" {
		t.Errorf("got %s", a.Raw)
	}
	if a := r.loginWith(r.patFields(), ""); a.code() != "390100" {
		t.Errorf("login: %s", a.Raw)
	}
}

func idleLogins(t *testing.T) { // S07
	r := newRig(t)
	tk := r.login()
	request, final := r.held(tk, "", "drop table t")
	r.b.dropIdle(time.Now().Add(masterLife - time.Minute))
	if r.desk.state(request) != session.StatePending {
		t.Fatal("dropped too early")
	}
	r.b.dropIdle(time.Now().Add(masterLife + time.Minute))
	if a := <-final; a.code() != "390111" {
		t.Errorf("held: %s", a.Raw)
	}
	eventually(t, "withdrawn", func() bool { return r.desk.state(request) == session.StateWithdrawn })
	if a := r.query(tk, "", "select 1"); a.code() != "390111" {
		t.Errorf("got %s", a.Raw)
	}
}

func TestOutcomesAreForgotten(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	id := uuid.NewString()
	r.query(tk, id, "select 1")
	r.b.dropIdle(time.Now().Add(rememberFor - time.Second))
	r.query(tk, id, "select 1")
	if n := len(r.up.seen()); n != 1 {
		t.Fatalf("%d executions within the time outcomes are kept", n)
	}
	r.b.dropIdle(time.Now().Add(rememberFor + time.Minute))
	for l := range r.b.logins {
		if len(l.statements)+len(l.byID)+len(l.finished)+l.kept != 0 {
			t.Errorf("left: %d %d %d, %d bytes", len(l.statements), len(l.byID), len(l.finished), l.kept)
		}
	}
}

// TestApprovalBindsWhatTheTextDoesNotSay is an attack: a statement is approved,
// then sent with other binds, or with parameters that change what it does.
func TestApprovalBindsWhatTheTextDoesNotSay(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Hold = 50 * time.Millisecond })
	tk := r.login()
	bind := func(v string) string { return `"bindings":{"1":{"type":"TEXT","value":"` + v + `"}}` }
	wantRefusal(t, r.query(tk, "", "drop table t", bind("a")), "003001", "JIT-3001")
	r.decide(<-r.desk.filed, session.OutcomeApprove)
	for name, more := range map[string][]string{
		"no binds": nil, "other binds": {bind("b")}, "autocommit off": {bind("a"), `"parameters":{"AUTOCOMMIT":false}`},
		"another time zone": {bind("a"), `"parameters":{"TIMEZONE":"Asia/Tokyo"}`},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, r.query(tk, "", "drop table t", more...), "003001", "JIT-3001")
			<-r.desk.filed
		})
	}
	if len(r.up.seen()) != 0 {
		t.Fatal("something ran")
	}
	if a := r.query(tk, "", "drop table t", bind("a"), `"parameters":{"QUERY_TAG":"harmless"}`); !a.Success {
		t.Errorf("what was approved: %s", a.Raw)
	}
}

// TestDenialIsRemembered is an attack on patience: an agent sends what a
// reviewer said no to again and again, until somebody gives in.
func TestDenialIsRemembered(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	request, final := r.held(tk, "", "drop table t")
	r.decide(request, session.OutcomeDeny)
	wantRefusal(t, <-final, "003001", "JIT-3002")
	for _, as := range []tokens{tk, r.login()} { // another connection is the same agent
		a := r.query(as, "", "drop table t")
		wantRefusal(t, a, "003001", "JIT-3002")
		if !strings.Contains(*a.Message, "because") || !strings.Contains(*a.Message, "request="+request) || !strings.Contains(*a.Message, "nobody is asked again until") {
			t.Errorf("message %q", *a.Message)
		}
	}
	if n := len(r.desk.order); n != 1 {
		t.Fatalf("%d requests filed", n)
	}
	kinds := r.kinds()
	decisions := 0
	for _, k := range kinds {
		if k == recording.KindDecision {
			decisions++
		}
	}
	if decisions != 3 {
		t.Errorf("the denials are not recorded: %v", kinds)
	}
	// What a reviewer could see differently asks anew.
	for _, ask := range []func() answer{
		func() answer { return r.query(tk, "", "drop table u") },
		func() answer { return r.query(tk, "", "drop table t", `"bindings":{"1":{"type":"TEXT","value":"x"}}`) },
		func() answer {
			r.up.setAnswer(func(seenQuery) (int, string) {
				return 200, strings.ReplaceAll(plainRow, `"finalSchemaName":"PUBLIC"`, `"finalSchemaName":"OTHER"`)
			})
			r.query(tk, "", "use schema other")
			return r.query(tk, "", "drop table t")
		},
	} {
		done := make(chan answer, 1)
		go func() { done <- ask() }()
		select {
		case id := <-r.desk.filed:
			r.decide(id, session.OutcomeApprove)
			if a := <-done; !a.Success {
				t.Errorf("got %s", a.Raw)
			}
		case a := <-done:
			t.Errorf("nobody was asked: %s", a.Raw)
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was filed")
		}
	}
	if len(r.up.seen()) != 4 {
		t.Errorf("ran %v", r.up.seen())
	}
	now := time.Now()
	r.b.denials.put("d", session.Case{Kinds: []string{"DROP"}}, session.Request{ID: "r"}, now)
	for _, c := range []struct {
		kase session.Case
		at   time.Duration
		want bool
	}{{session.Case{Kinds: []string{"DROP"}}, denialLife - time.Second, true}, {session.Case{Kinds: []string{"SELECT"}}, 0, false}, {session.Case{Kinds: []string{"DROP"}}, denialLife, false}} {
		if _, got := r.b.denials.get("d", c.kase, now.Add(c.at)); got != c.want {
			t.Errorf("%v after %v: %v", c.kase.Kinds, c.at, got)
		}
	}
}
