package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session/secret"
)

const canary = "canary/p+ss w%rd=41c2"

// answers serves fn for every request and counts them.
func answers(t *testing.T, fn http.HandlerFunc) (url string, count *atomic.Int32) {
	t.Helper()
	count = new(atomic.Int32)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		fn(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, count
}

const goodLogin = `{"data":{"token":"upstream-session-token","masterToken":"upstream-master-token","validityInSeconds":3600,
"masterValidityInSeconds":14400,"serverVersion":"9.1.0","sessionId":9007199254740993,
"parameters":[{"name":"TIMEZONE","value":"UTC"},{"name":"BIG","value":9007199254740993}],
"sessionInfo":{"databaseName":"DEMO","schemaName":"PUBLIC","warehouseName":"WH","roleName":"R"}},"code":null,"message":null,"success":true}`

func TestLogin(t *testing.T) {
	var query, body string
	url, count := answers(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		query, body = r.URL.RawQuery, string(b)
		if r.URL.Path != snowflake.PathLogin || r.Method != http.MethodPost {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		if a := r.Header.Get("Authorization"); a != "" {
			t.Errorf("authorization before login: %q", a)
		}
		io.WriteString(w, goodLogin)
	})
	s, err := Login(t.Context(), nil, url, Params{
		Account: "xy12345.eu-west-1", User: "svc", Role: "R", Warehouse: "WH", Database: "DEMO", Schema: "PUBLIC",
		SessionParameters: map[string]string{"QUERY_TAG": "jit"},
	}, NewPassword(secret.New(canary)))
	if err != nil {
		t.Fatal(err)
	}
	if s.Token.Reveal() != "upstream-session-token" || s.MasterToken.Reveal() != "upstream-master-token" {
		t.Error("tokens are not those of the answer")
	}
	if s.SnowflakeID != 9007199254740993 || s.ValidFor != time.Hour || s.MasterValidFor != 4*time.Hour || s.ServerVersion != "9.1.0" {
		t.Errorf("session %+v", s)
	}
	if s.Info != (snowflake.SessionInfo{Database: "DEMO", Schema: "PUBLIC", Warehouse: "WH", Role: "R"}) {
		t.Errorf("info %+v", s.Info)
	}
	if !strings.Contains(string(s.Parameters), `"value":9007199254740993`) {
		t.Errorf("parameters are not as they came: %s", s.Parameters)
	}
	var sent struct {
		Data map[string]any `json:"data"`
	}
	if err := json.Unmarshal([]byte(body), &sent); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"PASSWORD": canary, "ACCOUNT_NAME": "XY12345", "LOGIN_NAME": "svc", "SECONDARY_ROLES": "NONE"} {
		if sent.Data[key] != want {
			t.Errorf("%s = %v, want %s", key, sent.Data[key], want)
		}
	}
	for _, part := range []string{"roleName=R", "warehouse=WH", "databaseName=DEMO", "schemaName=PUBLIC", "requestId="} {
		if !strings.Contains(query, part) {
			t.Errorf("query %q lacks %s", query, part)
		}
	}
	if strings.Contains(query, "canary") {
		t.Error("the password is in the URL")
	}
	if count.Load() != 1 {
		t.Errorf("%d requests", count.Load())
	}
	if text := fmt.Sprintf("%v %+v %#v", s, *s, s); strings.Contains(text, "upstream-") {
		t.Errorf("the session prints its tokens: %s", text)
	}
	if j, _ := json.Marshal(s); strings.Contains(string(j), "upstream-") {
		t.Errorf("the session marshals its tokens: %s", j)
	}
}

