package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session/identity/op"
)

// signInWorld is an identity provider and the part of an approval server that
// tells where it is.
type signInWorld struct {
	provider *op.Provider
	issuer   string
	server   string
	groups   atomic.Pointer[[]string] // that the server answers; nil: it does not
}

func newSignInWorld(t *testing.T) *signInWorld {
	t.Helper()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the provider's library logs through it
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &signInWorld{issuer: "http://" + ln.Addr().String()}
	if w.provider, err = op.New(op.Options{Issuer: w.issuer}); err != nil {
		t.Fatal(err)
	}
	idp := &httptest.Server{Listener: ln, Config: &http.Server{Handler: w.provider.Handler(), ReadHeaderTimeout: time.Second}}
	idp.Start()
	t.Cleanup(idp.Close)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if groups := w.groups.Load(); r.URL.Path == "/v1/whoami" && groups != nil {
			_ = json.NewEncoder(rw).Encode(map[string]any{"principal": map[string]any{"issuer": w.issuer, "subject": "bob", "groups": *groups}, "admin": false})
			return
		}
		if r.URL.Path != "/v1/config" {
			http.NotFound(rw, r)
			return
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"issuer": w.issuer, "client_id": op.DefaultClientID,
			"scopes": []string{"openid", "profile", "email", "groups", "offline_access"}, "audience": []string{op.DefaultClientID}})
	}))
	t.Cleanup(server.Close)
	w.server = server.URL
	return w
}

// typist reads what is printed and, once a code is shown, decides about it.
type typist struct {
	mu     sync.Mutex // guards text
	text   bytes.Buffer
	once   sync.Once
	decide func(code string)
}

var shownCode = regexp.MustCompile(`Enter  ([A-Z]{4}-[A-Z]{4})`)

func (ty *typist) Write(p []byte) (int, error) {
	ty.mu.Lock()
	defer ty.mu.Unlock()
	ty.text.Write(p)
	if m := shownCode.FindStringSubmatch(ty.text.String()); m != nil {
		ty.once.Do(func() { go ty.decide(m[1]) })
	}
	return len(p), nil
}

func (ty *typist) String() string {
	ty.mu.Lock()
	defer ty.mu.Unlock()
	return ty.text.String()
}

