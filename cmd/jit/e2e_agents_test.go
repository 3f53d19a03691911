//go:build e2e

package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// agent is a real program on a real driver; see testdata/agents.
type agent struct {
	argv []string
	env  []string
}

// agents lists one agent per driver.
func (w *world) agents(goagent string) map[string]agent {
	python := w.testdata("agents/python/agent.py")
	return map[string]agent{
		"go":      {argv: []string{goagent}},
		"python5": {argv: []string{w.part("driver/bin/python"), "-B", "-W", "ignore", python}},
		"python4": {argv: []string{w.part("fakesnow/bin/python"), "-B", "-W", "ignore", python}},
		"node":    {argv: []string{"node", w.testdata("agents/node/agent.cjs")}, env: []string{"NODE_PATH=" + w.part("node/node_modules")}},
	}
}

// step is one thing an agent does; see testdata/agents/goagent.
type step struct {
	SQL         string `json:"sql,omitempty"`
	Binds       []any  `json:"binds,omitempty"`
	CancelAfter int    `json:"cancel_after_ms,omitempty"`
	WaitFile    string `json:"wait_file,omitempty"`
	TouchFile   string `json:"touch_file,omitempty"`
	Reconnect   bool   `json:"reconnect,omitempty"`
	CancelFile  string `json:"cancel_file,omitempty"`
	Exact       bool   `json:"exact,omitempty"`
	Digest      bool   `json:"digest,omitempty"`
	Bulk        int    `json:"bulk,omitempty"`
	Multi       int    `json:"multi,omitempty"`
	Async       bool   `json:"async,omitempty"`
}

// outcome is what an agent saw of one step.
type outcome struct {
	Step    int    `json:"step"`
	SQL     string `json:"sql"`
	Columns []struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"columns"`
	Rows    [][]*string `json:"rows"`
	Count   int         `json:"count"`
	Digests []string    `json:"digests"`
	Error   *struct {
		Class    string `json:"class"`
		Code     string `json:"code"`
		SQLState string `json:"sqlstate"`
		Message  string `json:"message"`
	} `json:"error"`
	MS int64 `json:"ms"`
}

func (o outcome) String() string {
	text, err := json.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// cells renders the rows: one line each, null for NULL.
func (o outcome) cells() string {
	var b strings.Builder
	for _, row := range o.Rows {
		for i, cell := range row {
			if i > 0 {
				b.WriteString(" | ")
			}
			if cell == nil {
				b.WriteString("null")
			} else {
				fmt.Fprintf(&b, "%q", *cell)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// column returns one column's cells; null for NULL.
func (o outcome) column(t *testing.T, name string) []string {
	t.Helper()
	for i, c := range o.Columns {
		if !strings.EqualFold(c.Name, name) {
			continue
		}
		var cells []string
		for _, row := range o.Rows {
			if row[i] == nil {
				cells = append(cells, "null")
			} else {
				cells = append(cells, *row[i])
			}
		}
		return cells
	}
	t.Fatalf("no column %s in %s", name, o)
	return nil
}

// script writes steps to a file of the test's own.
func script(t *testing.T, steps ...step) string {
	t.Helper()
	text, err := json.Marshal(steps)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "steps.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// statements makes one step per SQL text.
func statements(sql ...string) []step {
	steps := make([]step, len(sql))
	for i, s := range sql {
		steps[i].SQL = s
	}
	return steps
}

// outcomes reads an agent's lines.
func outcomes(t *testing.T, r result) []outcome {
	t.Helper()
	var all []outcome
	lines := bufio.NewScanner(strings.NewReader(r.stdout))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), `{"step"`) {
			continue
		}
		var o outcome
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			t.Fatalf("reading the agent's line %q: %v", lines.Text(), err)
		}
		all = append(all, o)
	}
	return all
}

// direct runs an agent straight against an upstream, as it would run without
// jit, and returns what it saw.
func (a agent) direct(t *testing.T, up *upstream, steps ...step) []outcome {
	t.Helper()
	home := t.TempDir()
	text := fmt.Sprintf("[default]\naccount = %q\nuser = %q\npassword = %q\nhost = %q\nport = %q\nprotocol = \"http\"\ndatabase = \"APP\"\nschema = \"PUBLIC\"\nwarehouse = \"WH\"\n",
		account, directUser, directPassword, up.direct.host(), up.direct.port())
	if err := os.WriteFile(filepath.Join(home, "connections.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := launchFor(t, 8*limit, append(plainEnv(home, "SNOWFLAKE_HOME="+home), a.env...), home, append(append([]string{}, a.argv...), script(t, steps...))...).wait()
	seen := outcomes(t, r)
	if r.code != 0 || len(seen) != len(steps) {
		t.Fatalf("running directly: %s", r)
	}
	return seen
}
