package cmd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/jit-access/jit/session/approval"
	"github.com/jit-access/jit/session/identity/op"
)

// ci is an issuer of jobs' tokens.
type ci struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func newCI(t *testing.T) *ci {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &ci{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": c.URL, "jwks_uri": c.URL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "ci", Algorithm: "ES256", Use: "sig"}}})
	})
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	return c
}

func (c *ci) token(t *testing.T, audience, repository string) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: c.key}, (&jose.SignerOptions{}).WithHeader("kid", "ci"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	raw, err := jwt.Signed(s).Claims(map[string]any{
		"iss": c.URL, "aud": audience, "sub": "repo:" + repository + ":ref:refs/heads/main", "repository": repository, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A job asks with the token that its platform gives it; jit keeps none, shows
// none, and gives the child none.
func TestMachineIdentity(t *testing.T) {
	o := newOffice(t)
	bob := o.signIn("bob")
	bob.In = strings.NewReader(plantedPassword)
	bob.run(ExitOK, "connection", "add", "prod", "--account", "SANDBOX", "--url", o.upstream, "--user", "JIT_SVC", "--role", "ANALYST", "--password-file", "-")
	jobs := newCI(t)
	srv, err := approval.NewServer(approval.Config{Store: o.store, Issuer: o.provider.issuer, ClientID: op.DefaultClientID, Machines: []approval.MachineIdentity{
		{Name: "etl", Issuer: jobs.URL, Audience: "jit-ci", Match: map[string]string{"repository": "myorg/etl"}, Groups: []string{"analysts"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv.Handler())
	t.Cleanup(web.Close)

	a, out, errs := signInApp(t, func(string) { t.Error("a machine was asked to sign in") })
	tm := &seat{a, t, out, errs}
	token := jobs.token(t, "jit-ci", "myorg/etl")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}

	_, said := tm.run(ExitOK, "login", "--server", web.URL, "--identity", "file:"+file)
	if !strings.Contains(said, "the machine etl (analysts)") {
		t.Errorf("login said %s", said)
	}
	kept, err := os.ReadFile(a.configFile())
	if err != nil || !strings.Contains(string(kept), "identity: file:"+file) || strings.Contains(string(kept), token[:20]) {
		t.Errorf("the config file holds, with %v:\n%s", err, kept)
	}
	shown, _ := tm.run(ExitOK, "whoami", "--json")
	var who whoamiOutput
	if err := json.Unmarshal([]byte(shown), &who); err != nil || who.Subject != "etl" || who.Issuer != "machine" || who.Kept != "nowhere" {
		t.Errorf("whoami: %s", shown)
	}
	if r := tm.ask("nightly load"); r.Principal.ID() != "machine|etl" {
		t.Errorf("asked as %s", r.Principal.ID())
	}
	tm.run(ExitError, "policy", "push", t.TempDir()) // not even a bundle
	tm.run(ExitOK, "logout")
	tm.run(ExitSignIn, "whoami")

	if err := os.WriteFile(file, []byte(jobs.token(t, "jit-ci", "evil/etl")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, said = tm.run(ExitSignIn, "whoami", "--identity", "file:"+file)
	if !strings.Contains(said, "No rule") {
		t.Errorf("whoami of a stranger said %s", said)
	}
	_, said = tm.run(ExitUsage, "whoami", "--identity", token)
	if strings.Contains(said, token[:20]) {
		t.Errorf("a token as a flag is shown: %s", said)
	}

	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-secret")
	t.Setenv("THE_TOKEN", token)
	a.identity = "env:THE_TOKEN"
	if env := a.childEnv(Config{}); slices.ContainsFunc(env, func(e string) bool { return strings.Contains(e, token) || strings.Contains(e, "runner-secret") }) {
		t.Error("the child's environment holds the machine's token")
	}
}
