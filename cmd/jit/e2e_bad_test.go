//go:build e2e

package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBadCommandLine: what people mistype is said in words, exits with the code
// that the documentation promises, and asks nothing of the server.
func TestBadCommandLine(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "not-executable")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"unknown flag":           {[]string{"exec", "--nonsense", "--", "true"}, 2, "--nonsense"},
		"unknown command":        {[]string{"exce"}, 2, "exce"},
		"exec without a command": {[]string{"exec"}, 2, "exec --help"},
		"ttl of no sense":        {[]string{"exec", "--ttl", "-5s", "--", "true"}, 2, "--ttl"},
		"ttl that is no time":    {[]string{"exec", "--ttl", "soon", "--", "true"}, 2, "soon"},
		"flags that exclude":     {[]string{"exec", "--wait", "1s", "--no-wait", "--", "true"}, 2, "no-wait"},
		"no such command":        {[]string{"exec", "--", "no-such-command-anywhere"}, 127, "no-such-command-anywhere"},
		"no such path":           {[]string{"exec", "--", "/no/such/file"}, 127, "/no/such/file"},
		"not executable":         {[]string{"exec", "--", plain}, 126, plain},
		"a folder":               {[]string{"exec", "--", t.TempDir()}, 126, ""},
		"plain http elsewhere":   {[]string{"session", "list", "--server", "http://jit.example.com"}, 2, "https"},
		"no such request":        {[]string{"approve", "req_nosuchrequest"}, 1, "req_nosuchrequest"},
		"no such connection":     {[]string{"exec", "--connection", "nowhere", "--", "true"}, 125, "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			before := shared.server.tap.at("/v1/requests")
			r := shared.alice.jit(t, test.args...)
			if r.code != test.code || !strings.Contains(r.stderr, test.says) || !strings.Contains(r.stderr, "jit") {
				t.Errorf("want exit %d and %q: %s", test.code, test.says, r)
			}
			if r.stdout != "" {
				t.Errorf("an error on stdout: %s", r)
			}
			if n := shared.server.tap.at("/v1/requests") - before; n > 0 && name != "no such connection" && name != "no such request" {
				t.Errorf("the server was asked %d times", n)
			}
		})
	}
}

// TestBrokenConfig: a config file that cannot be right stops jit, which names
// the file and what is wrong in it.
func TestBrokenConfig(t *testing.T) {
	for name, test := range map[string]struct{ text, says string }{
		"not YAML":    {"server: [", "config.yaml"},
		"unknown key": {"serverr: https://jit.example.com\n", "serverr"},
		"no URL":      {"server: not a url\n", "not a url"},
		"plain http":  {"server: http://jit.example.com\n", "https"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			r := shared.alice.with("JIT_CONFIG="+file).jit(t, "exec", "--", "true")
			if r.code != 2 || !strings.Contains(r.stderr, file) || !strings.Contains(r.stderr, test.says) {
				t.Errorf("want exit 2, %s and %q: %s", file, test.says, r)
			}
		})
	}
}

// TestServerDown: no server, no access; the command is not started.
func TestServerDown(t *testing.T) {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(t.TempDir(), "started")
	r := shared.alice.jit(t, "exec", "--server", fmt.Sprintf("http://127.0.0.1:%d", port), "--connection", "sandbox", "--", "touch", mark)
	if r.code != 125 || !strings.Contains(r.stderr, "approval server") {
		t.Errorf("want exit 125 and what could not be reached: %s", r)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the command ran without a session")
	}
}

