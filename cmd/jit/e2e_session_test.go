//go:build e2e

package main_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// pairing is one driver against one upstream.
type pairing struct {
	driver   string
	upstream func(*world) *upstream
}

// pairings is who is tested with whom. fakesnow answers queries in Arrow, which
// Node's driver cannot read, so Node meets WireMock; every driver also meets
// the sandbox, which is ours and so no independent evidence.
var pairings = []pairing{
	{"go", func(w *world) *upstream { return w.fakesnow }},
	{"python5", func(w *world) *upstream { return w.fakesnow }},
	{"python4", func(w *world) *upstream { return w.fakesnow }},
	{"node", func(w *world) *upstream { return w.wiremock }},
	{"go", func(w *world) *upstream { return w.sandbox }},
	{"python5", func(w *world) *upstream { return w.sandbox }},
	{"python4", func(w *world) *upstream { return w.sandbox }},
	{"node", func(w *world) *upstream { return w.sandbox }},
}

// Pairings run side by side on shared upstreams, so every test marks its
// statements and looks only for its own.
var marks atomic.Int64

// mark is a number no other test uses; it is above every id, so that as a LIMIT
// it limits nothing.
func mark() string { return strconv.FormatInt(1000+marks.Add(1), 10) }

// customers is a read of classed columns, orders of columns without a class,
// each with a mark; scratch is a write.
func customers() string { return "select * from customers order by id limit " + mark() }
func orders() string    { return "select * from orders order by id limit " + mark() }
func scratch() string   { return "update scratch set note = 'n" + mark() + "' where id = 1" }

// TestSession drives every pairing through what a session can meet.
func TestSession(t *testing.T) {
	for _, p := range pairings {
		up := p.upstream(shared)
		t.Run(p.driver+" on "+up.name, func(t *testing.T) {
			t.Parallel()
			for name, test := range map[string]func(*testing.T, agent, *upstream){
				"masked read":          testMaskedRead,
				"unmasked read":        testUnmaskedRead,
				"denied by policy":     testDeniedByPolicy,
				"held and approved":    testHeldApproved,
				"held and denied":      testHeldDenied,
				"hold cancelled":       testHoldCancelled,
				"expired session":      testExpired,
				"revoked session":      testRevoked,
				"hold outlasts --hold": testHoldOutlasted,
			} {
				t.Run(name, func(t *testing.T) { test(t, shared.agent[p.driver], up) })
			}
		})
	}
}

func testMaskedRead(t *testing.T, a agent, up *upstream) {
	sql := customers()
	e := shared.alice.exec(t, up, nil, a, statements(sql)...)
	r, seen := e.finish(t, 0)
	if seen[0].Error != nil {
		t.Fatalf("%s\n%s", seen[0], r)
	}
	// Only the classed columns differ from what the same driver sees directly.
	direct := a.direct(t, up, statements(sql)...)[0]
	want := map[string][]string{
		"EMAIL": {"‹masked›@example.com", "‹masked›@example.org", "null"},
		"PHONE": {"••••0101", "null", "••••0103"},
		"SSN":   {"‹masked:pii.ssn›", "‹masked:pii.ssn›", "null"},
	}
	if len(seen[0].Columns) != len(direct.Columns) {
		t.Fatalf("%d columns, directly %d", len(seen[0].Columns), len(direct.Columns))
	}
	for i, c := range direct.Columns {
		if seen[0].Columns[i] != c {
			t.Errorf("column %d is %v, directly %v", i, seen[0].Columns[i], c)
		}
		masked, ok := want[strings.ToUpper(c.Name)]
		if !ok {
			masked = direct.column(t, c.Name)
		}
		if got := seen[0].column(t, c.Name); fmt.Sprint(got) != fmt.Sprint(masked) {
			t.Errorf("%s: %q, want %q", c.Name, got, masked)
		}
	}
	assertNothingClear(t, "what the agent printed", r.stdout+r.stderr)
	e.assertEvents(t, "result", 1)
}

