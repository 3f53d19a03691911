package approval

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
	"github.com/jit-access/jit/session/secret"
)

// clock is the time of a test.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Now().UTC().Truncate(time.Second)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// issuer is a tiny OIDC issuer: discovery, keys, and whatever token a test asks
// for.
type issuer struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token",
			"id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) sign(t *testing.T, key any, claims map[string]any) string {
	t.Helper()
	alg := jose.ES256
	if _, ok := key.([]byte); ok {
		alg = jose.HS256
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k1"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(s).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (i *issuer) claims(p session.Principal, now time.Time) map[string]any {
	audience := clientID
	if p.Machine() {
		audience = machineAudience
	}
	return map[string]any{
		"iss": i.URL, "sub": p.Subject, "aud": audience, "email": p.Email, "groups": p.Groups,
		"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	}
}

// snowflake is the part of Snowflake that logins need, as package credential
// speaks it. It is a test double: it accepts one password, or token.
type snowflake struct {
	*httptest.Server
	password string

	mu     sync.Mutex
	n      int
	open   map[string]string // session token → master token
	logins []login
	gate   chan struct{} // not nil: a login waits here
	broken bool          // delete answers 503
}

type login struct {
	Role      string
	Warehouse string
	Data      struct {
		LoginName  string            `json:"LOGIN_NAME"`
		Password   string            `json:"PASSWORD"`
		Auth       string            `json:"AUTHENTICATOR"`
		Token      string            `json:"TOKEN"`
		Provider   string            `json:"PROVIDER"`
		Secondary  string            `json:"SECONDARY_ROLES"`
		Parameters map[string]string `json:"SESSION_PARAMETERS"`
	} `json:"data"`
}

func newSnowflake(t *testing.T, password string) *snowflake {
	t.Helper()
	sf := &snowflake{password: password, open: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /session/v1/login-request", sf.login)
	mux.HandleFunc("POST /session/token-request", sf.renew)
	mux.HandleFunc("POST /session", sf.delete)
	sf.Server = httptest.NewServer(mux)
	t.Cleanup(sf.Close)
	return sf
}

func answer(w http.ResponseWriter, code string, data any) {
	w.Header().Set("Content-Type", "application/json")
	env := map[string]any{"data": data, "code": nil, "message": nil, "success": code == ""}
	if code != "" {
		env["code"], env["message"], env["data"] = code, "Incorrect username or password was specified.", map[string]any{}
	}
	_ = json.NewEncoder(w).Encode(env)
}

func (sf *snowflake) login(w http.ResponseWriter, r *http.Request) {
	l := login{Role: r.URL.Query().Get("roleName"), Warehouse: r.URL.Query().Get("warehouse")}
	if err := json.NewDecoder(r.Body).Decode(&l); err != nil {
		answer(w, "390100", nil)
		return
	}
	sf.mu.Lock()
	gate := sf.gate
	sf.logins = append(sf.logins, l)
	sf.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if l.Data.Password+l.Data.Token != sf.password {
		answer(w, "390100", nil)
		return
	}
	token, master, n := sf.mint("")
	answer(w, "", map[string]any{
		"token": token, "masterToken": master, "validityInSeconds": 3600, "masterValidityInSeconds": 14400, "sessionId": n,
		"parameters": []map[string]any{{"name": "TIMEZONE", "value": "UTC"}}, "serverVersion": "9.0",
		"sessionInfo": map[string]any{"roleName": l.Role, "warehouseName": l.Warehouse},
	})
}

func (sf *snowflake) mint(old string) (token, master string, n int) {
	sf.mu.Lock()
	defer sf.mu.Unlock()
	delete(sf.open, old)
	sf.n++
	token, master = fmt.Sprintf("upstream-token-%d", sf.n), fmt.Sprintf("upstream-master-%d", sf.n)
	sf.open[token] = master
	return token, master, sf.n
}

func bearerOf(r *http.Request) string {
	return strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Authorization"), `Snowflake Token="`), `"`)
}

func (sf *snowflake) renew(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Old string `json:"oldSessionToken"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	sf.mu.Lock()
	master, ok := sf.open[in.Old]
	sf.mu.Unlock()
	if !ok || master != bearerOf(r) {
		answer(w, "390114", nil)
		return
	}
	token, master, n := sf.mint(in.Old)
	answer(w, "", map[string]any{"sessionToken": token, "validityInSecondsST": 3600, "masterToken": master, "validityInSecondsMT": 14400, "sessionId": n})
}

func (sf *snowflake) delete(w http.ResponseWriter, r *http.Request) {
	sf.mu.Lock()
	defer sf.mu.Unlock()
	if sf.broken {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	delete(sf.open, bearerOf(r))
	answer(w, "", nil)
}

func (sf *snowflake) count() int {
	sf.mu.Lock()
	defer sf.mu.Unlock()
	return len(sf.open)
}

func (sf *snowflake) lastLogin(t *testing.T) login {
	t.Helper()
	sf.mu.Lock()
	defer sf.mu.Unlock()
	if len(sf.logins) == 0 {
		t.Fatal("nobody logged in")
	}
	return sf.logins[len(sf.logins)-1]
}

// The planted secrets that must never be seen again.
const (
	plantedPassword = "PLANTED-p4ssw0rd-Xy7"
	clientID        = "jit-cli"
)

// world is a store, a server on it, and everything around them.
type world struct {
	t      *testing.T
	dir    string
	url    string // of a PostgreSQL database; empty: SQLite in dir
	change []func(*StoreConfig)
	clock  *clock
	idp    *issuer
	sf     *snowflake
	store  *Store
	server *Server
	web    *httptest.Server
	log    *logBuffer

	alice, dave, bob, carol, root, mallory session.Principal
}

func newWorld(t *testing.T, limits Limits) *world {
	t.Helper()
	return newWorldOn(t, "", limits)
}

// newWorldOn is a world on a PostgreSQL database, or on SQLite if there is none.
func newWorldOn(t *testing.T, databaseURL string, limits Limits, change ...func(*StoreConfig)) *world {
	t.Helper()
	w := &world{t: t, change: change, url: databaseURL, dir: filepath.Join(t.TempDir(), "data"), clock: newClock(), idp: newIssuer(t), sf: newSnowflake(t, plantedPassword), log: &logBuffer{}}
	w.open(limits)
	w.web = httptest.NewServer(w.server.Handler())
	t.Cleanup(w.web.Close)
	person := func(name string, groups ...string) session.Principal {
		return session.Principal{Issuer: w.idp.URL, Subject: name, Email: name + "@example.com", Groups: groups}
	}
	w.alice = person("alice", "analysts")
	w.dave = person("dave", "analysts", "jit-unattended")
	w.bob = person("bob", "jit-reviewers")
	w.carol = person("carol", "jit-reviewers", "security")
	w.root = person("root", DefaultAdminGroup)
	w.mallory = person("mallory", "analysts")
	w.addConnection("prod")
	return w
}

func (w *world) open(limits Limits) {
	w.t.Helper()
	cfg := StoreConfig{Dir: w.dir, Database: w.url, Policy: policy.Default(), Limits: limits, Now: w.clock.now, Logger: w.log.logger()}
	for _, change := range w.change {
		change(&cfg)
	}
	store, err := NewStore(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = store.Close() })
	server, err := NewServer(Config{Store: store, Issuer: w.idp.URL, ClientID: clientID, Version: "test", Logger: w.log.logger()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store, w.server = store, server
}

func (w *world) addConnection(name string) {
	w.t.Helper()
	_, err := w.store.As(w.root).AddConnection(w.t.Context(), Connection{
		Name: name, URL: w.sf.URL, Account: "acct", User: "JIT_SVC", Role: "ANALYST", Roles: []string{"ANALYST", "ACCOUNTADMIN"}, Warehouse: "WH",
	}, NewCredential{Kind: "password", Material: secret.New(plantedPassword)}, false)
	if err != nil {
		w.t.Fatal(err)
	}
}

// tokens is a TokenSource that signs a fresh ID token for every call.
type tokens struct {
	w *world
	p session.Principal
}

func (s tokens) Token(context.Context) (secret.Text, error) {
	return secret.New(s.w.idp.sign(s.w.t, s.w.idp.key, s.w.idp.claims(s.p, s.w.clock.now()))), nil
}

func (w *world) client(p session.Principal) *Client { return NewClient(w.web.URL, tokens{w, p}, nil) }

// run does the background work until the test ends.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.store.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

// eventually polls until cond holds; the deadline is generous, the property is
// checked by the caller where it matters.
func eventually(t *testing.T, within time.Duration, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(within); time.Now().Before(end); <-tick.C {
		if cond() {
			return
		}
	}
	t.Fatalf("not within %s: %s", within, what)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// side is one way to reach the store: on the spot, or over HTTP.
type side interface {
	person(p session.Principal) personSide
	broker(o session.Opened) brokerSide
}

type personSide interface {
	session.Desk
	session.Office
	Connections(ctx context.Context) ([]Connection, error)
	AddConnection(ctx context.Context, conn Connection, nc NewCredential, replace bool) (Connection, error)
	RemoveConnection(ctx context.Context, name string) error
	TestConnection(ctx context.Context, name string) (ConnectionTest, error)
	RotateConnection(ctx context.Context, name string, nc NewCredential) (ConnectionTest, error)
	Search(ctx context.Context, q Search) (Found, error)
	History(ctx context.Context, requestID string) ([]Statement, error)
	Emergencies(ctx context.Context, open bool) ([]Emergency, error)
	ReviewEmergency(ctx context.Context, requestID, text string) (Emergency, error)
	PushPolicy(ctx context.Context, data []byte) (string, error)
	DryRunPolicy(ctx context.Context, data []byte) (string, error)
}

type brokerSide interface {
	session.Desk
	session.Upstreams
	Session(ctx context.Context, id string) (session.Session, error)
}

type localSide struct{ w *world }

func (l localSide) person(p session.Principal) personSide { return l.w.store.As(p) }
func (l localSide) broker(o session.Opened) brokerSide {
	b, err := l.w.store.AsBroker(context.Background(), o.Token)
	if err != nil {
		l.w.t.Fatal(err)
	}
	return b
}

type httpSide struct{ w *world }

func (h httpSide) person(p session.Principal) personSide { return h.w.client(p) }
func (h httpSide) broker(o session.Opened) brokerSide {
	return h.w.client(session.Principal{}).ForBroker(o.Session.ID, o.Token)
}

// eachSide runs a test over the store itself and over HTTP, on each database.
func eachSide(t *testing.T, limits Limits, test func(t *testing.T, w *world, s side)) {
	for _, db := range []struct {
		name string
		url  func(testing.TB) string
	}{
		{"sqlite", func(testing.TB) string { return "" }},
		{"postgres", newPostgres},
	} {
		t.Run(db.name+"/local", func(t *testing.T) {
			w := newWorldOn(t, db.url(t), limits)
			test(t, w, localSide{w})
		})
		t.Run(db.name+"/http", func(t *testing.T) {
			w := newWorldOn(t, db.url(t), limits)
			test(t, w, httpSide{w})
		})
	}
}

func sessionSubmission() session.Submission {
	return session.Submission{
		Kind: session.RequestSession, Agent: session.Agent{Command: []string{"/usr/bin/claude", "--task"}, Host: "laptop", Version: "1"},
		Scope: session.Scope{Connection: "prod", TTL: time.Hour}, Reason: "monthly report",
	}
}

func recordingKey(t *testing.T) (skey secret.Text, vkey string) {
	t.Helper()
	skey, vkey, err := recording.NewKey("jit-session")
	if err != nil {
		t.Fatal(err)
	}
	return skey, vkey
}

// openSessionFor asks for, gets approved and opens a session.
func openSessionFor(t *testing.T, w *world, s side, p session.Principal) session.Opened {
	t.Helper()
	ctx := t.Context()
	r := must[session.Request](t)(s.person(p).Submit(ctx, sessionSubmission()))
	if r.State == session.StatePending {
		r = must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, session.Choice{Outcome: session.OutcomeApprove}))
	}
	_, vkey := recordingKey(t)
	return must[session.Opened](t)(s.person(p).Open(ctx, r.GrantID, vkey))
}

func heldCase(o session.Opened, text string) session.Submission {
	shape, err := sql.Shape(text)
	if err != nil || shape == "" {
		shape = text
	}
	return session.Submission{
		Kind: session.RequestStatement, Rule: "writes", RuleText: "Writes need a person.", Approvals: 1,
		Case: session.Case{
			SessionID: o.Session.ID, Canonical: text, Shape: shape, Kinds: []string{"DELETE"},
			Role: "ANALYST", Warehouse: "WH", Policy: o.Session.PolicyDigest,
		},
	}
}

// raw sends one HTTP request as written.
func (w *world) raw(method, path, token, contentType string, body io.Reader) (int, http.Header, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.web.URL+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := w.web.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func (w *world) token(p session.Principal) string {
	w.t.Helper()
	return must[secret.Text](w.t)(tokens{w, p}.Token(w.t.Context())).Reveal()
}
