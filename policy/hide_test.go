package policy

import (
	"strings"
	"testing"

	"github.com/jit-access/jit/policy/sql"
)

func TestHideText(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT id FROM customers WHERE email = 'ana@example.com' AND id = 7": "SELECT id FROM customers WHERE email = '‹redacted:pii.email›' AND id = 7",
		"SELECT 'write to ana@example.com, please.' FROM t":                   "SELECT '‹redacted:pii.email›' FROM t",
		"SELECT 1 FROM t -- for ana@example.com\nWHERE x = 2":                 "SELECT 1 FROM t -- ‹redacted:pii.email›\nWHERE x = 2",
		"SELECT /* ana@example.com */ 1":                                      "SELECT /* ‹redacted:pii.email› */ 1",
		"SELECT id FROM t WHERE ssn = '536-22-8726'":                          "SELECT id FROM t WHERE ssn = '‹redacted:pii.ssn›'",
		`SELECT "ana@example.com" FROM t`:                                     `SELECT "ana@example.com" FROM t`, // a name
		"SELECT 'plain', 12 FROM t -- nothing":                                "SELECT 'plain', 12 FROM t -- nothing",
		"SELECT 'open ana@example.com":                                        "SELECT 'open ‹redacted:pii.email›",
		"":                                                                    "",
	} {
		if got := Default().HideText(text); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
	late := "SELECT '" + strings.Repeat("word, ", 2000) + "ana@example.com'"
	if got := Default().HideText(late); strings.Contains(got, "ana@") {
		t.Error("what stands late in a constant is kept")
	}
	if got := Default().HideValue("ana@example.com"); got != "‹redacted:pii.email›" {
		t.Errorf("a value: %s", got)
	}
	if got := Default().HideValue("plain"); got != "plain" {
		t.Errorf("a value: %s", got)
	}
}

// FuzzHideText: a planted value never stays in a constant or a comment, and
// what is left is as readable as before.
func FuzzHideText(f *testing.F) {
	f.Add("SELECT 'x' FROM t", "a")
	f.Add("/* x */ SELECT $$y$$", "b")
	f.Fuzz(func(t *testing.T, text, before string) {
		const planted = "planted.value@example.com"
		if strings.ContainsAny(before, `'\$`) || strings.Contains(text, planted) {
			return
		}
		full := text + " '" + before + " " + planted + "'"
		_, err := sql.Literals(full)
		got := Default().HideText(full)
		if err == nil && strings.Contains(got, planted) && !strings.Contains(text, `"`) {
			t.Errorf("%q keeps the value: %q", full, got)
		}
		if err == nil {
			if _, err := sql.Literals(got); err != nil {
				t.Errorf("%q can no longer be read: %v", got, err)
			}
		}
	})
}

func BenchmarkHideText(b *testing.B) {
	text := "SELECT o.id, c.name, sum(o.amount) AS total FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.status = 'open' AND c.email = 'ana@example.com' GROUP BY 1, 2 LIMIT 100"
	for b.Loop() {
		Default().HideText(text)
	}
}
