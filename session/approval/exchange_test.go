package approval

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jit-access/jit/broker/credential"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// authorisation is an OAuth token endpoint whose refresh tokens are good once,
// and whose second use ends the whole family, as providers with rotation do.
type authorisation struct {
	*httptest.Server
	life time.Duration

	mu      sync.Mutex
	n       int
	refresh string
	asked   int
	reused  bool
	broken  bool
}

const plantedClientSecret = "PLANTED-client-secret-3f"

func newAuthorisation(t *testing.T, life time.Duration) *authorisation {
	t.Helper()
	a := &authorisation{life: life, refresh: "PLANTED-refresh-0"}
	a.Server = httptest.NewServer(http.HandlerFunc(a.token))
	t.Cleanup(a.Close)
	return a
}

func (a *authorisation) token(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	w.Header().Set("Content-Type", "application/json")
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": "sent " + r.PostFormValue("refresh_token") + " " + plantedClientSecret})
	}
	id, pw, _ := r.BasicAuth()
	switch {
	case a.broken:
		refuse(http.StatusBadRequest, "temporarily_unavailable")
		return
	case id != "jit-server" || pw != plantedClientSecret:
		refuse(http.StatusUnauthorized, "invalid_client")
		return
	}
	answer := map[string]any{"token_type": "Bearer", "expires_in": int(a.life.Seconds())}
	if r.PostFormValue("grant_type") == "refresh_token" {
		if r.PostFormValue("refresh_token") != a.refresh || a.reused {
			a.reused = true
			refuse(http.StatusBadRequest, "invalid_grant")
			return
		}
		a.refresh = fmt.Sprintf("PLANTED-refresh-%d", a.n+1)
		answer["refresh_token"] = a.refresh
	}
	a.n++
	answer["access_token"] = plantedPassword // what this test's Snowflake takes
	_ = json.NewEncoder(w).Encode(answer)
}

func (a *authorisation) add(t *testing.T, w *world, kind string) error {
	t.Helper()
	e := credential.OAuthExchange{TokenURL: a.URL + "/token", ClientID: "jit-server", ClientSecret: secret.New(plantedClientSecret), Scope: "session:role:ANALYST"}
	if kind == credential.KindOAuthRefresh {
		e.RefreshToken = secret.New(a.refresh)
	}
	_, err := w.store.As(w.root).AddConnection(t.Context(), Connection{Name: "prod", URL: w.sf.URL, Account: "acct", User: "JIT_SVC", Role: "ANALYST", Warehouse: "WH"},
		NewCredential{Kind: kind, Material: credential.FormatOAuthExchange(e)}, true)
	return err
}

