package cmd

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session/recording"
)

// recordStory records a session in which statements are allowed, approved,
// denied by a reviewer and denied by the policy.
func (r *recorder) recordStory(id string) {
	r.t.Helper()
	skey, vkey, err := recording.NewKey("jit-session")
	if err != nil {
		r.t.Fatal(err)
	}
	signer, err := recording.NewSigner(skey)
	if err != nil {
		r.t.Fatal(err)
	}
	w, err := recording.Create(filepath.Join(r.app.Paths.Recordings(), id), recording.Options{
		Session: recording.SessionFacts{ID: id, Principal: "ana", Connection: "prod", Role: "ANALYST", Database: "APP", Schema: "PUBLIC"},
		Signer:  signer, VerifierKey: vkey})
	if err != nil {
		r.t.Fatal(err)
	}
	add := func(e recording.Event) {
		if _, err := w.Append(context.Background(), e); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, s := range []struct{ id, text, verdict, decision string }{
		{"a", "SELECT id FROM orders", "allow", ""},
		{"b", "DELETE FROM orders WHERE id = 1", "hold", "approved"},
		{"c", "DELETE FROM customers WHERE id = 1", "hold", "denied"},
		{"d", "ALTER USER x SET PASSWORD = 'y'", "deny", ""},
	} {
		add(recording.Event{Kind: recording.KindStatement, Statement: s.id, SQL: &recording.StatementFacts{Text: s.text, Verdict: s.verdict, Rule: "r",
			Predicates: []string{"APP.PUBLIC.ORDERS.ID", "APP.PUBLIC.CUSTOMERS.ID"}}})
		if s.decision != "" {
			add(recording.Event{Kind: recording.KindDecision, Statement: s.id, Decision: &recording.DecisionFacts{Outcome: s.decision}})
		}
		if s.verdict == "allow" || s.decision == "approved" {
			add(recording.Event{Kind: recording.KindForwarded, Statement: s.id, Forwarded: &recording.ForwardedFacts{RequestID: s.id}})
			add(recording.Event{Kind: recording.KindResult, Statement: s.id, Result: &recording.ResultFacts{Rows: 1}})
		} else {
			add(recording.Event{Kind: recording.KindRefused, Statement: s.id, Refused: &recording.RefusedFacts{Code: "JIT-2001"}})
		}
	}
	if err := w.Seal(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

func TestPolicySuggest(t *testing.T) {
	r := newRecorder(t)
	r.recordStory("ses_1")
	folder := filepath.Join(t.TempDir(), "policy")
	suggest := func(args ...string) (string, ExitCode) {
		r.errs.Reset()
		code := runCommand(t, r.app, newPolicySuggestCommand(r.app), args...)
		return r.errs.String(), code
	}
	errs, code := suggest("--from", "ses_1", "-o", folder)
	if code != ExitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	contains(t, errs, "lets 2 statements run by 2 rules")
	b, err := policy.Load(os.DirFS(folder))
	if err != nil {
		t.Fatal(err)
	}
	tests := b.Test()
	if len(tests) != 2 {
		t.Errorf("%d tests", len(tests))
	}
	for _, res := range tests {
		if len(res.Wrong) > 0 {
			t.Errorf("%s: %v", res.Case.SQL, res.Wrong)
		}
	}
	in := policy.Input{Subject: tests[0].Case.Subject, Setting: tests[0].Case.Setting}
	for text, want := range map[string]policy.Verdict{
		"SELECT id FROM orders": policy.Allow, "DELETE FROM orders WHERE id = 2": policy.Allow,
		"DELETE FROM customers WHERE id = 1": policy.Hold, "SELECT id FROM customers": policy.Hold, "ALTER USER x SET PASSWORD = 'y'": policy.Deny,
	} {
		if x := b.Explain(text, in, tests[0].Case.Catalog); x.Ruling.Verdict != want {
			t.Errorf("%s: %v by %s, want %v", text, x.Ruling.Verdict, x.Ruling.Rule, want)
		}
	}
	if errs, code := suggest("--from", "ses_1", "-o", folder); code != ExitUsage {
		t.Errorf("a folder was overwritten: exit %d: %s", code, errs)
	}
	if _, code := suggest("--from", "none", "-o", folder+"2"); code == ExitOK {
		t.Error("no recording is enough")
	}
}