func testUnmaskedRead(t *testing.T, a agent, up *upstream) {
	sql := []string{orders()}
	direct := a.direct(t, up, statements(sql...)...)
	e := shared.alice.exec(t, up, nil, a, statements(sql...)...)
	r, seen := e.finish(t, 0)
	for i := range sql {
		if seen[i].Error != nil || len(seen[i].Rows) == 0 {
			t.Fatalf("%s\n%s", seen[i], r)
		}
		if fmt.Sprint(seen[i].Columns) != fmt.Sprint(direct[i].Columns) {
			t.Errorf("columns %v, directly %v", seen[i].Columns, direct[i].Columns)
		}
		if got, want := seen[i].cells(), direct[i].cells(); got != want {
			t.Errorf("cells\n%sdirectly\n%s", got, want)
		}
	}
}

func testDeniedByPolicy(t *testing.T, a agent, up *upstream) {
	user := "user_" + mark()
	e := shared.alice.exec(t, up, nil, a, statements("alter user "+user+" set password = 'x'", orders())...)
	r, seen := e.finish(t, 0)
	assertRefused(t, seen[0], "JIT-2001")
	if seen[1].Error != nil {
		t.Errorf("the session is of no use after a refusal: %s\n%s", seen[1], r)
	}
	if n := len(up.tap.matching(func(c call) bool { return strings.Contains(strings.ToLower(c.Body), user) })); n != 0 {
		t.Errorf("the refused statement reached the upstream %d times", n)
	}
	// The driver sent it once: a refusal is not something it retries.
	if n := e.count(t, "refused"); n != 1 {
		t.Errorf("%d refusals are recorded, want 1", n)
	}
}

func testHeldApproved(t *testing.T, a agent, up *upstream) {
	sql := scratch()
	e := shared.alice.exec(t, up, nil, a, statements(sql)...)
	id := e.held(t)
	if n := up.tap.ran(sql); n != 0 {
		t.Fatalf("%d updates reached the upstream while held", n)
	}
	if r := shared.alice.jit(t, "approve", id, "--reason", "my own"); r.code == 0 {
		t.Errorf("the requester approved their own request: %s", r)
	}
	shared.bob.must(t, "approve", id, "--reason", "looks right")
	r, seen := e.finish(t, 0)
	if seen[0].Error != nil {
		t.Fatalf("%s\n%s", seen[0], r)
	}
	if n := up.tap.ran(sql); n != 1 {
		t.Errorf("the approved statement ran %d times, want once", n)
	}
	if r := shared.bob.jit(t, "approve", id); r.code == 0 {
		t.Errorf("a used request was approved again: %s", r)
	}
}

func testHeldDenied(t *testing.T, a agent, up *upstream) {
	sql := "drop database never_" + mark()
	e := shared.alice.exec(t, up, nil, a, statements(sql, orders())...)
	shared.bob.must(t, "deny", e.held(t), "--reason", "not this one")
	r, seen := e.finish(t, 0)
	assertRefused(t, seen[0], "JIT-3002")
	if seen[1].Error != nil {
		t.Errorf("the session is of no use after a refusal: %s\n%s", seen[1], r)
	}
	if n := up.tap.ran(sql); n != 0 {
		t.Errorf("the denied statement ran %d times", n)
	}
}

func testHoldCancelled(t *testing.T, a agent, up *upstream) {
	sql := scratch()
	gate := filepath.Join(t.TempDir(), "gate")
	e := shared.alice.exec(t, up, nil, a, step{SQL: sql, CancelAfter: 3000}, step{WaitFile: gate, SQL: orders()})
	id := e.held(t)
	e.await(t, "a cancelled statement", func() bool { return len(outcomes(t, e.soFar())) > 0 })
	touch(t, gate)
	r, seen := e.finish(t, 0)
	if seen[0].Error == nil {
		t.Errorf("the cancelled statement succeeded: %s", seen[0])
	}
	if seen[1].Error != nil {
		t.Errorf("the session is of no use after a cancelled hold: %s\n%s", seen[1], r)
	}
	if r := shared.bob.jit(t, "approve", id); r.code == 0 {
		t.Errorf("a cancelled request could still be approved: %s", r)
	}
	if n := up.tap.ran(sql); n != 0 {
		t.Errorf("the cancelled statement ran %d times", n)
	}
}