// TestServerDiesWhileHeld: a held statement whose server is gone is refused,
// never run.
func TestServerDiesWhileHeld(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	server, err := shared.newServer(ctx, shared.op.issuer, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.bob.with("JIT_SERVER="+server.url).connect(ctx, "sandbox", shared.sandbox.tap.URL); err != nil {
		t.Fatal(err)
	}
	before := shared.sandbox.tap.ran("delete from scratch")
	e := shared.alice.with("JIT_SERVER="+server.url).exec(t, shared.sandbox, []string{"--hold", "5s"}, shared.agent["go"],
		statements("delete from scratch", "delete from scratch where id = 1")...)
	e.held(t)
	if err := server.stop(); err != nil {
		t.Error(err)
	}
	r := e.wait()
	for _, o := range outcomes(t, r) {
		if o.Error == nil {
			t.Errorf("a held statement ran without a server: %s", o)
		}
	}
	if n := shared.sandbox.tap.ran("delete from scratch") - before; n != 0 {
		t.Errorf("%d held statements reached the upstream", n)
	}
	if !strings.Contains(r.stderr, "jit") {
		t.Errorf("nothing says that the server is gone: %s", r)
	}
}

// TestWrongIssuer: a server that cannot reach or does not know an issuer says
// so; a person of another issuer is nobody.
func TestWrongIssuer(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	t.Run("server with an issuer that is not there", func(t *testing.T) {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		gone := fmt.Sprintf("http://127.0.0.1:%d", port)
		listen, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		r := launch(t, plainEnv(t.TempDir()), t.TempDir(), shared.jit, "server", "--listen", fmt.Sprintf("127.0.0.1:%d", listen),
			"--issuer", gone, "--client-id", "jit-cli", "--data", filepath.Join(t.TempDir(), "data")).wait()
		if r.code == 0 || !strings.Contains(r.stderr, gone) {
			t.Errorf("want a failure that names %s: %s", gone, r)
		}
	})
	t.Run("login at an issuer that is not one", func(t *testing.T) {
		web := httptest.NewServer(http.NotFoundHandler())
		defer web.Close()
		p := shared.stranger(t, ctx, "mallory")
		r := p.jit(t, "login", "--issuer", web.URL, "--client-id", "jit-cli")
		if r.code == 0 || !strings.Contains(r.stderr, web.URL) {
			t.Errorf("want a failure that names %s: %s", web.URL, r)
		}
	})
	t.Run("a person of another issuer", func(t *testing.T) {
		other, err := shared.newIdentityProvider(ctx)
		if err != nil {
			t.Fatal(err)
		}
		p := shared.stranger(t, ctx, "bob") // the same name, an administrator's
		if err := p.signIn(ctx, other, "--issuer", other.issuer, "--client-id", "jit-cli"); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"exec", "--connection", "sandbox", "--", "true"}, {"connection", "list"}, {"session", "list"},
		} {
			r := p.jit(t, append([]string{"--server", shared.server.tap.URL}, args...)...)
			if r.code != 4 {
				t.Errorf("jit %v: want exit 4 (sign in): %s", args, r)
			}
		}
	})
	t.Run("nobody signed in", func(t *testing.T) {
		p := shared.stranger(t, ctx, "nobody")
		r := p.jit(t, "exec", "--server", shared.server.tap.URL, "--", "true")
		if r.code != 4 || !strings.Contains(r.stderr, "jit login") {
			t.Errorf("want exit 4 and the next step: %s", r)
		}
	})
}

// stranger is a new person with a home and a keyring of their own.
func (w *world) stranger(t *testing.T, ctx context.Context, name string) *person {
	t.Helper()
	q := *w
	q.dir = t.TempDir()
	p, err := q.newPerson(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	p.w = w
	return p
}

// TestKeyringHangs: a keyring that takes the call and never answers costs
// seconds, not for ever, and jit says what happened.
func TestKeyringHangs(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "bus")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(io.Discard, conn) // reads all, says nothing
			}()
		}
	}()
	r := shared.alice.with("DBUS_SESSION_BUS_ADDRESS=unix:path="+socket).jit(t, "exec", "--connection", "sandbox", "--", "true")
	if r.code != 4 || r.took > 20*time.Second || !strings.Contains(r.stderr, "keyring") {
		t.Errorf("want exit 4 within 20 s and a word about the keyring: %s", r)
	}
}

// TestChildEnds: jit ends as its child does, and the session with it.
func TestChildEnds(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		code   int
	}{
		"well":              {"exit 0", 0},
		"with a code":       {"exit 7", 7},
		"by SIGTERM":        {"kill -TERM $$", 128 + int(syscall.SIGTERM)},
		"by SIGKILL":        {"kill -KILL $$", 128 + int(syscall.SIGKILL)},
		"with code 125":     {"exit 125", 125},
		"with jit's own 42": {"exit 42", 42},
	} {
		t.Run(name, func(t *testing.T) {
			e := shared.alice.exec(t, shared.sandbox, nil, agent{argv: []string{"sh", "-c", test.script, "sh"}})
			r := e.wait()
			if r.code != test.code {
				t.Fatalf("want exit %d: %s", test.code, r)
			}
			if n := e.count(t, "agent.exited"); n != 1 {
				t.Errorf("%d agent.exited events", n)
			}
			if n := e.count(t, "session.ended"); n != 1 {
				t.Errorf("%d session.ended events", n)
			}
			shared.alice.must(t, "recording", "verify", e.session(t))
		})
	}
}

