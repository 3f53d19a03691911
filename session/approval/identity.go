package approval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/jit-access/jit/session"
)

// identities verifies ID tokens of one issuer. Discovery happens with the first
// token and again after a failure, so that the server can start before the
// identity provider; until then nobody gets in.
type identities struct {
	issuer      string
	audiences   []string
	groupsClaim string
	hc          *http.Client
	now         func() time.Time

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	failed   error // of the last discovery
	failedAt time.Time
}

// discoveryPause keeps callers from queueing up behind an identity provider
// that is down: for so long they get the last failure at once.
const discoveryPause = time.Second

// discovered returns the verifier, discovering the issuer if need be.
func (i *identities) discovered(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.verifier != nil {
		return i.verifier, nil
	}
	if i.failed != nil && time.Since(i.failedAt) < discoveryPause {
		return nil, i.failed
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// The provider keeps the context for its key set: it must not be ours.
	p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), &http.Client{Transport: i.hc.Transport, Timeout: 10 * time.Second}), i.issuer)
	if err != nil {
		i.failed, i.failedAt = fmt.Errorf("discovering the issuer %s: %w", i.issuer, err), time.Now()
		return nil, i.failed
	}
	// The audience is checked below, against a list.
	i.verifier = p.Verifier(&oidc.Config{SkipClientIDCheck: true, Now: i.now})
	return i.verifier, nil
}

// claims are the ones the server reads; everything else is ignored.
type claims struct {
	Email         string          `json:"email"`
	EmailVerified json.RawMessage `json:"email_verified"`
}

// verify turns an ID token into the person it names, and when it ends.
func (i *identities) verify(ctx context.Context, raw string) (session.Principal, time.Time, error) {
	v, err := i.discovered(ctx)
	if err != nil {
		return session.Principal{}, time.Time{}, errors.Join(session.Refuse(session.ErrUnavailable, "The identity provider cannot be reached, so nobody can be let in. Try again."), err)
	}
	tok, err := v.Verify(ctx, raw)
	if err != nil {
		var expired *oidc.TokenExpiredError
		if errors.As(err, &expired) {
			return session.Principal{}, time.Time{}, session.Refuse(session.ErrSignIn, "Your sign-in has expired: run jit login.")
		}
		return session.Principal{}, time.Time{}, errors.Join(session.Refuse(session.ErrSignIn, "The token is not valid here: run jit login."), err)
	}
	if tok.Subject == "" || !slices.ContainsFunc(tok.Audience, func(a string) bool { return slices.Contains(i.audiences, a) }) {
		return session.Principal{}, time.Time{}, session.Refuse(session.ErrSignIn, "The token is for another audience: run jit login against this server.")
	}
	var c claims
	var all map[string]json.RawMessage
	if err := errors.Join(tok.Claims(&c), tok.Claims(&all)); err != nil {
		return session.Principal{}, time.Time{}, session.Refuse(session.ErrSignIn, "The token's claims cannot be read: run jit login.")
	}
	p := session.Principal{Issuer: tok.Issuer, Subject: tok.Subject, Groups: groups(all[i.groupsClaim])}
	if v := strings.Trim(string(c.EmailVerified), `"`); v == "" || v == "true" {
		p.Email = c.Email
	}
	return p, tok.Expiry, nil
}

// groups reads a claim that is a list of names or a single one. Anything else
// is no group at all.
func groups(raw json.RawMessage) []string {
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	var one string
	if json.Unmarshal(raw, &one) == nil && one != "" {
		return []string{one}
	}
	return nil
}