// signInApp is a user without a terminal and without a keyring.
func signInApp(t *testing.T, decide func(code string)) (*App, *bytes.Buffer, *typist) {
	t.Helper()
	var out bytes.Buffer
	errs := &typist{decide: decide}
	dir := t.TempDir()
	env := map[string]string{"JIT_SECRETS": "memory"}
	return &App{In: strings.NewReader(""), Out: &out, Err: errs, Getenv: func(k string) string { return env[k] }, Now: time.Now,
		Logger: slog.New(slog.DiscardHandler), Paths: Paths{Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state")}}, &out, errs
}

func runCommand(t *testing.T, a *App, c *cobra.Command, args ...string) ExitCode {
	t.Helper()
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(args)
	c.SetOut(io.Discard)
	c.SetErr(io.Discard)
	return a.report(c.ExecuteContext(t.Context()))
}

func TestLoginWhoamiLogout(t *testing.T) {
	w := newSignInWorld(t)
	a, out, errs := signInApp(t, func(code string) {
		if err := w.provider.Approve(context.Background(), code, "bob"); err != nil {
			t.Errorf("approving: %v", err)
		}
	})
	a.server = w.server
	if code := runCommand(t, a, newLoginCommand(a)); code != ExitOK {
		t.Fatalf("login: exit %d\n%s", code, errs)
	}
	for _, want := range []string{w.issuer + "/device", "Signed in as bob@example.test (approvers, jit-admins).", "ends with this command"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("login does not say %q:\n%s", want, errs)
		}
	}
	if out.Len() != 0 {
		t.Errorf("login writes to stdout: %s", out)
	}
	cfg, err := a.loadConfig()
	if err != nil || cfg.Server != w.server || cfg.Issuer != w.issuer || cfg.ClientID != op.DefaultClientID {
		t.Errorf("config %+v, %v", cfg, err)
	}

	if code := runCommand(t, a, newWhoamiCommand(a), "--json"); code != ExitOK {
		t.Fatalf("whoami: exit %d\n%s", code, errs)
	}
	var who whoamiOutput
	if err := json.Unmarshal(out.Bytes(), &who); err != nil || who.Email != "bob@example.test" || who.Issuer != w.issuer ||
		who.Kept != "memory" || !slices.Equal(who.Groups, []string{"approvers", "jit-admins"}) || !who.Expires.After(time.Now()) {
		t.Errorf("whoami --json: %s, %v", out, err)
	}
	out.Reset()
	if code := runCommand(t, a, newWhoamiCommand(a)); code != ExitOK || !strings.Contains(out.String(), "approvers, jit-admins") {
		t.Errorf("whoami: exit %d, %s", code, out)
	}

	if who.GroupsFrom != "token" || !strings.Contains(errs.String(), "The server cannot be asked") {
		t.Errorf("without the server's answer: from %q\n%s", who.GroupsFrom, errs)
	}
	w.groups.Store(&[]string{"from-realm-roles"})
	out.Reset()
	if code := runCommand(t, a, newWhoamiCommand(a), "--json"); code != ExitOK || json.Unmarshal(out.Bytes(), &who) != nil ||
		who.GroupsFrom != "server" || !slices.Equal(who.Groups, []string{"from-realm-roles"}) {
		t.Errorf("whoami does not show the groups as the server understands them: exit %d, %s", code, out)
	}

	if code := runCommand(t, a, newLogoutCommand(a)); code != ExitOK || !strings.Contains(errs.String(), "Signed out.") {
		t.Errorf("logout: exit %d\n%s", code, errs)
	}
	if code := runCommand(t, a, newWhoamiCommand(a)); code != ExitSignIn || !strings.Contains(errs.String(), "Run `jit login`.") {
		t.Errorf("whoami afterwards: exit %d, want %d\n%s", code, ExitSignIn, errs)
	}
	if code := runCommand(t, a, newLogoutCommand(a)); code != ExitOK || !strings.Contains(errs.String(), "Nobody is signed in.") {
		t.Errorf("logout again: exit %d\n%s", code, errs)
	}
}

func TestLoginFails(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		w := newSignInWorld(t)
		a, _, errs := signInApp(t, func(code string) { _ = w.provider.Deny(context.Background(), code, "bob") })
		a.server = w.server
		if code := runCommand(t, a, newLoginCommand(a)); code != ExitDenied {
			t.Errorf("exit %d, want %d\n%s", code, ExitDenied, errs)
		}
		if _, err := os.Stat(a.configFile()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a refused sign-in changed the config: %v", err)
		}
	})
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>hello") }))
	t.Cleanup(page.Close)
	elsewhere := httptest.NewServer(http.RedirectHandler(page.URL, http.StatusFound))
	t.Cleanup(elsewhere.Close)
	down := httptest.NewServer(nil)
	down.Close()
	for _, tc := range []struct {
		name, server string
		args         []string
		code         ExitCode
		says         string
	}{
		{"no server", "", nil, ExitSignIn, "jit login --server"},
		{"plain http", "http://jit.example.com", nil, ExitUsage, "https"},
		{"server down", down.URL, nil, ExitError, "unavailable"},
		{"not a jit server", page.URL, nil, ExitError, "is it a jit approval server?"},
		{"redirect", elsewhere.URL, nil, ExitError, "302"},
		{"wrong issuer", "", []string{"--issuer", page.URL, "--client-id", "x"}, ExitError, "no OpenID Connect discovery document"},
		{"issuer down", "", []string{"--issuer", down.URL, "--client-id", "x"}, ExitError, "unreachable"},
		{"issuer without client", "", []string{"--issuer", down.URL}, ExitUsage, "client-id"},
		{"issuer over plain http", "", []string{"--issuer", "http://idp.example", "--client-id", "x"}, ExitUsage, "https"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, _, errs := signInApp(t, func(string) { t.Error("a code was shown") })
			a.server = tc.server
			if code := runCommand(t, a, newLoginCommand(a), tc.args...); code != tc.code || !strings.Contains(errs.String(), tc.says) {
				t.Errorf("exit %d, want %d saying %q:\n%s", code, tc.code, tc.says, errs)
			}
		})
	}
}

func TestWhoamiNobody(t *testing.T) {
	a, out, errs := signInApp(t, func(string) { t.Error("a code was shown") })
	if code := runCommand(t, a, newWhoamiCommand(a), "--json"); code != ExitSignIn || out.Len() != 0 {
		t.Errorf("exit %d, want %d; stdout %q\n%s", code, ExitSignIn, out, errs)
	}
}
