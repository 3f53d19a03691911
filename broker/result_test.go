package broker

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/jit-access/jit/policy"
)

func TestMasking(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	const text = "select ID, EMAIL, SSN from customers"
	t.Run("values that show what they are", func(t *testing.T) {
		body := strings.NewReplacer(`"type":"fixed"`, `"type":"text"`, `[["1"]]`, `[["harmless"],["detect-me-please"]]`).Replace(plainRow)
		r.up.setAnswer(func(q seenQuery) (int, string) { return 200, body })
		a := r.query(tk, "", "select 1")
		if !a.Success || strings.Contains(a.Raw, "detect-me") || !strings.Contains(a.Raw, "‹masked:secret.key›") {
			t.Errorf("got %s", a.Raw)
		}
	})
	t.Run("a ruling that does not fit shows nothing", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Policy = forgetful{} })
		a := r.query(r.login(), "", text)
		if !a.Success || strings.Contains(a.Raw, "planted") || strings.Contains(a.Raw, "987654321") || strings.Contains(a.Raw, "9007199254740993") {
			t.Errorf("got %s", a.Raw)
		}
	})
}

// forgetful allows without saying what to mask.
type forgetful struct{ firstWord }

func (forgetful) Statement(policy.Input) policy.Ruling {
	return policy.Ruling{Verdict: policy.Allow, Rule: "forgetful"}
}

func TestLargeResultsAreFetchedAgain(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	big := strings.Replace(plainRow, `"unknown"`, "", 1)
	row := `["` + strings.Repeat("x", 1000) + `"],`
	big = strings.Replace(big, `[["1"]]`, "["+strings.Repeat(row, 400)+`["1"]]`, 1)
	r.up.setAnswer(func(q seenQuery) (int, string) { return 200, big })
	r.up.results["01c0ffee-0000-0000-0000-000000000002"] = big
	id := uuid.NewString()
	a := r.query(tk, id, "select 1")
	b := r.query(tk, id, "select 1")
	if !a.Success || a.Raw != b.Raw || len(r.up.seen()) != 1 {
		t.Errorf("%d executions, equal %v", len(r.up.seen()), a.Raw == b.Raw)
	}
}

// answersAreDriversJSON holds Q14: every answer has the keys and types
// drivers rely on.
func answersAreDriversJSON(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	for name, a := range map[string]answer{
		"heartbeat": r.send("POST", "/session/heartbeat", tk.token, nil),
		"refusal":   r.query(tk, "", "grant x"),
		"abort":     r.send("POST", "/queries/v1/abort-request", tk.token, []byte(`{"requestId":"x"}`)),
		"no route":  r.send("GET", "/nothing", "", nil),
		"no login":  r.query(tokens{}, "", "select 1"),
		"no id":     r.send("GET", "/monitoring/queries/x", tk.token, nil),
		"renewal":   r.send("POST", "/session/token-request", "x", []byte("{}")),
	} {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(a.Raw), &m); err != nil || a.Type != "application/json" {
			t.Errorf("%s: %v %s", name, err, a.Type)
		}
		if _, ok := m["code"]; !ok {
			t.Errorf("%s has no code", name)
		}
		if !a.Success && (m["data"] == nil || m["data"][0] != '{' || a.Message == nil) {
			t.Errorf("%s: %s", name, a.Raw)
		}
	}
}
