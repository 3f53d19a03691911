package approval

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/time/rate"
)

// trusted is an OpenID Connect issuer whose signatures the server believes.
// Discovery happens with the first token and again after a failure, so that the
// server can start before the identity provider; until then nobody gets in.
//
// Only the asymmetric algorithms of the discovery document are accepted, and
// keys only from its jwks_uri: "none" and HMAC, for which a public key could be
// the secret, never are.
type trusted struct {
	url string
	hc  *http.Client
	now func() time.Time
	own *oidc.IDTokenVerifier // set if the issuer is this server: nothing is discovered

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	at       time.Time // when verifier was made
	failed   error     // of the last discovery
	failedAt time.Time
}

const (
	// discoveryPause keeps callers from queueing up behind an identity provider
	// that is down: for so long they get the last failure at once.
	discoveryPause = time.Second
	// keysFor is how long keys are believed without asking again. A key that is
	// not known is asked for at once; this is for one that was withdrawn.
	keysFor = 10 * time.Minute
	// keysAtMost is how long keys serve an identity provider that does not answer.
	keysAtMost = time.Hour
	// refreshPause is the time between two attempts to reach such a one.
	refreshPause = 15 * time.Second
	// keysPause is the time between two looks for a key that is not known. Anybody
	// can name one: for their tokens the issuer is not asked every time. keysBurst
	// looks may be closer together.
	keysPause = 5 * time.Second
	keysBurst = 3
)

// discovered returns the verifier, discovering the issuer if need be.
func (t *trusted) discovered(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	if t.own != nil {
		return t.own, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	age := t.now().Sub(t.at)
	if t.verifier != nil && age < keysFor {
		return t.verifier, nil
	}
	pause := discoveryPause
	if t.verifier != nil {
		pause = refreshPause
	}
	if t.failed == nil || t.now().Sub(t.failedAt) >= pause {
		t.discover(ctx)
	}
	switch {
	case t.failed == nil:
		return t.verifier, nil
	case t.verifier != nil && age < keysAtMost:
		return t.verifier, nil
	}
	return nil, t.failed
}

// discover asks the issuer for its endpoints; the keys are fetched with the
// first token. The caller holds mu.
func (t *trusted) discover(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// The provider keeps the context for its key set: it must not be ours.
	hc := &http.Client{Transport: &paced{next: t.hc.Transport, now: t.now, pace: rate.NewLimiter(rate.Every(keysPause), keysBurst)}, Timeout: 10 * time.Second}
	p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), hc), t.url)
	if err != nil {
		t.failed, t.failedAt = fmt.Errorf("discovering the issuer %s: %w", t.url, err), t.now()
		return
	}
	// Audiences are checked by the caller, against a list.
	t.verifier, t.at, t.failed = p.Verifier(&oidc.Config{SkipClientIDCheck: true, Now: t.now}), t.now(), nil
}

var errPaced = errors.New("the issuer was asked for its keys just now")

// paced lets an issuer be asked for its keys no more often than pace says: any
// token with an unknown key, or a wrong signature, makes the key set ask. Several
// at a time share one answer there. Discovery, which has its own pauses, passes.
type paced struct {
	next http.RoundTripper // nil: http.DefaultTransport
	now  func() time.Time
	pace *rate.Limiter
}

func (p *paced) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") && !p.pace.AllowN(p.now(), 1) {
		return nil, errPaced
	}
	if p.next == nil {
		return http.DefaultTransport.RoundTrip(r)
	}
	return p.next.RoundTrip(r)
}
