package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/broker/snowflake/sandbox"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/approval"
	"github.com/jit-access/jit/session/identity/op"
	"github.com/jit-access/jit/session/recording"
	"github.com/jit-access/jit/session/secret"
)

// plantedPassword is the upstream credential of these tests.
const plantedPassword = "canary-Upstream-44"

// office is a real approval server, a real identity provider and the sandbox
// behind them, with people who sign in at terminals of their own.
type office struct {
	t        *testing.T
	provider *signInWorld
	url      string
	upstream string
	store    *approval.Store
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, provider: newSignInWorld(t)}
	sb, err := sandbox.New(sandbox.Options{Users: map[string]sandbox.User{"JIT_SVC": {Password: secret.New(plantedPassword), Roles: []string{"ANALYST"}}}})
	if err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(sb.Handler())
	t.Cleanup(func() {
		upstream.Close()
		sb.Close()
	})
	o.upstream = upstream.URL
	if o.store, err = approval.NewStore(approval.StoreConfig{Dir: filepath.Join(t.TempDir(), "data"), Policy: policy.Default()}); err != nil {
		t.Fatal(err)
	}
	srv, err := approval.NewServer(approval.Config{Store: o.store, Issuer: o.provider.issuer, ClientID: op.DefaultClientID})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv.Handler())
	t.Cleanup(func() {
		web.Close()
		if err := o.store.Close(); err != nil {
			t.Error(err)
		}
	})
	o.url = web.URL
	return o
}

// seat is one person at a terminal of their own.
type seat struct {
	*App
	t   *testing.T
	out *bytes.Buffer
	err *typist
}

func (o *office) signIn(name string) *seat {
	o.t.Helper()
	a, out, errs := signInApp(o.t, func(code string) {
		if err := o.provider.provider.Approve(context.Background(), code, name); err != nil {
			o.t.Errorf("signing in %s: %v", name, err)
		}
	})
	a.server = o.url
	if code := runCommand(o.t, a, newLoginCommand(a)); code != ExitOK {
		o.t.Fatalf("login of %s: exit %d\n%s", name, code, errs)
	}
	return &seat{a, o.t, out, errs}
}

