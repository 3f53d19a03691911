//go:build e2e

package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session/recording"
)

// execution is one `jit exec` in progress.
type execution struct {
	*running
	who   *person
	steps int
}

// exec runs an agent on a connection through jit.
func (p *person) exec(t *testing.T, up *upstream, flags []string, a agent, steps ...step) *execution {
	t.Helper()
	return p.execFor(t, limit, up, flags, a, steps...)
}

// execFor is exec with another limit.
func (p *person) execFor(t *testing.T, limit time.Duration, up *upstream, flags []string, a agent, steps ...step) *execution {
	t.Helper()
	args := append([]string{p.w.jit, "exec", "--connection", up.name, "--reason", t.Name()}, flags...)
	args = append(append(args, "--"), append(append([]string{}, a.argv...), script(t, steps...))...)
	return &execution{running: launchFor(t, limit, p.with(a.env...).env, filepath.Join(p.home, "work"), args...), who: p, steps: len(steps)}
}

// soFar is what has been printed until now.
func (e *execution) soFar() result {
	return result{stdout: e.stdout.String(), stderr: e.stderr.String(), took: time.Since(e.began)}
}

// await polls until ok; an execution that ends or hangs before fails the test
// with what it printed.
func (e *execution) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit / 3); ; time.Sleep(25 * time.Millisecond) {
		if ok() {
			return
		}
		select {
		case <-e.done:
			if ok() {
				return
			}
			t.Fatalf("ended before %s: %s", what, e.wait())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s: %s", what, e.soFar())
		}
	}
}

// finish waits for the end, the exit code and one outcome per step.
func (e *execution) finish(t *testing.T, code int) (result, []outcome) {
	t.Helper()
	r := e.wait()
	seen := outcomes(t, r)
	if r.code != code || len(seen) != e.steps {
		t.Fatalf("%d of %d steps, want exit %d: %s", len(seen), e.steps, code, r)
	}
	return r, seen
}

var sessionOpen = regexp.MustCompile(`jit: session (\S+) is open`)

// session is the id of the session, as jit tells it.
func (e *execution) session(t *testing.T) string {
	t.Helper()
	e.await(t, "an open session", func() bool { return sessionOpen.MatchString(e.stderr.String()) })
	return sessionOpen.FindStringSubmatch(e.stderr.String())[1]
}

// event is a line of a recording, as far as the suite looks at it.
type event struct {
	Kind    string `json:"kind"`
	Request struct {
		ID string `json:"id"`
	} `json:"request"`
	SQL struct {
		Text     string `json:"text"`
		Verdict  string `json:"verdict"`
		Rule     string `json:"rule"`
		Describe bool   `json:"describe"`
	} `json:"sql"`
	Refused struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"refused"`
	Result struct {
		Rows   int64    `json:"rows"`
		Masked []string `json:"masked"`
		Error  string   `json:"error"`
	} `json:"result"`
	Agent struct {
		Exit   int    `json:"exit"`
		Signal string `json:"signal"`
	} `json:"agent"`
}

// folder is where the recording lies.
func (e *execution) folder(t *testing.T) string {
	t.Helper()
	return filepath.Join(e.who.home, ".local", "state", "jit", "recordings", e.session(t))
}

// events reads what has been recorded so far.
func (e *execution) events(t *testing.T) []event {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(e.folder(t), "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var all []event
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		recorded, err := recording.ParseEvent(lines.Bytes())
		if err != nil {
			break // the line being written
		}
		var ev event
		text, err := recording.EventJSON(recorded)
		if err == nil {
			err = json.Unmarshal(text, &ev)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ev)
	}
	return all
}

// count counts the recorded events of a kind; statements that only describe
// do not count.
func (e *execution) count(t *testing.T, kind string) int {
	t.Helper()
	n := 0
	for _, ev := range e.events(t) {
		if ev.Kind == kind && !ev.SQL.Describe {
			n++
		}
	}
	return n
}

// held waits until a statement is held and returns its request.
func (e *execution) held(t *testing.T) string {
	t.Helper()
	e.session(t)
	id := ""
	e.await(t, "a held statement", func() bool {
		for _, ev := range e.events(t) {
			if ev.Kind == "request" {
				id = ev.Request.ID
			}
		}
		return id != ""
	})
	return id
}

func (e *execution) assertEvents(t *testing.T, kind string, want int) {
	t.Helper()
	if got := e.count(t, kind); got != want {
		t.Errorf("%d %s events are recorded, want %d", got, kind, want)
	}
}

// closed reports whether the Snowflake session that ran a statement has been
// closed since.
func (t *tap) closed(sql string) bool {
	for _, ran := range t.matching(func(c call) bool { return strings.Contains(c.SQL, sql) }) {
		with := ran.Header.Get("Authorization")
		if len(t.matching(func(c call) bool {
			return c.Path == "/session" && c.Query.Get("delete") == "true" && c.Header.Get("Authorization") == with
		})) > 0 {
			return true
		}
	}
	return false
}

func touch(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
