//go:build e2e

package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

var keeping struct {
	sync.Mutex
	url string
}

// keepingTerminals is the URL of a server, started once, whose policy lets
// terminals be recorded. The suite's own server does not.
func keepingTerminals(t *testing.T) string {
	t.Helper()
	keeping.Lock()
	defer keeping.Unlock()
	if keeping.url != "" {
		return keeping.url
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	data := filepath.Join(shared.dir, "keeping-server")
	bundle := filepath.Join(data, "policy")
	if err := os.CopyFS(bundle, os.DirFS(filepath.Join(shared.root, "policy/bundles/default"))); err != nil {
		t.Fatal(err)
	}
	limits, err := os.OpenFile(filepath.Join(bundle, "limits.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := limits.WriteString("recording: {terminal: output}\n"); err != nil {
		t.Fatal(err)
	}
	limits.Close()
	server, err := shared.newServer(ctx, shared.op.issuer, data, "--policy", bundle)
	if err != nil {
		t.Fatal(err)
	}
	bob := shared.bob.with("JIT_SERVER=" + server.tap.URL)
	if err := bob.connect(ctx, shared.sandbox.name, shared.sandbox.tap.URL); err != nil {
		t.Fatal(err)
	}
	keeping.url = server.tap.URL
	return keeping.url
}

// castLine is one event of an asciicast.
type castLine struct {
	after      float64
	code, data string
}

var (
	castInterval = regexp.MustCompile(`^\[\d+\.\d{6},`)
	castSize     = regexp.MustCompile(`^[1-9]\d*x[1-9]\d*$`)
)

// readCast reads an asciicast v3 and holds it to
// https://docs.asciinema.org/manual/asciicast/v3/: a header object, then one
// [interval, code, data] per line, with the codes and data that jit uses.
func readCast(t *testing.T, text string) (cols, rows int, lines []castLine) {
	t.Helper()
	in := bufio.NewScanner(strings.NewReader(text))
	in.Buffer(nil, 1<<20)
	if !in.Scan() {
		t.Fatal("the cast is empty")
	}
	var head struct {
		Version int `json:"version"`
		Term    struct {
			Cols int    `json:"cols"`
			Rows int    `json:"rows"`
			Type string `json:"type"`
		} `json:"term"`
		Timestamp int64  `json:"timestamp"`
		Title     string `json:"title"`
	}
	dec := json.NewDecoder(bytes.NewReader(in.Bytes()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&head); err != nil || head.Version != 3 || head.Term.Cols < 1 || head.Term.Rows < 1 || head.Timestamp < 1 {
		t.Fatalf("header %s: %v", in.Text(), err)
	}
	for in.Scan() {
		var e []any
		if err := json.Unmarshal(in.Bytes(), &e); err != nil || len(e) != 3 || !castInterval.Match(in.Bytes()) {
			t.Fatalf("event %s: %v", in.Text(), err)
		}
		l := castLine{e[0].(float64), e[1].(string), e[2].(string)}
		ok := false
		switch l.code {
		case "o", "m":
			ok = true
		case "r":
			ok = castSize.MatchString(l.data)
		case "x":
			_, err := strconv.Atoi(l.data)
			ok = err == nil
		}
		if !ok {
			t.Fatalf("event %s is none of asciicast v3 that jit writes", in.Text())
		}
		lines = append(lines, l)
	}
	return head.Term.Cols, head.Term.Rows, lines
}

// TestRecordedTerminal: what the terminal showed is part of the recording, bound
// to it, without what was typed and without secrets; statements are marked.
func TestRecordedTerminal(t *testing.T) {
	p := shared.alice.with("JIT_SERVER="+keepingTerminals(t), "MY_API_KEY=canary-in-the-environment")
	steps := script(t, step{SQL: orders()}, step{SQL: orders()})
	work := fmt.Sprintf(`stty -echo; printf 'Password: '; read -r word; stty echo; echo
echo "lease $SNOWFLAKE_PASSWORD"; printf '%%s' "${SNOWFLAKE_PASSWORD%%%%????}"; sleep 0.2; echo "${SNOWFLAKE_PASSWORD#"${SNOWFLAKE_PASSWORD%%%%????}"}"
echo "key $MY_API_KEY"; test "$word" = typed-in-secret && echo understood; %s %s >/dev/null; printf 'grün\n'; exit 5`, shared.agent["go"].argv[0], steps)
	s := p.terminal(t, shared.jit, "exec", "--connection", "sandbox", "--record-terminal", "--", "bash", "-c", work)
	s.shows("Password: ")
	s.types("typed-in-secret\n")
	if code := s.code(); code != 5 {
		t.Fatalf("exit %d: %s", code, s.screen.String())
	}
	if !strings.Contains(s.raw.String(), "key canary-in-the-environment") || !strings.Contains(s.raw.String(), "understood") {
		t.Errorf("the person saw %q", s.raw)
	}
	id := regexp.MustCompile(`session (ses_\S+) is open`).FindStringSubmatch(s.raw.String())[1]
	e := &execution{running: &running{stderr: s.raw, done: s.done}, who: p}
	folder := e.folder(t)

	p.must(t, "recording", "verify", id)
	text := p.must(t, "recording", "export", id, "--format", "asciicast").stdout
	cols, rows, lines := readCast(t, text)
	if cols != 100 || rows != 30 {
		t.Errorf("%d×%d cells", cols, rows)
	}
	var shown strings.Builder
	markers := 0
	for _, l := range lines {
		switch l.code {
		case "o":
			shown.WriteString(l.data)
		case "m":
			markers++
			if !strings.Contains(readFile(t, filepath.Join(folder, "events.jsonl")), `"statement":"`+l.data+`"`) {
				t.Errorf("marker %q is no statement", l.data)
			}
		}
	}
	if last := lines[len(lines)-1]; last.code != "x" || last.data != "5" || markers != 2 {
		t.Errorf("ends with %+v after %d markers, want exit 5 and 2", last, markers)
	}
	got := shown.String()
	for _, want := range []string{"Password: ", "understood", "grün", "key ****"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	for _, secret := range []string{"jit_lease_", "canary-in-the-environment", "typed-in-secret"} {
		if strings.Contains(text, secret) {
			t.Errorf("the recorded terminal holds %q", secret)
		}
	}
	if !strings.Contains(readFile(t, filepath.Join(folder, "events.jsonl")), `"terminal":{"file":"terminal.cast"`) {
		t.Error("no event tells of it")
	}
	// The server has it too.
	there := filepath.Join(t.TempDir(), "fetched")
	p.must(t, "recording", "fetch", id, "--to", there)
	if readFile(t, filepath.Join(there, "terminal.cast")) != text {
		t.Error("the server's copy is another one")
	}
	// A changed byte is found.
	changed := strings.Replace(text, "understood", "understand", 1)
	if err := os.WriteFile(filepath.Join(folder, "terminal.cast"), []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", id}, {"export", id, "--format", "asciicast"}} {
		if r := p.jit(t, append([]string{"recording"}, args...)...); r.code == 0 || strings.Contains(r.stdout, "understand") {
			t.Errorf("recording %v of a changed terminal: %s", args, r)
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTerminalsAreRecordedOnlyIfBothWant: the policy and the person; and only where
// there is one.
func TestTerminalsAreRecordedOnlyIfBothWant(t *testing.T) {
	s := shared.alice.terminal(t, shared.jit, "exec", "--connection", "sandbox", "--record-terminal", "--", "echo", "ran")
	if code := s.code(); code != 125 || strings.Contains(s.raw.String(), "\nran") || !strings.Contains(s.raw.String(), "keeps no terminals") {
		t.Errorf("against the policy: exit %d: %q", code, s.raw)
	}
	if r := shared.alice.jit(t, "exec", "--connection", "sandbox", "--record-terminal", "--", "true"); r.code != 2 {
		t.Errorf("without a terminal: %s", r)
	}
	url := keepingTerminals(t)
	quiet := shared.alice.terminal(t, shared.jit, "exec", "--server", url, "--connection", "sandbox", "--", "true")
	quiet.code()
	id := regexp.MustCompile(`session (ses_\S+) is open`).FindStringSubmatch(quiet.raw.String())[1]
	if r := shared.alice.jit(t, "recording", "export", id, "--format", "asciicast"); r.code != 1 {
		t.Errorf("nobody asked for it: %s", r)
	}
}