// TestSignalReachesChild: what a supervisor sends to jit is the child's to act
// on; its code is jit's.
func TestSignalReachesChild(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	e := shared.alice.exec(t, shared.sandbox, nil, agent{argv: []string{"sh", "-c", `trap 'exit 9' TERM; touch "$0"; while :; do sleep 0.05; done`, ready}})
	e.await(t, "child", func() bool { _, err := os.Stat(ready); return err == nil })
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := e.wait(); r.code != 9 {
		t.Errorf("want the child's 9: %s", r)
	}
}

// TestCredentialsOfTheParent: what the caller's environment holds of Snowflake
// access does not reach the child.
func TestCredentialsOfTheParent(t *testing.T) {
	p := shared.alice.with("SNOWFLAKE_PASSWORD=canary-parent", "SNOWFLAKE_PRIVATE_KEY_PATH=/canary-parent", "SNOWSQL_PWD=canary-parent",
		"SNOWFLAKE_CONNECTIONS_PROD_PASSWORD=canary-parent", "snowflake_token=canary-parent", "HTTPS_PROXY=http://127.0.0.1:9")
	e := p.exec(t, shared.sandbox, nil, agent{argv: []string{"sh", "-c", "env"}})
	r := e.wait()
	if r.code != 0 || strings.Contains(r.stdout, "canary-parent") {
		t.Errorf("the parent's credentials reached the child: %s", r)
	}
	if !regexp.MustCompile(`(?m)^NO_PROXY=.*127\.0\.0\.1`).MatchString(r.stdout) {
		t.Errorf("a proxy would see the lease: %s", r)
	}
}

// TestLeaseOfAnotherSession: a lease opens its own broker and no other, and
// nothing once its session has ended.
func TestLeaseOfAnotherSession(t *testing.T) {
	dir := t.TempDir()
	keep := func(name string) (e *execution, wiring map[string]string) {
		file, gate := filepath.Join(dir, name), filepath.Join(dir, "gate")
		e = shared.alice.exec(t, shared.sandbox, nil, agent{argv: []string{"sh", "-c",
			`env | grep ^SNOWFLAKE_ >"$0.new"; mv "$0.new" "$0"; while ! test -e "$1"; do sleep 0.05; done`, file, gate}})
		e.await(t, "wiring", func() bool { _, err := os.Stat(file); return err == nil })
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		wiring = map[string]string{}
		for line := range strings.Lines(string(text)) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			wiring[k] = v
		}
		return e, wiring
	}
	one, first := keep("one")
	two, second := keep("two")
	if first["SNOWFLAKE_TOKEN"] == "" || first["SNOWFLAKE_TOKEN"] == second["SNOWFLAKE_TOKEN"] {
		t.Fatalf("two sessions, leases %q and %q", first["SNOWFLAKE_TOKEN"], second["SNOWFLAKE_TOKEN"])
	}
	logins := shared.sandbox.tap.at("/session/v1/login-request")
	for name, try := range map[string]struct {
		port, token string
		want        bool
	}{
		"its own lease":     {first["SNOWFLAKE_PORT"], first["SNOWFLAKE_TOKEN"], true},
		"the other's lease": {first["SNOWFLAKE_PORT"], second["SNOWFLAKE_TOKEN"], false},
		"no lease":          {first["SNOWFLAKE_PORT"], "", false},
		"the real password": {first["SNOWFLAKE_PORT"], upstreamPassword, false},
		"half of the lease": {first["SNOWFLAKE_PORT"], first["SNOWFLAKE_TOKEN"][:16], false},
		"lease with a tail": {first["SNOWFLAKE_PORT"], first["SNOWFLAKE_TOKEN"] + "x", false},
		"lease and newline": {first["SNOWFLAKE_PORT"], first["SNOWFLAKE_TOKEN"] + "\n", true},
	} {
		ok, answer := knock(t, try.port, try.token)
		if ok != try.want {
			t.Errorf("%s: login %v: %s", name, ok, answer)
		}
	}
	if n := shared.sandbox.tap.at("/session/v1/login-request") - logins; n > 2 {
		t.Errorf("refused logins reached the upstream: %d logins there, at most 2 expected", n)
	}
	touch(t, filepath.Join(dir, "gate"))
	for _, e := range []*execution{one, two} {
		if r := e.wait(); r.code != 0 {
			t.Error(r)
		}
	}
	if conn, err := net.DialTimeout("tcp", "127.0.0.1:"+first["SNOWFLAKE_PORT"], time.Second); err == nil {
		conn.Close()
		t.Error("the broker still listens after its session")
	}
	if _, err := os.Stat(first["SNOWFLAKE_HOME"]); err == nil {
		t.Error("the connection files are still there after the session")
	}
}

