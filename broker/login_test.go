package broker

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// The names of the cases are those of the protocol compendium's checklist.

func TestLogin(t *testing.T) {
	r := newRig(t)
	with := func(change map[string]any) map[string]any {
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
	lease := r.lease.Reveal()
	accepted := map[string]map[string]any{
		"L01 access token":     with(nil),
		"L02 password":         with(map[string]any{"AUTHENTICATOR": nil, "TOKEN": nil, "PASSWORD": lease}),
		"L02 password, named":  with(map[string]any{"AUTHENTICATOR": "snowflake", "TOKEN": nil, "PASSWORD": lease}),
		"L03 oauth, no user":   with(map[string]any{"AUTHENTICATOR": "OAUTH", "LOGIN_NAME": ""}),
		"L04 trailing newline": with(map[string]any{"TOKEN": lease + "\n"}),
	}
	for name, fields := range accepted {
		t.Run(name, func(t *testing.T) {
			a := r.loginWith(fields, "")
			if !a.Success {
				t.Fatalf("refused: %s", a.Raw)
			}
			d := a.data(t)
			if strings.Contains(a.Raw, "upstream-secret") {
				t.Error("the upstream token reached the driver")
			}
			if _, ok := d["sessionId"].(interface{ Int64() (int64, error) }); !ok {
				t.Errorf("sessionId is %T", d["sessionId"])
			}
		})
	}
	opened := r.account.opened
	refused := map[string]map[string]any{
		"L05 wrong":       with(map[string]any{"TOKEN": lease + "x"}),
		"L05 empty":       with(map[string]any{"TOKEN": ""}),
		"L06 key pair":    with(map[string]any{"AUTHENTICATOR": "SNOWFLAKE_JWT"}),
		"L06 browser":     with(map[string]any{"AUTHENTICATOR": "EXTERNALBROWSER"}),
		"L06 saml":        with(map[string]any{"AUTHENTICATOR": nil, "RAW_SAML_RESPONSE": "x", "PASSWORD": lease}),
		"L06 service":     with(map[string]any{"SPCS_TOKEN": "x"}),
		"L06 workload":    with(map[string]any{"AUTHENTICATOR": "WORKLOAD_IDENTITY"}),
		"L06 mfa":         with(map[string]any{"AUTHENTICATOR": "USERNAME_PASSWORD_MFA", "PASSWORD": lease}),
		"L09 secondaries": with(map[string]any{"SECONDARY_ROLES": "ALL"}),
	}
	for name, fields := range refused {
		t.Run(name, func(t *testing.T) {
			a := r.loginWith(fields, "")
			if a.Success || a.code() != "390100" || len(a.Data) < 2 || a.Data[0] != '{' || !strings.Contains(*a.Message, "jit exec") {
				t.Fatalf("got %s", a.Raw)
			}
		})
	}
	if r.account.opened != opened {
		t.Errorf("refused logins opened %d upstream sessions", r.account.opened-opened)
	}
	t.Run("L06 authenticator-request", func(t *testing.T) {
		if a := r.send("POST", "/session/authenticator-request", "", []byte(`{"data":{}}`)); a.Success || a.code() != "390100" {
			t.Fatalf("got %s", a.Raw)
		}
	})
	t.Run("L07 python shape", func(t *testing.T) {
		a := r.send("POST", "/session/v1/login-request?request_id="+uuid.NewString(), "None", gz(loginBody(with(map[string]any{"CLIENT_APP_ID": "PythonConnector"}))))
		if !a.Success {
			t.Fatalf("got %s", a.Raw)
		}
	})
	t.Run("L08 jdbc shape", func(t *testing.T) {
		a := r.loginWith(with(map[string]any{"CLIENT_APP_ID": "JDBC"}), "", func(q *http.Request) { q.Header.Set("Authorization", "Basic") })
		if !a.Success {
			t.Fatalf("got %s", a.Raw)
		}
	})
	t.Run("L09 role, warehouse outside the grant", func(t *testing.T) {
		for _, q := range []string{"&roleName=ACCOUNTADMIN", "&warehouse=BIG"} {
			if a := r.loginWith(with(nil), q); a.Success || a.code() != "390100" || !strings.HasPrefix(*a.Message, "JIT-1005") {
				t.Errorf("%s: %s", q, a.Raw)
			}
		}
	})
	t.Run("L09 parameters", func(t *testing.T) {
		before := len(r.up.seen())
		a := r.loginWith(with(map[string]any{"SESSION_PARAMETERS": map[string]any{"MULTI_STATEMENT_COUNT": 0, "SEARCH_PATH": "X", "QUERY_TAG": "it's"}}), "&roleName=reader&databaseName=other")
		if !a.Success {
			t.Fatalf("got %s", a.Raw)
		}
		var texts []string
		for _, q := range r.up.seen()[before:] {
			texts = append(texts, q.SQL)
		}
		want := "USE DATABASE OTHER|ALTER SESSION SET QUERY_TAG = 'it''s'"
		if got := strings.Join(texts, "|"); got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
	})
	t.Run("L10 two logins", func(t *testing.T) {
		a, b := r.login(), r.login()
		if a.token == b.token || a.master == b.master {
			t.Error("tokens are shared")
		}
	})
	t.Run("L11 parameters", func(t *testing.T) {
		d := r.loginWith(with(nil), "").data(t)
		got := map[string]any{}
		for _, p := range d["parameters"].([]any) {
			m := p.(map[string]any)
			if m["value"] == nil {
				t.Errorf("%v is null", m["name"])
			}
			got[m["name"].(string)] = m["value"]
		}
		for name, want := range map[string]string{"CLIENT_TELEMETRY_ENABLED": "false", "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD": "2147483647",
			"CLIENT_PREFETCH_THREADS": "4", "TIMEZONE": "America/Los_Angeles"} {
			if s := strings.Trim(toText(got[name]), `"`); s != want {
				t.Errorf("%s is %s, want %s", name, s, want)
			}
		}
	})
	t.Run("L13 not JSON", func(t *testing.T) {
		if a := r.send("POST", "/session/v1/login-request", "", []byte("hello")); a.Success || a.code() != "390100" {
			t.Fatalf("got %s", a.Raw)
		}
	})
	t.Run("L13 gzip bomb", func(t *testing.T) {
		if a := r.send("POST", "/session/v1/login-request", "", gz(make([]byte, 64<<20))); a.Success || a.code() != "390100" {
			t.Fatalf("got %s", a.Raw)
		}
	})
	r.noSecrets()
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
