package approval

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jit-access/jit/broker/credential"
	"github.com/jit-access/jit/session"
)

// Whatever people are called, the query tag says one session and one principal.
func TestAttackNameInQueryTag(t *testing.T) {
	for _, name := range []string{
		`eve","jit_session":"ses_other","x":"`, `eve"}; drop table T; --`, "eve\n\u2028\x00", `eve\`, `<script>'$$`,
		strings.Repeat(`"`, 5000), strings.Repeat("é", 5000), "\xff\xfe",
	} {
		p := loginParams(Connection{Account: "acct", User: "SVC"}, session.Session{
			ID: "ses_1", Principal: session.Principal{Issuer: "https://i", Subject: "s", Email: name}, Scope: session.Scope{Role: "R", Warehouse: "W", TTL: 90e9},
		}, newClock().now())
		tag := p.SessionParameters["QUERY_TAG"]
		var got map[string]string
		d := json.NewDecoder(strings.NewReader(tag))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil || d.More() || len(got) != 2 || got["jit_session"] != "ses_1" || strings.Count(tag, `"jit_session":`) != 1 {
			t.Errorf("%.40q makes the tag %s", name, tag)
		}
		if len(tag) > 2000 {
			t.Errorf("%.40q makes a tag of %d bytes", name, len(tag))
		}
		if p.Role != "R" || p.Warehouse != "W" || p.AllSecondaryRoles || p.SessionParameters["STATEMENT_TIMEOUT_IN_SECONDS"] != "90" {
			t.Errorf("the session opens with %+v", p)
		}
	}
}

// What Snowflake says of a login reaches whoever asked: its code, its words and
// what usually helps, and of the credential nothing, even if Snowflake repeats it.
// The answers are those of Snowflake's drivers' tests and documentation; the
// server that gives them here is scripted.
func TestLoginRefusalsArePassedOn(t *testing.T) {
	var code, message string
	w := newWorld(t, Limits{})
	sf := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(map[string]any{"data": map[string]any{}, "code": code, "message": message, "success": false})
	}))
	defer sf.Close()
	ctx := t.Context()
	o := openSessionFor(t, w, localSide{w}, w.alice)
	b := localSide{w}.broker(o)
	point := func(url string) {
		t.Helper()
		if _, err := w.store.db.write.ExecContext(ctx, `UPDATE connections SET doc = REPLACE(doc, $1, $2)`, w.sf.URL, url); err != nil {
			t.Fatal(err)
		}
		w.sf.URL = url
	}
	point(sf.URL)
	for _, test := range []struct{ code, message, hint string }{
		{"390100", "Incorrect username or password was specified.", "check user, account and secret"},
		{"390144", "JWT token is invalid. [5a4b2c9e-0000-4000-8000-3d1f5b6c7d8e]", "RSA_PUBLIC_KEY"},
		{"390189", "Role 'ANALYST' specified in the connect string does not exist or not authorized.", "not granted to the user"},
		{"390201", "The requested warehouse does not exist or not authorized.", "does not exist or is not granted"},
		{"390303", "Invalid OAuth access token. ", "new OAuth token"},
		{"390318", "OAuth access token expired. [1172562260498]", "new OAuth token"},
		{"390422", "Incoming request with IP/Token 203.0.113.7 is not allowed to access Snowflake. Contact your account administrator.", "network policy"},
		{"394400", "Programmatic access token is invalid.", "programmatic access token"},
		{"390999", "Something that nobody has seen before.", ""},
	} {
		code, message = test.code, test.message+" "+plantedPassword
		_, err := b.OpenUpstream(ctx)
		var up *session.UpstreamError
		if !asError(err, &up) || up.Code != test.code || !strings.Contains(up.Message, strings.TrimSpace(test.message)) || !strings.Contains(up.Message, test.hint) {
			t.Errorf("%s: %v", test.code, err)
			continue
		}
		if strings.Contains(err.Error()+up.Message+w.log.text(), plantedPassword) {
			t.Errorf("%s: the password is repeated: %v", test.code, err)
		}
	}
	// Nobody answers: the drivers' 250001. It is not taken for a refusal.
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	point(gone.URL)
	_, err := b.OpenUpstream(ctx)
	var up *session.UpstreamError
	if !asError(err, &up) || up.Code != "" || !strings.Contains(up.Message, credential.ErrUnreachable.Error()) {
		t.Errorf("unreachable: %v", err)
	}
	if n := count(t, w, `SELECT COUNT(*) FROM audit WHERE action = 'upstream.fail'`); n < 10 {
		t.Errorf("%d failures are in the audit", n)
	}
}