func TestLoginProofs(t *testing.T) {
	key := mustKeyPair(t)
	for _, tt := range []struct {
		c             Credential
		authenticator any
		field         string
	}{
		{NewPassword(secret.New("x")), nil, "PASSWORD"},
		{NewProgrammaticAccessToken(secret.New("x")), "PROGRAMMATIC_ACCESS_TOKEN", "TOKEN"},
		{NewOAuth(secret.New("x")), "OAUTH", "TOKEN"},
		{key, "SNOWFLAKE_JWT", "TOKEN"},
	} {
		t.Run(tt.c.Kind(), func(t *testing.T) {
			url, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
				var sent struct {
					Data map[string]any `json:"data"`
				}
				if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
					t.Error(err)
				}
				if sent.Data["AUTHENTICATOR"] != tt.authenticator {
					t.Errorf("AUTHENTICATOR %v", sent.Data["AUTHENTICATOR"])
				}
				for _, f := range []string{"PASSWORD", "TOKEN"} {
					if _, there := sent.Data[f]; there != (f == tt.field) {
						t.Errorf("%s present: %v", f, there)
					}
				}
				io.WriteString(w, goodLogin)
			})
			if _, err := Login(t.Context(), nil, url, Params{Account: "a", User: "u"}, tt.c); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestRefusalEchoesTheSecret: a server, or something between, that repeats the
// secret in its message must not get it into our errors.
func TestRefusalEchoesTheSecret(t *testing.T) {
	url, count := answers(t, func(w http.ResponseWriter, r *http.Request) {
		var sent loginBody
		_ = json.NewDecoder(r.Body).Decode(&sent)
		msg, _ := json.Marshal("Incorrect username or password: " + sent.Data.Password + "\x1b[2J\n" + strings.Repeat("x", 5000))
		fmt.Fprintf(w, `{"data":{},"code":"390100","message":%s,"success":false}`, msg)
	})
	_, err := Login(t.Context(), nil, url, Params{Account: "a", User: "u"}, NewPassword(secret.New(canary)))
	var le *LoginError
	if !errors.As(err, &le) {
		t.Fatalf("error %v, want a LoginError", err)
	}
	if le.Code != "390100" || !strings.Contains(err.Error(), "Incorrect username or password") || !strings.Contains(err.Error(), "check user") {
		t.Errorf("the refusal is not useful: %v", err)
	}
	if s := fmt.Sprintf("%v %+v %#v", err, err, le); strings.Contains(s, canary) || strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 2*maxMessage {
		t.Errorf("the error is not clean: %s", s)
	}
	if count.Load() != 1 {
		t.Errorf("a refusal was asked for %d times", count.Load())
	}
}

func TestRefusalWithoutSense(t *testing.T) {
	for _, body := range []string{`{"success":false}`, `{"success":false,"code":"","message":""}`, `{"success":false,"code":"` + "<b>x</b>" + `","message":null,"data":5}`} {
		url, _ := answers(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })
		_, err := Login(t.Context(), nil, url, Params{Account: "a", User: "u"}, NewPassword(secret.New(canary)))
		var le *LoginError
		if !errors.As(err, &le) || le.Code != "000000" || le.Message != "no message" {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestRefusedEndpoints(t *testing.T) {
	for _, base := range []string{
		"http://example.com", "http://10.0.0.1:8080", "http://169.254.169.254", "http://127.0.0.1.example.com",
		"ftp://127.0.0.1", "127.0.0.1:80", "", "https://", "https://user:" + "pw@example.com", "https://example.com/path", "https://example.com?x=1",
		"http://localhost.example.com", "http://0.0.0.0", "http://[::ffff:10.0.0.1]",
	} {
		_, err := Login(t.Context(), &http.Client{Transport: noTransport{t}}, base, Params{Account: "a", User: "u"}, NewPassword(secret.New(canary)))
		if err == nil || strings.Contains(err.Error(), "pw@") {
			t.Errorf("%q: error %v", base, err)
		}
	}
}

// noTransport fails the test if anything is sent.
type noTransport struct{ t *testing.T }

func (n noTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	n.t.Errorf("sent to %s", r.URL.Host)
	return nil, errors.New("nothing may be sent")
}

// TestRedirectStealsTheCredential: a redirect must not be followed.
func TestRedirectStealsTheCredential(t *testing.T) {
	thief, stolen := answers(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, goodLogin) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		url, _ := answers(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief+r.URL.Path, status) })
		if _, err := Login(t.Context(), nil, url, Params{Account: "a", User: "u"}, NewPassword(secret.New(canary))); !errors.Is(err, ErrUnreachable) {
			t.Errorf("status %d: error %v", status, err)
		}
	}
	if stolen.Load() != 0 {
		t.Errorf("the redirect target got %d requests", stolen.Load())
	}
}

// scripted answers each attempt in turn without a network, under synctest.
type scripted struct {
	answers []func(*http.Request) (*http.Response, error)
	ids     []string
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	s.ids = append(s.ids, r.URL.Query().Get("requestId"))
	n := min(len(s.ids), len(s.answers)) - 1
	return s.answers[n](r)
}

func status(code int, body string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}}, nil
	}
}

func broken(r *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("dial tcp: connection refused (%s)", canary)
}

