package policy

import (
	"strings"
	"testing"
)

// witnessed is a session in which all of the statements were approved.
func witnessed(texts ...string) Witnessed {
	w := Witnessed{Subject: Subject{User: "https://id.example|ana", Email: "ana@example.com"},
		Setting: Setting{Connection: "prod", Role: "ANALYST", Warehouse: "WH", Database: "APP", Schema: "PUBLIC", SessionID: "s1"}}
	for _, text := range texts {
		w.Past = append(w.Past, Past{Text: text, Columns: []string{"APP.PUBLIC.CUSTOMERS.ID", "APP.PUBLIC.CUSTOMERS.EMAIL", "APP.PUBLIC.CUSTOMERS.CITY",
			"APP.PUBLIC.ORDERS.ID", "APP.PUBLIC.ORDERS.AMOUNT"}})
		w.Approved = append(w.Approved, true)
	}
	return w
}

func suggest(t *testing.T, base *Bundle, w ...Witnessed) Suggestion {
	t.Helper()
	s, err := base.Suggest(w)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.Bundle.Test() {
		if len(r.Wrong) > 0 {
			t.Errorf("its own test fails: %s: %v", r.Case.SQL, r.Wrong)
		}
	}
	if again, err := Parse(s.Bundle.Format()); err != nil || again.Digest() != s.Bundle.Digest() {
		t.Errorf("the bundle does not travel: %v", err)
	}
	return s
}

func TestSuggestAllowsWhatWasApprovedAndNothingElse(t *testing.T) {
	w := witnessed(
		"SELECT id, city FROM customers WHERE id = 1",
		"SELECT id, city FROM customers WHERE id = 2",               // the same facts
		"SELECT id FROM customers WHERE email = 'ana@example.com'",  // held: a predicate on a class
		"UPDATE orders SET amount = 0 WHERE id = 7",                 // held: a write
		"DROP DATABASE old_reports",                                 // held: two people
		"SHOW TABLES IN SCHEMA app.public",                          //
		"CREATE TABLE app.public.scratch (id INT)",                  //
		`SELECT id AS "it's ""odd"" \ name", 'x: #y' z FROM orders`, // hard to quote
	)
	w.Past = append(w.Past, Past{Text: "DELETE FROM orders"})
	w.Approved = append(w.Approved, false)
	s := suggest(t, Default(), w)
	if s.Allowed != 8 || s.Rules != 7 || len(s.Left) != 0 {
		t.Errorf("%d statements by %d rules, left out: %v", s.Allowed, s.Rules, s.Left)
	}
	decide := func(w Witnessed, text string) Ruling {
		catalog := Tables{}
		for _, c := range w.Past[0].Columns {
			catalog.add(c)
		}
		return s.Bundle.Explain(text, Input{Subject: w.Subject, Setting: w.Setting}, catalog).Ruling
	}
	for i, p := range w.Past[:8] {
		if r := decide(w, p.Text); r.Verdict != Allow || !strings.HasPrefix(r.Rule, "approved-") {
			t.Errorf("%s: %v by %s", w.Past[i].Text, r.Verdict, r.Rule)
		}
	}
	if r := decide(w, "SELECT id, city FROM customers WHERE id = 99"); r.Verdict != Allow {
		t.Errorf("another value: %v by %s", r.Verdict, r.Rule)
	}
	// One fact differs each time.
	for text, want := range map[string]Verdict{
		"SELECT o.id FROM orders o JOIN customers c USING (id)":                  Hold,
		"SELECT id, city, email FROM customers WHERE id = 1":                     Hold,
		"SELECT upper(city) FROM customers WHERE id = 1":                         Hold,
		"SELECT id FROM customers WHERE city = 'x' LIMIT rand()":                 Hold,
		"DELETE FROM orders WHERE id = 7":                                        Hold,
		"DELETE FROM orders":                                                     Hold, // seen, and not approved
		"UPDATE customers SET city = 'x' WHERE id = 7":                           Hold,
		"UPDATE orders SET amount = (SELECT max(id) FROM customers)":             Hold,
		"DROP DATABASE app":                                                      Hold,
		"DROP SCHEMA old_reports.public":                                         Hold,
		"SHOW TABLES IN SCHEMA app.other":                                        Hold,
		"CREATE OR REPLACE TABLE app.public.scratch (id INT)":                    Hold,
		"CREATE TABLE app.public.scratch2 (id INT)":                              Hold,
		"USE ROLE ACCOUNTADMIN":                                                  Deny,
		"ALTER USER ana SET PASSWORD = 'x'":                                      Deny,
		"COPY INTO 's3://x/' FROM customers":                                     Deny,
		"SELECT id, city FROM customers WHERE id = 1; DROP DATABASE old_reports": Hold,
	} {
		if r := decide(w, text); r.Verdict == Allow || r.Verdict > want {
			t.Errorf("%s: %v by %s, want %v", text, r.Verdict, r.Rule, want)
		}
	}
	if r := decide(w, "DROP DATABASE app"); r.Approvals != 2 || r.Rule != "drop-database" {
		t.Errorf("dropping another database: %d approvals by %s", r.Approvals, r.Rule)
	}
	for name, change := range map[string]func(*Witnessed){
		"another person":     func(w *Witnessed) { w.Subject.User = "https://id.example|eve" },
		"another role":       func(w *Witnessed) { w.Setting.Role = "LOADER" },
		"another connection": func(w *Witnessed) { w.Setting.Connection = "dev" },
		"another schema":     func(w *Witnessed) { w.Setting.Schema = "OTHER" },
	} {
		other := w
		change(&other)
		if r := decide(other, w.Past[3].Text); r.Verdict != Hold {
			t.Errorf("%s: %v by %s", name, r.Verdict, r.Rule)
		}
	}
	if r := decide(w, "SELECT email FROM customers WHERE email = 'ana@example.com'"); r.Verdict == Allow {
		t.Error("a predicate was allowed with an output that nobody approved")
	}
}