// Refresh tokens that rotate: whatever logs in at once, on whichever server, each
// is used once, and its successor is stored before the login.
func TestRotatingRefreshToken(t *testing.T) {
	for _, db := range []string{"sqlite", "postgres"} {
		t.Run(db, func(t *testing.T) {
			url := ""
			if db == "postgres" {
				url = newPostgres(t)
			}
			w := newWorldOn(t, url, Limits{})
			a := newAuthorisation(t, time.Hour)
			if err := a.add(t, w, credential.KindOAuthRefresh); err != nil {
				t.Fatal(err)
			}
			second, err := NewStore(StoreConfig{Dir: w.dir, Database: w.url, Now: w.clock.now})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = second.Close() })
			for range 3 {
				var wg sync.WaitGroup
				for i := range 8 {
					store := []*Store{w.store, second}[i%2]
					wg.Go(func() {
						if _, err := store.As(w.root).TestConnection(t.Context(), "prod"); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				w.clock.advance(2 * time.Hour) // the access token is over
			}
			if a.asked != 3 || a.reused {
				t.Errorf("%d exchanges for 24 logins in three access tokens' time, one refresh token used twice: %v", a.asked, a.reused)
			}
			// A sign-in that is over says so, without what was sent.
			a.mu.Lock()
			a.refresh = "another"
			a.mu.Unlock()
			_, err = w.store.As(w.root).TestConnection(t.Context(), "prod")
			wantErr(t, err, session.ErrUpstream)
			if !strings.Contains(err.Error(), "invalid_grant") || strings.Contains(err.Error(), "PLANTED") {
				t.Errorf("said %v", err)
			}
			if strings.Contains(w.log.text(), "PLANTED") {
				t.Error("the log holds a secret")
			}
		})
	}
}

func TestOAuthClientCredentials(t *testing.T) {
	w := newWorld(t, Limits{})
	a := newAuthorisation(t, 10*time.Minute)
	if err := a.add(t, w, credential.KindOAuthClient); err != nil {
		t.Fatal(err)
	}
	o := openSessionFor(t, w, localSide{w}, w.dave)
	must[session.Upstream](t)(localSide{w}.broker(o).OpenUpstream(t.Context()))
	must[session.Upstream](t)(localSide{w}.broker(o).OpenUpstream(t.Context()))
	if a.asked != 1 {
		t.Errorf("asked %d times", a.asked)
	}
	l := w.sf.lastLogin(t)
	if l.Data.Auth != "OAUTH" || l.Data.Token != plantedPassword || l.Data.Password != "" {
		t.Errorf("logged in with %+v", l.Data)
	}
	w.clock.advance(9 * time.Minute)
	a.broken = true
	_, err := localSide{w}.broker(o).OpenUpstream(t.Context())
	wantErr(t, err, session.ErrUpstream)
	if strings.Contains(err.Error(), "PLANTED") {
		t.Errorf("said %v", err)
	}
	a.broken = false
	must[session.Upstream](t)(localSide{w}.broker(o).OpenUpstream(t.Context()))
}

// A server that dies in the middle of an exchange keeps the others waiting for a
// minute at most, and one that has to wait says so to nobody.
func TestTurnEndsByItself(t *testing.T) {
	w := newWorld(t, Limits{})
	a := newAuthorisation(t, time.Hour)
	if err := a.add(t, w, credential.KindOAuthRefresh); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.takeTurn(t.Context(), "prod"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := w.store.As(w.root).TestConnection(t.Context(), "prod")
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("took no turn: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	w.clock.advance(turnLife)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWorkloadIdentityToken(t *testing.T) {
	w := newWorld(t, Limits{})
	file := filepath.Join(t.TempDir(), "token")
	add := func() error {
		_, err := w.store.As(w.root).AddConnection(t.Context(), Connection{Name: "prod", URL: w.sf.URL, Account: "acct", Role: "ANALYST"},
			NewCredential{Kind: credential.KindWorkload, Material: credential.FormatWorkloadIdentity("oidc", file)}, true)
		return err
	}
	if err := add(); err != nil {
		t.Fatal(err)
	}
	write := func(audience string) string {
		t.Helper()
		body, _ := json.Marshal(map[string]any{"aud": audience, "sub": "system:serviceaccount:jit:server"})
		token := "e30." + base64.RawURLEncoding.EncodeToString(body) + ".c2ln"
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return token
	}
	token := write("snowflakecomputing.com")
	w.sf.password = token
	if _, err := w.store.As(w.root).TestConnection(t.Context(), "prod"); err != nil {
		t.Fatal(err)
	}
	if l := w.sf.lastLogin(t); l.Data.Auth != "WORKLOAD_IDENTITY" || l.Data.Provider != "OIDC" || l.Data.Token != token {
		t.Errorf("logged in with %+v", l.Data)
	}
	n := len(w.sf.logins)
	write("https://kubernetes.default.svc") // a token for somebody else, and other files, stay here
	_, err := w.store.As(w.root).TestConnection(t.Context(), "prod")
	wantErr(t, err, session.ErrUpstream)
	if err := os.WriteFile(file, []byte("root:x:0:0"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = w.store.As(w.root).TestConnection(t.Context(), "prod")
	wantErr(t, err, session.ErrUpstream)
	if len(w.sf.logins) != n {
		t.Error("a file that is no token for Snowflake was sent to it")
	}
}

// Client secret, refresh tokens old and new, and access token are in no answer
// of any operation that reads, to anybody, nor in the log or on disk.
func TestAttackExchangedCredentialIsNeverReadable(t *testing.T) {
	w := newWorld(t, Limits{})
	a := newAuthorisation(t, time.Hour)
	if err := a.add(t, w, credential.KindOAuthRefresh); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, w) // logs in
	if a.asked != 1 {
		t.Fatalf("%d exchanges", a.asked)
	}
	auditor := session.Principal{Issuer: w.idp.URL, Subject: "audrey", Groups: []string{DefaultAuditorGroup}}
	planted := []string{plantedPassword, plantedClientSecret, "PLANTED-refresh-0", "PLANTED-refresh-1"}
	for path, item := range w.server.api.OpenAPI().Paths {
		if item.Get == nil || path == "/v1/events" {
			continue
		}
		for who, token := range map[string]string{
			"root": w.token(w.root), "alice": w.token(w.alice), "bob": w.token(w.bob), "auditor": w.token(auditor), "broker": f.open.Token.Reveal(), "nobody": "",
		} {
			_, _, body := w.raw("GET", f.path(path), token, "", nil)
			for _, p := range planted {
				if strings.Contains(body, p) {
					t.Errorf("GET %s shows %s to %s", path, p, who)
				}
			}
		}
	}
	for _, p := range planted {
		if strings.Contains(w.log.text(), p) {
			t.Errorf("%s is in the log", p)
		}
	}
	// The one piece of a recording holds what the fixture uploaded.
	if err := os.RemoveAll(filepath.Join(w.dir, "recordings")); err != nil {
		t.Fatal(err)
	}
	grepDir(t, w.dir, planted)
	if err := w.store.Close(); err != nil { // and once the WAL is folded in
		t.Fatal(err)
	}
	grepDir(t, w.dir, planted)
}
