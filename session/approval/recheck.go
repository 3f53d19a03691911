package approval

import (
	"context"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
)

// A broker runs on the requester's machine. What it says about a statement is
// therefore looked at once more here, from the text alone: a broker that was
// tampered with can still tell lies about catalogs and columns, but it cannot
// lower the number of reviewers that the text itself asks for, nor get a shape
// approved that is not the text's.

// noCatalog knows no relation. The catalog is the broker's; what is missing
// only makes the server's verdict stricter.
type noCatalog struct{}

// Relation implements sql.Catalog.
func (noCatalog) Relation(sql.ObjectName) (sql.Relation, bool) { return sql.Relation{}, false }

// recheck corrects a statement submission by what the server itself makes of
// the text, or refuses it.
func (s *Store) recheck(ctx context.Context, q querier, ses session.Session, sub session.Submission) (session.Submission, error) {
	cs := &sub.Case
	bad := func(format string, args ...any) (session.Submission, error) {
		return sub, session.Refuse(session.ErrInvalid, format, args...)
	}
	if cs.Policy != ses.PolicyDigest {
		return bad("The statement was judged by another policy bundle than the session's.")
	}
	b, err := s.bundle(ctx, q, ses.PolicyDigest)
	if err != nil {
		return sub, err
	}
	a, err := sql.Analyze(cs.Canonical, sql.Context{Database: cs.Database, Schema: cs.Schema}, noCatalog{})
	if err != nil {
		return bad("The server does not understand the statement: %v.", err) // the errors of package sql hold no text
	}
	if a.Canonical != cs.Canonical || len(a.Statements) == 0 {
		return bad("The statement's text is not canonical.")
	}
	if shape, err := sql.Shape(cs.Canonical); cs.Shape != cs.Canonical && (err != nil || cs.Shape != shape) {
		return bad("The shape is not the statement's.")
	}
	cs.Kinds = nil
	for _, st := range a.Statements {
		cs.Kinds = append(cs.Kinds, string(st.Kind))
	}
	ruling := b.Statement(policy.Input{
		Subject: subject(ses.Principal, ses.Agent),
		Setting: policy.Setting{
			Connection: ses.Scope.Connection, Role: cs.Role, Warehouse: cs.Warehouse, Database: cs.Database, Schema: cs.Schema, SessionID: ses.ID, Emergency: ses.Emergency,
		},
		Statements: a.Statements,
	})
	switch ruling.Verdict {
	case policy.Allow: // held for what only the broker knows: a class, a budget
	case policy.Hold:
		if ruling.Approvals > sub.Approvals {
			sub.Approvals, sub.Rule, sub.RuleText = ruling.Approvals, ruling.Rule, ruling.Reason
		}
		if len(ruling.Reviewers) > 0 {
			sub.Reviewers = ruling.Reviewers
		}
	default:
		return sub, &session.DeniedError{Rule: ruling.Rule, Reason: ruling.Reason}
	}
	return sub, nil
}
