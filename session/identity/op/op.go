// Package op is a small OpenID Connect provider held in memory: the identity
// provider of `jit demo` and of tests. It is not for production.
//
// Invariants:
//
//  1. It serves plain http on loopback, or https; any other issuer is refused.
//  2. The only way to sign in is the device authorization grant (RFC 8628), the
//     only way to stay signed in a refresh token that is good for one use.
//     Presenting a used one ends its whole family.
//  3. A device code is redeemed at most once, and only for the user who
//     approved it with their own password.
//  4. Passwords and refresh tokens are kept as digests and compared in constant
//     time; nothing survives the process.
//
// Protocol: OpenID Connect Core and Discovery 1.0, RFC 8628 (device grant),
// RFC 7009 (revocation), served by zitadel/oidc.
package op

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/jit-access/jit/session/loopback"
	"github.com/jit-access/jit/session/secret"
)

// The errors of Approve and Deny.
var (
	ErrUnknownCode = errors.New("no such user code")
	ErrUnknownUser = errors.New("no such user")
	ErrExpiredCode = errors.New("the user code has expired")
	ErrSettledCode = errors.New("the user code was already used")
)

// DefaultClientID is the public client every provider knows unless Options
// lists others.
const DefaultClientID = "jit-cli"

// ScopeGroups asks for the groups claim.
const ScopeGroups = "groups"

// User is one person who can sign in.
type User struct {
	Name     string // login name, and the subject of their tokens
	Password secret.Text
	Email    string
	FullName string
	Groups   []string
}

// Client is one OAuth client. Without a Secret it is a public native client.
type Client struct {
	ID     string
	Secret secret.Text
}

// Options describes a provider. Zero durations take the defaults named.
type Options struct {
	Issuer  string // URL under which Handler is served
	Users   []User // none: DemoUsers
	Clients []Client

	DeviceLifetime  time.Duration // of a device code; 10 minutes
	PollInterval    time.Duration // 1 second; whole seconds
	IDTokenLifetime time.Duration // 10 minutes
	RefreshLifetime time.Duration // 12 hours
}

// DemoUsers are alice, who asks, and bob and carol, who decide. Each password
// is fresh; without it nobody can use the sign-in page, but Approve still works.
func DemoUsers() []User {
	user := func(name, full string, groups ...string) User {
		return User{Name: name, FullName: full, Email: name + "@example.test", Groups: groups, Password: secret.New(rand.Text())}
	}
	return []User{
		user("alice", "Alice Analyst", "analysts"),
		user("bob", "Bob Approver", "approvers", "jit-admins"),
		user("carol", "Carol Approver", "approvers"),
	}
}

// Provider is a running identity provider.
type Provider struct {
	store   *storage
	handler http.Handler
}

// New makes a provider. It listens nowhere: serve Handler under Options.Issuer.
func New(opt Options) (*Provider, error) {
	issuer, err := parseIssuer(opt.Issuer)
	if err != nil {
		return nil, err
	}
	setDefault(&opt.DeviceLifetime, 10*time.Minute)
	setDefault(&opt.PollInterval, time.Second)
	setDefault(&opt.IDTokenLifetime, 10*time.Minute)
	setDefault(&opt.RefreshLifetime, 12*time.Hour)
	if opt.PollInterval%time.Second != 0 {
		return nil, fmt.Errorf("poll interval %s: the protocol counts whole seconds", opt.PollInterval)
	}
	if len(opt.Users) == 0 {
		opt.Users = DemoUsers()
	}
	if len(opt.Clients) == 0 {
		opt.Clients = []Client{{ID: DefaultClientID}}
	}
	store, err := newStorage(opt)
	if err != nil {
		return nil, err
	}

	config := &op.Config{
		CryptoKeyId:           "access",
		AuthMethodPost:        true,
		GrantTypeRefreshToken: true,
		SupportedScopes:       supportedScopes(),
		SupportedClaims:       []string{"sub", "aud", "exp", "iat", "iss", "auth_time", "name", "preferred_username", "email", "email_verified", ScopeGroups},
		DeviceAuthorization: op.DeviceAuthorizationConfig{
			Lifetime:     opt.DeviceLifetime,
			PollInterval: opt.PollInterval,
			UserFormPath: devicePath,
			UserCode:     op.UserCodeBase20,
		},
	}
	if _, err := rand.Read(config.CryptoKey[:]); err != nil {
		return nil, fmt.Errorf("making the access token key: %w", err)
	}
	options := []op.Option{op.WithCORSOptions(nil)} // no browser script may call it
	if issuer.Scheme == "http" {
		options = append(options, op.WithAllowInsecure())
	}
	provider, err := op.NewProvider(config, store, op.StaticIssuer(opt.Issuer), options...)
	if err != nil {
		return nil, fmt.Errorf("making the identity provider: %w", err)
	}
	p := &Provider{store: store}
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.HandleFunc("GET "+devicePath, p.showForm)
	mux.HandleFunc("POST "+devicePath, p.submitForm)
	p.handler = guard(issuer.Host, mux)
	return p, nil
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

func supportedScopes() []string {
	return []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail, ScopeGroups, oidc.ScopeOfflineAccess}
}

// parseIssuer holds invariant 1. Paths are refused: the sign-in page stands at
// the root.
func parseIssuer(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("issuer %q must be a bare URL such as http://127.0.0.1:9400", s)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback.Host(u.Hostname())) {
		return nil, fmt.Errorf("issuer %q: plain http is for loopback only", s)
	}
	return u, nil
}

// Handler serves the provider.
func (p *Provider) Handler() http.Handler { return p.handler }

// Approve signs user in under a user code, as if they had used the page.
func (p *Provider) Approve(ctx context.Context, userCode, user string) error {
	return p.settle(ctx, userCode, user, true)
}

// Deny refuses the sign-in under a user code.
func (p *Provider) Deny(ctx context.Context, userCode, user string) error {
	return p.settle(ctx, userCode, user, false)
}

func (p *Provider) settle(ctx context.Context, userCode, user string, approve bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, ok := p.store.users[user]; !ok {
		return fmt.Errorf("signing in %q: %w", user, ErrUnknownUser)
	}
	return p.store.settle(userCode, user, approve)
}

// maxBody is more than any request of the protocol needs.
const maxBody = 64 << 10

// guard checks the Host (a page elsewhere cannot rebind its name to us) and
// bounds bodies.
func guard(host string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != host {
			http.Error(w, "wrong host", http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}