func TestAttempts(t *testing.T) {
	huge := `{"data":"` + strings.Repeat("x", maxAnswer) + `"}`
	for _, tt := range []struct {
		name    string
		answers []func(*http.Request) (*http.Response, error)
		want    int
		ok      bool
	}{
		{"503 twice then good", []func(*http.Request) (*http.Response, error){status(503, ""), status(503, ""), status(200, goodLogin)}, 3, true},
		{"transport error then good", []func(*http.Request) (*http.Response, error){broken, status(200, goodLogin)}, 2, true},
		{"429 then good", []func(*http.Request) (*http.Response, error){status(429, ""), status(200, goodLogin)}, 2, true},
		{"always 500", []func(*http.Request) (*http.Response, error){status(500, canary)}, maxAttempts, false},
		{"always broken", []func(*http.Request) (*http.Response, error){broken}, maxAttempts, false},
		{"403", []func(*http.Request) (*http.Response, error){status(403, canary)}, 1, false},
		{"not json", []func(*http.Request) (*http.Response, error){status(200, "<html>"+canary)}, 1, false},
		{"no token", []func(*http.Request) (*http.Response, error){status(200, `{"success":true,"data":{}}`)}, 1, false},
		{"null data", []func(*http.Request) (*http.Response, error){status(200, `{"success":true,"data":null}`)}, 1, false},
		{"too large", []func(*http.Request) (*http.Response, error){status(200, huge)}, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := &scripted{answers: tt.answers}
				_, err := Login(t.Context(), &http.Client{Transport: rt}, "https://a.example", Params{Account: "a", User: "u"}, NewPassword(secret.New(canary)))
				if (err == nil) != tt.ok {
					t.Fatalf("error %v", err)
				}
				if err != nil && (!errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), canary)) {
					t.Errorf("error %v", err)
				}
				if len(rt.ids) != tt.want {
					t.Errorf("%d attempts, want %d", len(rt.ids), tt.want)
				}
				for _, id := range rt.ids {
					if id == "" || id != rt.ids[0] {
						t.Errorf("requestIds %v are not one", rt.ids)
					}
				}
			})
		})
	}
}

func TestLoginStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		rt := &scripted{answers: []func(*http.Request) (*http.Response, error){status(503, "")}}
		start := time.Now()
		_, err := Login(ctx, &http.Client{Transport: rt}, "https://a.example", Params{Account: "a", User: "u"}, NewPassword(secret.New("x")))
		if err == nil || time.Since(start) > time.Second {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}

func TestRenew(t *testing.T) {
	old := &Session{Token: secret.New("old-session"), MasterToken: secret.New("old-master"), SnowflakeID: 7, Info: snowflake.SessionInfo{Role: "R"}}
	url, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != `Snowflake Token="old-master"` || string(b) != `{"oldSessionToken":"old-session","requestType":"RENEW"}` {
			t.Errorf("authorization %q, body %s", r.Header.Get("Authorization"), b)
		}
		io.WriteString(w, `{"data":{"sessionToken":"new-session","validityInSecondsST":60,"masterToken":"new-master","validityInSecondsMT":120,"sessionId":7},"success":true}`)
	})
	s, err := Renew(t.Context(), nil, url, old)
	if err != nil {
		t.Fatal(err)
	}
	if s.Token.Reveal() != "new-session" || s.MasterToken.Reveal() != "new-master" || s.ValidFor != time.Minute || s.Info.Role != "R" || s.SnowflakeID != 7 {
		t.Errorf("renewed %+v", s)
	}
	if old.Token.Reveal() != "old-session" {
		t.Error("the old session was changed")
	}
}

