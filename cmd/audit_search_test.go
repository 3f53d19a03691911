package cmd

import (
	"encoding/csv"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session/approval"
	"github.com/jit-access/jit/session/recording"
)

// A statement is recorded, and found by the one who ran it; nobody else's.
func TestAuditSearch(t *testing.T) {
	o := newOffice(t)
	alice, bob := o.signIn("alice"), o.signIn("bob")
	bob.In = strings.NewReader(plantedPassword + "\n")
	bob.run(ExitOK, "connection", "add", "prod", "--account", "SANDBOX", "--url", o.upstream, "--user", "JIT_SVC", "--role", "ANALYST", "--password-file", "-")
	r := alice.ask("report")
	bob.run(ExitOK, "approve", r.ID)
	ctx := t.Context()
	r, err := alice.api().Request(ctx, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	skey, vkey, err := recording.NewKey("jit-session")
	if err != nil {
		t.Fatal(err)
	}
	opened, err := alice.api().Open(ctx, r.GrantID, vkey)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := recording.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	broker := approval.NewClient(o.url, nil, nil).ForBroker(opened.Session.ID, opened.Token)
	rec, err := recording.Create(filepath.Join(t.TempDir(), opened.Session.ID), recording.Options{
		Session: recording.SessionFacts{ID: opened.Session.ID, Principal: opened.Session.Principal.ID(), Connection: "prod"},
		Signer:  signer, VerifierKey: vkey, WitnessKey: opened.WitnessKey, Witness: broker.Cosign, Upload: broker.Upload, Interval: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"=HYPERLINK(1)", "select \x1b[2J EMAIL from DB.S.ORDERS"} {
		if _, err := rec.Append(ctx, recording.Event{Kind: recording.KindStatement, SQL: &recording.StatementFacts{
			Text: text, Kinds: []string{"SELECT"}, Verdict: "allow", Rule: "reads", Reads: []string{"DB.S.ORDERS"},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := rec.Seal(ctx); err != nil {
		t.Fatal(err)
	}

	out, errs := alice.run(ExitOK, "audit", "search", "--table", "orders", "--limit", "1")
	if !strings.Contains(out, "DB.S.ORDERS") || !strings.Contains(out, opened.Session.ID) || strings.Contains(out, "\x1b") || !strings.Contains(errs, "--after") {
		t.Errorf("the table is %s%s", out, errs)
	}
	out, _ = alice.run(ExitOK, "audit", "search", "--since", "1h", "--all", "--json")
	var found approval.Found
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found.Statements) != 2 || found.Next != "" {
		t.Errorf("as JSON: %v %s", err, out)
	}
	out, _ = alice.run(ExitOK, "audit", "search", "--since", "1h", "--all", "--ocsf")
	for i, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil || e["class_uid"] != 6005.0 || e["type_uid"] != 600504.0 || e["metadata"].(map[string]any)["correlation_uid"] != opened.Session.ID || i > 1 {
			t.Errorf("as OCSF: %v %s", err, line)
		}
	}
	out, _ = alice.run(ExitOK, "audit", "search", "--text", "hyperlink", "--csv")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][14] != "'=HYPERLINK(1)" {
		t.Errorf("as CSV: %v %v", err, rows)
	}
	if out, errs := alice.run(ExitOK, "audit", "search", "--until", "1h"); out != "" || !strings.Contains(errs, "Nothing was found.") {
		t.Errorf("an hour ago there was %s%s", out, errs)
	}
	if out, errs := alice.run(ExitOK, "audit", "search", "--emergency"); out != "" || !strings.Contains(errs, "Nothing was found.") {
		t.Errorf("in an emergency there ran %s%s", out, errs)
	}
	if col := len(rows[0]) - 1; rows[0][col] != "emergency" || rows[1][col] != "false" {
		t.Errorf("as CSV: %v", rows)
	}
	if got := verdictOf(approval.Statement{Verdict: "allow", Emergency: true}); got != "allow (EMERGENCY)" {
		t.Errorf("marked: %q", got)
	}
	for _, args := range [][]string{{"--since", "yesterday"}, {"--verdict", "maybe"}, {"--json", "--csv"}, {"--limit", "-1"}, {"x"}} {
		alice.run(ExitUsage, append([]string{"audit", "search"}, args...)...)
	}
}

func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                     {},
		"7d":                   now.AddDate(0, 0, -7),
		"90m":                  now.Add(-90 * time.Minute),
		"2026-02-01":           time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
		"2026-02-01 08:30":     time.Date(2026, 2, 1, 8, 30, 0, 0, time.UTC),
		"2026-02-01T08:30:00Z": time.Date(2026, 2, 1, 8, 30, 0, 0, time.UTC),
	} {
		if got, err := parseWhen(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-1h", "d", "7w"} {
		if got, err := parseWhen(text, now); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}
