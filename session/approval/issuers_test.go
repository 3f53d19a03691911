package approval

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Tokens that name keys which nobody has, many at once and for long: the
// identity provider is not asked for each, people get in meanwhile, and a key
// that is new is found.
func TestAttackUnknownKeys(t *testing.T) {
	w := newWorld(t, Limits{})
	var asked atomic.Int32
	provider := w.idp.Config.Handler
	w.idp.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/keys") {
			asked.Add(1)
		}
		provider.ServeHTTP(rw, r)
	})
	status := func(token string) int {
		r := httptest.NewRequest(http.MethodGet, w.web.URL+"/v1/whoami", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		rec := httptest.NewRecorder()
		w.server.Handler().ServeHTTP(rec, r)
		return rec.Code
	}
	named := func(kid string) string {
		s := must[jose.Signer](t)(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: w.idp.key}, (&jose.SignerOptions{}).WithHeader("kid", kid)))
		return must[string](t)(jwt.Signed(s).Claims(w.idp.claims(w.alice, w.clock.now())).Serialize())
	}
	if got := status(w.token(w.alice)); got != http.StatusOK {
		t.Fatalf("alice gets %d", got)
	}
	asked.Store(0)
	flood := func() {
		var all sync.WaitGroup
		token := named("k-nobody-has")
		for range 40 {
			all.Go(func() {
				if got := status(token); got != http.StatusUnauthorized {
					t.Errorf("a token with an unknown key gets %d", got)
				}
			})
		}
		all.Wait()
	}
	flood()
	if n := asked.Load(); n < 1 || n > keysBurst {
		t.Errorf("40 tokens made the server ask %d times, want 1 to %d", n, keysBurst)
	}
	if got := status(w.token(w.alice)); got != http.StatusOK {
		t.Errorf("meanwhile alice gets %d", got)
	}
	flood() // nothing is left of the burst
	asked.Store(0)
	flood()
	if n := asked.Load(); n != 0 {
		t.Errorf("without a pause the server asked %d times", n)
	}
	w.clock.advance(keysPause + time.Second)
	flood()
	if n := asked.Load(); n != 1 {
		t.Errorf("after the pause the server asked %d times", n)
	}
}