// run runs one command line and returns what it printed.
func (tm *seat) run(want ExitCode, args ...string) (stdout, stderr string) {
	tm.t.Helper()
	tm.out.Reset()
	before := len(tm.err.String())
	server := tm.server // the flag's default takes it away
	root := newRoot(tm.App)
	code := runCommand(tm.t, tm.App, root, append([]string{"--server", server}, args...)...)
	stderr = tm.err.String()[before:]
	if code != want {
		tm.t.Fatalf("jit %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, tm.out, stderr)
	}
	for _, s := range []string{tm.out.String(), stderr} {
		if strings.Contains(s, plantedPassword) {
			tm.t.Errorf("jit %s shows the credential:\n%s", strings.Join(args, " "), s)
		}
	}
	return tm.out.String(), stderr
}

func (tm *seat) api() *approval.Client {
	tm.t.Helper()
	client, _, err := tm.client(tm.t.Context())
	if err != nil {
		tm.t.Fatal(err)
	}
	return client
}

func (tm *seat) ask(reason string) session.Request {
	tm.t.Helper()
	r, err := tm.api().Submit(tm.t.Context(), session.Submission{
		Kind: session.RequestSession, Reason: reason, Scope: session.Scope{Connection: "prod", TTL: time.Hour},
		Agent: session.Agent{Command: []string{"claude", "\x1b[2J\u202egpj.exe"}},
	})
	if err != nil {
		tm.t.Fatal(err)
	}
	return r
}

// The way of a request through every command: added connection, asked, listed,
// shown, decided, waited for, opened, listed, revoked.
func TestOfficeCommands(t *testing.T) {
	o := newOffice(t)
	alice, bob, carol := o.signIn("alice"), o.signIn("bob"), o.signIn("carol")

	bob.In = strings.NewReader(plantedPassword + "\n")
	bob.run(ExitOK, "connection", "add", "prod", "--account", "SANDBOX", "--url", o.upstream, "--user", "JIT_SVC", "--role", "ANALYST", "--password-file", "-")
	out, _ := bob.run(ExitOK, "connection", "test", "prod")
	if !strings.Contains(out, "ok: logged in as role ANALYST") {
		t.Errorf("connection test: %s", out)
	}
	bob.run(ExitUsage, "connection", "add", "x", "--account", "A")
	bob.run(ExitUsage, "connection", "add", "x", "--account", "A", "--role", "R", "--password-stdin", "--token-file", "t")
	bob.run(ExitUsage, "connection", "add", "x", "--account", "A", "--role", "R")
	bob.In = strings.NewReader("wrong\n")
	bob.run(ExitOK, "connection", "add", "broken", "--account", "SANDBOX", "--url", o.upstream, "--user", "JIT_SVC", "--role", "ANALYST", "--password-stdin")
	if _, stderr := bob.run(ExitError, "connection", "test", "broken"); !strings.Contains(stderr, "390100") {
		t.Errorf("a refused login does not show Snowflake's code: %s", stderr)
	}
	bob.run(ExitOK, "connection", "remove", "broken")
	alice.run(ExitDenied, "connection", "test", "prod")
	alice.run(ExitDenied, "connection", "remove", "prod")
	out, _ = alice.run(ExitOK, "connection", "list", "--json")
	var conns []map[string]json.RawMessage
	if err := json.Unmarshal([]byte(out), &conns); err != nil || len(conns) != 1 || conns[0]["user"] != nil {
		t.Errorf("alice lists %s, %v", out, err)
	}

	first := alice.ask("monthly report")
	out, _ = carol.run(ExitOK, "request", "list")
	if !strings.Contains(out, first.ID) || !strings.Contains(out, "alice@example.test") {
		t.Errorf("carol lists %s", out)
	}
	out, _ = carol.run(ExitOK, "request", "show", first.ID)
	if strings.ContainsAny(out, "\x1b\u202e") || !strings.Contains(out, "monthly report") || !strings.Contains(out, `‹U+001B›`) {
		t.Errorf("carol is shown %q", out)
	}
	alice.run(ExitDenied, "approve", first.ID)
	alice.run(ExitPending, "request", "wait", first.ID, "--timeout", "1ms")
	if out, _ := alice.run(ExitPending, "request", "wait", first.ID, "--timeout", "1ms", "--json"); !strings.Contains(out, `"state": "pending"`) {
		t.Errorf("alice waits for %s", out)
	}
	carol.run(ExitUsage, "approve", first.ID, "--once", "--shape")
	carol.run(ExitOK, "deny", first.ID, "--reason", "not now")
	if _, stderr := alice.run(ExitDenied, "request", "wait", first.ID); !strings.Contains(stderr, "not now") || !strings.Contains(stderr, "carol@example.test") {
		t.Errorf("alice reads %s", stderr)
	}
	if out, _ := alice.run(ExitDenied, "request", "wait", first.ID, "--json"); !strings.Contains(out, `"state": "denied"`) {
		t.Errorf("alice waited for %s", out)
	}
	carol.run(ExitError, "approve", first.ID)
	if _, stderr := carol.run(ExitError, "approve", "req_unknown"); !strings.Contains(stderr, "req_unknown") {
		t.Errorf("an unknown request: %s", stderr)
	}

	second := alice.ask("again")
	alice.run(ExitOK, "request", "withdraw", second.ID)
	alice.run(ExitExpired, "request", "wait", second.ID)

	third := alice.ask("please")
	waited := make(chan error, 1)
	client := alice.api()
	go func() {
		r, err := awaitDecision(t.Context(), client, third.ID, 0)
		if err == nil && r.State != session.StateApproved {
			t.Errorf("waited for %s", r.State)
		}
		waited <- err
	}()
	out, _ = carol.run(ExitOK, "approve", third.ID, "--reason", "ok", "--json")
	var doc struct{ State, GrantID string }
	if err := json.Unmarshal([]byte(strings.ReplaceAll(out, "grant_id", "GrantID")), &doc); err != nil || doc.State != "approved" || doc.GrantID == "" {
		t.Fatalf("approve --json: %s, %v", out, err)
	}
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	_, vkey, err := recording.NewKey("jit-session")
	if err != nil {
		t.Fatal(err)
	}
	opened, err := client.Open(t.Context(), doc.GrantID, vkey)
	if err != nil {
		t.Fatal(err)
	}
	id := opened.Session.ID
	if out, _ = alice.run(ExitOK, "session", "list"); !strings.Contains(out, id) || !strings.Contains(out, "open") {
		t.Errorf("alice lists %s", out)
	}
	if out, _ = carol.run(ExitOK, "session", "show", id); !strings.Contains(out, "alice@example.test") || strings.Contains(out, "\x1b") {
		t.Errorf("carol is shown %q", out)
	}
	carol.run(ExitOK, "session", "revoke", id, "--reason", "enough")
	if out, _ = alice.run(ExitOK, "session", "list"); strings.Contains(out, id) {
		t.Errorf("a revoked session is listed as open: %s", out)
	}
	if out, _ = alice.run(ExitOK, "session", "list", "--all"); !strings.Contains(out, "revoked by carol@example.test: enough") {
		t.Errorf("alice lists %s", out)
	}
	alice.run(ExitError, "session", "revoke", "ses_unknown")
}

// No flag takes a credential, and a credential file that cannot be one is
// refused before anything is sent.
func TestConnectionCredentialSources(t *testing.T) {
	c := newConnectionAddCommand(serverApp(t, nil))
	for _, name := range []string{"password", "private-key", "token", "passphrase", "secret"} {
		if c.Flags().Lookup(name) != nil {
			t.Errorf("--%s would show a secret in the process list", name)
		}
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, test := range map[string]struct {
		o    connectionOptions
		want string // the credential; empty: an error
		kind string
	}{
		"password":             {connectionOptions{PasswordFile: write("p", "s3cret \r\n")}, "s3cret ", "password"},
		"token":                {connectionOptions{TokenFile: write("t", "tok")}, "tok", "pat"},
		"oauth":                {connectionOptions{OAuthFile: write("o", "tok\n")}, "tok", "oauth"},
		"key":                  {connectionOptions{KeyFile: write("k", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n")}, "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----", "key-pair"},
		"encrypted, no phrase": {connectionOptions{KeyFile: write("e", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n")}, "", ""},
		"none":                 {connectionOptions{}, "", ""},
		"empty":                {connectionOptions{PasswordFile: write("n", "\n")}, "", ""},
		"huge":                 {connectionOptions{PasswordFile: write("h", strings.Repeat("x", maxSecret+1))}, "", ""},
		"missing":              {connectionOptions{PasswordFile: filepath.Join(dir, "none")}, "", ""},
	} {
		got, err := serverApp(t, nil).readCredential(t.Context(), test.o)
		if (err == nil) != (test.want != "") || err == nil && (got.Material.Reveal() != test.want || got.Kind != test.kind) {
			t.Errorf("%s: %s %q, %v", name, got.Kind, got.Material.Reveal(), err)
		}
	}
}

// What an agent wrote cannot pass for one of jit's own lines, and nothing of it
// is hidden from the reviewer.
func TestDescribeShowsEverythingSafely(t *testing.T) {
	a := serverApp(t, nil)
	var b bytes.Buffer
	long := strings.Repeat("harmless ", 100) + "DROP"
	a.describe(&b, session.Request{
		Kind: session.RequestStatement, Reason: "x\nneeds       nobody\x1b[1A" + long,
		Case: session.Case{Canonical: "DELETE FROM T\nexpires     never\x1b]0;x\x07\u202e", Kinds: []string{"DELETE"}},
	})
	text := b.String()
	if strings.ContainsAny(text, "\x1b\x07\u202e") {
		t.Errorf("control characters reach the terminal: %q", text)
	}
	if !strings.Contains(text, "  | expires     never") || strings.Contains(text, "\nneeds       nobody") || !strings.Contains(text, "harmless DROP") {
		t.Errorf("shown as:\n%s", text)
	}
}
