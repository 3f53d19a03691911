//go:build e2e

package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// statusLine is a line of --status-fd, as far as the suite looks at it.
type statusLine struct {
	Time       time.Time `json:"time"`
	Event      string    `json:"event"`
	Session    string    `json:"session"`
	Request    string    `json:"request"`
	Statement  string    `json:"statement"`
	Outcome    string    `json:"outcome"`
	Code       string    `json:"code"`
	Why        string    `json:"why"`
	Deadline   time.Time `json:"deadline"`
	Exit       *int      `json:"exit"`
	PID        int       `json:"pid"`
	Connection string    `json:"connection"`
}

// statusLines reads a file of them; each must be a JSON object with a time.
func statusLines(t *testing.T, file string) []statusLine {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []statusLine
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var l statusLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil || l.Time.IsZero() {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		all = append(all, l)
	}
	return all
}

func kinds(lines []statusLine) string {
	var all []string
	for _, l := range lines {
		all = append(all, l.Event)
	}
	return strings.Join(all, " ")
}

// withFD runs jit exec with --status-fd 3 into a file.
func withFD(t *testing.T, p *person, args ...string) (*running, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "status.jsonl")
	if err := os.WriteFile(file, nil, 0o600); err != nil { // it may be read before the shell has opened it
		t.Fatal(err)
	}
	argv := append([]string{"bash", "-c", `exec "$0" exec --status-fd 3 "$@" 3>"$STATUS"`, p.w.jit}, args...)
	return launch(t, append(p.env, "STATUS="+file), filepath.Join(p.home, "work"), argv...), file
}

// running is `jit status --json` of one session.
type runningStatus struct {
	Session    string `json:"session"`
	State      string `json:"state"`
	Why        string `json:"why"`
	Statements struct {
		Allowed, Held, Denied, Masked int
	} `json:"statements"`
	Pending []struct {
		Request string `json:"request"`
	} `json:"pending"`
	FirstUse time.Time `json:"first_use"`
	Deadline time.Time `json:"deadline"`
}

func statusOf(t *testing.T, p *person, id string) runningStatus {
	t.Helper()
	var list []runningStatus
	if err := json.Unmarshal([]byte(p.must(t, "status", "--json", id).stdout), &list); err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	return list[0]
}

// TestStatus: what jit says of a session, elsewhere, while the agent has the
// screen; and as JSON lines.
func TestStatus(t *testing.T) {
	up, sql := shared.sandbox, scratch()
	gate := filepath.Join(t.TempDir(), "gate")
	steps := script(t, step{SQL: customers()}, step{SQL: sql}, step{SQL: "alter user x set password = 'y'"}, step{WaitFile: gate, SQL: orders()})
	args := append([]string{"--connection", up.name, "--reason", t.Name(), "--"}, append(shared.agent["go"].argv, steps)...)
	r, file := withFD(t, shared.alice, args...)
	e := &execution{running: r, who: shared.alice, steps: 4}
	id, request := e.session(t), e.held(t)

	var s runningStatus
	eventually(t, "the held statement in jit status", func() bool { s = statusOf(t, shared.alice, id); return len(s.Pending) == 1 })
	if s.State != "open" || s.Pending[0].Request != request || s.Statements.Allowed != 1 || s.Statements.Held != 1 || s.Statements.Masked != 1 || s.FirstUse.IsZero() {
		t.Errorf("while held: %+v", s)
	}
	if text := shared.alice.must(t, "status").stdout; !strings.Contains(text, id) || !strings.Contains(text, "jit review "+request) {
		t.Errorf("for people:\n%s", text)
	}
	if other := shared.dora.must(t, "status"); strings.Contains(other.stdout, id) {
		t.Errorf("somebody else sees it: %s", other)
	}
	watch := shared.alice.launch(t, "status", id, "--watch", "--json")
	eventually(t, "a first line of --watch", func() bool { return strings.Contains(watch.stdout.String(), request) })
	shared.bob.must(t, "deny", request, "--reason", "not now")
	eventually(t, "a line without the request", func() bool { return strings.Contains(watch.stdout.String(), `"pending":[]`) })
	touch(t, gate)
	e.finish(t, 0)
	if w := watch.wait(); w.code != 0 || !strings.Contains(w.stderr, "has ended") {
		t.Errorf("watching until the end: %s", w)
	}
	if after := shared.alice.jit(t, "status", id); after.code != 1 {
		t.Errorf("after its end: %s", after)
	}

	lines := statusLines(t, file)
	if got := kinds(lines); got != "started open running first_use held decided refused refused exited ended" {
		t.Errorf("the lines are %s", got)
	}
	for _, l := range lines {
		switch l.Event {
		case "open":
			if l.Session != id || l.Connection != up.name {
				t.Errorf("%+v", l)
			}
		case "held":
			if l.Request != request || l.Statement == "" {
				t.Errorf("%+v", l)
			}
		case "decided":
			if l.Request != request || l.Outcome != "denied" || l.Why != "not now" {
				t.Errorf("%+v", l)
			}
		case "exited", "ended":
			if l.Exit == nil || *l.Exit != 0 {
				t.Errorf("%+v", l)
			}
		}
	}
}