func TestSuggestMasksAsTheBase(t *testing.T) {
	w := witnessed("SELECT email FROM customers")
	s := suggest(t, Default(), w)
	catalog := Tables{}
	catalog.add("APP.PUBLIC.CUSTOMERS.EMAIL")
	x := s.Bundle.Explain(w.Past[0].Text, Input{Subject: w.Subject, Setting: w.Setting}, catalog)
	if got := x.Masked(); len(got) != 1 {
		t.Errorf("masked: %v", got)
	}
}

func TestSuggestLeavesOut(t *testing.T) {
	w := witnessed(
		"SELECT * FROM nobody.knows.this",
		"SELECT id FROM customers; SELECT id FROM orders",
		"ALTER USER ana SET PASSWORD = 'x'",
		"SELECT 'open",
		"FROBNICATE THE WAREHOUSE",
	)
	s := suggest(t, Default(), w)
	if s.Allowed != 0 || s.Rules != 0 || len(s.Left) != 5 {
		t.Errorf("%d allowed, left out: %+v", s.Allowed, s.Left)
	}
	x := s.Bundle.Explain("SELECT 1", Input{Subject: w.Subject, Setting: w.Setting}, Tables{})
	if x.Ruling.Verdict != Hold {
		t.Errorf("with nothing approved, a query is %v by %s", x.Ruling.Verdict, x.Ruling.Rule)
	}
	if _, err := suggest(t, Default(), witnessed("SELECT 1")).Bundle.Suggest(nil); err == nil {
		t.Error("a suggestion was made from a suggestion")
	}
}

// A name is text that others chose: it must stay one.
func TestSuggestQuotesNames(t *testing.T) {
	w := witnessed(`SELECT 1 FROM "a"" || true // .cedar"."b'\"."c};permit(principal,action,resource);"`)
	w.Subject.User = `x" || true || principal in User::"y`
	w.Past[0].Columns = nil
	s := suggest(t, Default(), w)
	eve := Input{Subject: Subject{User: "eve"}, Setting: w.Setting}
	if x := s.Bundle.Explain("SELECT 1 FROM t", eve, Tables{}); x.Ruling.Verdict == Allow {
		t.Errorf("a name became a rule: %s", s.Bundle.Format())
	}
}
