package broker

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/session"
)

var loginCases = []conformanceCase{
	{"L01", "the lease as access token", func(t *testing.T) {
		r := newRig(t)
		r.accepted(t, r.loginWith(r.fields(nil), ""))
	}},
	{"L02", "the lease as password, with no authenticator or SNOWFLAKE", func(t *testing.T) {
		for _, authenticator := range []any{nil, "snowflake"} {
			r := newRig(t)
			r.accepted(t, r.loginWith(r.fields(map[string]any{"AUTHENTICATOR": authenticator, "TOKEN": nil, "PASSWORD": r.lease.Reveal()}), ""))
		}
	}},
	{"L03", "the lease as OAuth token, without a user", func(t *testing.T) {
		r := newRig(t)
		r.accepted(t, r.loginWith(r.fields(map[string]any{"AUTHENTICATOR": "OAUTH", "LOGIN_NAME": ""}), ""))
	}},
	{"L04", "white space around the lease", func(t *testing.T) {
		r := newRig(t)
		r.accepted(t, r.loginWith(r.fields(map[string]any{"TOKEN": r.lease.Reveal() + "\n"}), ""))
	}},
	{"L05", "a lease that is wrong, empty or of a session that ended", func(t *testing.T) {
		r := newRig(t)
		for _, token := range []string{r.lease.Reveal() + "x", "", " ", strings.ToUpper(r.lease.Reveal())} {
			r.refusedLogin(t, r.loginWith(r.fields(map[string]any{"TOKEN": token}), ""))
		}
		r.desk.events <- sessionEnded("sess-1")
		eventually(t, "refused", func() bool { return r.b.over() != "" })
		r.refusedLogin(t, r.loginWith(r.fields(nil), ""))
		past := newRig(t, func(c *Config) { c.Session.Deadline = time.Now().Add(-time.Second) })
		past.refusedLogin(t, past.loginWith(past.fields(nil), ""))
	}},
	{"L06", "logins that carry another identity", func(t *testing.T) {
		r := newRig(t)
		for name, change := range map[string]map[string]any{
			"key pair": {"AUTHENTICATOR": "SNOWFLAKE_JWT"}, "browser": {"AUTHENTICATOR": "EXTERNALBROWSER"}, "id token": {"AUTHENTICATOR": "ID_TOKEN"},
			"saml": {"AUTHENTICATOR": nil, "RAW_SAML_RESPONSE": "x", "PASSWORD": r.lease.Reveal()}, "service": {"SPCS_TOKEN": "x"},
			"workload": {"AUTHENTICATOR": "WORKLOAD_IDENTITY"}, "mfa": {"AUTHENTICATOR": "USERNAME_PASSWORD_MFA", "PASSWORD": r.lease.Reveal()},
			"passcode": {"PASSCODE": "123456"}, "proof": {"PROOF_KEY": "x"}, "okta": {"AUTHENTICATOR": "https://idp.example"},
		} {
			t.Run(name, func(t *testing.T) { r.refusedLogin(t, r.loginWith(r.fields(change), "")) })
		}
		r.refusedLogin(t, r.send("POST", "/session/authenticator-request", "", []byte(`{"data":{"AUTHENTICATOR":"EXTERNALBROWSER"}}`)))
	}},
	{"L07", "Python's shape: gzip, request_id, Token None", func(t *testing.T) {
		r := newRig(t)
		r.accepted(t, r.send("POST", "/session/v1/login-request?request_id="+uuid.NewString(), "None",
			gz(loginBody(r.fields(map[string]any{"CLIENT_APP_ID": "PythonConnector"})))))
	}},
	{"L08", "JDBC's shape: identity, Basic without a value", func(t *testing.T) {
		r := newRig(t)
		r.accepted(t, r.loginWith(r.fields(map[string]any{"CLIENT_APP_ID": "JDBC"}), "", func(q *http.Request) { q.Header.Set("Authorization", "Basic") }))
	}},
	{"L09", "another role, warehouse, or secondary roles", func(t *testing.T) {
		r := newRig(t)
		for _, query := range []string{"&roleName=ACCOUNTADMIN", "&warehouse=BIG"} {
			r.refusedLogin(t, r.loginWith(r.fields(nil), query))
		}
		r.refusedLogin(t, r.loginWith(r.fields(map[string]any{"SECONDARY_ROLES": "ALL"}), ""))
	}},
	{"L09", "session parameters that are not harmless do not go upstream", func(t *testing.T) {
		r := newRig(t)
		a := r.loginWith(r.fields(map[string]any{"SESSION_PARAMETERS": map[string]any{"MULTI_STATEMENT_COUNT": 0, "SEARCH_PATH": "X", "QUERY_TAG": "it's"}}),
			"&roleName=reader&databaseName=other")
		if !a.Success {
			t.Fatalf("got %s", a.Raw)
		}
		var texts []string
		for _, q := range r.up.seen() {
			texts = append(texts, q.SQL)
		}
		want := "USE DATABASE OTHER|ALTER SESSION SET QUERY_TAG = 'it''s'"
		if got := strings.Join(texts, "|"); got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
	}},
	{"L10", "two logins at once with one lease", func(t *testing.T) {
		r := newRig(t)
		got := make(chan tokens, 2)
		for range 2 {
			go func() { got <- r.login() }()
		}
		a, b := <-got, <-got
		if a.token == b.token || a.master == b.master || r.account.opened != 2 {
			t.Errorf("tokens are shared, %d upstream sessions", r.account.opened)
		}
	}},
	{"L11", "parameters drivers need, and those they are told otherwise", func(t *testing.T) {
		r := newRig(t)
		d := r.loginWith(r.fields(nil), "").data(t)
		got := map[string]any{}
		for _, p := range d["parameters"].([]any) {
			m := p.(map[string]any)
			if m["value"] == nil {
				t.Errorf("%v is null", m["name"])
			}
			got[m["name"].(string)] = m["value"]
		}
		for name, want := range map[string]string{"CLIENT_TELEMETRY_ENABLED": "false", "CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": "false",
			"CLIENT_TELEMETRY_SESSIONLESS_ENABLED": "false", "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD": "2147483647",
			"CLIENT_PREFETCH_THREADS": "4", "TIMEZONE": "America/Los_Angeles"} {
			if s := strings.Trim(toText(got[name]), `"`); s != want {
				t.Errorf("%s is %s, want %s", name, s, want)
			}
		}
	}},
	{"L13", "a body that is no JSON, and a gzip bomb", func(t *testing.T) {
		r := newRig(t)
		for _, body := range []string{"hello", "", "[]", `{"data":{"TOKEN":"a","TOKEN":"b"}}`, `{"data":{"token":"a"}}`} {
			if a := r.send("POST", "/session/v1/login-request", "", []byte(body)); a.Success || a.code() != "390100" || a.Data[0] != '{' {
				t.Errorf("%q: %s", body, a.Raw)
			}
		}
		bomb := gz(make([]byte, 64<<20))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		a := r.send("POST", "/session/v1/login-request", "", bomb)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
			t.Errorf("allocated %d bytes for it", n)
		}
		if a.Success || a.code() != "390100" || r.account.opened != 0 {
			t.Errorf("got %s", a.Raw)
		}
	}},
	{"L13", "a gigabyte is not read", func(t *testing.T) {
		r := newRig(t)
		host := strings.TrimPrefix(r.url, "http://")
		c, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "POST /session/v1/login-request HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", host, 1<<30); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = c.Write(make([]byte, 4<<20)) }() // the broker hangs up in the middle
		head := make([]byte, 15)
		if _, err := io.ReadFull(c, head); err != nil || string(head) != "HTTP/1.1 200 OK" {
			t.Errorf("%q %v", head, err)
		}
	}},
}

