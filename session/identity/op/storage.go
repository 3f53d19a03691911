package op

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/jit-access/jit/session/secret"
)

// storage keeps everything the provider knows. Tokens are keyed by digest.
type storage struct {
	users   map[string]User
	clients map[string]*client
	key     *ecdsa.PrivateKey
	refresh time.Duration // lifetime of a refresh token
	poll    time.Duration

	mu      sync.Mutex         // guards all below
	devices map[string]*device // by device code digest
	tokens  map[string]*token  // by refresh token digest
	access  map[string]*family // by access token id
}

var (
	_ op.Storage                    = (*storage)(nil)
	_ op.DeviceAuthorizationStorage = (*storage)(nil)
	_ op.CanSetUserinfoFromRequest  = (*storage)(nil)
)

// family is all tokens that come from one sign-in.
type family struct {
	clientID, subject string
	scopes            []string
	authTime          time.Time
	expires           time.Time
	revoked           bool
}

// token is one refresh token of a family.
type token struct {
	*family
	used bool
}

func newStorage(opt Options) (*storage, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the signing key: %w", err)
	}
	s := &storage{
		users: map[string]User{}, clients: map[string]*client{}, key: key,
		refresh: opt.RefreshLifetime, poll: opt.PollInterval,
		devices: map[string]*device{}, tokens: map[string]*token{}, access: map[string]*family{},
	}
	for _, u := range opt.Users {
		if u.Name == "" {
			return nil, errors.New("a user has no name")
		}
		s.users[u.Name] = u
	}
	for _, c := range opt.Clients {
		if c.ID == "" {
			return nil, errors.New("a client has no id")
		}
		s.clients[c.ID] = &client{id: c.ID, secret: c.Secret, idTokenLifetime: opt.IDTokenLifetime}
	}
	return s, nil
}

const accessLifetime = 5 * time.Minute

// CreateAccessToken serves a device grant without offline_access.
func (s *storage) CreateAccessToken(_ context.Context, r op.TokenRequest) (string, time.Time, error) {
	state, ok := r.(*op.DeviceAuthorizationState)
	if !ok {
		return "", time.Time{}, oidc.ErrUnsupportedGrantType()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, expires := s.mintAccess(&family{clientID: state.ClientID, subject: state.Subject, scopes: state.Scopes, authTime: state.AuthTime})
	return id, expires, nil
}

func (s *storage) mintAccess(f *family) (string, time.Time) {
	id := rand.Text()
	s.access[id] = f
	return id, time.Now().Add(accessLifetime)
}

// CreateAccessAndRefreshTokens starts a family for a device grant, or rotates:
// the current token is spent and the next one issued in one step.
func (s *storage) CreateAccessAndRefreshTokens(_ context.Context, r op.TokenRequest, current string) (string, string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var f *family
	switch r := r.(type) {
	case *op.DeviceAuthorizationState:
		f = &family{clientID: r.ClientID, subject: r.Subject, scopes: r.Scopes, authTime: r.AuthTime, expires: time.Now().Add(s.refresh)}
	case *refreshRequest:
		t, err := s.live(current)
		if err != nil {
			return "", "", time.Time{}, err
		}
		t.used = true
		f = t.family
	default:
		return "", "", time.Time{}, oidc.ErrUnsupportedGrantType()
	}
	next := secret.New(rand.Text() + rand.Text())
	s.tokens[next.Digest()] = &token{family: f}
	id, expires := s.mintAccess(f)
	return id, next.Reveal(), expires, nil
}

// live finds a refresh token that may still be used. A used one was stolen or
// replayed: whoever holds its family loses it.
func (s *storage) live(raw string) (*token, error) {
	t, ok := s.tokens[secret.New(raw).Digest()]
	if !ok || t.revoked || time.Now().After(t.expires) {
		return nil, oidc.ErrInvalidGrant()
	}
	if t.used {
		t.revoked = true
		return nil, oidc.ErrInvalidGrant().WithDescription("the refresh token was already used")
	}
	return t, nil
}

func (s *storage) TokenRequestByRefreshToken(_ context.Context, raw string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.live(raw)
	if err != nil {
		return nil, err
	}
	return &refreshRequest{family: *t.family, current: slices.Clone(t.scopes)}, nil
}

func (s *storage) TerminateSession(_ context.Context, userID, clientID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		if t.subject == userID && t.clientID == clientID {
			t.revoked = true
		}
	}
	return nil
}

// GetRefreshTokenInfo answers with the token itself as its id, as RevokeToken
// takes it.
func (s *storage) GetRefreshTokenInfo(_ context.Context, clientID, raw string) (string, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[secret.New(raw).Digest()]
	if !ok || t.clientID != clientID {
		return "", "", op.ErrInvalidRefreshToken
	}
	return t.subject, raw, nil
}

// RevokeToken ends the whole sign-in a token belongs to. An unknown token is
// no error (RFC 7009).
func (s *storage) RevokeToken(_ context.Context, tokenOrID, _, clientID string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.access[tokenOrID]
	if t, isRefresh := s.tokens[secret.New(tokenOrID).Digest()]; isRefresh {
		f, ok = t.family, true
	}
	if ok && f.clientID == clientID {
		f.revoked = true
	}
	return nil
}

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	c, ok := s.clients[id]
	if !ok {
		return nil, oidc.ErrInvalidClient().WithDescription("unknown client")
	}
	return c, nil
}

func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, given string) error {
	c, ok := s.clients[id]
	if !ok || c.secret.IsZero() || !c.secret.Equal(secret.New(given)) {
		return errors.New("unknown client or wrong secret")
	}
	return nil
}

// SetUserinfoFromScopes does nothing: SetUserinfoFromRequest replaces it.
func (*storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

func (s *storage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, r op.IDTokenRequest, scopes []string) error {
	return s.fill(info, r.GetSubject(), scopes)
}

func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, tokenID, subject, _ string) error {
	s.mu.Lock()
	f, ok := s.access[tokenID]
	revoked := ok && f.revoked
	s.mu.Unlock()
	if !ok || revoked || f.subject != subject {
		return oidc.ErrAccessDenied()
	}
	return s.fill(info, subject, f.scopes)
}

func (s *storage) fill(info *oidc.UserInfo, subject string, scopes []string) error {
	u, ok := s.users[subject]
	if !ok {
		return oidc.ErrAccessDenied()
	}
	info.Subject = u.Name
	if slices.Contains(scopes, oidc.ScopeProfile) {
		info.Name, info.PreferredUsername = u.FullName, u.Name
	}
	if slices.Contains(scopes, oidc.ScopeEmail) {
		info.Email, info.EmailVerified = u.Email, u.Email != ""
	}
	if slices.Contains(scopes, ScopeGroups) {
		info.AppendClaims(ScopeGroups, append([]string{}, u.Groups...))
	}
	return nil
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	return signingKey{s.key}, nil
}

func (*storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{publicKey{s.key}}, nil
}

func (*storage) Health(context.Context) error { return nil }
