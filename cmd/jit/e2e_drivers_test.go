//go:build e2e

package main_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jit-access/jit/broker/snowflake/sandbox"
	"github.com/jit-access/jit/session/secret"
)

// client is a program many people use, on top of one of Snowflake's drivers or
// a driver of its own.
type client struct {
	name     string
	agent    agent
	upstream *upstream
	oneShot  bool // a process or a login per statement: nothing to go on with

	without string // a result format it cannot read
	unsure  string // a group of types it reads or refuses from run to run
	small   bool   // no large results: it prints every row
	bulk    int    // rows of one array bind; 0: it has none that works without staging files
	named   bool   // bind variables have names
	multi   bool   // several statements in one request
	async   bool
	stays   bool // its way of canceling does not reach what is held
}

// clients is who is tested with whom: fakesnow, which nobody here wrote, where
// it can serve them; else the sandbox.
func (w *world) clients(t *testing.T) []client {
	t.Helper()
	arrow := w.arrowSandbox(t)
	python := func(venv, name string) agent {
		return agent{argv: []string{w.mustPart(t, venv+"/bin/python"), "-B", "-W", "ignore", w.testdata("agents/python/clients.py"), name}}
	}
	jdbc := func(format string) agent {
		// Arrow's buffers need the flag, with or without jit.
		return agent{argv: []string{"java", "-Xmx256m", "--add-opens=java.base/java.nio=ALL-UNNAMED",
			"-cp", w.mustPart(t, "jdbc/snowflake-jdbc.jar") + ":" + w.mustPart(t, "jdbc"), "Agent", format}}
	}
	const many = 100_000
	return []client{
		{name: "go", agent: w.agent["go"], upstream: w.fakesnow, bulk: many, multi: true, async: true},
		{name: "python5", agent: w.agent["python5"], upstream: w.fakesnow, bulk: many, multi: true, async: true},
		{name: "python4", agent: w.agent["python4"], upstream: w.fakesnow, bulk: many, multi: true, async: true},
		{name: "node", agent: w.agent["node"], upstream: w.wiremock, without: "arrow", bulk: many, multi: true, async: true},
		{name: "SQLAlchemy", agent: python("clients", "sqlalchemy"), upstream: w.fakesnow, bulk: many / 10, named: true},
		{name: "pandas (`fetch_pandas_all`)", agent: python("clients", "pandas"), upstream: w.fakesnow, without: "json", unsure: "decfloat", async: true},
		{name: "ADBC", agent: python("clients", "adbc"), upstream: w.fakesnow, without: "json", bulk: 3},
		{name: "JDBC, Arrow", agent: jdbc("ARROW"), upstream: w.fakesnow, bulk: many, multi: true, async: true},
		{name: "JDBC, JSON", agent: jdbc("JSON"), upstream: w.sandbox, bulk: many, multi: true, async: true},
		{name: "Snowpark", agent: python("clients", "snowpark"), upstream: arrow, async: true},
		{name: "snow", agent: python("snow", "snow"), upstream: arrow, oneShot: true, small: true, without: "json", multi: true},
		{name: "dbt", agent: python("dbt", "dbt"), upstream: w.sandbox, oneShot: true, small: true, stays: true},
	}
}

// mustPart is a part that has to be there: a missing one is a failure.
func (w *world) mustPart(t *testing.T, path string) string {
	t.Helper()
	if _, err := os.Stat(w.part(path)); err != nil {
		t.Fatalf("%v: run .ci/parts.sh first (make test does)", err)
	}
	return w.part(path)
}

var arrowSandbox struct {
	once sync.Once
	up   *upstream
	err  error
}

