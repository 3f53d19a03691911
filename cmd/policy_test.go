package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// runPolicy runs `jit policy …` with nobody signed in.
func runPolicy(t *testing.T, stdin string, args ...string) (stdout, stderr string, code ExitCode) {
	t.Helper()
	var out, errs bytes.Buffer
	dir := t.TempDir()
	a := &App{In: strings.NewReader(stdin), Out: &out, Err: &errs, Getenv: func(string) string { return "" }, Now: time.Now,
		Logger: slog.New(slog.DiscardHandler), Paths: Paths{Config: dir, State: dir}}
	c := newPolicyCommand(a)
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(args)
	c.SetOut(&out)
	markUsage(c)
	code = a.report(c.ExecuteContext(t.Context()))
	return out.String(), errs.String(), code
}

// writeBundle writes the default bundle with files changed.
func writeBundle(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := policy.Default()
	for _, name := range b.Files() {
		data, _ := b.File(name)
		write(name, data)
	}
	for name, data := range files {
		write(name, []byte(data))
	}
	return dir
}

const scene = `
subject: {user: ana, groups: [analysts]}
setting: {connection: prod, role: ANALYST, database: APP, schema: PUBLIC}
catalog:
  APP.PUBLIC.CUSTOMERS: [ID, NAME, EMAIL]
`

func sceneFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tables.yaml")
	if err := os.WriteFile(file, []byte(scene), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPolicyCheck(t *testing.T) {
	good := writeBundle(t, nil)
	out, _, code := runPolicy(t, "", "check", good)
	if code != ExitOK || !strings.Contains(out, policy.Default().Digest()) {
		t.Errorf("exit %d: %s", code, out)
	}
	bad := writeBundle(t, map[string]string{"bad.cedar": "permit (principal, action == Action::\"rum\", resource);\n", "limits.yaml": "statement: {rows: none}\n"})
	out, errs, code := runPolicy(t, "", "check", bad)
	if code != ExitError || out != "" || !strings.Contains(errs, "bad.cedar:1: ") || !strings.Contains(errs, "limits.yaml:1: ") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	out, errs, code = runPolicy(t, "", "check", "--json", bad)
	var doc bundleDoc
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != ExitError || doc.OK || len(doc.Problems) < 4 || errs != "" {
		t.Errorf("exit %d, %v: %s%s", code, err, out, errs)
	}
	if _, errs, code = runPolicy(t, "", "check", "./no-such-bundle"); code != ExitUsage || !strings.Contains(errs, "no-such-bundle") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if _, _, code = runPolicy(t, "", "check", "a", "b"); code != ExitUsage {
		t.Errorf("two bundles: exit %d", code)
	}
	if _, _, code = runPolicy(t, "", "check", "@server"); code != ExitSignIn {
		t.Errorf("the server's bundle with nobody signed in: exit %d", code)
	}
}

func TestPolicyTest(t *testing.T) {
	if out, _, code := runPolicy(t, "", "test"); code != ExitOK || !strings.HasPrefix(out, "ok: ") {
		t.Errorf("exit %d: %s", code, out)
	}
	bad := writeBundle(t, map[string]string{"tests/more.yaml": scene + "tests:\n  - name: wrong on purpose\n    sql: SELECT email FROM customers\n    verdict: deny\n    masked: []\n"})
	out, errs, code := runPolicy(t, "", "test", bad)
	if code != ExitError || !strings.Contains(out, "tests/more.yaml:7: wrong on purpose: the verdict is allow by reads, not deny; masked are [EMAIL], not []") || !strings.Contains(errs, "1 of ") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	out, _, code = runPolicy(t, "", "test", bad, "--json")
	var doc testDoc
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != ExitError || len(doc.Failed) != 1 || doc.Failed[0].Line != 7 {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
}

func TestPolicyTestAgainstARecording(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s1")
	record(t, dir)
	strict := writeBundle(t, map[string]string{"strict.cedar": "@id(\"no-customers\")\n@reason(\"Not today.\")\nforbid (principal, action == Action::\"run\", resource == Table::\"APP.PUBLIC.CUSTOMERS\");\n"})
	out, errs, code := runPolicy(t, "", "test", strict, "--recording", dir, "--json")
	var doc testDoc
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("%v: %s%s", err, out, errs)
	}
	if doc.Statements != 3 || doc.Unsure != 1 || len(doc.Changed) != 1 || doc.Changed[0].Before != "allow" || doc.Changed[0].Rule != "no-customers" {
		t.Errorf("exit %d: %+v", code, doc)
	}
	if out, errs, code = runPolicy(t, "", "test", "--recording", dir); code != ExitOK || !strings.Contains(out, "0 of 3 decisions change, 1 unsure") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if _, errs, code = runPolicy(t, "", "test", "--recording", t.TempDir()); code != ExitError || errs == "" {
		t.Errorf("an empty folder: exit %d: %s", code, errs)
	}
}

// record writes a recording of three statements.
func record(t *testing.T, dir string) {
	t.Helper()
	skey, vkey, err := recording.NewKey("jit-session")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := recording.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	w, err := recording.Create(dir, recording.Options{Signer: signer, VerifierKey: vkey, Logger: slog.New(slog.DiscardHandler),
		Session: recording.SessionFacts{ID: "s1", Principal: "idp|ana", Connection: "prod", Role: "ANALYST", Database: "APP", Schema: "PUBLIC"}})
	if err != nil {
		t.Fatal(err)
	}
	statement := func(text, verdict string, from ...string) {
		facts := &recording.StatementFacts{Text: text, Kinds: []string{"SELECT"}, Verdict: verdict, Rule: "reads"}
		for _, f := range from {
			facts.Outputs = append(facts.Outputs, recording.OutputFacts{Name: "X", From: []string{f}})
		}
		if _, err := w.Append(t.Context(), recording.Event{Kind: recording.KindStatement, Statement: text, SQL: facts}); err != nil {
			t.Fatal(err)
		}
	}
	statement("SELECT email FROM customers", "allow", "APP.PUBLIC.CUSTOMERS.EMAIL")
	statement("SELECT 1", "allow")
	statement("SELECT a FROM some_view", "allow", "APP.PUBLIC.T.A")
	if err := w.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestPolicyExplain(t *testing.T) {
	file := sceneFile(t)
	out, _, code := runPolicy(t, "", "explain", "--catalog", file, "--sql", "SELECT id, email AS contact FROM customers")
	for _, want := range []string{"allow", "reads", "CONTACT", "← APP.PUBLIC.CUSTOMERS.EMAIL", "pii.email: keep-domain", "as it is", "statements.cedar:"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code != ExitOK {
		t.Errorf("exit %d", code)
	}
	if out, _, _ = runPolicy(t, "", "explain", "--catalog", file, "--sql", "CREATE TABLE t AS SELECT email FROM customers"); !strings.Contains(out, "stores") {
		t.Errorf("what is copied is not shown:\n%s", out)
	}
	out, _, _ = runPolicy(t, "DROP DATABASE app", "explain", "--sql", "-", "--json")
	var doc explainDoc
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if doc.Verdict != "hold" || doc.Rule != "drop-database" || doc.Approvals != 2 || doc.Statements[0].Kind != "DROP_DATABASE" || len(doc.Rules) == 0 {
		t.Errorf("%+v", doc)
	}
	for sql, want := range map[string]ExitCode{"SELECT 1": ExitOK, "DROP TABLE t": ExitPending, "PUT file:///x @~": ExitDenied, "SELECT 'x": ExitDenied, "": ExitUsage} {
		if _, errs, code := runPolicy(t, "", "explain", "--sql", sql, "--exit-code"); code != want {
			t.Errorf("%q: exit %d, want %d: %s", sql, code, want, errs)
		}
	}
	// Flags win over the file.
	out, _, _ = runPolicy(t, "", "explain", "--catalog", file, "--role", "OTHER", "--sql", "USE ROLE other")
	if !strings.Contains(out, "allow") {
		t.Errorf("the role of the flag does not count:\n%s", out)
	}
}

// A statement cannot write to the terminal of who explains it.
func TestPolicyExplainShowsEscapes(t *testing.T) {
	out, _, _ := runPolicy(t, "", "explain", "--sql", "SELECT 1 AS \"\x1b[2Jx\"")
	if strings.ContainsRune(out, '\x1b') {
		t.Errorf("%q", out)
	}
}

func TestPolicyShowAndDiff(t *testing.T) {
	text, _, code := runPolicy(t, "", "show")
	if code != ExitOK || text != string(policy.Default().Format()) {
		t.Errorf("exit %d: show does not print the bundle", code)
	}
	folder := filepath.Join(t.TempDir(), "policy")
	if _, errs, code := runPolicy(t, "", "show", "@default", "--output", folder); code != ExitOK {
		t.Errorf("exit %d: %s", code, errs)
	}
	if out, errs, code := runPolicy(t, "", "diff", "@default", folder); code != ExitOK || out != "no difference\n" {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if _, _, code := runPolicy(t, "", "show", "@default", "--output", folder); code != ExitUsage {
		t.Errorf("exit %d over a folder that is there", code)
	}
	file := filepath.Join(t.TempDir(), "b.txtar")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _, code := runPolicy(t, "", "diff", file, "@default"); code != ExitOK || out != "no difference\n" {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, _, _ := runPolicy(t, "", "diff", "@default", "@demo"); !strings.Contains(out, "rule demo-open: added\n") || !strings.Contains(out, "test dropping a database: 2 approvals become 1\n") {
		t.Error(out)
	}
	if out, _, _ := runPolicy(t, "", "show", "@default", "limits.yaml"); !strings.Contains(out, "wall: 30m") {
		t.Error(out)
	}
	if _, errs, code := runPolicy(t, "", "show", "@default", "gone.cedar"); code != ExitUsage || !strings.Contains(errs, "classes.yaml") {
		t.Errorf("exit %d: %s", code, errs)
	}
	out, _, _ := runPolicy(t, "", "show", "--json")
	var doc describedDoc
	if err := json.Unmarshal([]byte(out), &doc); err != nil || len(doc.Rules) != len(policy.Default().Rules()) || doc.Limits["session"].Statements == 0 {
		t.Errorf("%v: %s", err, out)
	}
}

// What does not check, or fails its own tests, is not sent; here nobody is
// signed in, so sending would say that first.
func TestPolicyPushRefusesBeforeSending(t *testing.T) {
	bad := writeBundle(t, map[string]string{"bad.cedar": "permit ("})
	if _, errs, code := runPolicy(t, "", "push", bad); code != ExitError || !strings.Contains(errs, "bad.cedar") {
		t.Errorf("exit %d: %s", code, errs)
	}
	failing := writeBundle(t, map[string]string{"tests/more.yaml": "tests:\n  - {name: n, sql: SELECT 1, verdict: deny}\n"})
	if _, errs, code := runPolicy(t, "", "push", failing); code != ExitError || !strings.Contains(errs, "1 test failed") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if _, _, code := runPolicy(t, "", "push", "@demo"); code != ExitSignIn {
		t.Errorf("a good bundle with nobody signed in: exit %d", code)
	}
}

// Only an administrator makes a bundle the active one, and the server checks it
// again: who has the API needs no jit to send what does not hold.
func TestPolicyPush(t *testing.T) {
	o := newOffice(t)
	alice, bob := o.signIn("alice"), o.signIn("bob")
	if out, _ := alice.run(ExitOK, "policy", "diff", "@server", "@default"); out != "no difference\n" {
		t.Errorf("before: %s", out)
	}
	alice.run(ExitDenied, "policy", "push", "@demo")
	if out, _ := bob.run(ExitOK, "policy", "push", "@demo"); out != "active: "+policy.Demo().Digest()+"\n" {
		t.Errorf("push: %s", out)
	}
	if out, _ := alice.run(ExitOK, "policy", "show", "@server"); out != string(policy.Demo().Format()) {
		t.Error("the server's bundle is not the one pushed")
	}
	for name, data := range map[string]string{
		"no bundle":    "garbage",
		"half a line":  "-- --",
		"unknown rule": "-- a.cedar --\npermit (principal, action == Action::\"rum\", resource);\n",
		"deep":         "-- a.cedar --\n" + strings.Repeat("(", 100_000) + "\n",
	} {
		if _, err := bob.api().PushPolicy(t.Context(), []byte(data)); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if out, _ := bob.run(ExitOK, "policy", "diff", "@server", "@demo"); out != "no difference\n" {
		t.Errorf("after: %s", out)
	}
}
