package identity

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/jit-access/jit/session/secret"
)

// ErrWorkload means that this machine's own token could not be had.
var ErrWorkload = errors.New("no token of this machine")

// WorkloadKind says where a machine's token comes from. The zero value is invalid.
type WorkloadKind string

// The kinds of workload.
const (
	WorkloadGitHub WorkloadKind = "github" // asked of the runner, see GitHub's "OpenID Connect reference"
	WorkloadFile   WorkloadKind = "file"   // a file that the platform keeps fresh, such as Kubernetes' projected tokens
	WorkloadEnv    WorkloadKind = "env"    // a variable that the platform sets, such as GitLab's id_tokens
	WorkloadClient WorkloadKind = "client" // OAuth client credentials (RFC 6749 §4.4)
)

// The variables by which a GitHub runner says where its tokens are.
const (
	gitHubURL   = "ACTIONS_ID_TOKEN_REQUEST_URL"
	gitHubToken = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
)

// WorkloadSpec names where a machine's token comes from. It holds no secret: a
// secret is named by its file or variable.
type WorkloadSpec struct {
	Kind       WorkloadKind
	Name       string // of the file, the variable, or the client
	Audience   string // asked for; empty: WorkloadConfig.Audience
	Issuer     string // of a client; empty: WorkloadConfig.Issuer
	SecretFile string // of a client; this or SecretEnv
	SecretEnv  string
	Resource   string // of a client: RFC 8707
	Scope      string // of a client
}

// ParseWorkload reads the one-line form:
//
//	github[,audience:A]
//	file:PATH
//	env:NAME
//	client:ID,secret-file:PATH|secret-env:NAME[,issuer:URL][,audience:A][,resource:R][,scope:S]
func ParseWorkload(text string) (WorkloadSpec, error) {
	bad := func(format string, args ...any) (WorkloadSpec, error) {
		return WorkloadSpec{}, fmt.Errorf("the identity must be github, file:PATH, env:NAME or client:ID,secret-file:PATH: %s", fmt.Sprintf(format, args...))
	}
	parts := strings.Split(text, ",")
	kind, name, _ := strings.Cut(parts[0], ":")
	s := WorkloadSpec{Kind: WorkloadKind(kind), Name: name}
	allowed := map[string]*string{}
	switch s.Kind {
	case WorkloadGitHub:
		allowed["audience"] = &s.Audience
		if name != "" {
			return bad("github takes no name")
		}
	case WorkloadClient:
		allowed = map[string]*string{
			"secret-file": &s.SecretFile, "secret-env": &s.SecretEnv, "issuer": &s.Issuer, "audience": &s.Audience, "resource": &s.Resource, "scope": &s.Scope,
		}
	case WorkloadFile, WorkloadEnv:
	default:
		// Whoever pastes a token here must not find it in an error.
		return bad("this is none of them")
	}
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, ":")
		to := allowed[key]
		if to == nil || *to != "" || value == "" {
			return bad("%s cannot be read after %s", clean(key), kind)
		}
		*to = value
	}
	switch {
	case s.Kind != WorkloadGitHub && s.Name == "":
		return bad("%s: what?", kind)
	case s.Kind == WorkloadClient && (s.SecretFile == "") == (s.SecretEnv == ""):
		return bad("a client needs secret-file or secret-env")
	}
	return s, nil
}

// FormatWorkload is the inverse of ParseWorkload.
func FormatWorkload(s WorkloadSpec) string {
	text := string(s.Kind)
	if s.Name != "" {
		text += ":" + s.Name
	}
	for _, f := range []struct{ key, value string }{
		{"secret-file", s.SecretFile}, {"secret-env", s.SecretEnv}, {"issuer", s.Issuer}, {"audience", s.Audience}, {"resource", s.Resource}, {"scope", s.Scope},
	} {
		if f.value != "" {
			text += "," + f.key + ":" + f.value
		}
	}
	return text
}

// SecretVariables are the environment variables that hold secrets of this
// workload: a child must not get them.
func (s WorkloadSpec) SecretVariables() []string {
	switch s.Kind {
	case WorkloadEnv:
		return []string{s.Name}
	case WorkloadClient:
		if s.SecretEnv != "" {
			return []string{s.SecretEnv}
		}
	case WorkloadGitHub, WorkloadFile:
	}
	return nil
}

