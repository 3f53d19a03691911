package approval

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/jit-access/jit/session/identity/bridge"
)

func TestSigningKeysRotate(t *testing.T) {
	w := newWorld(t, Limits{})
	ctx := t.Context()
	ids := func() []string {
		t.Helper()
		keys, err := NewSigningKeys(w.store).Keys(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, k := range keys {
			out = append(out, k.ID)
		}
		return out
	}
	first := ids()
	if again := ids(); len(first) != 1 || len(again) != 1 || again[0] != first[0] {
		t.Fatalf("%q, then %q", first, again)
	}
	w.clock.advance(signingLife)
	both := ids()
	if len(both) != 2 || both[0] == first[0] || both[1] != first[0] {
		t.Fatalf("after %s: %q", signingLife, both)
	}
	w.clock.advance(signingStays)
	if one := ids(); len(one) != 1 || one[0] != both[0] {
		t.Errorf("after %s more: %q", signingStays, one)
	}
	w.clock.advance(10 * signingLife)
	if one := ids(); len(one) != 1 || one[0] == both[0] {
		t.Errorf("after a long pause: %q", one)
	}

	// The private key is in no file as it is.
	list, err := w.store.signingKeys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	der := list[0].DER
	for _, name := range []string{"jit.db", "jit.db-wal"} {
		b, err := os.ReadFile(filepath.Join(w.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, der) || bytes.Contains(b, []byte(base64.StdEncoding.EncodeToString(der))) {
			t.Errorf("%s holds the signing key", name)
		}
	}
}

// The server's own issuer is known to its door; the pages for browsers are not
// behind the rules for clients, nor the API behind those of the pages.
func TestSignInPagesBesideTheAPI(t *testing.T) {
	w := newWorld(t, Limits{})
	const at = "https://jit.example.com"
	metadata := `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="urn:idp"><IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"><SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example.com/sso"/></IDPSSODescriptor></EntityDescriptor>`
	keys := NewSigningKeys(w.store)
	b, err := bridge.New(bridge.Config{Issuer: at, ClientID: clientID, Metadata: []byte(metadata), Keys: keys.Keys, Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(t, w, func(c *Config) { c.Issuer, c.SignIn, c.PublicURL = at, b, at })
	list, err := keys.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := w.clock.now()
	claims := map[string]any{"iss": at, "sub": "alice", "aud": clientID, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "groups": []string{"analysts"}}
	d.admits(t, "a token of the server's own", forge(t, jose.ES256, list[0].Signer, list[0].ID, claims), "analysts")
	d.refuses(t, "a stranger's key", forge(t, jose.ES256, w.idp.key, list[0].ID, claims), "not valid")
	d.refuses(t, "an unknown key", forge(t, jose.ES256, list[0].Signer, "other", claims), "not valid")

	visit := func(method, host, path, origin string) int {
		r := httptest.NewRequest(method, "http://"+host+path, nil)
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		rec := httptest.NewRecorder()
		d.s.Handler().ServeHTTP(rec, r)
		return rec.Code
	}
	for _, c := range []struct {
		method, host, path, origin string
		want                       int
	}{
		{"GET", "jit.example.com", "/device", "", http.StatusOK},
		{"GET", "jit.example.com", "/.well-known/openid-configuration", "", http.StatusOK},
		{"GET", "evil.example.com", "/device", "", http.StatusForbidden},
		{"POST", "jit.example.com", "/saml/acs", "https://idp.example.com", http.StatusForbidden}, // nobody asked
		{"GET", "jit.example.com", "/v1/whoami", "https://idp.example.com", http.StatusForbidden},
		{"GET", "jit.example.com", "/device/../v1/whoami", "https://idp.example.com", http.StatusForbidden},
	} {
		if got := visit(c.method, c.host, c.path, c.origin); got != c.want {
			t.Errorf("%s %s%s from %q: %d, want %d", c.method, c.host, c.path, c.origin, got, c.want)
		}
	}
}
