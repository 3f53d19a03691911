package op_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jit-access/jit/session/identity/op"
	"github.com/jit-access/jit/session/secret"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the library logs through it
	m.Run()
}

const issuer = "http://127.0.0.1:9400"

func newProvider(t *testing.T) *op.Provider {
	t.Helper()
	p, err := op.New(op.Options{Issuer: issuer, Users: []op.User{
		{Name: "alice", Password: secret.New("wonderland"), Email: "alice@example.test", Groups: []string{"analysts"}},
		{Name: "ghost"}, // no password: cannot use the page
	}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// call sends one request to the handler and returns status and body.
func call(p *op.Provider, method, path string, form url.Values) (int, string) {
	r := httptest.NewRequest(method, issuer+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	p.Handler().ServeHTTP(rec, r)
	return rec.Code, rec.Body.String()
}

type codes struct {
	Device  string `json:"device_code"`
	User    string `json:"user_code"`
	Expires int    `json:"expires_in"`
}

func begin(t *testing.T, p *op.Provider) codes {
	t.Helper()
	status, body := call(p, "POST", "/device_authorization", url.Values{"client_id": {"jit-cli"}, "scope": {"openid offline_access"}})
	var c codes
	if err := json.Unmarshal([]byte(body), &c); err != nil || status != 200 || c.Device == "" {
		t.Fatalf("device authorization: %d %s", status, body)
	}
	return c
}

// redeem polls once and returns the tokens, or the error code.
func redeem(p *op.Provider, clientID, device string) (idToken, refresh, code string) {
	return tokenRequest(p, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {clientID}, "device_code": {device}})
}

func renew(p *op.Provider, refresh string) (idToken, next, code string) {
	return tokenRequest(p, url.Values{"grant_type": {"refresh_token"}, "client_id": {"jit-cli"}, "refresh_token": {refresh}})
}

func tokenRequest(p *op.Provider, form url.Values) (idToken, refresh, code string) {
	_, body := call(p, "POST", "/oauth/token", form)
	var a struct {
		ID      string `json:"id_token"`
		Refresh string `json:"refresh_token"`
		Error   string `json:"error"`
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		return "", "", "not JSON: " + body
	}
	return a.ID, a.Refresh, a.Error
}

func page(p *op.Provider, code, name, password, action string) int {
	status, _ := call(p, "POST", "/device", url.Values{"user_code": {code}, "name": {name}, "password": {password}, "action": {action}})
	return status
}

func TestDeviceCodeIsRedeemedOnce(t *testing.T) {
	p := newProvider(t)
	c := begin(t, p)
	if err := p.Approve(t.Context(), strings.ToLower(strings.ReplaceAll(c.User, "-", " ")), "alice"); err != nil {
		t.Fatalf("a code typed by a person: %v", err)
	}
	if id, _, code := redeem(p, "jit-cli", c.Device); id == "" {
		t.Fatalf("redeeming: %s", code)
	}
	if id, _, code := redeem(p, "jit-cli", c.Device); id != "" || code == "" {
		t.Error("a device code was redeemed twice")
	}
	if err := p.Approve(t.Context(), c.User, "alice"); !errors.Is(err, op.ErrSettledCode) {
		t.Errorf("approving again: %v, want ErrSettledCode", err)
	}
}

func TestDeviceCodeOfAnotherClient(t *testing.T) {
	p, err := op.New(op.Options{Issuer: issuer, Clients: []op.Client{{ID: "jit-cli"}, {ID: "other"}}})
	if err != nil {
		t.Fatal(err)
	}
	c := begin(t, p)
	if err := p.Approve(t.Context(), c.User, "alice"); err != nil {
		t.Fatal(err)
	}
	if id, _, _ := redeem(p, "other", c.Device); id != "" {
		t.Error("another client redeemed the code")
	}
}

func TestApproveRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t)
		c := begin(t, p)
		if err := p.Approve(t.Context(), "BCDF-GHJK", "alice"); !errors.Is(err, op.ErrUnknownCode) {
			t.Errorf("unknown code: %v", err)
		}
		if err := p.Approve(t.Context(), c.User, "mallory"); !errors.Is(err, op.ErrUnknownUser) {
			t.Errorf("unknown user: %v", err)
		}
		time.Sleep(time.Duration(c.Expires)*time.Second + time.Second)
		if err := p.Approve(t.Context(), c.User, "alice"); !errors.Is(err, op.ErrExpiredCode) {
			t.Errorf("expired code: %v", err)
		}
		if _, _, code := redeem(p, "jit-cli", c.Device); code != "expired_token" {
			t.Errorf("polling an expired code: %q, want expired_token", code)
		}
	})
}

func TestPollingTooFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t)
		c := begin(t, p)
		for i, want := range []string{"authorization_pending", "slow_down", "slow_down"} {
			if _, _, code := redeem(p, "jit-cli", c.Device); code != want {
				t.Errorf("poll %d: %q, want %q", i, code, want)
			}
		}
		time.Sleep(time.Second)
		if _, _, code := redeem(p, "jit-cli", c.Device); code != "authorization_pending" {
			t.Errorf("poll after a pause: %q", code)
		}
	})
}

func TestRefreshTokenIsUsedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t)
		c := begin(t, p)
		if err := p.Approve(t.Context(), c.User, "alice"); err != nil {
			t.Fatal(err)
		}
		_, first, _ := redeem(p, "jit-cli", c.Device)
		_, second, code := renew(p, first)
		if second == "" || second == first {
			t.Fatalf("no rotation: %s", code)
		}
		if id, _, code := renew(p, first); id != "" || code != "invalid_grant" {
			t.Errorf("a used token: %q, want invalid_grant", code)
		}
		if id, _, code := renew(p, second); id != "" || code != "invalid_grant" {
			t.Errorf("the rest of its family: %q, want invalid_grant", code)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t)
		c := begin(t, p)
		_ = p.Approve(t.Context(), c.User, "alice")
		_, refresh, _ := redeem(p, "jit-cli", c.Device)
		time.Sleep(13 * time.Hour)
		if _, _, code := renew(p, refresh); code != "invalid_grant" {
			t.Errorf("an old token: %q, want invalid_grant", code)
		}
	})
}

func TestPageSignsIn(t *testing.T) {
	p := newProvider(t)
	c := begin(t, p)

	// Following the link, however often, approves nothing.
	status, body := call(p, "GET", "/device?action=approve&name=alice&password=wonderland&user_code="+c.User, nil)
	if status != 200 || !strings.Contains(body, c.User) {
		t.Errorf("the page: %d", status)
	}
	if _, _, code := redeem(p, "jit-cli", c.Device); code != "authorization_pending" {
		t.Fatalf("after a GET: %q", code)
	}
	if page(p, c.User, "alice", "wonderland", "approve") != 200 {
		t.Error("the right password was refused")
	}
}

func TestPageRefuses(t *testing.T) {
	for name, try := range map[string]func(*op.Provider, codes) int{
		"wrong password":        func(p *op.Provider, c codes) int { return page(p, c.User, "alice", "looking-glass", "approve") },
		"empty password":        func(p *op.Provider, c codes) int { return page(p, c.User, "alice", "", "approve") },
		"user without password": func(p *op.Provider, c codes) int { return page(p, c.User, "ghost", "", "approve") },
		"unknown user":          func(p *op.Provider, c codes) int { return page(p, c.User, "mallory", "", "approve") },
		"unknown code":          func(p *op.Provider, _ codes) int { return page(p, "BCDF-GHJK", "alice", "wonderland", "approve") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			c := begin(t, p)
			if status := try(p, c); status != http.StatusForbidden {
				t.Errorf("status %d, want 403", status)
			}
			if id, _, _ := redeem(p, "jit-cli", c.Device); id != "" {
				t.Error("signed in")
			}
		})
	}
	t.Run("no action means no", func(t *testing.T) {
		p := newProvider(t)
		c := begin(t, p)
		page(p, c.User, "alice", "wonderland", "")
		if _, _, code := redeem(p, "jit-cli", c.Device); code != "access_denied" {
			t.Errorf("%q, want access_denied", code)
		}
	})
	t.Run("guessing", func(t *testing.T) {
		p := newProvider(t)
		c := begin(t, p)
		for range 5 {
			page(p, c.User, "alice", "guess", "approve")
		}
		if page(p, c.User, "alice", "wonderland", "approve") == 200 {
			t.Error("guessing went on after five tries")
		}
	})
	t.Run("script in the code", func(t *testing.T) {
		_, body := call(newProvider(t), "GET", "/device?user_code=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", nil)
		if strings.Contains(body, "<script") {
			t.Error("the page runs what it is given")
		}
	})
}

