package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session/recording"
)

var update = flag.Bool("update", false, "write the golden files")

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is a moment of the recorded session.
func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// record makes a sealed recording of the given events and opens it.
func record(t testing.TB, events []recording.Event) *Recording {
	t.Helper()
	skey, vkey, err := recording.NewKey("session")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := recording.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "s1")
	w, err := recording.Create(dir, recording.Options{
		Session: recording.SessionFacts{ID: "s1", Principal: "https://id.example|ana", Email: "ana@example.com",
			Connection: "prod", Role: "ANALYST", Database: "APP", Schema: "PUBLIC", Reason: "weekly report", Rule: "default-open"},
		Signer: signer, VerifierKey: vkey, Interval: time.Hour, Now: func() time.Time { return start },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if _, err := w.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Seal(context.Background()); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() }) //nolint:errcheck // opened for reading
	return r
}

// story is a session in which a bit of everything happens.
func story() []recording.Event {
	return []recording.Event{
		{At: at(0.1), Kind: recording.KindAgentStarted, Agent: &recording.AgentFacts{Command: []string{"python", "report.py"}}},
		{At: at(0.8), Kind: recording.KindLogin, Login: &recording.LoginFacts{Driver: "PythonConnector", Version: "3.12.0", Upstream: "u1", OK: true}},
		{At: at(1), Kind: recording.KindStatement, Statement: "a", SQL: &recording.StatementFacts{
			Text: "SELECT id,\n\temail FROM customers", Digest: "d1", Kinds: []string{"SELECT"}, Reads: []string{"APP.PUBLIC.CUSTOMERS"},
			Outputs: []recording.OutputFacts{{Name: "ID", From: []string{"APP.PUBLIC.CUSTOMERS.ID"}},
				{Name: "EMAIL", From: []string{"APP.PUBLIC.CUSTOMERS.EMAIL"}, Class: "pii.email", Mask: "keep-domain"}},
			Verdict: "allow", Rule: "default-read", Driver: "PythonConnector"}},
		{At: at(1.01), Kind: recording.KindForwarded, Statement: "a", Forwarded: &recording.ForwardedFacts{RequestID: "r1", Digest: "d1"}},
		{At: at(1.3), Kind: recording.KindResult, Statement: "a", Result: &recording.ResultFacts{QueryID: "01b-1", Rows: 1200, Columns: 2, Bytes: 34567, Masked: []string{"EMAIL"}, Millis: 290}},
		{At: at(4), Kind: recording.KindStatement, Statement: "b", SQL: &recording.StatementFacts{
			Text: "DROP DATABASE scratch", Digest: "d2", Kinds: []string{"DROP_DATABASE"}, Writes: []string{"SCRATCH"},
			Verdict: "hold", Rule: "default-drop", Reason: "Dropping a database needs a person."}},
		{At: at(4.1), Kind: recording.KindRequest, Statement: "b", Request: &recording.RequestFacts{ID: "req-1", Reviewers: []string{"dba"}, Approvals: 2, Expires: at(604)}},
		{At: at(70), Kind: recording.KindDecision, Statement: "b", Decision: &recording.DecisionFacts{Request: "req-1", Outcome: "approved", Reviewer: []string{"bob@example.com", "eve@example.com"}, Reuse: "once", Reason: "scratch is mine"}},
		{At: at(70.1), Kind: recording.KindForwarded, Statement: "b", Forwarded: &recording.ForwardedFacts{RequestID: "r2", Digest: "d2"}},
		{At: at(70.6), Kind: recording.KindResult, Statement: "b", Result: &recording.ResultFacts{QueryID: "01b-2", Rows: 1, Columns: 1, Bytes: 40, Millis: 500}},
		{At: at(80), Kind: recording.KindStatement, Statement: "c", SQL: &recording.StatementFacts{
			Text: "COPY INTO 's3://elsewhere/' FROM customers -- \x1b[2J\u202e", Digest: "d3", Kinds: []string{"COPY_INTO_LOCATION"},
			Verdict: "deny", Rule: "default-unload", Reason: "Data does not leave the account."}},
		{At: at(80.1), Kind: recording.KindRefused, Statement: "c", Refused: &recording.RefusedFacts{Code: "JIT-3002", Message: "DENIED rule=default-unload"}},
		{At: at(81), Kind: recording.KindStatement, Statement: "d", SQL: &recording.StatementFacts{
			Text: "SELECT 1/0", Digest: "d4", Kinds: []string{"SELECT"}, Verdict: "allow", Rule: "default-read"}},
		{At: at(81.1), Kind: recording.KindForwarded, Statement: "d", Forwarded: &recording.ForwardedFacts{RequestID: "r4", Digest: "d4"}},
		{At: at(81.2), Kind: recording.KindResult, Statement: "d", Result: &recording.ResultFacts{Error: "100051 division by zero", Millis: 100}},
		{At: at(90), Kind: recording.KindStatement, Statement: "e", SQL: &recording.StatementFacts{
			Text: "DELETE FROM orders WHERE amount < 0", Digest: "d5", Kinds: []string{"DELETE"}, Writes: []string{"APP.PUBLIC.ORDERS"},
			Predicates: []string{"APP.PUBLIC.ORDERS.AMOUNT"}, Verdict: "hold", Rule: "default-write"}},
		{At: at(90.1), Kind: recording.KindRequest, Statement: "e", Request: &recording.RequestFacts{ID: "req-2", Approvals: 1, Expires: at(690)}},
		{At: at(100), Kind: recording.KindDecision, Statement: "e", Decision: &recording.DecisionFacts{Request: "req-2", Outcome: "denied", Reviewer: []string{"bob@example.com"}, Reason: "not during business hours"}},
		{At: at(100.1), Kind: recording.KindRefused, Statement: "e", Refused: &recording.RefusedFacts{Code: "JIT-3003", Message: "JIT-3003 DENIED request=req-2"}},
		{At: at(101), Kind: recording.KindProtocol, Note: "GET /queries/01b-1/result"},
		{At: at(102), Kind: recording.KindAgentExited, Agent: &recording.AgentFacts{Command: []string{"python", "report.py"}, Exit: 3}},
		{At: at(103), Kind: recording.KindSessionEnded, Session: &recording.SessionFacts{ID: "s1", Principal: "https://id.example|ana", Connection: "prod", End: "the command ended"}},
	}
}