// RunnerVariables are the variables by which a child of a GitHub job could get
// the job's token by itself.
func RunnerVariables() []string { return []string{gitHubURL, gitHubToken} }

// WorkloadConfig is what NewWorkload needs.
type WorkloadConfig struct {
	Spec     WorkloadSpec
	Audience string // what to ask a token for, unless Spec says
	Issuer   string // of a client, unless Spec says
	Getenv   func(string) string
	HTTP     *http.Client // nil: a client with timeouts
}

// Workload gets the tokens of a machine. It is safe for concurrent use.
type Workload struct {
	cfg WorkloadConfig
	hc  *http.Client

	mu    sync.Mutex // held while a token is fetched: one at a time is enough
	token secret.Text
	renew time.Time // zero: ask each time
}

// NewWorkload makes a Workload. It does no I/O.
func NewWorkload(cfg WorkloadConfig) (*Workload, error) {
	if cfg.Spec.Audience == "" {
		cfg.Spec.Audience = cfg.Audience
	}
	if cfg.Spec.Issuer == "" {
		cfg.Spec.Issuer = cfg.Issuer
	}
	if cfg.Spec.Kind == WorkloadClient {
		if err := checkURL(cfg.Spec.Issuer); err != nil {
			return nil, fmt.Errorf("%w: issuer %w", ErrWorkload, err)
		}
	}
	return &Workload{cfg: cfg, hc: guardedClient(cfg.HTTP)}, nil
}

// Token returns a token that is good for at least some seconds. Errors match
// ErrWorkload or ErrUnreachable; none holds a secret.
func (w *Workload) Token(ctx context.Context) (secret.Text, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Before(w.renew) {
		return w.token, nil
	}
	raw, err := w.fetch(ctx)
	if err != nil {
		return secret.Text{}, err
	}
	claims, err := readClaims(raw)
	if err != nil {
		return secret.Text{}, fmt.Errorf("%w: %s holds no signed token (JWT)", ErrWorkload, w.from())
	}
	expires := time.Unix(claims.Expires, 0)
	if !now.Before(expires) {
		return secret.Text{}, fmt.Errorf("%w: the one of %s expired at %s; is it kept fresh, and this machine's clock right?", ErrWorkload, w.from(), expires.UTC().Format(time.RFC3339))
	}
	w.token, w.renew = secretOf(raw), time.Time{}
	if w.cfg.Spec.Kind == WorkloadGitHub || w.cfg.Spec.Kind == WorkloadClient { // files are read each time: they change
		w.renew = expires.Add(-min(time.Minute, expires.Sub(now)/4))
	}
	return w.token, nil
}

func (w *Workload) from() string {
	switch s := w.cfg.Spec; s.Kind {
	case WorkloadFile:
		return s.Name
	case WorkloadEnv:
		return "$" + s.Name
	case WorkloadClient:
		return s.Issuer
	default:
		return "the GitHub runner"
	}
}

func (w *Workload) fetch(ctx context.Context) (string, error) {
	s := w.cfg.Spec
	switch s.Kind {
	case WorkloadFile:
		return readToken(s.Name)
	case WorkloadEnv:
		if v := w.cfg.Getenv(s.Name); v != "" {
			return v, nil
		}
		return "", fmt.Errorf("%w: $%s is empty", ErrWorkload, s.Name)
	case WorkloadGitHub:
		return w.fetchGitHub(ctx)
	case WorkloadClient:
		return w.fetchClient(ctx)
	default:
		return "", fmt.Errorf("%w: unknown kind of workload", ErrWorkload)
	}
}

// readToken reads a token or secret from a file, without the line break at its end.
func readToken(file string) (string, error) {
	f, err := os.Open(file) //nolint:gosec // named by whoever runs this machine
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrWorkload, err)
	}
	defer f.Close() //nolint:errcheck // only read
	const most = 64 << 10
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrWorkload, err)
	}
	text := strings.TrimSpace(string(b))
	if len(b) > most || text == "" {
		return "", fmt.Errorf("%w: %s must have 1 to %d bytes", ErrWorkload, file, most)
	}
	return text, nil
}