var holdCases = []conformanceCase{
	{"H01 H04 Q10", "approved once, denied once", holdApproved},
	{"H02 H03", "polled, with one address", longPolled},
	{"H03 H07 H09 H12", "polled, monitored, by its own login", holdPolling},
	{"H05", "nobody decides", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		request, final := r.held(tk, "", "drop table t")
		r.desk.mu.Lock()
		r.desk.requests[request].State = session.StateExpired
		r.desk.mu.Unlock()
		r.desk.events <- session.Event{Kind: session.EventRequestEnded, RequestID: request}
		a := <-final
		wantRefusal(t, a, "000604", "JIT-3003")
		if a.data(t)["sqlState"] != "57014" || len(r.up.seen()) != 0 {
			t.Errorf("got %s", a.Raw)
		}
	}},
	{"H06", "canceled while held", holdCanceled},
	{"H08", "the next statement waits", holdOrder},
	{"H10", "what it means changed", holdMeaningChanged},
	{"H11", "the broker is started anew: a definite failure, and nothing runs", func(t *testing.T) {
		r := newRig(t)
		r.b.poll = 20 * time.Millisecond
		tk := r.login()
		id := uuid.NewString()
		request, final := r.held(tk, id, "drop table t")
		path := (<-final).data(t)["getResultUrl"].(string)
		r.stop()
		if s := r.desk.state(request); s != session.StateWithdrawn {
			t.Errorf("the request is left %v", s)
		}
		if _, err := r.client.Get(r.url + path); err == nil {
			t.Error("somebody answers")
		}
		next := newRig(t) // another process: another lease, another key
		next.up, next.account.url = r.up, r.up.URL
		for name, a := range map[string]answer{"poll": next.send("GET", path, tk.token, nil), "sent again": next.query(tk, id, "drop table t"),
			"renewal": next.send("POST", "/session/token-request", tk.master, []byte(`{"requestType":"RENEW"}`))} {
			if a.Success || a.code() != "390111" && a.code() != "390114" {
				t.Errorf("%s: %s", name, a.Raw)
			}
		}
		if a := next.loginWith(r.patFields(), ""); a.code() != "390100" {
			t.Errorf("the old lease: %s", a.Raw)
		}
		if len(r.up.seen()) != 0 {
			t.Error("it ran")
		}
	}},
	{"Q10", "the connection is cut; the driver sends it again", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		id := uuid.NewString()
		c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		body := queryBody("drop table t")
		_, _ = fmt.Fprintf(c, "POST /queries/v1/query-request?requestId=%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Snowflake Token=\"%s\"\r\nContent-Length: %d\r\n\r\n%s",
			id, strings.TrimPrefix(r.url, "http://"), tk.token, len(body), body)
		request := <-r.desk.filed
		_ = c.Close()
		final := make(chan answer, 1)
		go func() { final <- r.query(tk, id, "drop table t") }()
		r.decide(request, session.OutcomeApprove)
		if a := <-final; !a.Success || len(r.up.seen()) != 1 || r.desk.redeemed != 1 || len(r.desk.order) != 1 {
			t.Errorf("%d executions, %d approvals: %s", len(r.up.seen()), r.desk.redeemed, a.Raw)
		}
	}},
	{"S07", "the client vanishes", idleLogins},
}

var asyncCases = []conformanceCase{
	{"A01 A02 A03", "asynchronous, and read by its id", asynchronous},
}
