package broker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
)

func (firstWord) HideText(s string, _ ...string) string  { return s }
func (firstWord) HideValue(s string, _ ...string) string { return s }
func (firstWord) Compared([]sql.Statement) []string      { return nil }

// hiding is firstWord with the eyes of the shipped bundle.
type hiding struct{ firstWord }

func (hiding) HideText(s string, c ...string) string  { return policy.Default().HideText(s, c...) }
func (hiding) HideValue(s string, c ...string) string { return policy.Default().HideValue(s, c...) }
func (hiding) Compared(st []sql.Statement) []string {
	return policy.Default().Compared(st)
}

// TestRecordingKeepsNoPersonsData: values in a statement reach Snowflake and the
// reviewer as they are, and the recording without.
func TestRecordingKeepsNoPersonsData(t *testing.T) {
	const planted = "planted.person@example.com"
	r := newRig(t, func(c *Config) { c.Policy = hiding{} })
	tk := r.login()
	bind := `"bindings":{"1":{"type":"TEXT","value":"` + planted + `"},"2":{"type":"FIXED","value":"7"}}`
	if a := r.query(tk, "", "select ID, EMAIL, SSN from customers", bind); !a.Success {
		t.Fatalf("query: %s", a.Raw)
	}
	r.query(tk, "", "unreadable '"+planted)
	done := make(chan answer, 1)
	go func() { done <- r.query(tk, "", "drop table t -- for "+planted) }()
	req := <-r.desk.filed
	if asked, err := r.desk.Request(t.Context(), req); err != nil || !strings.Contains(asked.Case.Canonical, planted) {
		t.Errorf("the reviewer does not see the value: %s, %v", asked.Case.Canonical, err)
	}
	r.decide(req, session.OutcomeApprove)
	if a := <-done; !a.Success {
		t.Fatalf("query: %s", a.Raw)
	}
	if up := fmt.Sprintf("%+v", r.up.seen()); strings.Count(up, planted) < 2 {
		t.Errorf("Snowflake did not get the values: %s", up)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	all, err := json.Marshal(r.events)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(all), "planted") {
		t.Errorf("the recording holds the value:\n%s", all)
	}
	var texts, binds []string
	for _, e := range r.events {
		if e.SQL != nil {
			texts = append(texts, e.SQL.Text)
			if e.SQL.Binds != nil {
				binds = append(binds, string(e.SQL.Binds))
			}
		}
	}
	if !slices.Contains(texts, "drop table t -- ‹redacted:pii.email›") || len(texts) != 3 {
		t.Errorf("texts: %q", texts)
	}
	if len(binds) != 1 || !strings.Contains(binds[0], `"value":"‹redacted:pii.email›"`) || !strings.Contains(binds[0], `"value":"7"`) {
		t.Errorf("binds: %q", binds)
	}
}

func TestHideStrings(t *testing.T) {
	hide := func(s string, _ bool) string { return strings.ReplaceAll(s, `se"cret`, "‹x›") }
	for in, want := range map[string]string{
		`{"1":{"value":"se\"cret"},"2":["a","\u0073e\"cret",null,1.50,"\\"]}`: `{"1":{"value":"‹x›"},"2":["a","‹x›",null,1.50,"\\"]}`,
		`"plain"`:     `"plain"`,
		`{"a": 1}`:    `{"a": 1}`,
		`not se"cret`: `"not ‹x›"`,
	} {
		if got := string(hideStrings(in, hide)); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

// TestHideStringsKnowsData: keys and types of binds are never data.
func TestHideStringsKnowsData(t *testing.T) {
	const in = `{"binds":{"1":{"type":"TEXT","value":["a",null]},"2":{"value":"b","type" : "FIXED"}},"variables":{"X":"c"}}`
	const want = `{"binds":{"1":{"type":"TEXT","value":["‹x›",null]},"2":{"value":"‹x›","type" : "FIXED"}},"variables":{"X":"‹x›"}}`
	got := string(hideStrings(in, func(s string, data bool) string {
		if data {
			return "‹x›"
		}
		return s
	}))
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func FuzzHideStrings(f *testing.F) {
	f.Add(`{"a":"b\\","c":["\""]}`)
	f.Fuzz(func(t *testing.T, in string) {
		if !json.Valid([]byte(in)) {
			return
		}
		if got := string(hideStrings(in, func(s string, _ bool) string { return s })); got != in {
			t.Errorf("%q became %q", in, got)
		}
		if got := hideStrings(in, func(string, bool) string { return `"\` }); !json.Valid(got) {
			t.Errorf("%q became invalid: %q", in, got)
		}
	})
}