func TestGuard(t *testing.T) {
	p := newProvider(t)
	r := httptest.NewRequest("GET", "http://attacker.example/.well-known/openid-configuration", nil)
	rec := httptest.NewRecorder()
	p.Handler().ServeHTTP(rec, r)
	if rec.Code != http.StatusMisdirectedRequest {
		t.Errorf("a rebound name got %d", rec.Code)
	}
	r = httptest.NewRequest("GET", issuer+"/.well-known/openid-configuration", nil)
	r.Header.Set("Origin", "https://attacker.example")
	rec = httptest.NewRecorder()
	p.Handler().ServeHTTP(rec, r)
	if rec.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error("a script elsewhere may read answers")
	}
	if status, _ := call(p, "POST", "/device", url.Values{"user_code": {strings.Repeat("x", 1<<20)}}); status != 400 {
		t.Errorf("a huge form got %d", status)
	}
	for path, form := range map[string]url.Values{
		"/authorize?client_id=jit-cli&response_type=code&scope=openid&redirect_uri=http://127.0.0.1/": nil,
		"/oauth/token": {"grant_type": {"client_credentials"}, "client_id": {"jit-cli"}},
	} {
		method := "POST"
		if form == nil {
			method = "GET"
		}
		if status, body := call(p, method, path, form); status < 400 {
			t.Errorf("%s is served: %d %s", path, status, body)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, bad := range []op.Options{
		{Issuer: ""},
		{Issuer: "http://idp.example"},
		{Issuer: "http://0.0.0.0:1"},
		{Issuer: issuer + "/path"},
		{Issuer: issuer, PollInterval: 1500 * time.Millisecond},
		{Issuer: issuer, Users: []op.User{{}}},
		{Issuer: issuer, Clients: []op.Client{{}}},
	} {
		if _, err := op.New(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestUserinfo(t *testing.T) {
	p := newProvider(t)
	_, body := call(p, "POST", "/device_authorization", url.Values{"client_id": {"jit-cli"}, "scope": {"openid email groups admin"}})
	var c codes
	_ = json.Unmarshal([]byte(body), &c)
	_ = p.Approve(t.Context(), c.User, "alice")
	_, body = call(p, "POST", "/oauth/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {"jit-cli"}, "device_code": {c.Device}})
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Scope   string `json:"scope"`
	}
	_ = json.Unmarshal([]byte(body), &tokens)
	if tokens.Refresh != "" || strings.Contains(tokens.Scope, "admin") {
		t.Errorf("more than was asked for or exists: %s", body)
	}
	r := httptest.NewRequest("GET", issuer+"/userinfo", nil)
	r.Header.Set("Authorization", "Bearer "+tokens.Access)
	rec := httptest.NewRecorder()
	p.Handler().ServeHTTP(rec, r)
	raw, _ := io.ReadAll(rec.Body)
	var info struct {
		Sub    string   `json:"sub"`
		Groups []string `json:"groups"`
	}
	if err := json.Unmarshal(raw, &info); err != nil || info.Sub != "alice" || !slices.Equal(info.Groups, []string{"analysts"}) {
		t.Errorf("userinfo: %s", raw)
	}
}
