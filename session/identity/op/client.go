package op

import (
	"crypto/ecdsa"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/jit-access/jit/session/secret"
)

// client is a native (public) client, or with a secret a confidential one.
type client struct {
	id              string
	secret          secret.Text
	idTokenLifetime time.Duration
}

var _ op.Client = (*client)(nil)

func (c *client) GetID() string                                            { return c.id }
func (*client) RedirectURIs() []string                                     { return nil }
func (*client) PostLogoutRedirectURIs() []string                           { return nil }
func (*client) ResponseTypes() []oidc.ResponseType                         { return nil }
func (*client) LoginURL(string) string                                     { return devicePath }
func (*client) AccessTokenType() op.AccessTokenType                        { return op.AccessTokenTypeBearer }
func (c *client) IDTokenLifetime() time.Duration                           { return c.idTokenLifetime }
func (*client) DevMode() bool                                              { return false }
func (*client) IsScopeAllowed(scope string) bool                           { return scope == ScopeGroups }
func (*client) IDTokenUserinfoClaimsAssertion() bool                       { return true }
func (*client) ClockSkew() time.Duration                                   { return 0 }
func (*client) allScopes() func([]string) []string                         { return func(s []string) []string { return s } }
func (c *client) RestrictAdditionalIdTokenScopes() func([]string) []string { return c.allScopes() }
func (c *client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return c.allScopes()
}

func (c *client) ApplicationType() op.ApplicationType {
	if c.secret.IsZero() {
		return op.ApplicationTypeNative
	}
	return op.ApplicationTypeWeb
}

func (c *client) AuthMethod() oidc.AuthMethod {
	if c.secret.IsZero() {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

func (*client) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeDeviceCode, oidc.GrantTypeRefreshToken}
}

// refreshRequest is a snapshot of the family a refresh token belongs to.
type refreshRequest struct {
	family
	current []string // scopes asked for now
}

var _ op.RefreshTokenRequest = (*refreshRequest)(nil)

func (*refreshRequest) GetAMR() []string               { return []string{"pwd"} }
func (r *refreshRequest) GetAudience() []string        { return []string{r.clientID} }
func (r *refreshRequest) GetAuthTime() time.Time       { return r.authTime }
func (r *refreshRequest) GetClientID() string          { return r.clientID }
func (r *refreshRequest) GetScopes() []string          { return r.current }
func (r *refreshRequest) GetSubject() string           { return r.subject }
func (r *refreshRequest) SetCurrentScopes(sc []string) { r.current = sc }

const keyID = "1"

type signingKey struct{ key *ecdsa.PrivateKey }

func (signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k signingKey) Key() any                                  { return k.key }
func (signingKey) ID() string                                  { return keyID }

type publicKey struct{ key *ecdsa.PrivateKey }

func (publicKey) ID() string                         { return keyID }
func (publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                         { return &k.key.PublicKey }
