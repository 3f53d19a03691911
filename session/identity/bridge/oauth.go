package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}

func refuse(w http.ResponseWriter, code, text string) {
	answer(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": text})
}

func (b *Bridge) discovery(w http.ResponseWriter, _ *http.Request) {
	at := b.cfg.Issuer
	answer(w, http.StatusOK, map[string]any{
		"issuer": at, "jwks_uri": at + "/oauth/keys", "device_authorization_endpoint": at + "/oauth/device", "token_endpoint": at + "/oauth/token",
		"authorization_endpoint":   at + "/device", // required by the specification; there is no other flow
		"response_types_supported": []string{"none"}, "subject_types_supported": []string{"public"},
		"grant_types_supported":                 []string{deviceGrant, "refresh_token"},
		"id_token_signing_alg_values_supported": []string{"ES256"}, "token_endpoint_auth_methods_supported": []string{"none"},
		"scopes_supported": []string{"openid", "profile", "email", "groups", "offline_access"},
	})
}

func (b *Bridge) publishKeys(w http.ResponseWriter, r *http.Request) {
	keys, err := b.cfg.Keys(r.Context())
	if err != nil {
		b.log.ErrorContext(r.Context(), "signing keys cannot be read", "error", err)
		http.Error(w, "the keys cannot be read now", http.StatusServiceUnavailable)
		return
	}
	var set jose.JSONWebKeySet
	for _, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Signer.Public(), KeyID: k.ID, Algorithm: "ES256", Use: "sig"})
	}
	answer(w, http.StatusOK, set)
}

// VerifySignature implements go-oidc's KeySet, for the server that the bridge is
// part of: it need not ask itself over the network.
func (b *Bridge) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	sig, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(sig.Signatures) != 1 {
		return nil, errors.New("not a token with one ES256 signature")
	}
	keys, err := b.cfg.Keys(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.ID == sig.Signatures[0].Header.KeyID {
			return sig.Verify(k.Signer.Public())
		}
	}
	return nil, errors.New("no such key")
}

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// begin is RFC 8628 §3.1.
func (b *Bridge) begin(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("client_id") != b.cfg.ClientID {
		refuse(w, "invalid_client", "There is no such client.")
		return
	}
	from := b.address(r)
	device := newSecret()
	c := &code{device: digestOf(device), from: from, at: b.now(), pace: interval}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep()
	if b.full(from) {
		answer(w, http.StatusServiceUnavailable, map[string]string{"error": "temporarily_unavailable"})
		return
	}
	for c.user = newUserCode(); b.byUser[c.user] != nil; c.user = newUserCode() {
	}
	b.codes[c.device], b.byUser[c.user] = c, c
	answer(w, http.StatusOK, map[string]any{
		"device_code": device, "user_code": shownCode(c.user), "verification_uri": b.cfg.Issuer + "/device",
		"verification_uri_complete": b.cfg.Issuer + "/device?user_code=" + shownCode(c.user),
		"expires_in":                int(codeLife.Seconds()), "interval": int(interval.Seconds()),
	})
}

func (b *Bridge) token(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("client_id") != b.cfg.ClientID {
		refuse(w, "invalid_client", "There is no such client.")
		return
	}
	var (
		p       *person
		refresh string
		failed  string
	)
	switch r.PostFormValue("grant_type") {
	case deviceGrant:
		p, refresh, failed = b.redeem(r.PostFormValue("device_code"))
	case "refresh_token":
		p, refresh, failed = b.renew(r.PostFormValue("refresh_token"))
	default:
		failed = "unsupported_grant_type"
	}
	if failed != "" {
		refuse(w, failed, "")
		return
	}
	id, err := b.sign(r.Context(), p)
	if err != nil {
		b.log.ErrorContext(r.Context(), "signing an ID token failed", "error", err)
		answer(w, http.StatusServiceUnavailable, map[string]string{"error": "temporarily_unavailable"})
		return
	}
	// The access token is of no use anywhere: there is nothing else to access.
	answer(w, http.StatusOK, map[string]any{"id_token": id, "access_token": newSecret(), "token_type": "Bearer", "expires_in": int(tokenLife.Seconds()), "refresh_token": refresh})
}

// redeem is one poll of the device grant (RFC 8628 §3.5).
func (b *Bridge) redeem(device string) (p *person, refresh, failed string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, now := b.codes[digestOf(device)], b.now()
	switch {
	case c == nil:
		return nil, "", "invalid_grant"
	case c.expired(now):
		return nil, "", "expired_token"
	case !c.polled.IsZero() && now.Sub(c.polled) < c.pace-time.Second && !c.decided: // clocks differ a little
		c.pace += interval
		c.polled = now
		return nil, "", "slow_down"
	}
	c.polled = now
	switch {
	case !c.decided:
		return nil, "", "authorization_pending"
	case c.denied || c.person == nil:
		b.drop(c)
		return nil, "", "access_denied"
	case len(b.signIns) >= maxSignIns:
		return nil, "", "temporarily_unavailable"
	}
	b.drop(c) // once
	s := &signIn{person: *c.person}
	return c.person, b.issue(s), ""
}

func (b *Bridge) drop(c *code) {
	delete(b.codes, c.device)
	delete(b.byUser, c.user)
}

// issue makes the next refresh token of a sign-in.
func (b *Bridge) issue(s *signIn) string {
	refresh := newSecret()
	s.current = digestOf(refresh)
	b.signIns[s.current] = s
	return refresh
}

// renew spends a refresh token. One that was spent before ends the sign-in.
func (b *Bridge) renew(refresh string) (*person, string, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := digestOf(refresh)
	if s := b.used[d]; s != nil {
		s.ended = true
		delete(b.signIns, s.current)
		b.log.Warn("a refresh token was used twice: the sign-in is ended", "subject", s.person.Subject)
		return nil, "", "invalid_grant"
	}
	s := b.signIns[d]
	if s == nil || s.ended || b.now().Sub(s.person.at) >= signInLife {
		return nil, "", "invalid_grant"
	}
	delete(b.signIns, d)
	b.used[d] = s
	p := s.person
	return &p, b.issue(s), ""
}

func (b *Bridge) sign(ctx context.Context, p *person) (string, error) {
	keys, err := b.cfg.Keys(ctx)
	if err != nil {
		return "", err
	}
	if len(keys) == 0 {
		return "", errors.New("there is no signing key")
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: keys[0].Signer, KeyID: keys[0].ID}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	now := b.now()
	claims := map[string]any{
		"iss": b.cfg.Issuer, "sub": p.Subject, "aud": b.cfg.ClientID, "iat": now.Unix(), "exp": now.Add(tokenLife).Unix(), "auth_time": p.at.Unix(),
		"groups": append([]string{}, p.Groups...),
	}
	if p.Email != "" {
		claims["email"], claims["email_verified"] = p.Email, true
	}
	if p.Name != "" {
		claims["name"] = p.Name
	}
	return jwt.Signed(s).Claims(claims).Serialize()
}
