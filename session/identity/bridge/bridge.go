// Package bridge lets people sign in by SAML where there is no OpenID Connect
// provider: it is a small OpenID Connect issuer with the device grant, whose
// sign-in page sends people to the company's SAML identity provider.
//
// Invariants:
//
//  1. A code is approved by a person who has just signed in, in the browser that
//     entered the code, who saw what they approve and pressed a button: a link
//     alone, or a response nobody asked for, approves nothing.
//  2. An assertion counts once, for the request it answers. It must be signed by
//     the provider's key, name this server as audience and recipient, and be
//     fresh. Encrypted assertions are not read.
//  3. Tokens live for minutes; refresh tokens are good once. Using one twice ends
//     the sign-in, for one of the two users of it stole it.
//  4. Codes and tokens are kept as digests, in memory: a restart ends sign-ins,
//     and with several servers a balancer must send one client to one server.
//
// Protocols: RFC 8628, RFC 6749 §6, OpenID Connect Core and Discovery 1.0; SAML
// 2.0 web browser SSO by github.com/crewjam/saml.
package bridge

import (
	"context"
	"crypto"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/crewjam/saml"

	"github.com/jit-access/jit/session/loopback"
)

// Key signs ID tokens.
type Key struct {
	ID     string
	Signer crypto.Signer // P-256
}

// Keys returns the keys in use, the one that signs first. The others are those
// whose tokens may still be around.
type Keys func(ctx context.Context) ([]Key, error)

// Config says where the issuer is and which provider it trusts.
type Config struct {
	Issuer   string // URL of this server, without a path
	ClientID string // of jit
	Metadata []byte // the SAML identity provider's
	// Names of the attributes; empty: "groups", "email", "name". Names and
	// friendly names both count.
	Groups, Email, Name string
	Keys                Keys
	// BehindProxy says that a proxy in front adds the addresses of clients to
	// X-Forwarded-For.
	BehindProxy bool
	Now         func() time.Time // nil: time.Now
	Logger      *slog.Logger     // nil: discard
}

const (
	codeLife   = 10 * time.Minute
	interval   = 5 * time.Second // between two polls
	tokenLife  = 10 * time.Minute
	signInLife = 10 * time.Hour // then SAML is asked again: groups may have changed
	maxSignIns = 100_000
	maxForm    = 512 << 10
)

// Bridge is the issuer.
type Bridge struct {
	cfg    Config
	sp     *saml.ServiceProvider
	sso    string
	log    *slog.Logger
	now    func() time.Time
	secure bool // cookies only over TLS

	mu      sync.Mutex // guards all below
	codes   map[digest]*code
	byUser  map[string]*code
	logins  map[digest]*login
	signIns map[digest]*signIn
	used    map[digest]*signIn // refresh tokens that were replaced
	guesses guesses
}

// New makes a Bridge. It does no I/O.
func New(cfg Config) (*Bridge, error) {
	u, err := url.Parse(cfg.Issuer)
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the public URL %q must be https://HOST without a path, to sign people in", cfg.Issuer)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback.Host(u.Hostname())) {
		return nil, fmt.Errorf("the public URL %q must be https (plain http is for loopback only)", cfg.Issuer)
	}
	idp := &saml.EntityDescriptor{}
	if err := xml.Unmarshal(cfg.Metadata, idp); err != nil || len(idp.IDPSSODescriptors) == 0 {
		return nil, errors.New("the SAML metadata cannot be read: give the identity provider's own XML file")
	}
	b := &Bridge{
		cfg: cfg, log: cfg.Logger, now: cfg.Now, secure: u.Scheme == "https",
		codes: map[digest]*code{}, byUser: map[string]*code{}, logins: map[digest]*login{}, signIns: map[digest]*signIn{}, used: map[digest]*signIn{},
	}
	if b.now == nil {
		b.now = time.Now
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	for to, name := range map[*string]string{&b.cfg.Groups: "groups", &b.cfg.Email: "email", &b.cfg.Name: "name"} {
		if *to == "" {
			*to = name
		}
	}
	b.sp = &saml.ServiceProvider{
		EntityID: cfg.Issuer + "/saml/metadata", MetadataURL: *u.JoinPath("saml", "metadata"), AcsURL: *u.JoinPath("saml", "acs"),
		IDPMetadata: idp, AuthnNameIDFormat: saml.PersistentNameIDFormat, AllowIDPInitiated: false,
	}
	if b.sso = b.sp.GetSSOBindingLocation(saml.HTTPRedirectBinding); b.sso == "" {
		return nil, errors.New("the SAML metadata names no sign-in by HTTP-Redirect")
	}
	if s, err := url.Parse(b.sso); err != nil || s.Scheme != "https" && (s.Scheme != "http" || !loopback.Host(s.Hostname())) {
		return nil, errors.New("the sign-in page in the SAML metadata must be https")
	}
	return b, nil
}

// Paths are what Handler serves, for whoever routes to it.
func Paths() []string {
	return []string{"/.well-known/openid-configuration", "/oauth/keys", "/oauth/device", "/oauth/token", "/device", "/device/confirm", "/saml/acs", "/saml/metadata"}
}

// Handler serves the issuer.
func (b *Bridge) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", b.discovery)
	mux.HandleFunc("GET /oauth/keys", b.publishKeys)
	mux.HandleFunc("POST /oauth/device", b.begin)
	mux.HandleFunc("POST /oauth/token", b.token)
	mux.HandleFunc("GET /device", b.showEntry)
	mux.HandleFunc("POST /device", b.enter)
	mux.HandleFunc("POST /saml/acs", b.consume)
	mux.HandleFunc("GET /saml/metadata", b.showMetadata)
	mux.HandleFunc("GET /device/confirm", b.showConfirm)
	mux.HandleFunc("POST /device/confirm", b.confirm)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		// Entering a code ends at the provider's page: browsers hold redirects
		// of a form against form-action too.
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self' "+origin(b.sso))
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		mux.ServeHTTP(w, r)
	})
}

func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
