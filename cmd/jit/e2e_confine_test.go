//go:build e2e && linux

package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// belongings are what a person has that no agent is to read, planted.
var belongings = map[string]string{
	".snowflake/connections.toml":      "[mine]\npassword = \"planted-password\"\nprivate_key_file = \"~/keys/rsa.p8\"\n",
	".config/snowflake/config.toml":    "planted-config",
	".snowsql/config":                  "planted-snowsql",
	".dbt/profiles.yml":                "planted-profile",
	".ssh/id_ed25519":                  "planted-ssh-key",
	"keys/rsa.p8":                      "planted-private-key",
	".local/state/jit/planted-refresh": "planted-refresh-token",
}

// thief is an agent that tries what wanted says, and what became of it.
func thief(t *testing.T, p *person, flags []string, wanted map[string][]any) (map[string]string, *execution) {
	t.Helper()
	text, err := json.Marshal(wanted)
	if err != nil {
		t.Fatal(err)
	}
	argv := append([]string{p.w.jit, "exec", "--connection", "sandbox", "--reason", t.Name()}, flags...)
	argv = append(argv, "--", p.w.part("driver/bin/python"), p.w.testdata("agents/python/thief.py"), string(text))
	e := &execution{running: launch(t, p.env, filepath.Join(p.home, "work"), argv...), who: p}
	r := e.wait()
	var seen map[string]string
	if err := json.Unmarshal([]byte(r.stdout), &seen); err != nil || r.code != 0 || len(seen) != len(wanted) {
		t.Fatalf("%v: %s", err, r)
	}
	return seen, e
}

// means is how jit says that it confines here: "a user namespace", "Landlock" or "".
// What it says is held against `unshare` and the kernel's own word.
func means(t *testing.T, e *execution) string {
	t.Helper()
	said := regexp.MustCompile(`jit: the command is (?:not confined|(?:partly )?confined by (a user namespace|Landlock))`).FindStringSubmatch(e.stderr.String())
	if said == nil {
		t.Fatalf("jit does not say how the command is confined: %s", e.soFar())
	}
	want := ""
	if abi := landlockABI(); abi >= 2 {
		want = "Landlock"
	}
	if exec.Command("unshare", "--user", "--map-current-user", "--mount", "true").Run() == nil {
		want = "a user namespace"
	}
	if said[1] != want {
		t.Fatalf("jit confines by %q, and this machine allows %q: %s", said[1], want, e.soFar())
	}
	return want
}

// landlockABI asks the kernel; 0 means none.
func landlockABI() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// TestAgentStealsWhatIsThePersons: an agent reads the refresh token (from files and
// from the keyring), the broker's memory and other processes', the person's own
// connections and keys, another session's lease, and signs in as the person. Each
// attack that does not meet the broker's own protection works with --confine off:
// that is what shows that it is one.
func TestAgentStealsWhatIsThePersons(t *testing.T) {
	p := shared.alice
	for file, text := range belongings {
		file = filepath.Join(p.home, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(file) })
	}
	// Another session of the same person, and another program of theirs.
	other := &execution{running: launch(t, p.env, filepath.Join(p.home, "work"),
		p.w.jit, "exec", "--connection", "sandbox", "--reason", t.Name(), "--", "sleep", "600"), who: p}
	other.await(t, "the other session's command", func() bool { return childEnvironment(t, other)["SNOWFLAKE_HOME"] != "" })
	lease := filepath.Join(childEnvironment(t, other)["SNOWFLAKE_HOME"], "connections.toml")
	program := launch(t, p.env, p.home, "sleep", "600")
	socket := filepath.Join(p.home, "run", "bus")
	outside := map[string]string{"DBUS_SESSION_BUS_ADDRESS": "unix:path=" + socket}

	attacks := map[string][]any{
		"the lease of another session": {"read", lease},
		"jit's state":                  {"read", filepath.Join(p.home, ".local/state/jit")},
		"jit's configuration":          {"read", filepath.Join(p.home, ".config/jit")},
		"the keyring's files":          {"read", filepath.Join(p.home, ".local/share/keyrings")},
		"the keyring":                  {"ring", socket},
		"the session bus":              {"connect", socket},
		"the keyring's own socket":     {"connect", filepath.Join(p.home, "run", "keyring", "control")},
		"signing in":                   {"run", outside, []string{p.w.jit, "whoami"}},
		"asking the server as them":    {"run", outside, []string{p.w.jit, "session", "list"}},
		"another program's memory":     {"memory", program.cmd.Process.Pid},
		"tracing another program":      {"trace", program.cmd.Process.Pid},
		"another program's files":      {"read", fmt.Sprintf("/proc/%d/environ", program.cmd.Process.Pid)},
		"signalling jit":               {"signal", "jit"},
	}
	for file := range belongings {
		attacks[file] = []any{"read", filepath.Join(p.home, file)}
	}
	attacks["the broker's memory"] = []any{"memory", "jit"}
	attacks["tracing the broker"] = []any{"trace", "jit"}

	free, _ := thief(t, p, []string{"--confine", "off"}, attacks)
	seen, e := thief(t, p, nil, attacks)
	by := means(t, e)
	if by == "" {
		return // jit says so, and TestConfinedAgentWorks holds that require refuses
	}
	// What stays open with these means on this kernel must be what jit names.
	open := map[any]string{}
	if abi := landlockABI(); by == "Landlock" && abi < 9 {
		open["connect"], open["ring"] = "sockets in the file system", "sockets in the file system"
	}
	if landlockABI() < 6 {
		open["signal"] = "signals"
	}
	for name := range attacks {
		got := seen[name]
		if gap, ok := open[attacks[name][0]]; ok {
			if !strings.Contains(e.stderr.String(), gap) {
				t.Errorf("%s: the gap is not named: %s", name, e.soFar())
			}
			continue
		}
		if !strings.HasPrefix(got, "refused: ") && name != "jit's state" {
			t.Errorf("%s: the agent got %q", name, got)
		}
		if strings.Contains(got, "planted") && !strings.HasPrefix(got, "refused: ") {
			t.Errorf("%s: the agent read what was planted: %q", name, got)
		}
		// An ordinary user may be kept from tracing by Yama, and from jit always.
		if strings.HasPrefix(free[name], "refused: ") && (os.Getuid() == 0 || attacks[name][0] != "memory" && attacks[name][0] != "trace") {
			t.Errorf("%s is no attack: it fails without confinement, too: %s", name, free[name])
		}
	}
	// Of jit's state the agent sees its own wiring only.
	own := filepath.Dir(filepath.Dir(lease)) + string(filepath.Separator)
	for _, line := range strings.Split(seen["jit's state"], "\n") {
		if !strings.HasPrefix(line, "refused: ") && strings.Contains(line, p.home) && (!strings.HasPrefix(line, own) || strings.HasPrefix(line, filepath.Dir(lease))) {
			t.Errorf("the agent sees in jit's state: %s", line)
		}
	}
	select {
	case <-program.done:
		t.Error("the agent ended a program of the person's")
	default:
	}
	_ = other.cmd.Process.Signal(os.Interrupt)
}