// knock tries to log in to a broker.
func knock(t *testing.T, port, token string) (bool, string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"data": map[string]any{
		"ACCOUNT_NAME": "x", "LOGIN_NAME": "alice", "AUTHENTICATOR": "PROGRAMMATIC_ACCESS_TOKEN", "TOKEN": token}})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post("http://127.0.0.1:"+port+"/session/v1/login-request?requestId=5c0f5b1e-0000-4000-8000-000000000001", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var envelope struct {
		Code    *string `json:"code"`
		Message *string `json:"message"`
		Success bool    `json:"success"`
	}
	if err := json.Unmarshal(text, &envelope); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("a login answer with status %d: %s", res.StatusCode, text)
	}
	if !envelope.Success && (envelope.Code == nil || *envelope.Code != "390100" || envelope.Message == nil) {
		t.Errorf("a refused login says %s", text)
	}
	return envelope.Success, string(text)
}

// TestUpstreamGarbage: whatever an upstream answers, the agent gets an error or
// a result that was understood, never a value that was to be masked.
func TestUpstreamGarbage(t *testing.T) {
	const columns = `[{"name":"ID","type":"fixed","nullable":true,"scale":0,"precision":38,"length":null,"byteLength":null},` +
		`{"name":"EMAIL","type":"text","nullable":true,"scale":null,"precision":null,"length":100,"byteLength":400}]`
	good := func(data string) string {
		return `{"data":{` + data + `,"queryId":"01c00000-0000-4000-8000-000000000001","statementTypeId":4096,"finalDatabaseName":"APP","finalSchemaName":"PUBLIC"},"code":null,"message":null,"success":true}`
	}
	describe := good(`"rowtype":` + columns + `,"rowset":[],"total":0,"returned":0,"queryResultFormat":"json"`)
	for name, answer := range map[string]struct {
		status int
		kind   string
		body   string
	}{
		"not JSON":          {200, "application/json", "ann.archer@example.com"},
		"half an answer":    {200, "application/json", good(`"rowtype":` + columns + `,"rowset":[["1","ann.archer@example.com"]],"total":1,"returned":1,"queryResultFormat":"json"`)[:300]},
		"a web page":        {200, "text/html", "<html>ann.archer@example.com</html>"},
		"another result":    {200, "application/json", good(`"rowtype":[{"name":"X","type":"text","nullable":true},{"name":"Y","type":"text","nullable":true}],"rowset":[["ann.archer@example.com","ann.archer@example.com"]],"total":1,"returned":1,"queryResultFormat":"json"`)},
		"columns swapped":   {200, "application/json", good(`"rowtype":[{"name":"EMAIL","type":"text","nullable":true},{"name":"ID","type":"fixed","nullable":true}],"rowset":[["ann.archer@example.com","1"]],"total":1,"returned":1,"queryResultFormat":"json"`)},
		"rows too long":     {200, "application/json", good(`"rowtype":` + columns + `,"rowset":[["1",null,"ann.archer@example.com"]],"total":1,"returned":1,"queryResultFormat":"json"`)},
		"rows too short":    {200, "application/json", good(`"rowtype":` + columns + `,"rowset":[["ann.archer@example.com"]],"total":1,"returned":1,"queryResultFormat":"json"`)},
		"rows that are not": {200, "application/json", good(`"rowtype":` + columns + `,"rowset":"ann.archer@example.com","total":1,"returned":1,"queryResultFormat":"json"`)},
		"a cell that nests": {200, "application/json", good(`"rowtype":` + columns + `,"rowset":[["1",{"v":"ann.archer@example.com"}]],"total":1,"returned":1,"queryResultFormat":"json"`)},
		"Arrow that is not": {200, "application/json", good(`"rowtype":` + columns + `,"rowsetBase64":"YW5uLmFyY2hlckBleGFtcGxlLmNvbQ==","total":1,"returned":1,"queryResultFormat":"arrow"`)},
		"two result sets":   {200, "application/json", good(`"rowtype":` + columns + `,"rowset":[["1",null]],"rowset":[["1","ann.archer@example.com"]],"total":1,"returned":1,"queryResultFormat":"json"`)},
		"an unknown format": {200, "application/json", good(`"rowtype":` + columns + `,"rowset":[["1","ann.archer@example.com"]],"total":1,"returned":1,"queryResultFormat":"parquet"`)},
		"a telling error":   {200, "application/json", `{"data":{"errorCode":"100038","sqlState":"22018","queryId":"01c00000-0000-4000-8000-000000000001"},"code":"100038","message":"Numeric value 'ann.archer@example.com' is not recognized","success":false}`},
	} {
		t.Run(name, func(t *testing.T) {
			web := httptest.NewServer(garbage(describe, answer.status, answer.kind, answer.body))
			defer web.Close()
			up := &upstream{name: "garbage-" + strings.ReplaceAll(name, " ", "-")}
			var err error
			if up.tap, err = newTap(web.URL, false); err != nil {
				t.Fatal(err)
			}
			defer up.tap.Close()
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			if err := shared.bob.connect(ctx, up.name, up.tap.URL); err != nil {
				t.Fatal(err)
			}
			e := shared.alice.exec(t, up, []string{"--hold", "3s"}, shared.agent["python4"], statements("select id, email from customers")...)
			r, seen := e.finish(t, 0)
			if seen[0].Error == nil {
				t.Errorf("the garbage passed for a result: %s", seen[0])
			} else if strings.Contains(seen[0].Error.Message, "JIT-3001") {
				t.Errorf("the query was held and so never met the garbage: %s", seen[0])
			}
			assertNothingClear(t, "what the agent and its caller saw", r.stdout+r.stderr)
			text, err := os.ReadFile(filepath.Join(e.folder(t), "events.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			assertNothingClear(t, "the recording", string(text))
		})
	}
}

// noViews is the answer to SHOW VIEWS where there is none.
const noViews = `{"data":{"rowtype":[{"name":"name","type":"text","nullable":true,"length":100,"byteLength":400,"precision":null,"scale":null},` +
	`{"name":"text","type":"text","nullable":true,"length":100,"byteLength":400,"precision":null,"scale":null}],"rowset":[],"total":0,"returned":0,` +
	`"queryId":"01c00000-0000-4000-8000-000000000002","statementTypeId":17408,"queryResultFormat":"json"},"code":null,"message":null,"success":true}`

// garbage logs anybody in, describes well, and answers queries with body.
func garbage(describe string, status int, kind, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		text = inflate(text)
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/login-request"):
			fmt.Fprint(w, `{"data":{"token":"upstream-session-token-g","masterToken":"upstream-master-token-g","validityInSeconds":3600,"masterValidityInSeconds":14400,"serverVersion":"9","sessionId":1,"parameters":[],"sessionInfo":{"databaseName":"APP","schemaName":"PUBLIC","warehouseName":"WH","roleName":"ANALYST"}},"code":null,"message":null,"success":true}`)
		case strings.HasSuffix(r.URL.Path, "/query-request") && bytes.Contains(text, []byte(`"describeOnly":true`)):
			fmt.Fprint(w, describe)
		case strings.HasSuffix(r.URL.Path, "/query-request") && bytes.Contains(text, []byte(`"SHOW VIEWS`)):
			fmt.Fprint(w, noViews)
		case strings.HasSuffix(r.URL.Path, "/query-request"):
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		default:
			fmt.Fprint(w, `{"data":null,"code":null,"message":null,"success":true}`)
		}
	})
}
