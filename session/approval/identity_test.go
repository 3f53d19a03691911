package approval

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// door is a server that trusts one identity provider.
type door struct {
	w *world
	s *Server
}

func newDoor(t *testing.T, w *world, change func(*Config)) *door {
	t.Helper()
	cfg := Config{Store: w.store, ClientID: clientID, Version: "test", Logger: w.log.logger()}
	change(&cfg)
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &door{w, s}
}

func (d *door) ask(t *testing.T, token string) asked {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/v1/whoami", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	rec := httptest.NewRecorder()
	d.s.Handler().ServeHTTP(rec, r)
	a := asked{Status: rec.Code}
	if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil {
		t.Fatalf("%v: %s", err, rec.Body)
	}
	a.Status = rec.Code
	return a
}

func (d *door) admits(t *testing.T, what, token string, groups ...string) {
	t.Helper()
	got := d.ask(t, token)
	if got.Status != http.StatusOK || !slices.Equal(got.Principal.Groups, groups) {
		t.Errorf("%s: got %s, want 200 with groups %q", what, got, groups)
	}
}

func (d *door) refuses(t *testing.T, what, token, because string) {
	t.Helper()
	if got := d.ask(t, token); got.Status != http.StatusUnauthorized || !strings.Contains(got.Detail, because) {
		t.Errorf("%s: got %s, want 401 %q", what, got, because)
	}
}