func TestPlain(t *testing.T) {
	var b bytes.Buffer
	if err := WritePlain(&b, record(t, story()), WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`(?m)^(root|signed by) .*$`).ReplaceAllString(b.String(), "$1 …") // keys are random
	golden(t, "plain.golden", got)
	if strings.ContainsAny(got, "\x1b\u202e\t") {
		t.Error("a control character came through")
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", name, got)
	}
}

func TestFilterAndSearch(t *testing.T) {
	r := record(t, story())
	x, err := r.Index()
	if err != nil {
		t.Fatal(err)
	}
	ids := func(keep func(int, Entry) bool) string {
		var s []string
		for i, e := range x.Entries {
			if e.Statement() && keep(i, e) {
				s = append(s, e.ID)
			}
		}
		return strings.Join(s, "")
	}
	for only, want := range map[string]string{"": "abcde", "held": "be", "denied": "ce", "held,denied": "bce", "masked": "a", "failed": "d", "allowed": "ad", "aborted": ""} {
		f, err := ParseFilter(only)
		if err != nil {
			t.Fatal(err)
		}
		if got := ids(func(_ int, e Entry) bool { return f.Keep(e) }); got != want {
			t.Errorf("only %q keeps %q, want %q", only, got, want)
		}
	}
	if _, err := ParseFilter("held,nice"); err == nil {
		t.Error("an unknown word was accepted")
	}
	for query, want := range map[string]string{
		"customers": "ac", "SELECT": "ad", "table:customers": "a", "table:orders": "e", "column:email": "a", "column:amount": "e",
		"verdict:hold": "be", "rule:drop": "b", "outcome:failed": "d", "outcome:approved": "b", "who:bob": "be", "bob delete": "e",
		"01b-2": "b", "hold": "be", "failed": "d", "division": "d", "business": "e", "nowhere": "", "column:nope": "", "select column:email": "a",
	} {
		q, err := ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		found, err := r.Search(x.Entries, q)
		if err != nil {
			t.Fatal(err)
		}
		if got := ids(func(i int, _ Entry) bool { return slices.Contains(found, i) }); got != want {
			t.Errorf("%q finds %q, want %q", query, got, want)
		}
	}
	for _, bad := range []string{"", "  ", "table:"} {
		if _, err := ParseQuery(bad); err == nil {
			t.Errorf("query %q was accepted", bad)
		}
	}
}

func TestIndexInBatches(t *testing.T) {
	r := record(t, story())
	whole, err := r.Index()
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 9; n++ {
		x := &Index{}
		for x.Next() < r.len() {
			b, err := r.Read(x.Next(), n)
			if err != nil {
				t.Fatal(err)
			}
			x.Add(b, r.Report().Signed)
			x.Add(b, r.Report().Signed) // twice changes nothing
		}
		if fmt.Sprint(x.Entries) != fmt.Sprint(whole.Entries) {
			t.Errorf("in batches of %d the index differs", n)
		}
	}
}

