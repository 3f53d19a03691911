package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// issuer is what discovery told about an identity provider.
type issuer struct {
	oauth      oauth2.Config
	verifier   *oidc.IDTokenVerifier
	revocation string // endpoint; empty if it has none
}

// metadata are the discovery fields go-oidc does not expose.
type metadata struct {
	Device      string   `json:"device_authorization_endpoint"`
	Revocation  string   `json:"revocation_endpoint"`
	JWKS        string   `json:"jwks_uri"`
	Scopes      []string `json:"scopes_supported"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
}

// discover returns the issuer, asking it the first time.
func (s *Source) discover(ctx context.Context) (*issuer, error) {
	if s.issuer != nil {
		return s.issuer, nil
	}
	provider, err := oidc.NewProvider(s.httpContext(ctx), s.cfg.Issuer)
	if err != nil {
		return nil, s.discoveryError(ctx, err)
	}
	var m metadata
	if err := provider.Claims(&m); err != nil {
		return nil, fmt.Errorf("%w: the discovery document of %s is malformed", ErrIssuer, s.cfg.Issuer)
	}
	endpoint := provider.Endpoint()
	if m.Device == "" {
		return nil, fmt.Errorf("%w: %s offers no device sign-in (no device_authorization_endpoint in its discovery document)", ErrIssuer, s.cfg.Issuer)
	}
	for name, u := range map[string]string{
		"token_endpoint": endpoint.TokenURL, "device_authorization_endpoint": m.Device,
		"jwks_uri": m.JWKS, "revocation_endpoint": m.Revocation,
	} {
		if u == "" && name == "revocation_endpoint" {
			continue
		}
		if err := checkURL(u); err != nil {
			return nil, fmt.Errorf("%w: %s of %s: %w", ErrIssuer, name, s.cfg.Issuer, err)
		}
	}
	endpoint.DeviceAuthURL = m.Device
	endpoint.AuthStyle = oauth2.AuthStyleInParams // named, so that x/oauth2 never probes by asking twice
	if !s.cfg.ClientSecret.IsZero() && (len(m.AuthMethods) == 0 || slices.Contains(m.AuthMethods, "client_secret_basic")) {
		endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	s.issuer = &issuer{
		oauth: oauth2.Config{
			ClientID: s.cfg.ClientID, Endpoint: endpoint,
			ClientSecret: s.cfg.ClientSecret.Reveal(), // x/oauth2 writes it into token requests
			Scopes:       supportedScopes(s.cfg.Scopes, m.Scopes),
		},
		verifier:   provider.VerifierContext(s.httpContext(context.WithoutCancel(ctx)), &oidc.Config{ClientID: s.cfg.ClientID}),
		revocation: m.Revocation,
	}
	return s.issuer, nil
}

// supportedScopes drops the default scopes an issuer does not list. Scopes of
// the administrator's own making are sent as they are: issuers rarely list those.
func supportedScopes(want, supported []string) []string {
	var out []string
	for _, sc := range append([]string{"openid"}, want...) {
		known := slices.Contains(DefaultScopes(), sc) && sc != "openid"
		if slices.Contains(out, sc) || known && len(supported) > 0 && !slices.Contains(supported, sc) {
			continue
		}
		out = append(out, sc)
	}
	return out
}

// httpContext hands our client to go-oidc and x/oauth2; both take it from here.
func (s *Source) httpContext(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, s.cfg.HTTP)
}

// discoveryError tells a wrong address from one that does not answer. It never
// quotes the answer's body.
func (s *Source) discoveryError(ctx context.Context, err error) error {
	var mismatch *oidc.IssuerMismatchError
	var network *url.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &mismatch):
		return fmt.Errorf("%w: %s calls itself %q; use exactly that as the issuer", ErrIssuer, s.cfg.Issuer, clean(mismatch.Discovered))
	case errors.As(err, &network):
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, s.cfg.Issuer, network.Err)
	}
	return fmt.Errorf("%w: %s serves no OpenID Connect discovery document (/.well-known/openid-configuration)", ErrIssuer, s.cfg.Issuer)
}

// AnswerError is an error the issuer answered with.
type AnswerError struct {
	Code        string // OAuth error code; empty if it gave none
	Description string // the issuer's words, made safe to print
	Status      int    // HTTP
}

func (e *AnswerError) Error() string {
	switch {
	case e.Code == "":
		return fmt.Sprintf("the identity provider answered with HTTP status %d", e.Status)
	case e.Description == "":
		return "the identity provider answered " + e.Code
	}
	return fmt.Sprintf("the identity provider answered %s: %s", e.Code, e.Description)
}

// passing reports whether asking again may help.
func (e *AnswerError) passing() bool {
	switch {
	case e.Code == "authorization_pending" || e.Code == "slow_down":
		return false // answers of the protocol, whatever status they come with
	case e.Status >= 500, e.Status == http.StatusRequestTimeout, e.Status == http.StatusTooManyRequests:
		return true
	}
	return e.Code == "" && e.Status < 400 // a page of somebody else's, such as a captive portal
}

// answerError translates what x/oauth2 returns. Its own error is never passed
// on: it quotes bodies, which can hold tokens.
func answerError(ctx context.Context, err error) error {
	var r *oauth2.RetrieveError
	var network *url.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &r):
		a := &AnswerError{Code: clean(r.ErrorCode), Description: clean(r.ErrorDescription)}
		if r.Response != nil {
			a.Status = r.Response.StatusCode
		}
		if a.passing() {
			return fmt.Errorf("%w: %w", ErrUnreachable, a)
		}
		return a
	case errors.As(err, &network):
		return fmt.Errorf("%w: %w", ErrUnreachable, network.Err)
	}
	return fmt.Errorf("%w: its answer is not what OAuth defines", ErrUnreachable)
}

// clean makes an issuer's words safe to print: one line of visible characters.
func clean(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

// accept verifies an answer's ID token and returns what to hold of it.
func (s *Source) accept(ctx context.Context, is *issuer, t *oauth2.Token) (held, error) {
	raw, _ := t.Extra("id_token").(string)
	if raw == "" {
		return held{}, fmt.Errorf("%w: %s gave no ID token; allow the openid scope for client %q", ErrIssuer, s.cfg.Issuer, s.cfg.ClientID)
	}
	id, err := is.verifier.Verify(s.httpContext(ctx), raw)
	var expired *oidc.TokenExpiredError
	switch {
	case ctx.Err() != nil:
		return held{}, ctx.Err()
	case errors.As(err, &expired):
		return held{}, fmt.Errorf("%w: its ID token expired at %s; is this machine's clock right?", ErrIssuer, expired.Expiry.Format(time.RFC3339))
	case err != nil:
		return held{}, fmt.Errorf("%w: its ID token does not verify: %s", ErrIssuer, clean(err.Error()))
	}
	var claims struct {
		Email  string `json:"email"`
		Name   string `json:"name"`
		Groups groups `json:"groups"`
	}
	if err := id.Claims(&claims); err != nil {
		return held{}, fmt.Errorf("%w: its ID token's claims are malformed", ErrIssuer)
	}
	now := time.Now()
	left := id.Expiry.Sub(now)
	return held{
		token:  secretOf(raw),
		person: Person{Issuer: id.Issuer, Subject: id.Subject, Email: claims.Email, Name: claims.Name, Groups: claims.Groups, Expires: id.Expiry},
		renew:  id.Expiry.Add(-min(time.Minute, left/4)),
	}, nil
}

// groups reads a groups claim: a list, or one name alone.
type groups []string

func (g *groups) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*g = groups{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(g))
}