// TestIdentityProvider holds what a real, foreign identity provider issues, and
// what an attacker makes of it, against the door.
func TestIdentityProvider(t *testing.T) {
	w := newWorld(t, Limits{})
	first, second, stranger := signingKey(t, "first"), signingKey(t, "second"), signingKey(t, "first")
	p := newProvider(t, first)
	d := newDoor(t, w, func(c *Config) { c.Issuer = p.issuer })
	good := p.idToken(clientID, "alice")

	t.Run("people", func(t *testing.T) {
		d.admits(t, "a list of groups", good, "analysts", "night-shift")
		d.admits(t, "one group as a string", p.idToken(clientID, "single"), "analysts")
		d.admits(t, "no groups claim: in, without rights", p.idToken(clientID, "nogroups"))
		d.admits(t, "a groups claim that is no list: no group", p.idToken(clientID, "odd"))
		d.refuses(t, "too many groups for the token", p.idToken(clientID, "over"), "too many")
		if got := d.ask(t, p.idToken(clientID, "unverified")); got.Status != http.StatusOK || got.Principal.Email != "" {
			t.Errorf("an e-mail address that is not verified: got %s, %q", got, got.Principal.Email)
		}
		nested := newDoor(t, w, func(c *Config) { c.Issuer, c.GroupsClaim = p.issuer, "realm_access.roles" })
		nested.admits(t, "a nested claim", p.idToken(clientID, "nested"), "analysts", "night-shift")
		nested.admits(t, "no such claim", good)
	})

	t.Run("forged", func(t *testing.T) {
		d.refuses(t, "another audience", p.idToken("other-cli", "alice"), "another audience")
		other := newDoor(t, w, func(c *Config) { c.Issuer = "http://127.0.0.1:" + freePort(t) })
		other.refuses(t, "another issuer", good, "issuer that is not known")

		parts := strings.Split(good, ".")
		none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"first"}`))
		d.refuses(t, "alg none, no signature", none+"."+parts[1]+".", "not valid")
		d.refuses(t, "alg none, old signature", none+"."+parts[1]+"."+parts[2], "not valid")
		d.refuses(t, "another payload", parts[0]+"."+strings.Replace(parts[1], parts[1][10:14], "AAAA", 1)+"."+parts[2], "")

		claims := claimsOf(t, good)
		public := first.Public()
		der, err := x509.MarshalPKIXPublicKey(public.Key)
		if err != nil {
			t.Fatal(err)
		}
		jwk, err := public.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		for name, secret := range map[string][]byte{
			"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "DER": der, "JWK": jwk,
		} {
			d.refuses(t, "HS256 with the public key as its secret, "+name, forge(t, jose.HS256, secret, "first", claims), "not valid")
		}
		d.refuses(t, "a stranger's key under a known kid", forge(t, jose.RS256, stranger.Key, "first", claims), "not valid")
		d.refuses(t, "unknown kid", forge(t, jose.RS256, stranger.Key, "third", claims), "not valid")
		d.refuses(t, "no kid", forge(t, jose.RS256, stranger.Key, "", claims), "not valid")
	})

	// What only the provider's own key can say, said with it.
	t.Run("claims", func(t *testing.T) {
		now := w.clock.now()
		signed := func(change func(map[string]any)) string {
			claims := claimsOf(t, good)
			change(claims)
			return forge(t, jose.RS256, first.Key, "first", claims)
		}
		set := func(key string, value any) string { return signed(func(c map[string]any) { c[key] = value }) }
		without := func(key string) string { return signed(func(c map[string]any) { delete(c, key) }) }
		d.admits(t, "issued a little ahead of our clock", set("iat", now.Add(4*time.Minute).Unix()), "analysts", "night-shift")
		d.refuses(t, "issued in the future", set("iat", now.Add(6*time.Minute).Unix()), "in the future")
		d.refuses(t, "not yet valid", set("nbf", now.Add(6*time.Minute).Unix()), "not valid")
		d.refuses(t, "expired a second ago", set("exp", now.Add(-time.Second).Unix()), "expired")
		d.refuses(t, "without an expiry", without("exp"), "expired")
		d.refuses(t, "without a time of issue", without("iat"), "when it was issued")
		d.refuses(t, "without a subject", without("sub"), "claims")
		d.refuses(t, "without an audience", without("aud"), "another audience")
		d.refuses(t, "the issuer with a slash more", set("iss", p.issuer+"/"), "issuer that is not known")
		d.admits(t, "for us and others, given to us", signed(func(c map[string]any) { c["aud"], c["azp"] = []string{"api", clientID}, clientID }), "analysts", "night-shift")
		d.refuses(t, "for us and others, given to nobody", set("aud", []string{"api", clientID}), "several audiences")
		d.refuses(t, "given to another client", set("azp", "other-cli"), "another client")
		d.refuses(t, "a client's own token", signed(func(c map[string]any) { c["sub"], c["azp"] = clientID, clientID }), "of a program")
		d.refuses(t, "Entra's own-token mark", set("idtyp", "app"), "of a program")
		d.refuses(t, "Auth0's own-token mark", set("gty", "client-credentials"), "of a program")
	})

	t.Run("keys", func(t *testing.T) {
		p.rotate(second, first)
		w.clock.advance(keysPause) // the forged tokens above took what may be asked at once
		d.admits(t, "a new key is asked for", p.idToken(clientID, "alice"), "analysts", "night-shift")
		d.admits(t, "the old one is still published", good, "analysts", "night-shift")
		p.rotate(second)
		w.clock.advance(keysFor)
		forever := claimsOf(t, good)
		forever["exp"] = w.clock.now().Add(time.Hour).Unix()
		d.refuses(t, "a withdrawn key", forge(t, jose.RS256, first.Key, "first", forever), "not valid")
		d.admits(t, "the key in use", forge(t, jose.RS256, second.Key, "second", forever), "analysts", "night-shift")

		p.stop()
		w.clock.advance(keysFor)
		d.admits(t, "a provider that is down for a while", forge(t, jose.RS256, second.Key, "second", forever), "analysts", "night-shift")
		w.clock.advance(keysAtMost)
		forever["exp"] = w.clock.now().Add(time.Hour).Unix()
		if got := d.ask(t, forge(t, jose.RS256, second.Key, "second", forever)); got.Status != http.StatusServiceUnavailable {
			t.Errorf("a provider that is down for long: got %s, want 503", got)
		}
	})
}

func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	claims := map[string]any{}
	if err == nil {
		err = json.Unmarshal(body, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func forge(t *testing.T, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	opt := &jose.SignerOptions{}
	if kid != "" {
		opt.WithHeader("kid", kid)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opt)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(s).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
