package approval

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/jit-access/jit/session"
)

// identities turns tokens into principals: ID tokens of one issuer into people,
// and tokens that a MachineIdentity describes into machines.
type identities struct {
	people      *trusted
	clientID    string
	audiences   []string
	groupsClaim string
	machines    []MachineIdentity
	others      map[string]*trusted // issuers of machines alone, by URL
	now         func() time.Time
}

// maxAhead is how far the clock of an issuer may be before ours. An expiry gets
// no grace: tokens live for minutes, and are renewed before.
const maxAhead = 5 * time.Minute

func newIdentities(cfg Config) *identities {
	i := &identities{
		clientID: cfg.ClientID, audiences: cfg.Audiences, groupsClaim: cfg.GroupsClaim, machines: cfg.Machines,
		others: map[string]*trusted{}, now: cfg.Store.cfg.Now,
	}
	i.people = i.trust(cfg.Issuer, cfg.HTTPClient)
	if cfg.SignIn != nil {
		i.people.own = oidc.NewVerifier(cfg.Issuer, cfg.SignIn, &oidc.Config{SkipClientIDCheck: true, Now: i.now, SupportedSigningAlgs: []string{oidc.ES256}})
	}
	for _, m := range cfg.Machines {
		if m.Issuer != cfg.Issuer && i.others[m.Issuer] == nil {
			i.others[m.Issuer] = i.trust(m.Issuer, cfg.HTTPClient)
		}
	}
	return i
}

func (i *identities) trust(issuer string, hc *http.Client) *trusted {
	return &trusted{url: issuer, hc: hc, now: i.now}
}

// identified is whom a token names.
type identified struct {
	principal session.Principal
	until     time.Time // when the token ends
	workload  string    // of a machine: the token's own subject
}

// verify turns a token into whom it names. What is refused says no more than
// what its bearer knows; the joined cause is for the log.
func (i *identities) verify(ctx context.Context, raw string) (identified, error) {
	iss, typ := peek(raw)
	issuer := i.others[iss]
	if iss == i.people.url {
		issuer = i.people
	}
	if issuer == nil {
		return identified{}, session.Refuse(session.ErrSignIn, "The token is of an issuer that is not known here: run jit login.")
	}
	v, err := issuer.discovered(ctx)
	if err != nil {
		return identified{}, errors.Join(session.Refuse(session.ErrUnavailable, "The identity provider cannot be reached, so nobody can be let in. Try again."), err)
	}
	tok, err := v.Verify(ctx, raw)
	if err != nil {
		var expired *oidc.TokenExpiredError
		if errors.As(err, &expired) {
			return identified{}, session.Refuse(session.ErrSignIn, "Your sign-in has expired: run jit login.")
		}
		return identified{}, errors.Join(session.Refuse(session.ErrSignIn, "The token is not valid here: run jit login."), err)
	}
	if tok.IssuedAt.After(i.now().Add(maxAhead)) {
		return identified{}, session.Refuse(session.ErrSignIn, "The token was issued in the future: the clocks of the identity provider and of this server differ.")
	}
	var c claimSet
	if err := tok.Claims(&c); err != nil || tok.Subject == "" {
		return identified{}, session.Refuse(session.ErrSignIn, "The token's claims cannot be read: run jit login.")
	}
	if issuer == i.people && i.meantForPeople(tok) {
		return i.person(tok, typ, c)
	}
	return i.machine(tok, c)
}

func (i *identities) meantForPeople(tok *oidc.IDToken) bool {
	return slices.ContainsFunc(tok.Audience, func(a string) bool { return slices.Contains(i.audiences, a) })
}

// person reads an ID token (OpenID Connect Core §2). There is no nonce to
// check: the device grant has none.
func (i *identities) person(tok *oidc.IDToken, typ string, c claimSet) (identified, error) {
	refuse := func(text string) (identified, error) {
		return identified{}, session.Refuse(session.ErrSignIn, "%s", text)
	}
	azp := c.text("azp")
	switch {
	case tok.IssuedAt.IsZero():
		return refuse("The token does not say when it was issued: it is not an ID token.")
	// What a client gets for itself must not pass as a person: it could review.
	case strings.EqualFold(typ, "at+jwt"), strings.EqualFold(typ, "application/at+jwt"), c.text("idtyp") == "app", c.text("gty") == "client-credentials",
		tok.Subject == azp, tok.Subject == c.text("client_id"), tok.Subject == i.clientID:
		return refuse("This is a token of a program, or an access token, where an ID token of a person is needed.")
	case len(tok.Audience) > 1 && azp == "":
		return refuse("The token is for several audiences and does not say which of them it was given to.")
	case azp != "" && azp != i.clientID && !slices.Contains(i.audiences, azp):
		return refuse("The token was given to another client: run jit login against this server.")
	}
	list, err := c.groups(i.groupsClaim)
	if err != nil {
		return identified{}, err
	}
	p := session.Principal{Issuer: tok.Issuer, Subject: tok.Subject, Groups: list}
	if c.emailVerified() {
		p.Email = c.text("email")
	}
	return identified{principal: p, until: tok.Expiry}, nil
}

// peek reads, of a token that is not verified yet, who is said to have issued
// it, to know whose keys to ask, and its type.
func peek(raw string) (issuer, typ string) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return "", ""
	}
	var head struct {
		Type string `json:"typ"`
	}
	var body struct {
		Issuer string `json:"iss"`
	}
	for n, to := range []any{&head, &body} {
		text, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err != nil || json.Unmarshal(text, to) != nil {
			return "", ""
		}
	}
	return body.Issuer, head.Type
}