// arrowSandbox is the sandbox answering in Arrow, as Snowflake does.
func (w *world) arrowSandbox(t *testing.T) *upstream {
	t.Helper()
	arrowSandbox.once.Do(func() {
		s, err := sandbox.New(sandbox.Options{
			Account: account,
			Users: map[string]sandbox.User{
				upstreamUser: {Password: secret.New(upstreamPassword), Roles: []string{"ANALYST"}},
				directUser:   {Password: secret.New(directPassword), Roles: []string{"ANALYST"}},
			},
			Data:  append([]string{"create database app", "create warehouse wh"}, seed...),
			Arrow: true,
		})
		if err != nil {
			arrowSandbox.err = err
			return
		}
		up, err := newUpstream("sandbox-arrow", httptest.NewServer(s.Handler()).URL)
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), limit/3)
			defer cancel()
			err = w.bob.connect(ctx, up.name, up.tap.URL)
		}
		arrowSandbox.up, arrowSandbox.err = up, err
	})
	if arrowSandbox.err != nil {
		t.Fatal(arrowSandbox.err)
	}
	return arrowSandbox.up
}

// What every client is asked for, in the words of docs/compatibility.md.
const (
	caseHeld    = "held, approved, run once"
	caseMasked  = "masked columns"
	casePlain   = "other cells as directly"
	caseRefused = "refused once, 003001 (42501)"
	caseGoesOn  = "goes on after a refusal"
)

// TestDrivers runs two sessions per client: one on an upstream with an engine (a
// held write, a masked read, a read equal to the direct one cell by cell, a
// refusal, and a read after it), and one on the scripted upstream; and beside
// them one that holds all clients for long. With JIT_UPDATE=1 it takes the
// pairings of TestSession in and writes docs/compatibility.md.
func TestDrivers(t *testing.T) {
	shared.dbtProfile(t)
	var report compatibility
	t.Run("clients", func(t *testing.T) {
		all := shared.clients(t)
		t.Run("held", func(t *testing.T) {
			t.Parallel()
			testHeld(t, all, &report)
		})
		for _, c := range all {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				if _, paired := shared.agent[c.name]; !paired { // TestSession has those
					t.Run("session", func(t *testing.T) { testClient(t, c, &report) })
				}
				t.Run("scripted", func(t *testing.T) { testScripted(t, c, &report) })
			})
		}
		if update {
			for _, p := range pairings {
				c := client{name: p.driver, agent: shared.agent[p.driver], upstream: p.upstream(shared)}
				t.Run(c.name+" on "+c.upstream.name, func(t *testing.T) {
					t.Parallel()
					testClient(t, c, &report)
				})
			}
		}
	})
	if update { // what failed is in it
		report.write(t, filepath.Join(shared.root, "docs", "compatibility.md"))
	}
}

func testClient(t *testing.T, c client, report *compatibility) {
	up := c.upstream
	write, masked, plain, after := scratch(), customers(), orders(), orders()
	user := "user_" + mark()
	direct := c.agent.direct(t, up, statements(masked, plain)...)
	steps := statements(write, masked, plain, "alter user "+user+" set password = 'x'", after)
	build := c.name == "dbt"
	if build { // of testdata/agents/dbt: its view and its table are held
		steps[0].SQL, write = "build", "create or replace"
	}
	report.expect(c, caseHeld, caseMasked, casePlain, caseRefused)
	if c.oneShot {
		steps = steps[:4]
	} else {
		report.expect(c, caseGoesOn)
	}
	e := shared.alice.execFor(t, 8*limit, up, nil, c.agent, steps...)
	holds := e.approveAll(t, up, write)
	r, seen := e.finish(t, 0)
	result := func(name string, test func(*testing.T)) {
		report.note(c, about(r), name, t.Run(name, test))
	}
	result(caseHeld, func(t *testing.T) {
		if seen[0].Error != nil {
			t.Fatalf("%s\n%s", seen[0], r)
		}
		want := 1
		if build {
			want = 2
			for _, row := range seen[0].Rows {
				if status := *row[1]; status != "success" && status != "pass" {
					t.Errorf("%s: %s", *row[0], status)
				}
			}
			if len(seen[0].Rows) != 5 {
				t.Errorf("%d nodes were built, want 5: %s", len(seen[0].Rows), seen[0])
			}
		}
		if n := up.tap.ran(write); holds != want || n != want {
			t.Errorf("%d statements were held and %d ran, want %d", holds, n, want)
		}
	})
	result(caseMasked, func(t *testing.T) {
		assertMasked(t, seen[1], direct[0], r)
	})
	result(casePlain, func(t *testing.T) { assertSame(t, seen[2], direct[1], r) })
	result(caseRefused, func(t *testing.T) {
		assertRefused(t, seen[3], "JIT-2001")
		if n := len(up.tap.matching(func(c call) bool { return strings.Contains(strings.ToLower(c.Body), user) })); n != 0 {
			t.Errorf("the refused statement reached the upstream %d times", n)
		}
		if n := e.count(t, "refused"); n != 1 {
			t.Errorf("%d refusals are recorded, want 1: the driver sent it again", n)
		}
	})
	if c.oneShot {
		return
	}
	result(caseGoesOn, func(t *testing.T) {
		if seen[4].Error != nil || len(seen[4].Rows) != len(direct[1].Rows) {
			t.Errorf("%s\n%s", seen[4], r)
		}
	})
}