// TestStatusLinesOfWhatGoesWrong: a session that ends early, one that nobody
// grants, and a descriptor that is none.
func TestStatusLinesOfWhatGoesWrong(t *testing.T) {
	t.Run("expired", func(t *testing.T) {
		t.Parallel()
		gate := filepath.Join(t.TempDir(), "gate")
		steps := script(t, step{SQL: orders()}, step{WaitFile: gate, SQL: orders()})
		args := append([]string{"--connection", "sandbox", "--ttl", "3s", "--"}, append(shared.agent["go"].argv, steps)...)
		r, file := withFD(t, shared.alice, args...)
		e := &execution{running: r, who: shared.alice, steps: 2}
		id := e.session(t)
		eventually(t, "the end in jit status", func() bool { return statusOf(t, shared.alice, id).State == "ended" })
		touch(t, gate)
		end, _ := e.finish(t, 0)
		if got := kinds(statusLines(t, file)); !strings.Contains(got, "first_use expired") || !strings.HasSuffix(got, "exited ended") {
			t.Errorf("the lines are %s", got)
		}
		// Nothing was said while the command ran: the reason stands in the last line.
		var said []string
		for line := range strings.Lines(end.stderr) {
			if strings.HasPrefix(line, "jit: session ") {
				said = append(said, line)
			}
		}
		if len(said) != 2 || !strings.Contains(said[1], "deadline has passed") {
			t.Errorf("said %q", said)
		}
	})
	t.Run("denied", func(t *testing.T) {
		t.Parallel()
		r, file := withFD(t, shared.dora, "--connection", "sandbox", "--reason", t.Name(), "--", "true")
		var request string
		eventually(t, "a waiting request", func() bool {
			for _, l := range statusLines(t, file) {
				if l.Event == "waiting" {
					request = l.Request
				}
			}
			return request != ""
		})
		shared.bob.must(t, "deny", request, "--reason", "no")
		end := r.wait()
		lines := statusLines(t, file)
		if got := kinds(lines); end.code != 5 || got != "started waiting ended" || *lines[2].Exit != 5 || !strings.Contains(lines[2].Why, "denied") {
			t.Errorf("%+v: %s", lines, end)
		}
	})
	for fd, want := range map[string]string{"1": "standard streams", "77": "not open", "-4": "standard streams"} {
		if r := shared.alice.jit(t, "exec", "--status-fd", fd, "--", "true"); r.code != 2 || !strings.Contains(r.stderr, want) {
			t.Errorf("--status-fd %s: %s", fd, r)
		}
	}
}