// TestConfinedAgentWorks: what agents do all day goes on, and jit says how the
// command is confined: on stderr, in `jit status`, and in the recording.
func TestConfinedAgentWorks(t *testing.T) {
	p := shared.alice
	seen, e := thief(t, p, nil, map[string][]any{
		"files":  {"shell", `d=$(mktemp -d); echo x >"$d/f"; cat "$d/f"; echo y >here; mv here there; cat there; rm there`},
		"home":   {"shell", `echo z >~/plain; cat ~/plain; rm ~/plain`},
		"git":    {"shell", `rm -rf repo; git init -q repo; cd repo; git -c user.name=a -c user.email=a@b commit -q --allow-empty -m m; git log --format=%s; cd ..; rm -rf repo`},
		"node":   {"shell", `node -e 'console.log(1+1)'`},
		"doctor": {"shell", `"` + p.w.jit + `" doctor --inside >/dev/null; echo done`},
		"status": {"shell", `"` + p.w.jit + `" status --json`},
		"python": {"shell", `python3 -c 'import socket; s=socket.create_server(("127.0.0.1",0)); socket.create_connection(s.getsockname()); print("net")'`},
	})
	for name, want := range map[string]string{"files": "x\ny\n", "git": "m\n", "node": "2\n", "doctor": "done\n", "python": "net\n"} {
		if seen[name] != want {
			t.Errorf("%s: %q", name, seen[name])
		}
	}
	if by := means(t, e); (seen["home"] == "z\n") != (by != "Landlock") {
		t.Errorf("a new file in the home folder, confined by %q: %q", by, seen["home"])
	}
	var status []struct{ Session, Confinement string }
	if err := json.Unmarshal([]byte(seen["status"]), &status); err != nil || len(status) != 1 || status[0].Session != e.session(t) {
		t.Fatalf("%v: %s", err, seen["status"])
	}
	if !strings.Contains(e.stderr.String(), "jit: the command is "+status[0].Confinement+".") {
		t.Errorf("status says %q, stderr: %s", status[0].Confinement, e.stderr)
	}
	var opened struct {
		Session struct {
			Confined    bool   `json:"confined"`
			Confinement string `json:"confinement"`
		} `json:"session"`
	}
	text, err := os.ReadFile(filepath.Join(e.folder(t), "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if err := json.Unmarshal([]byte(first), &opened); err != nil || opened.Session.Confinement != status[0].Confinement {
		t.Errorf("%v: the recording says %q", err, opened.Session.Confinement)
	}
	if full := strings.HasPrefix(status[0].Confinement, "confined by"); opened.Session.Confined != full {
		t.Errorf("confined %t, by %q", opened.Session.Confined, opened.Session.Confinement)
	}
	p.must(t, "recording", "verify", e.session(t))

	// --confine require starts exactly what is wholly confined.
	r := p.jit(t, "exec", "--connection", "sandbox", "--reason", t.Name(), "--confine", "require", "--", "true")
	if want := map[bool]int{true: 0, false: 125}[opened.Session.Confined]; r.code != want || want == 125 && sessionOpen.MatchString(r.stderr) {
		t.Errorf("want exit %d: %s", want, r)
	}
	if r := p.jit(t, "exec", "--confine", "maybe", "--", "true"); r.code != 2 {
		t.Errorf("%s", r)
	}
	if r := p.jit(t, "exec", "--confine", "require", "--env-only"); r.code != 2 {
		t.Errorf("%s", r)
	}
}
