package broker

import (
	"encoding/json"
	"strings"
	"testing"
)

// fields are those of a login by access token, changed; nil leaves one out.
func (r *rig) fields(change map[string]any) map[string]any {
	f := r.patFields()
	for k, v := range change {
		if v == nil {
			delete(f, k)
			continue
		}
		f[k] = v
	}
	return f
}

// accepted logs in and checks what every driver relies on.
func (r *rig) accepted(t *testing.T, a answer) {
	t.Helper()
	if !a.Success {
		t.Fatalf("refused: %s", a.Raw)
	}
	d := a.data(t)
	if strings.Contains(a.Raw, "upstream-secret") {
		t.Error("the upstream token reached the driver")
	}
	if n, ok := d["sessionId"].(json.Number); !ok || strings.ContainsAny(n.String(), ".eE") {
		t.Errorf("sessionId is %v", d["sessionId"])
	}
	for _, key := range []string{"idToken", "mfaToken", "remMeToken"} {
		if d[key] != nil {
			t.Errorf("%s would be kept on disk by the driver", key)
		}
	}
	if q := r.query(tokensOf(t, a), "", "select 1"); !q.Success {
		t.Errorf("the tokens open nothing: %s", q.Raw)
	}
	r.noSecrets()
}

// refusedLogin checks a refusal, and that nothing was opened for it.
func (r *rig) refusedLogin(t *testing.T, a answer) {
	t.Helper()
	if a.Status != 200 || a.Success || a.code() != "390100" || len(a.Data) < 2 || a.Data[0] != '{' || !strings.Contains(*a.Message, "jit exec") {
		t.Errorf("got %d %s", a.Status, a.Raw)
	}
	if r.account.opened != 0 || len(r.up.seen()) != 0 {
		t.Errorf("%d sessions were opened", r.account.opened)
	}
}

func TestLoginLimit(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxLogins = 1 })
	tk := r.login()
	if a := r.loginWith(r.patFields(), ""); a.Success || !strings.HasPrefix(*a.Message, "JIT-1004") {
		t.Fatalf("got %s", a.Raw)
	}
	r.send("POST", "/session?delete=true", tk.token, nil)
	r.login()
}
