package identity_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session/identity"
)

func TestParseWorkload(t *testing.T) {
	for _, text := range []string{
		"github", "github,audience:https://jit.example.com", "file:/var/run/secrets/tokens/jit", "env:JIT_ID_TOKEN",
		"client:ci-bot,secret-file:/etc/jit/secret", "client:ci-bot,secret-env:BOT_SECRET,issuer:https://idp.example.com,audience:a,resource:r,scope:x y",
	} {
		s, err := identity.ParseWorkload(text)
		if err != nil || identity.FormatWorkload(s) != text {
			t.Errorf("%s: got %s, %v", text, identity.FormatWorkload(s), err)
		}
	}
	for _, text := range []string{
		"", "gitlab", "github:x", "github,scope:x", "file:", "file", "env:", "client:", "client:x", "client:x,secret-file:a,secret-env:b",
		"client:x,secret:hunter2", "client:x,secret-file:", "client:x,secret-file:a,secret-file:b", "eyJhbGciOiJub25lIn0.e30.x", "file:a,audience:b",
	} {
		if s, err := identity.ParseWorkload(text); err == nil {
			t.Errorf("%q is read as %+v", text, s)
		} else if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%q: the error shows it: %v", text, err)
		}
	}
}

// unsigned is a token nobody signed: the client reads only when it ends.
func unsigned(expires time.Time) string {
	body, _ := json.Marshal(map[string]any{"iss": "https://ci.example.com", "sub": "job", "exp": expires.Unix()})
	return "e30." + base64.RawURLEncoding.EncodeToString(body) + ".c2ln"
}

func workload(t *testing.T, text string, env map[string]string) *identity.Workload {
	t.Helper()
	spec, err := identity.ParseWorkload(text)
	if err != nil {
		t.Fatal(err)
	}
	w, err := identity.NewWorkload(identity.WorkloadConfig{Spec: spec, Audience: "https://jit.example.com", Getenv: func(k string) string { return env[k] }})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWorkloadFileAndVariable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	w := workload(t, "file:"+file, nil)
	wantRefused := func(what string) {
		t.Helper()
		if _, err := w.Token(t.Context()); !errors.Is(err, identity.ErrWorkload) {
			t.Errorf("%s: %v", what, err)
		} else if strings.Contains(err.Error(), "c2ln") {
			t.Errorf("%s: the error shows the token: %v", what, err)
		}
	}
	wantToken := func(what, want string) {
		t.Helper()
		if got, err := w.Token(t.Context()); err != nil || got.Reveal() != want {
			t.Errorf("%s: got %v", what, err)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wantRefused("no file")
	write("")
	wantRefused("an empty file")
	write(unsigned(time.Now().Add(-time.Minute)))
	wantRefused("a stale file")
	write("not.a.token")
	wantRefused("something else")
	first, second := unsigned(time.Now().Add(time.Hour)), unsigned(time.Now().Add(2*time.Hour))
	write(first + "\n")
	wantToken("a token", first)
	write(second)
	wantToken("the token that replaced it", second)

	w = workload(t, "env:THE_TOKEN", nil)
	wantRefused("no variable")
	w = workload(t, "env:THE_TOKEN", map[string]string{"THE_TOKEN": first})
	wantToken("a variable", first)
	spec, _ := identity.ParseWorkload("env:THE_TOKEN")
	if !slices.Contains(spec.SecretVariables(), "THE_TOKEN") {
		t.Error("a child would get $THE_TOKEN")
	}
}

// The runner is scripted after GitHub's documentation of its OpenID Connect
// provider; the real one is to be had in a GitHub job only.
func TestWorkloadGitHub(t *testing.T) {
	asked, answer, status := 0, unsigned(time.Now().Add(time.Hour)), http.StatusOK
	runner := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked++
		if r.Method != http.MethodGet || r.Header.Get("Authorization") != "Bearer runner-secret" ||
			r.URL.Query().Get("audience") != "https://jit.example.com" || r.URL.Query().Get("api-version") != "2" {
			t.Errorf("asked with %s %s", r.Method, r.URL)
		}
		rw.WriteHeader(status)
		_, _ = fmt.Fprintf(rw, `{"count":1,"value":%q}`, answer)
	}))
	defer runner.Close()
	env := map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": runner.URL + "/idtoken?api-version=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner-secret"}
	w := workload(t, "github", env)
	for range 3 {
		if got, err := w.Token(t.Context()); err != nil || got.Reveal() != answer {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times for a token that is good for an hour", asked)
	}
	refused := func(what string, env map[string]string, want error) {
		t.Helper()
		_, err := workload(t, "github", env).Token(t.Context())
		if !errors.Is(err, want) || strings.Contains(err.Error(), "runner-secret") {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("no permission", nil, identity.ErrWorkload)
	refused("a runner in the clear elsewhere", map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": "http://runner.example.com/", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner-secret"}, identity.ErrWorkload)
	status = http.StatusForbidden
	refused("a runner that refuses", env, identity.ErrWorkload)
	status, answer = http.StatusOK, ""
	refused("a runner without a token", env, identity.ErrWorkload)
	runner.Close()
	refused("a runner that is gone", env, identity.ErrUnreachable)

	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Error("the runner's token went elsewhere") }))
	defer elsewhere.Close()
	turn := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer turn.Close()
	refused("a runner that sends us on", map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": turn.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner-secret"}, identity.ErrUnreachable)
}

func TestWorkloadClient(t *testing.T) {
	var form string
	mux := http.NewServeMux()
	idp := httptest.NewServer(mux)
	defer idp.Close()
	token := unsigned(time.Now().Add(time.Hour))
	mux.HandleFunc("/.well-known/openid-configuration", func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(map[string]any{"issuer": idp.URL, "token_endpoint": idp.URL + "/token", "jwks_uri": idp.URL + "/keys"})
	})
	mux.HandleFunc("/token", func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		form = r.PostForm.Encode()
		rw.Header().Set("Content-Type", "application/json")
		if id, pw, _ := r.BasicAuth(); id != "ci-bot" || pw != "client-secret-1" {
			rw.WriteHeader(http.StatusUnauthorized)
			_, _ = rw.Write([]byte(`{"error":"invalid_client","error_description":"no such client"}`))
			return
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
	})
	env := map[string]string{"BOT_SECRET": "client-secret-1", "WRONG": "client-secret-2"}
	got, err := workload(t, "client:ci-bot,secret-env:BOT_SECRET,issuer:"+idp.URL, env).Token(context.Background())
	if err != nil || got.Reveal() != token || form != "audience=https%3A%2F%2Fjit.example.com&grant_type=client_credentials" {
		t.Errorf("asked %s: %v", form, err)
	}
	_, err = workload(t, "client:ci-bot,secret-env:BOT_SECRET,resource:r,scope:x y,issuer:"+idp.URL, env).Token(context.Background())
	if err != nil || form != "grant_type=client_credentials&resource=r&scope=x+y" {
		t.Errorf("asked %s: %v", form, err)
	}
	_, err = workload(t, "client:ci-bot,secret-env:WRONG,issuer:"+idp.URL, env).Token(context.Background())
	if !errors.Is(err, identity.ErrWorkload) || !strings.Contains(err.Error(), "invalid_client") || strings.Contains(err.Error(), "client-secret") {
		t.Errorf("a wrong secret: %v", err)
	}
}
