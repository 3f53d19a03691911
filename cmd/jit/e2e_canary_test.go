//go:build e2e

package main_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestCanary plants secrets and looks for them everywhere an end-to-end run
// leaves something: what every process printed, logged and was started with,
// what agents and the server were answered, what lies on disk. The lease may
// stand in one kind of place: the child's own wiring, while it runs.
func TestCanary(t *testing.T) {
	w := shared
	dir := t.TempDir()
	ready, gate := filepath.Join(dir, "ready"), filepath.Join(dir, "gate")
	alice := w.alice.with("SNOWFLAKE_PASSWORD=canary-of-the-parent")
	e := alice.exec(t, w.wiremock, []string{"--verbose"}, w.agent["python4"],
		step{SQL: "select * from customers order by id"},
		step{SQL: "select id from nosuchtable"},
		step{SQL: "alter user x set password = 'y'"},
		step{TouchFile: ready, WaitFile: gate, SQL: "select * from orders order by id"})
	e.await(t, "the agent's last step", func() bool { _, err := os.Stat(ready); return err == nil })

	secrets := map[string]string{
		"the upstream password":            upstreamPassword,
		"a password of the parent":         "canary-of-the-parent",
		"the password of alice's keyring":  "test-password",
		"an upstream session token":        "upstream-session-token-",
		"an upstream master token":         "upstream-master-token-",
		"a renewed upstream session token": "upstream-renewed-token-",
	}
	for i, token := range w.op.issued() {
		secrets[fmt.Sprintf("token %d of the identity provider", i)] = token
	}
	if len(secrets) < 12 {
		t.Fatalf("only %d secrets to look for: the identity provider's tokens were not seen", len(secrets))
	}
	wiring := childEnvironment(t, e)
	lease := wiring["SNOWFLAKE_TOKEN"]
	if len(lease) < 20 {
		t.Fatalf("the child has no lease: %v", wiring)
	}

	// While it runs: arguments and environments of every process of the suite.
	for pid, p := range processes(t) {
		hunt(t, secrets, fmt.Sprintf("arguments of process %d (%s)", pid, p.name), p.arguments)
		if p.session != "" { // the child and its children have the lease, nothing else
			hunt(t, secrets, fmt.Sprintf("environment of process %d (%s)", pid, p.name), p.environment)
			hunt(t, map[string]string{"the lease": lease}, fmt.Sprintf("arguments of process %d", pid), p.arguments)
		} else if p.isJit {
			without := map[string]string{"the lease": lease}
			for what, value := range secrets {
				if what != "a password of the parent" { // what jit was started with
					without[what] = value
				}
			}
			hunt(t, without, fmt.Sprintf("environment of process %d (%s)", pid, p.name), p.environment)
		}
	}
	// While it runs: the lease stands in the child's wiring and nowhere else.
	huntFiles(t, map[string]string{"the lease": lease}, w.dir, wiring["SNOWFLAKE_HOME"])

	touch(t, gate)
	r, seen := e.finish(t, 0)
	if seen[0].Error != nil || seen[3].Error != nil {
		t.Fatalf("the run did not do what is to be searched: %s", r)
	}

	// Afterwards: what was printed, logged, answered and kept.
	secrets["the lease"] = lease
	for i, value := range planted {
		secrets[fmt.Sprintf("masked value %d", i)] = value
	}
	hunt(t, secrets, "stdout of the agent", r.stdout)
	hunt(t, secrets, "stderr of jit exec --verbose", r.stderr)
	if w.server.log.String() == "" {
		t.Error("jit server --verbose logged nothing to be searched")
	}
	hunt(t, secrets, "log of jit server --verbose", w.server.log.String())
	for _, args := range [][]string{{"session", "list"}, {"connection", "list"}, {"connection", "list", "--json"}, {"replay", "--plain", e.session(t)}} {
		out := w.bob
		if args[0] == "replay" {
			out = w.alice
		}
		r := out.must(t, args...)
		hunt(t, secrets, "jit "+strings.Join(args, " "), r.stdout+r.stderr)
	}
	// The broker is given a session token and never more; nobody else is given
	// that either.
	for _, c := range w.server.tap.matching(func(call) bool { return true }) {
		for what, value := range secrets {
			if strings.Contains(c.Answer, value) && !(strings.HasPrefix(value, "upstream-session-") || strings.HasPrefix(value, "upstream-renewed-")) {
				t.Errorf("the server's answer to %s holds %s", c.Path, what)
			}
		}
	}
	huntFiles(t, secrets, w.dir, "")
}

// hunt looks for secrets in text, plain and in the encodings that logs and
// files put them in.
func hunt(t *testing.T, secrets map[string]string, where, text string) {
	t.Helper()
	for what, value := range secrets {
		for form, spelled := range map[string]string{
			"":           value,
			" in base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(value)), "="),
			" in hex":    hex.EncodeToString([]byte(value)),
			" in a URL":  url.QueryEscape(value),
		} {
			// The last characters of base64 depend on what follows.
			if form == " in base64" && len(spelled) > 8 {
				spelled = spelled[:len(spelled)-2]
			}
			if strings.Contains(text, spelled) {
				t.Errorf("%s holds %s%s", where, what, form)
			}
		}
	}
}

// binaries of the suite itself, and what belongs to other people's programs.
var notJits = regexp.MustCompile(`^(jit|goagent|home-[a-z]+/(run|\.npm|\.cache/snowflake|\.cache/Snowflake)(/.*)?)$`)

// huntFiles looks for secrets in every file below root, except below allowed.
func huntFiles(t *testing.T, secrets map[string]string, root, allowed string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // gone since: a temporary file
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if notJits.MatchString(rel) || allowed != "" && (path == allowed || strings.HasPrefix(path, allowed+"/")) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil // gone since
		}
		files++
		hunt(t, secrets, "the file "+rel, string(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 10 {
		t.Errorf("only %d files below %s: the search missed them", files, root)
	}
}

// process seen from outside.
type seenProcess struct {
	name, arguments, environment string
	session                      string // JIT_SESSION in its environment
	isJit                        bool
}

// processes are those of this suite: they carry its folder in their
// environment.
func processes(t *testing.T) map[int]seenProcess {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]seenProcess{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		arguments, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil {
			continue
		}
		environment, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if err != nil {
			continue // not dumpable, which is right for jit itself, or gone
		}
		if !bytes.Contains(environment, []byte(shared.dir)) {
			continue
		}
		p := seenProcess{arguments: string(arguments), environment: string(environment)}
		p.name, _, _ = strings.Cut(p.arguments, "\x00")
		p.isJit = p.name == shared.jit
		for _, v := range strings.Split(p.environment, "\x00") {
			if id, ok := strings.CutPrefix(v, "JIT_SESSION="); ok {
				p.session = id
			}
		}
		found[pid] = p
	}
	if len(found) < 5 {
		t.Fatalf("only %d processes of the suite are seen", len(found))
	}
	return found
}

// childEnvironment is the environment of the agent that e runs.
func childEnvironment(t *testing.T, e *execution) map[string]string {
	t.Helper()
	id := e.session(t)
	env := map[string]string{}
	for _, p := range processes(t) {
		if p.session != id {
			continue
		}
		for _, v := range strings.Split(p.environment, "\x00") {
			k, v, _ := strings.Cut(v, "=")
			env[k] = v
		}
	}
	return env
}