// testHoldOutlasted: nobody decides within --hold. The driver gets an answer
// that says what to do, and the same statement sent again, after the approval,
// runs once.
func testHoldOutlasted(t *testing.T, a agent, up *upstream) {
	sql := scratch()
	gate := filepath.Join(t.TempDir(), "gate")
	e := shared.alice.exec(t, up, []string{"--hold", "2s"}, a, step{SQL: sql}, step{SQL: sql, WaitFile: gate})
	id := e.held(t)
	e.await(t, "the answer to a held statement", func() bool { return len(outcomes(t, e.soFar())) > 0 })
	shared.bob.must(t, "approve", id)
	touch(t, gate)
	r, seen := e.finish(t, 0)
	assertRefused(t, seen[0], "JIT-3001")
	if !strings.Contains(seen[0].Error.Message, id) {
		t.Errorf("the answer does not name request %s: %s", id, seen[0].Error.Message)
	}
	if seen[1].Error != nil {
		t.Errorf("%s\n%s", seen[1], r)
	}
	if n := up.tap.ran(sql); n != 1 {
		t.Errorf("the statement ran %d times, want once", n)
	}
}

func testExpired(t *testing.T, a agent, up *upstream) {
	const ttl = 5 * time.Second
	first, late := orders(), customers()
	gate := filepath.Join(t.TempDir(), "gate")
	e := shared.alice.exec(t, up, []string{"--ttl", ttl.String()}, a, step{SQL: first}, step{SQL: late, WaitFile: gate}, step{SQL: late, Reconnect: true})
	e.await(t, "the first answer", func() bool { return len(outcomes(t, e.soFar())) > 0 })
	e.await(t, "the end of the session", func() bool { return strings.Contains(phase(t, e.session(t)), "expired") })
	e.await(t, "the upstream session to be closed", func() bool { return up.tap.closed(first) })
	touch(t, gate)
	r, seen := e.finish(t, 0)
	assertCutOff(t, up, seen, late, r)
}

func testRevoked(t *testing.T, a agent, up *upstream) {
	first, late := orders(), customers()
	gate := filepath.Join(t.TempDir(), "gate")
	e := shared.alice.exec(t, up, nil, a, step{SQL: first}, step{SQL: late, WaitFile: gate}, step{SQL: late, Reconnect: true})
	e.await(t, "the first answer", func() bool { return len(outcomes(t, e.soFar())) > 0 })
	shared.bob.must(t, "session", "revoke", e.session(t), "--reason", "enough")
	// The server closes the Snowflake session itself, within seconds.
	e.await(t, "the upstream session to be closed", func() bool { return up.tap.closed(first) })
	touch(t, gate)
	r, seen := e.finish(t, 0)
	assertCutOff(t, up, seen, late, r)
}

// assertCutOff checks that a session gave its first answer and nothing after
// its end.
func assertCutOff(t *testing.T, up *upstream, seen []outcome, late string, r result) {
	t.Helper()
	if seen[0].Error != nil {
		t.Errorf("before the end: %s\n%s", seen[0], r)
	}
	for _, o := range seen[1:] {
		if o.Error == nil {
			t.Errorf("a statement ran after the end: %s\n%s", o, r)
		}
	}
	// A driver may drop the connection and say only that. Connecting again says
	// why.
	if o := seen[2]; o.Error != nil && !strings.Contains(o.Error.Message, "JIT-1002") {
		t.Errorf("nothing tells the agent that its session is over: %s", o.Error.Message)
	}
	if n := up.tap.ran(late); n != 0 {
		t.Errorf("the upstream ran a statement after the end, %d times", n)
	}
}

// phase is how the server lists a session.
func phase(t *testing.T, id string) string {
	t.Helper()
	for line := range strings.Lines(shared.alice.must(t, "session", "list", "--all").stdout) {
		if strings.Contains(line, id) {
			return line
		}
	}
	return ""
}

// assertRefused checks that a driver shows a refusal as Snowflake's "not
// permitted", with jit's words.
func assertRefused(t *testing.T, o outcome, code string) {
	t.Helper()
	if o.Error == nil {
		t.Fatalf("not refused: %s", o)
	}
	if o.Error.Code != "003001" || o.Error.SQLState != "42501" {
		t.Errorf("code %s (%s), want 003001 (42501)", o.Error.Code, o.Error.SQLState)
	}
	if !strings.Contains(o.Error.Message, code) || !strings.Contains(o.Error.Message, "has NOT run") {
		t.Errorf("the message lacks %s or that it has NOT run: %s", code, o.Error.Message)
	}
}
