//go:build e2e

package main_test

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// toolAnswer is what the suite looks at of a tool's structured answer.
type toolAnswer struct {
	Status  string `json:"status"`
	Columns []struct {
		Name   string `json:"name"`
		Type   string `json:"type"`
		Masked bool   `json:"masked"`
		Class  string `json:"class"`
	} `json:"columns"`
	Rows      [][]*string `json:"rows"`
	RowCount  int         `json:"row_count"`
	Truncated bool        `json:"truncated"`
	Code      string      `json:"code"`
	Message   string      `json:"message"`
	Rule      string      `json:"rule"`
	Request   string      `json:"request"`
	Expires   string      `json:"expires"`
	Ran       string      `json:"ran"`
	Next      string      `json:"next"`
	Retry     *bool       `json:"retry"`
	State     string      `json:"state"` // of request_status
	isError   bool
	text      string
}

// mcpAgent is the client of the official SDK, talking to a process of the real
// binary over its standard input and output.
type mcpAgent struct {
	*mcp.ClientSession
	stderr *transcript

	mu       sync.Mutex
	progress []string
	asked    []string // questions for the user
}

// mcpClient starts argv as p does and connects to it. reason answers the one
// question there may be; "" declines it.
func mcpClient(t *testing.T, p *person, reason string, argv ...string) *mcpAgent {
	t.Helper()
	a := &mcpAgent{stderr: &transcript{}}
	client := mcp.NewClient(&mcp.Implementation{Name: "suite", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.progress = append(a.progress, req.Params.Message)
		},
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.asked = append(a.asked, req.Params.Message)
			if reason == "" {
				return &mcp.ElicitResult{Action: "decline"}, nil
			}
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"reason": reason}}, nil
		},
	})
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stderr = p.env, filepath.Join(p.home, "work"), a.stderr
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	session, err := client.Connect(ctx, &mcp.CommandTransport{Command: cmd, TerminateDuration: limit / 2}, nil)
	if err != nil {
		t.Fatalf("connecting: %v\n%s", err, a.stderr)
	}
	a.ClientSession = session
	t.Cleanup(func() { _ = session.Close() }) // again: a test that looks at its end has closed it
	return a
}

// questions are what the client's user was asked.
func (a *mcpAgent) questions() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

