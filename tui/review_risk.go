package tui

import (
	"slices"
	"strings"

	"charm.land/lipgloss/v2"

	"github.com/jit-access/jit/session"
)

// risk is how much a request deserves a careful look. It orders attention; it
// permits nothing. The zero value is the highest.
type risk uint8

const (
	riskSevere risk = iota // cannot be undone, or changes who may do what
	riskHigh               // changes data or objects, or is not understood
	riskMedium             // reads classified data
	riskLow
)

func (r risk) glyph() string { return [...]string{"■", "▲", "◆", "●"}[r] }
func (r risk) word() string  { return [...]string{"severe", "high", "medium", "low"}[r] }

func (r risk) style(s style) lipgloss.Style {
	return [...]lipgloss.Style{s.bad, s.bad, s.warn, s.good}[r]
}

// riskOf grades what a request asks for. What it does not know is never low.
func riskOf(req session.Request) risk {
	switch req.Kind {
	case session.RequestSession, session.RequestExtension:
		if req.Emergency {
			return riskSevere
		}
		switch strings.ToUpper(req.Scope.Role) {
		case "ACCOUNTADMIN", "ORGADMIN", "GLOBALORGADMIN", "SECURITYADMIN", "USERADMIN", "SYSADMIN":
			return riskHigh
		}
		return riskLow
	case session.RequestStatement:
		return riskOfCase(req.Case, req.Approvals)
	}
	return riskSevere
}

func riskOfCase(c session.Case, approvals int) risk {
	switch {
	case approvals > 1 || slices.ContainsFunc(c.Kinds, isSevereKind):
		return riskSevere
	case len(c.Kinds) == 0 || len(c.Unknown) > 0 || len(c.Writes) > 0 || !allReads(c.Kinds):
		return riskHigh
	case len(c.Classes) > 0:
		return riskMedium
	}
	return riskLow
}

// isSevereKind knows the statement kinds that destroy whole containers or move
// privileges.
func isSevereKind(kind string) bool {
	for _, prefix := range []string{"DROP_DATABASE", "DROP_SCHEMA", "DROP_USER", "DROP_ROLE", "GRANT", "REVOKE",
		"CREATE_USER", "ALTER_USER", "ALTER_ACCOUNT", "CREATE_ROLE", "CREATE_SECURITY", "ALTER_SECURITY"} {
		if strings.HasPrefix(kind, prefix) {
			return true
		}
	}
	return false
}

func allReads(kinds []string) bool {
	return !slices.ContainsFunc(kinds, func(k string) bool {
		switch k {
		case "SELECT", "WITH", "VALUES", "SHOW", "DESCRIBE", "EXPLAIN", "LIST":
			return false
		}
		return !strings.HasPrefix(k, "SHOW_") && !strings.HasPrefix(k, "DESCRIBE_")
	})
}

// RiskWord is the grade the review screen gives a request: low, medium, high
// or severe.
func RiskWord(req session.Request) string { return riskOf(req).word() }