// approveAll lets bob approve what is held, until the execution has an answer to
// its first step, and tells how many statements that were.
func (e *execution) approveAll(t *testing.T, up *upstream, write string) int {
	t.Helper()
	ran := up.tap.ran(write)
	approved := map[string]bool{}
	for deadline := time.Now().Add(3 * limit); len(outcomes(t, e.soFar())) == 0; time.Sleep(25 * time.Millisecond) {
		select {
		case <-e.done:
			t.Fatalf("ended before the first answer: %s", e.wait())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("no first answer: %s", e.soFar())
		}
		if !sessionOpen.MatchString(e.stderr.String()) {
			continue
		}
		for _, ev := range e.events(t) {
			if ev.Kind != "request" || approved[ev.Request.ID] {
				continue
			}
			if len(approved) == 0 && up.tap.ran(write) != ran {
				t.Errorf("a held statement reached the upstream")
			}
			shared.bob.must(t, "approve", ev.Request.ID, "--reason", "looks right")
			approved[ev.Request.ID] = true
		}
	}
	return len(approved)
}

// assertMasked checks that only the classed columns differ from a direct run.
func assertMasked(t *testing.T, got, direct outcome, r result) {
	t.Helper()
	if got.Error != nil {
		t.Fatalf("%s\n%s", got, r)
	}
	want := map[string][]string{
		"EMAIL": {"‹masked›@example.com", "‹masked›@example.org", "null"},
		"PHONE": {"••••0101", "null", "••••0103"},
		"SSN":   {"‹masked:pii.ssn›", "‹masked:pii.ssn›", "null"},
	}
	if fmt.Sprint(got.Columns) != fmt.Sprint(direct.Columns) {
		t.Errorf("columns %v, directly %v", got.Columns, direct.Columns)
	}
	for _, c := range direct.Columns {
		masked, ok := want[strings.ToUpper(c.Name)]
		if !ok {
			masked = direct.column(t, c.Name)
		}
		if cells := got.column(t, c.Name); fmt.Sprint(cells) != fmt.Sprint(masked) {
			t.Errorf("%s: %q, want %q", c.Name, cells, masked)
		}
	}
	assertNothingClear(t, "what the client printed", r.stdout+r.stderr)
}

// assertSame checks that a read is the direct one, cell by cell.
func assertSame(t *testing.T, got, direct outcome, r result) {
	t.Helper()
	if got.Error != nil || len(got.Rows) == 0 {
		t.Fatalf("%s\n%s", got, r)
	}
	if fmt.Sprint(got.Columns) != fmt.Sprint(direct.Columns) {
		t.Errorf("columns %v, directly %v", got.Columns, direct.Columns)
	}
	if got.cells() != direct.cells() {
		t.Errorf("cells\n%sdirectly\n%s", got.cells(), direct.cells())
	}
}

// dbtProfile gives alice the profile that a dbt user has: jit lays its own over
// it for the time of a session.
func (w *world) dbtProfile(t *testing.T) {
	t.Helper()
	dir := filepath.Join(w.alice.home, ".dbt")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	const profile = `shop:
  target: dev
  outputs:
    dev: {type: snowflake, account: prod, user: alice, password: her-own, database: PROD, schema: PUBLIC}
`
	if err := os.WriteFile(filepath.Join(dir, "profiles.yml"), []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
}