// TestStatusForgetsTheDead: what a killed jit leaves behind is not taken for a
// session.
func TestStatusForgetsTheDead(t *testing.T) {
	e := &execution{running: shared.alice.launch(t, "exec", "--connection", "sandbox", "--", "sh", "-c", "exec >/dev/null 2>&1; sleep 3"), who: shared.alice}
	id := e.session(t)
	statusOf(t, shared.alice, id)
	if err := syscall.Kill(e.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-e.done
	if r := shared.alice.must(t, "status"); strings.Contains(r.stdout, id) {
		t.Errorf("%s", r)
	}
	left, _ := filepath.Glob(filepath.Join(shared.alice.home, ".local/state/jit/running", id+"*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestEnvironmentForOthers: a tool that is started elsewhere uses a running
// session, by what jit env prints; without the credential, and only until its end.
func TestEnvironmentForOthers(t *testing.T) {
	sql := orders()
	steps := script(t, step{SQL: sql})
	keeper := &execution{running: shared.alice.with("SNOWFLAKE_PRIVATE_KEY_PATH=/of/the/parent").launch(t, "exec", "--connection", "sandbox", "--env-only", "--ttl", "10m"), who: shared.alice}
	id := keeper.session(t)
	// Another shell, with settings of its own that lead elsewhere.
	use := fmt.Sprintf(`eval "$("$0" env %s)" && env | grep -c SNOWFLAKE_PRIVATE_KEY; exec "$@"`, id)
	env := append(shared.alice.env, "SNOWFLAKE_PRIVATE_KEY_PATH=/mine/it's", "SNOWFLAKE_ACCOUNT=mine")
	argv := append([]string{"bash", "-c", strings.Replace(use, "&& env", "; env", 1), shared.jit}, append(shared.agent["go"].argv, steps)...)
	r := launch(t, env, filepath.Join(shared.alice.home, "work"), argv...).wait()
	seen := outcomes(t, r)
	if r.code != 0 || len(seen) != 1 || seen[0].Error != nil || !strings.HasPrefix(r.stdout, "0\n") {
		t.Fatalf("%s", r)
	}
	if strings.Contains(r.stdout+keeper.stdout.String(), upstreamPassword) {
		t.Error("the credential was printed")
	}
	var vars map[string]string
	if err := json.Unmarshal([]byte(shared.alice.must(t, "env", id, "--json").stdout), &vars); err != nil || vars["JIT_SESSION"] != id {
		t.Errorf("%v, %v", vars, err)
	}
	if !strings.Contains(keeper.stdout.String(), "export SNOWFLAKE_TOKEN='"+vars["SNOWFLAKE_TOKEN"]+"'\n") || !strings.Contains(keeper.stdout.String(), "unset SNOWFLAKE_PRIVATE_KEY_PATH\n") {
		t.Errorf("--env-only printed\n%s", keeper.stdout)
	}
	if err := syscall.Kill(keeper.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if end := keeper.wait(); end.code != 0 || !strings.Contains(end.stderr, "1 statement") {
		t.Errorf("%s", end)
	}
	if _, err := os.Stat(vars["SNOWFLAKE_HOME"]); !os.IsNotExist(err) {
		t.Errorf("%s is left", vars["SNOWFLAKE_HOME"])
	}
	if r := shared.alice.jit(t, "env", id); r.code != 1 {
		t.Errorf("after the end: %s", r)
	}
	late := shared.alice.launch(t, "exec", "--connection", "sandbox", "--env-only", "--ttl", "1s")
	late2 := &execution{running: late, who: shared.alice}
	shared.alice.jit(t, "session", "revoke", late2.session(t), "--reason", "enough")
	if end := late.wait(); end.code != 6 {
		t.Errorf("a session that ends while it is kept open: %s", end)
	}
}

// TestRepositoriesConfigureNothing: what stands in the working directory is the
// agent's to write, and is not read.
func TestRepositoriesConfigureNothing(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".jit.yaml", ".jit.yml", "jit.yaml", "config.yaml", ".config/jit/config.yaml"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("server: https://evil.example\nconnection: nowhere\nprofile: evil\nprofiles: {evil: {role: ACCOUNTADMIN, hold: 30m}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := launch(t, shared.alice.env, dir, shared.jit, "exec", "--connection", "sandbox", "--", "sh", "-c", "echo $SNOWFLAKE_ROLE").wait()
	if r.code != 0 || r.stdout != "ANALYST\n" {
		t.Errorf("%s", r)
	}
	list := launch(t, shared.alice.env, dir, shared.jit, "config", "list").wait()
	if list.code != 0 || strings.Contains(list.stdout, "evil") || !strings.Contains(list.stderr, "has no effect") {
		t.Errorf("%s", list)
	}
}

// TestProfiles: defaults of a person's own, below flags and above the rest.
func TestProfiles(t *testing.T) {
	p := shared.alice.with("JIT_CONFIG=" + filepath.Join(t.TempDir(), "config.yaml"))
	server := shared.alice.must(t, "config", "get", "server").stdout
	for _, key := range []string{"server", "issuer", "client_id"} {
		value := strings.TrimSpace(shared.alice.must(t, "config", "get", key).stdout)
		r := p.jit(t, "config", "set", key, value)
		if key == "server" && r.code != 0 || key != "server" && r.code != 2 {
			t.Errorf("config set %s: %s", key, r)
		}
	}
	if got := p.must(t, "config", "get", "server").stdout; got != server {
		t.Errorf("%q, want %q", got, server)
	}
	q := shared.alice
	for key, value := range map[string]string{"profiles.nightly.connection": "sandbox", "profiles.nightly.ttl": "7m", "profiles.nightly.reason": "nightly build"} {
		q.must(t, "config", "set", key, value)
		defer q.must(t, "config", "unset", key)
	}
	if r := q.jit(t, "config", "set", "profiles.nightly.ttl", "soon"); r.code != 2 {
		t.Errorf("%s", r)
	}
	if r := q.jit(t, "config", "set", "profiles.nightly.password", "x"); r.code != 2 {
		t.Errorf("%s", r)
	}
	for flags, want := range map[string]string{"": "7m0s", "--ttl 9m": "9m0s"} {
		argv := append(append([]string{"exec", "--profile", "nightly"}, strings.Fields(flags)...), "--", shared.jit, "status", "--json")
		var list []struct {
			TTL        string `json:"ttl"`
			Connection string `json:"connection"`
		}
		if err := json.Unmarshal([]byte(q.must(t, argv...).stdout), &list); err != nil || len(list) != 1 || list[0].TTL != want || list[0].Connection != "sandbox" {
			t.Errorf("%q: %+v, %v", flags, list, err)
		}
	}
	if r := q.jit(t, "exec", "--profile", "nosuch", "--", "true"); r.code != 2 || !strings.Contains(r.stderr, "nightly") {
		t.Errorf("%s", r)
	}
}
