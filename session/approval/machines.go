package approval

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/jit-access/jit/session"
)

// MachineIdentity is a rule that makes a principal of a workload's token: one of
// a CI job or a cluster, or of an OAuth client. All fields but Groups are
// needed.
type MachineIdentity struct {
	Name     string // of the principal
	Issuer   string
	Audience string // what the token must be for
	// Match are claims (or paths to nested ones, with dots) and what their values
	// must be. A value may be a pattern of package path: "*" stands for anything
	// but a slash.
	Match  map[string]string
	Groups []string
}

// pinning are the claims that say which workload it is, not only where it runs.
// An issuer of the whole world signs for everybody: a rule without one of them
// would let everybody in.
var pinning = []string{
	"sub", "repository", "repository_id", "project_path", "project_id", // CI jobs
	"azp", "client_id", "appid", "oid", "email", // clients and service accounts
}

// check finds what is wrong with a rule. forPeople are the audiences of people's
// tokens, if they come from the same issuer.
func (m MachineIdentity) check(forPeople []string, adminGroup string) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("machine identity %q: %s", m.Name, fmt.Sprintf(format, args...))
	}
	if !connectionNames.MatchString(m.Name) {
		return bad("the name must have letters, digits, dot, underscore and hyphen only")
	}
	if err := checkIssuer(m.Issuer); err != nil {
		return bad("%v", err)
	}
	switch {
	case m.Audience == "":
		return bad("the audience is empty: a token meant for somebody else would do")
	case slices.Contains(forPeople, m.Audience):
		return bad("the audience %s is that of people's tokens: give machines one of their own", m.Audience)
	case slices.Contains(m.Groups, adminGroup):
		return bad("a machine cannot be in the group %s: only people administer", adminGroup)
	}
	pinned := false
	for claim, pattern := range m.Match {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return bad("the pattern %q of claim %s cannot be read", pattern, claim)
		}
		pinned = pinned || pins(claim, pattern)
	}
	if !pinned {
		return bad("it matches more than one owner's workloads: pin one of the claims %s, either whole or up to its owner (repo:myorg/*:*)", strings.Join(pinning, ", "))
	}
	return nil
}

// pins reports whether pattern leaves no more open than the last parts of the
// claim: a part ends with a slash or colon. A subject needs two parts, for its
// first is only a kind (repo:, project_path:, system:).
func pins(claim, pattern string) bool {
	if !slices.Contains(pinning, claim) {
		return false
	}
	open := strings.IndexAny(pattern, `*?[\`)
	if open < 0 {
		return true
	}
	ends := strings.Count(pattern[:open], "/") + strings.Count(pattern[:open], ":")
	return ends >= 2 || claim != "sub" && ends >= 1
}

// matches reports whether every claim is there and fits. An address that the
// issuer says is not verified is whatever its owner typed.
func (m MachineIdentity) matches(c claimSet) bool {
	if _, ok := m.Match["email"]; ok && !c.emailVerified() {
		return false
	}
	for name, pattern := range m.Match {
		raw, ok := c.find(name)
		if !ok {
			return false
		}
		var value any
		if json.Unmarshal(raw, &value) != nil {
			return false
		}
		text := string(raw) // a number or truth value stands as it is written
		switch v := value.(type) {
		case string:
			text = v
		case float64, bool:
		default: // a list or an object is not one value
			return false
		}
		if ok, err := path.Match(pattern, text); !ok || err != nil {
			return false
		}
	}
	return true
}

// machine finds the first rule that fits a token. None: nobody.
func (i *identities) machine(tok *oidc.IDToken, c claimSet) (identified, error) {
	meant := false
	for _, m := range i.machines {
		if m.Issuer != tok.Issuer || !slices.Contains(tok.Audience, m.Audience) {
			continue
		}
		meant = true
		if m.matches(c) {
			p := session.Principal{Issuer: session.MachineIssuer, Subject: m.Name, Groups: slices.Clone(m.Groups)}
			return identified{principal: p, until: tok.Expiry, workload: tok.Subject}, nil
		}
	}
	if !meant {
		return identified{}, session.Refuse(session.ErrSignIn, "The token is for another audience: run jit login against this server.")
	}
	return identified{}, session.Refuse(session.ErrSignIn, "No rule of this server names the workload of this token. Have an administrator add one to its identities.")
}