func TestJSONIsTheRecordedEvents(t *testing.T) {
	r := record(t, story())
	var b bytes.Buffer
	f, err := ParseFilter("denied")
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(&b, r, WriteOptions{Filter: f}); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for line := range strings.Lines(b.String()) {
		var e recording.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, e.Statement+":"+string(e.Kind))
	}
	if got := strings.Join(kinds, " "); got != "c:statement c:refused e:statement e:request e:decision e:refused" {
		t.Errorf("lines: %s", got)
	}
}

func TestOpen(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is no recording: %v", err)
	}
}

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"plain":             "plain",
		"a\tb\nc":           "a    b\nc",
		"\x1b[31mred":       "‹U+001B›[31mred",
		"\x9b2J":            "‹byte 9B›2J",
		"\u009b2J":          "‹U+009B›2J",
		"a\u202eb":          "a‹U+202E›b",
		"a\u200bb":          "a‹U+200B›b",
		"a\u00a0b":          "a‹U+00A0›b",
		"a\u3164b":          "a‹U+3164›b",
		"a\U000e0041b":      "a‹U+E0041›b",
		"a\u2028b\rc":       "a‹U+2028›b‹U+000D›c",
		"ünï 漢字 ‹masked› 🙂": "ünï 漢字 ‹masked› 🙂",
		"\x00\x7f":          "‹U+0000›‹U+007F›",
		"\ufffd":            "\ufffd",
	} {
		if got := Visible(in); got != want {
			t.Errorf("Visible(%q) = %q, want %q", in, got, want)
		}
	}
	if got := VisibleLine(" a \n\n  b\tc "); got != "a b c" {
		t.Errorf("VisibleLine = %q", got)
	}
}

func FuzzVisible(f *testing.F) {
	f.Add("\x1b]0;x\x07")
	f.Add("\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		v := Visible(s)
		for _, r := range v {
			if r != '\n' && hidden(r) {
				t.Errorf("Visible(%q) holds %U", s, r)
			}
		}
		if Visible(v) != v {
			t.Errorf("Visible is not idempotent on %q", s)
		}
	})
}

// BenchmarkOpen100k opens a recording of 100,000 statements and reads enough
// for the first screen, as the replay screen does; then it reports what the
// whole of it takes in memory.
func BenchmarkOpen100k(b *testing.B) {
	dir := recordBulk(b, bulk(100_000))
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / (1 << 20)
	}
	before := heap()
	for b.Loop() {
		r, err := OpenTrusted(dir, recording.VerifyOptions{Lazy: true}) // as the screen does
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Read(0, 4096); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		x, err := r.Index()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(heap()-before, "MB-indexed")
		runtime.KeepAlive(x)
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// bulk makes the events of n statements.
func bulk(n int) []recording.Event {
	var events []recording.Event
	for i := range n {
		id := fmt.Sprintf("%08d-0000-0000-0000-000000000000", i)
		events = append(events,
			recording.Event{Kind: recording.KindStatement, Statement: id, SQL: &recording.StatementFacts{
				Text: fmt.Sprintf("SELECT id, name, email FROM app.public.customers WHERE id = %d", i), Digest: strings.Repeat("d", 64),
				Kinds: []string{"SELECT"}, Reads: []string{"APP.PUBLIC.CUSTOMERS"}, Verdict: "allow", Rule: "default-read"}},
			recording.Event{Kind: recording.KindForwarded, Statement: id, Forwarded: &recording.ForwardedFacts{RequestID: id, Digest: strings.Repeat("d", 64)}},
			recording.Event{Kind: recording.KindResult, Statement: id, Result: &recording.ResultFacts{QueryID: id, Rows: 1, Columns: 3, Bytes: 100, Millis: 5}})
	}
	return events
}

// recordBulk records with many writers, so that syncs are shared.
func recordBulk(b *testing.B, events []recording.Event) string {
	b.Helper()
	skey, vkey, err := recording.NewKey("session")
	if err != nil {
		b.Fatal(err)
	}
	signer, err := recording.NewSigner(skey)
	if err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(b.TempDir(), "s1")
	w, err := recording.Create(dir, recording.Options{Session: recording.SessionFacts{ID: "s1"}, Signer: signer, VerifierKey: vkey})
	if err != nil {
		b.Fatal(err)
	}
	work := make(chan recording.Event)
	done := make(chan error)
	const writers = 512
	for range writers {
		go func() {
			var failed error
			for e := range work {
				if _, err := w.Append(context.Background(), e); err != nil {
					failed = err
				}
			}
			done <- failed
		}()
	}
	for _, e := range events {
		work <- e
	}
	close(work)
	for range writers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Seal(context.Background()); err != nil {
		b.Fatal(err)
	}
	return dir
}
