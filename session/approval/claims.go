package approval

import (
	"encoding/json"
	"strings"

	"github.com/jit-access/jit/session"
)

// claimSet is the payload of a verified token.
type claimSet map[string]json.RawMessage

// find returns the claim of that name, or else the one at the path whose parts
// are parted by dots, such as realm_access.roles. A claim whose own name has
// dots (https://example.com/groups) is found by its name first.
func (c claimSet) find(name string) (json.RawMessage, bool) {
	if raw, ok := c[name]; ok {
		return raw, true
	}
	head, rest, nested := strings.Cut(name, ".")
	if !nested {
		return nil, false
	}
	var inner claimSet
	if json.Unmarshal(c[head], &inner) != nil {
		return nil, false
	}
	return inner.find(rest)
}

// text returns a claim that is text, empty if it is not.
func (c claimSet) text(name string) string {
	var s string
	if raw, ok := c.find(name); ok && json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// groups reads the claim that lists a person's groups: a list of names, or one
// name. Anything else is no group at all. A provider that left the list out
// because it is too long (Microsoft Entra's overage) is told apart: whoever
// comes with such a token would silently have no rights.
func (c claimSet) groups(name string) ([]string, error) {
	raw, ok := c.find(name)
	if !ok {
		var elsewhere map[string]string
		_ = json.Unmarshal(c["_claim_names"], &elsewhere) // not an object: not an overage
		if _, over := elsewhere[name]; over || string(c["hasgroups"]) == "true" {
			return nil, session.Refuse(session.ErrSignIn, "Your identity provider left your groups out of the token because they are too many. Have its administrator send only the groups that are assigned to this application, or roles (then --groups-claim roles).")
		}
		return nil, nil
	}
	return groups(raw), nil
}

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

// emailVerified is false if the issuer says that the address is not verified.
func (c claimSet) emailVerified() bool {
	v := strings.Trim(string(c["email_verified"]), `"`)
	return v == "" || v == "true"
}
