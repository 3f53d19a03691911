package policy

import "testing"

// The tests shipped in the embedded bundles pass, by themselves and under an
// overlay.
func TestShippedTests(t *testing.T) {
	for name, b := range map[string]*Bundle{"default": Default(), "demo": Demo()} {
		results := b.Test()
		if len(results) < 20 {
			t.Errorf("%s: only %d tests", name, len(results))
		}
		for _, r := range results {
			for _, w := range r.Wrong {
				t.Errorf("%s: %s:%d: %s: %s (%v)", name, r.Case.File, r.Case.Line, r.Case.Name, w, r.Explanation.Ruling.Reason)
			}
		}
	}
}

func TestTestsFailWhenTheRulesChange(t *testing.T) {
	for name, cedar := range map[string]string{"everything is permitted": permitAll, "nothing is": "@id(\"none\")\n@reason(\"r\")\nforbid (principal, action, resource);\n"} {
		b, wrong := mustLoad(t, cedar), 0
		for _, c := range Default().tests {
			c.Rule, c.Masked = "", nil
			wrong += len(b.try(c).Wrong)
		}
		if wrong < 12 {
			t.Errorf("%s: only %d tests notice", name, wrong)
		}
	}
}

func TestDiff(t *testing.T) {
	if got := Diff(Default(), Default()); len(got) != 0 {
		t.Errorf("a bundle differs from itself: %v", got)
	}
	got := make(map[string]string)
	for _, c := range Diff(Default(), Demo()) {
		got[c.What] = c.How
	}
	for what, how := range map[string]string{
		"rule drop-database":       "changed",
		"rule demo-open":           "added",
		"test dropping a database": "2 approvals become 1",
	} {
		if got[what] != how {
			t.Errorf("%s: %q, want %q", what, got[what], how)
		}
	}
	b := mustLoadOver(t, map[string]string{
		"limits.yaml":  "statement: {rows: 5}\n",
		"classes.yaml": "classes:\n  pii.email: {mask: hash, columns: ['*.*.*.EMAIL']}\n",
	})
	got = make(map[string]string)
	for _, c := range Diff(Default(), b) {
		got[c.What] = c.How
	}
	if got["limits"] != "changed" || got["class pii.email"] != "changed" || got["class pii.ssn"] != "removed" ||
		got["test ordering by a classified column"] != "hold by classified-predicates becomes allow by reads" {
		t.Errorf("changes: %v", got)
	}
}

func TestRevisit(t *testing.T) {
	const email, id = "APP.PUBLIC.CUSTOMERS.EMAIL", "APP.PUBLIC.CUSTOMERS.ID"
	past := []Past{
		{ID: "1", Text: "SELECT id, email FROM customers", Verdict: Allow, Columns: []string{id, email}},
		{ID: "2", Text: "SELECT id FROM customers WHERE email = 'x'", Verdict: Hold, Columns: []string{id, email}},
		{ID: "3", Text: "USE SCHEMA app.other", Verdict: Allow},
		{ID: "4", Text: "SELECT id FROM customers", Verdict: Allow, Columns: []string{"APP.OTHER.CUSTOMERS.ID"}},
		{ID: "5", Text: "SELECT a FROM v", Verdict: Allow},
		{ID: "6", Text: "SELECT a FROM", Verdict: Deny},
	}
	got := Default().Revisit(ana(), prod(), past)
	for i, want := range []struct {
		verdict         Verdict
		unsure, changed bool
	}{{Allow, false, false}, {Hold, false, false}, {Allow, false, false}, {Allow, false, false}, {Hold, true, false}, {Deny, false, false}} {
		r := got[i]
		if r.Ruling.Verdict != want.verdict || r.Unsure != want.unsure || r.Changed() != want.changed {
			t.Errorf("statement %s: %v by %s, unsure %v, changed %v", r.Past.ID, r.Ruling.Verdict, r.Ruling.Rule, r.Unsure, r.Changed())
		}
	}
	strict := mustLoad(t, "@id(\"none\")\n@reason(\"r\")\nforbid (principal, action, resource);\n")
	for i, r := range strict.Revisit(ana(), prod(), past) {
		if want := past[i].Verdict != Deny && !r.Unsure; r.Changed() != want {
			t.Errorf("statement %s under a bundle that denies: changed %v", r.Past.ID, r.Changed())
		}
	}
}