func TestSessionOver(t *testing.T) {
	url, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"data":{},"code":"390114","message":%q,"success":false}`, "Authentication token has expired: "+r.Header.Get("Authorization"))
	})
	s := &Session{Token: secret.New("old-session"), MasterToken: secret.New("old-master")}
	if _, err := Renew(t.Context(), nil, url, s); !errors.Is(err, ErrSessionGone) || strings.Contains(err.Error(), "old-master") {
		t.Errorf("renew: %v", err)
	}
	if err := Heartbeat(t.Context(), nil, url, s.Token); !errors.Is(err, ErrSessionGone) || strings.Contains(err.Error(), "old-session") {
		t.Errorf("heartbeat: %v", err)
	}
	if err := Close(t.Context(), nil, url, s.Token); err != nil {
		t.Errorf("closing what is closed: %v", err)
	}
}

// TestExpiredTokenClosesNothing: a session whose token is merely old goes on
// running statements, so closing it must not count as done.
func TestExpiredTokenClosesNothing(t *testing.T) {
	const expired = `{"data":{},"code":"390112","message":"Authentication token has expired.","success":false}`
	closed := false
	url, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
		switch token := r.Header.Get("Authorization"); {
		case r.URL.Path == snowflake.PathRenew && token == `Snowflake Token="master"`:
			io.WriteString(w, `{"data":{"sessionToken":"fresh","validityInSecondsST":60},"success":true}`)
		case r.URL.Path == snowflake.PathSession && token == `Snowflake Token="fresh"`:
			closed = true
			io.WriteString(w, `{"success":true}`)
		default:
			io.WriteString(w, expired)
		}
	})
	s := &Session{Token: secret.New("old"), MasterToken: secret.New("master")}
	for _, err := range []error{Close(t.Context(), nil, url, s.Token), Heartbeat(t.Context(), nil, url, s.Token)} {
		if !errors.Is(err, ErrTokenExpired) || errors.Is(err, ErrSessionGone) {
			t.Errorf("error %v", err)
		}
	}
	if err := Logout(t.Context(), nil, url, s); err != nil || !closed {
		t.Errorf("logout: %v, closed %v", err, closed)
	}
	dead := &Session{Token: secret.New("old"), MasterToken: secret.New("dead")}
	if _, err := Renew(t.Context(), nil, url, dead); !errors.Is(err, ErrSessionGone) || errors.Is(err, ErrTokenExpired) {
		t.Errorf("renewing by a dead master token: %v", err)
	}
	if err := Logout(t.Context(), nil, url, dead); err != nil {
		t.Errorf("logging out of what cannot be renewed: %v", err)
	}
}

func TestOrders(t *testing.T) {
	var got []string
	url, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = append(got, r.URL.Path+" delete="+r.URL.Query().Get("delete")+" "+r.Header.Get("Authorization")+" "+string(b))
		io.WriteString(w, `{"data":null,"code":null,"message":null,"success":true}`)
	})
	tok := secret.New("tok")
	const qid = "01234567-89ab-cdef-0123-456789abcdef"
	for _, err := range []error{
		Heartbeat(t.Context(), nil, url, tok),
		Close(t.Context(), nil, url, tok),
		AbortRequest(t.Context(), nil, url, tok, "rid"),
		AbortQuery(t.Context(), nil, url, tok, qid),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{
		`/session/heartbeat delete= Snowflake Token="tok" `,
		`/session delete=true Snowflake Token="tok" `,
		`/queries/v1/abort-request delete= Snowflake Token="tok" {"requestId":"rid"}`,
		`/queries/` + qid + `/abort-request delete= Snowflake Token="tok" `,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := AbortQuery(t.Context(), nil, url, tok, "../../session?delete=true"); err == nil {
		t.Error("a path in place of a query id was sent")
	}
	if err := Heartbeat(t.Context(), nil, url, secret.Text{}); err == nil {
		t.Error("a heartbeat without a token was sent")
	}
}

func TestNotExecutingIsNotGone(t *testing.T) {
	url, _ := answers(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"data":{},"code":"000605","message":"Identified SQL statement is not currently executing.","success":false}`)
	})
	err := AbortRequest(t.Context(), nil, url, secret.New("tok"), "rid")
	var se *SessionError
	if !errors.As(err, &se) || se.Code != snowflake.CodeNotExecuting || errors.Is(err, ErrSessionGone) {
		t.Errorf("error %v", err)
	}
}

func TestTLS(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, goodLogin) }))
	defer srv.Close()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if _, err := Login(t.Context(), srv.Client(), srv.URL, Params{Account: "a", User: "u"}, NewPassword(secret.New(canary))); err != nil {
		t.Errorf("trusted: %v", err)
	}
	if _, err := Login(t.Context(), nil, srv.URL, Params{Account: "a", User: "u"}, NewPassword(secret.New(canary))); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("untrusted: %v", err)
	}
}

func TestLoginWithoutMasterToken(t *testing.T) {
	url, count := answers(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"data":{"token":"only","sessionId":1},"success":true}`)
	})
	s, err := Login(t.Context(), nil, url, Params{Account: "a", User: "u"}, NewPassword(secret.New("x")))
	if err != nil {
		t.Fatal(err)
	}
	if !s.MasterToken.IsZero() || s.ValidFor != defaultValid || s.MasterValidFor != defaultMasterValid {
		t.Errorf("session %+v", s)
	}
	if _, err := Renew(t.Context(), nil, url, s); err == nil || count.Load() != 1 {
		t.Errorf("renewing without a master token: %v after %d requests", err, count.Load())
	}
}