// fetchGitHub asks the runner: GET URL&audience=A with the runner's own bearer
// token, answered with {"value": JWT}.
func (w *Workload) fetchGitHub(ctx context.Context) (string, error) {
	at, bearer := w.cfg.Getenv(gitHubURL), w.cfg.Getenv(gitHubToken)
	if at == "" || bearer == "" {
		return "", fmt.Errorf("%w: $%s is not set: give the job the permission id-token: write", ErrWorkload, gitHubURL)
	}
	u, err := url.Parse(at)
	if err == nil {
		err = checkURL(at)
	}
	if err != nil {
		return "", fmt.Errorf("%w: $%s is not an https URL", ErrWorkload, gitHubURL)
	}
	q := u.Query()
	q.Set("audience", w.cfg.Spec.Audience)
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", fmt.Errorf("%w: $%s is not a URL", ErrWorkload, gitHubURL)
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	r.Header.Set("Accept", "application/json")
	hc := *w.hc
	hc.CheckRedirect = func(*http.Request, []*http.Request) error {
		return errors.New("refusing to follow a redirect with a secret")
	}
	resp, err := hc.Do(r)
	if err != nil {
		return "", answerError(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read whole already
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%w: the GitHub runner answered with HTTP status %d", ErrWorkload, resp.StatusCode)
	}
	var answer struct {
		Value string `json:"value"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Value == "" {
		return "", fmt.Errorf("%w: the GitHub runner's answer holds none", ErrWorkload)
	}
	return answer.Value, nil
}

// fetchClient gets an access token for the client itself.
func (w *Workload) fetchClient(ctx context.Context) (string, error) {
	s := w.cfg.Spec
	var clientSecret string
	if s.SecretFile != "" {
		var err error
		if clientSecret, err = readToken(s.SecretFile); err != nil {
			return "", err
		}
	} else if clientSecret = w.cfg.Getenv(s.SecretEnv); clientSecret == "" {
		return "", fmt.Errorf("%w: $%s is empty", ErrWorkload, s.SecretEnv)
	}
	ctx = oidc.ClientContext(ctx, w.hc)
	p, err := oidc.NewProvider(ctx, s.Issuer)
	if err != nil {
		return "", fmt.Errorf("%w: %s serves no OpenID Connect discovery document that can be used", ErrUnreachable, s.Issuer)
	}
	if err := checkURL(p.Endpoint().TokenURL); err != nil {
		return "", fmt.Errorf("%w: the token endpoint of %s: %w", ErrIssuer, s.Issuer, err)
	}
	cfg := clientcredentials.Config{
		ClientID: s.Name, ClientSecret: clientSecret, TokenURL: p.Endpoint().TokenURL, AuthStyle: oauth2.AuthStyleInHeader, EndpointParams: url.Values{},
	}
	var supported struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if p.Claims(&supported) == nil && len(supported.Methods) == 1 && supported.Methods[0] == "client_secret_post" {
		cfg.AuthStyle = oauth2.AuthStyleInParams
	}
	if s.Scope != "" {
		cfg.Scopes = strings.Fields(s.Scope)
	}
	switch { // issuers differ in which of the two they take
	case s.Resource != "":
		cfg.EndpointParams.Set("resource", s.Resource)
	default:
		cfg.EndpointParams.Set("audience", s.Audience)
	}
	token, err := cfg.Token(ctx)
	if err = answerError(ctx, err); err != nil {
		return "", fmt.Errorf("%w: client %s: %w", ErrWorkload, s.Name, err)
	}
	return token.AccessToken, nil
}

type workloadClaims struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	Expires int64  `json:"exp"`
}

// readClaims reads a token that nobody here verifies: the server does.
func readClaims(raw string) (workloadClaims, error) {
	parts := strings.Split(raw, ".")
	var c workloadClaims
	if len(parts) != 3 {
		return c, errors.New("not a JWT")
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, errors.New("not a JWT")
	}
	var floating struct {
		workloadClaims
		Expires float64 `json:"exp"` // RFC 7519 allows a fraction
	}
	if err := json.Unmarshal(body, &floating); err != nil {
		return c, errors.New("not a JWT")
	}
	c = floating.workloadClaims
	c.Expires = int64(floating.Expires)
	return c, nil
}