// call calls a tool; with a token it asks for progress.
func (a *mcpAgent) call(t *testing.T, token, name string, args map[string]any) toolAnswer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	params := &mcp.CallToolParams{Name: name, Arguments: args}
	if token != "" {
		params.SetProgressToken(token)
	}
	res, err := a.CallTool(ctx, params)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, a.stderr)
	}
	answer := toolAnswer{isError: res.IsError}
	for _, c := range res.Content {
		if text, ok := c.(*mcp.TextContent); ok {
			answer.text += text.Text
		}
	}
	if res.StructuredContent != nil {
		text, err := json.Marshal(res.StructuredContent)
		if err == nil {
			err = json.Unmarshal(text, &answer)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	assertNothingClear(t, "what "+name+" answered", answer.text)
	return answer
}

func (a *mcpAgent) query(t *testing.T, sql string) toolAnswer {
	t.Helper()
	return a.call(t, "", "query", map[string]any{"sql": sql})
}

// assertMaskedCustomers looks at a read of customers.
func assertMaskedCustomers(t *testing.T, got toolAnswer) {
	t.Helper()
	if got.Status != "ok" || got.isError || got.RowCount != 3 || len(got.Rows) != 3 {
		t.Fatalf("%s", got.text)
	}
	masked := map[string]string{}
	for _, c := range got.Columns {
		if c.Masked {
			masked[c.Name] = c.Class
		} else if c.Class != "" {
			t.Errorf("%s has a class and no mask", c.Name)
		}
		if c.Type == "" {
			t.Errorf("%s has no type", c.Name)
		}
	}
	if len(masked) != 3 || masked["SSN"] != "pii.ssn" {
		t.Errorf("masked columns %v, want EMAIL, PHONE and SSN: %s", masked, got.text)
	}
	if cell := got.Rows[0][4]; cell == nil || *cell != "‹masked:pii.ssn›" {
		t.Errorf("%s", got.text)
	}
}

// TestMCP: jit mcp within a session, from reads to a held statement, started with
// no more of the environment than an entry of `jit agent init` passes on.
func TestMCP(t *testing.T) {
	up, w := shared.sandbox, shared
	const start = `exec env -i PATH="$PATH" HOME="$HOME" SNOWFLAKE_HOME="$SNOWFLAKE_HOME" JIT_SESSION="$JIT_SESSION" JIT_CONTEXT_FILE="$JIT_CONTEXT_FILE" "$0" mcp`
	a := mcpClient(t, w.alice, "", w.jit, "exec", "--connection", up.name, "--reason", t.Name(), "--hold", "7s", "--", "sh", "-c", start, w.jit)

	tools, err := a.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range tools.Tools {
		names = append(names, tool.Name)
		if tool.InputSchema == nil || tool.OutputSchema == nil {
			t.Errorf("%s has no schema", tool.Name)
		}
	}
	if got := strings.Join(names, " "); got != "describe list_tables query request_status" {
		t.Errorf("tools: %s", got)
	}
	if text := a.InitializeResult().Instructions; !strings.Contains(text, "Do not guess") || !strings.Contains(text, "- connection: "+up.name) {
		t.Errorf("instructions: %s", text)
	}

	assertMaskedCustomers(t, a.query(t, customers()))
	if got := a.call(t, "", "query", map[string]any{"sql": orders(), "max_rows": 1}); got.Status != "ok" || !got.Truncated || got.RowCount != 1 || got.Next == "" {
		t.Errorf("one row of several: %s", got.text)
	}
	if got := a.call(t, "", "describe", map[string]any{"table": `PUBLIC."ORDERS"`}); got.Status != "ok" || got.RowCount != 6 {
		t.Errorf("describe: %s", got.text)
	}
	if got := a.call(t, "", "list_tables", map[string]any{"schema": "APP.PUBLIC", "pattern": "ord%"}); got.Status != "ok" || got.RowCount != 1 || !strings.Contains(got.text, "ORDERS") {
		t.Errorf("list_tables: %s", got.text)
	}

	for what, c := range map[string]struct {
		tool string
		args map[string]any
	}{
		"more than a name":   {"describe", map[string]any{"table": "orders; drop table orders"}},
		"an empty statement": {"query", map[string]any{"sql": " "}},
		"no statement":       {"query", map[string]any{}},
		"too many rows":      {"query", map[string]any{"sql": orders(), "max_rows": 1_000_000}},
		"a path":             {"request_status", map[string]any{"id": "../session"}},
		"another's request":  {"request_status", map[string]any{"id": "nobodys"}},
	} {
		if got := a.call(t, "", c.tool, c.args); !got.isError || got.Status == "ok" {
			t.Errorf("%s: %s", what, got.text)
		}
	}

	user := "user_" + mark()
	refused := a.query(t, "alter user "+user+" set password = 'x'")
	if !refused.isError || refused.Status != "refused" || refused.Code != "JIT-2001" || !strings.HasPrefix(refused.Message, "JIT-2001 DENIED_BY_POLICY ") ||
		refused.Rule == "" || !strings.Contains(refused.Ran, "NOT run") || refused.Next == "" || refused.Retry == nil || *refused.Retry {
		t.Errorf("refused: %s", refused.text)
	}
	testMCPHeld(t, a, up)
	if asked := a.questions(); len(asked) != 0 {
		t.Errorf("the client's user was asked: %q", asked)
	}
	if err := a.Close(); err != nil || !strings.Contains(a.stderr.String(), "ended:") {
		t.Errorf("closing: %v\n%s", err, a.stderr)
	}
	if n := len(up.tap.matching(func(c call) bool { return strings.Contains(c.Body, user) })); n != 0 {
		t.Errorf("the refused statement reached the upstream %d times", n)
	}
}

// testMCPHeld: progress while nobody decides, then a pending answer; the same
// statement again runs once, after the approval.
func testMCPHeld(t *testing.T, a *mcpAgent, up *upstream) {
	sql := scratch()
	pending := a.call(t, "held", "query", map[string]any{"sql": sql})
	if pending.isError || pending.Status != "pending" || pending.Code != "JIT-3001" || pending.Request == "" || pending.Next == "" ||
		!strings.Contains(pending.Ran, "NOT run") || pending.Retry == nil || !*pending.Retry {
		t.Fatalf("held: %s", pending.text)
	}
	if _, err := time.Parse(time.RFC3339, pending.Expires); err != nil {
		t.Error(err)
	}
	a.mu.Lock()
	if len(a.progress) == 0 || !strings.Contains(a.progress[0], "person's decision") {
		t.Errorf("progress: %q", a.progress)
	}
	a.mu.Unlock()
	status := func() toolAnswer {
		return a.call(t, "", "request_status", map[string]any{"id": pending.Request})
	}
	if got := status(); got.State != "pending" || got.isError {
		t.Errorf("pending: %s", got.text)
	}
	shared.bob.must(t, "approve", pending.Request, "--reason", "looks right")
	if got := status(); got.State != "approved" || !strings.Contains(got.Next, "very same statement") {
		t.Errorf("approved: %s", got.text)
	}
	if n := up.tap.ran(sql); n != 0 {
		t.Errorf("it ran %d times before it was sent again", n)
	}
	if got := a.query(t, sql); got.Status != "ok" {
		t.Errorf("sent again: %s", got.text)
	}
	if n := up.tap.ran(sql); n != 1 {
		t.Errorf("it ran %d times, want once", n)
	}
	if got := status(); got.State != "used" {
		t.Errorf("used: %s", got.text)
	}
}

// TestMCPOpensItsOwnSession: outside of a session the user of the client is asked
// why, and for nothing else; without an answer nothing is opened.
func TestMCPOpensItsOwnSession(t *testing.T) {
	up, w := shared.sandbox, shared
	no := mcpClient(t, w.alice, "", w.jit, "mcp", "--connection", up.name)
	if got := no.query(t, orders()); !got.isError || !strings.Contains(got.text, "no session was opened") || len(no.questions()) != 1 {
		t.Errorf("declined: %s, asked %q", got.text, no.questions())
	}
	reason := "own session " + mark()
	a := mcpClient(t, w.alice, reason, w.jit, "mcp", "--connection", up.name)
	assertMaskedCustomers(t, a.query(t, customers()))
	if got := a.query(t, "alter user user_"+mark()+" set password = 'x'"); !got.isError || got.Status != "refused" || got.Code != "JIT-2001" {
		t.Errorf("%s", got.text)
	}
	if asked := a.questions(); len(asked) != 1 || !strings.Contains(asked[0], "Why") {
		t.Errorf("asked %q", asked)
	}
	if list := w.alice.must(t, "request", "list", "--mine", "--all", "--json"); !strings.Contains(list.stdout, reason) {
		t.Errorf("no request has the reason %q", reason)
	}
}

// TestAgentsOfSessions: five kinds of agents, each under jit exec, each with a
// masked read and a refusal it can read.
func TestAgentsOfSessions(t *testing.T) {
	shared.dbtProfile(t)
	w := shared
	python := func(venv, name string) agent {
		return agent{argv: []string{w.mustPart(t, venv+"/bin/python"), "-B", "-W", "ignore", w.testdata("agents/python/clients.py"), name}}
	}
	for name, c := range map[string]struct {
		agent agent
		up    *upstream
	}{
		"snow":          {python("snow", "snow"), w.arrowSandbox(t)},
		"dbt":           {python("dbt", "dbt"), w.sandbox},
		"Python script": {w.agent["python5"], w.sandbox},
		"Node script":   {w.agent["node"], w.sandbox},
		"MCP client":    {agent{}, w.sandbox},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read, denied := customers(), "alter user user_"+mark()+" set password = 'x'"
			if c.agent.argv == nil {
				a := mcpClient(t, w.alice, "", w.jit, "exec", "--connection", c.up.name, "--reason", t.Name(), "--", w.jit, "mcp")
				assertMaskedCustomers(t, a.query(t, read))
				if got := a.query(t, denied); got.Status != "refused" || got.Code != "JIT-2001" {
					t.Errorf("%s", got.text)
				}
				return
			}
			e := w.alice.execFor(t, 8*limit, c.up, nil, c.agent, statements(read, denied)...)
			r, seen := e.finish(t, 0)
			if seen[0].Error != nil || !strings.Contains(seen[0].cells(), "‹masked:pii.ssn›") {
				t.Errorf("%s", seen[0])
			}
			if seen[1].Error == nil || !strings.Contains(seen[1].Error.Message, "JIT-2001") {
				t.Errorf("not refused: %s", seen[1])
			}
			assertNothingClear(t, "what the agent printed", r.stdout+r.stderr)
		})
	}
}
