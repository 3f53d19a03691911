package approval

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
)

// All questions of "may this caller" are answered here.

// isBroker reports whether the caller holds a broker token.
func (w Caller) isBroker() bool { return w.Session != "" }

// signedIn refuses broker tokens: they are for broker calls only.
func (w Caller) signedIn() error {
	if w.isBroker() {
		return session.Refuse(session.ErrForbidden, "A broker token cannot do this. Sign in as a person.")
	}
	return nil
}

// person refuses brokers and machines, whatever groups a rule gives them: what
// decides or administers is a human being.
func (w Caller) person() error {
	if w.Principal.Machine() {
		return session.Refuse(session.ErrForbidden, "A machine cannot do this. It needs a person who signed in.")
	}
	return w.signedIn()
}

// broker refuses everyone but the broker of session id. Other sessions do not
// exist for it; for a person the call itself is not there.
func (w Caller) broker(id string) error {
	switch {
	case !w.isBroker():
		return session.Refuse(session.ErrForbidden, "Only the session's own broker can do this.")
	case w.Session != id:
		return session.ErrNotFound
	}
	return nil
}

func (s *Store) isAdmin(w Caller) bool {
	return w.person() == nil && slices.Contains(w.Principal.Groups, s.cfg.AdminGroup)
}

func (s *Store) admin(w Caller) error {
	if err := w.person(); err != nil || s.isAdmin(w) {
		return err
	}
	return session.Refuse(session.ErrForbidden, "This needs the group %s.", s.cfg.AdminGroup)
}

// subject is a principal as policies see it.
func subject(p session.Principal, a session.Agent) policy.Subject {
	sub := policy.Subject{User: p.ID(), Email: p.Email, Groups: p.Groups}
	if len(a.Command) > 0 {
		sub.Agent = path.Base(strings.ReplaceAll(a.Command[0], `\`, "/"))
	}
	return sub
}

// setting is where a session runs that was opened in good order.
func setting(sc session.Scope) policy.Setting {
	return policy.Setting{Connection: sc.Connection, Role: sc.Role, Warehouse: sc.Warehouse, Database: sc.Database, Schema: sc.Schema}
}

// settingOf is where a request would run.
func settingOf(r session.Request) policy.Setting {
	set := setting(r.Scope)
	set.Emergency = r.Emergency
	if r.Kind == session.RequestStatement {
		set.SessionID = r.Case.SessionID
	}
	return set
}

// mayReview says why w may not decide on r; nil if they may. The requester is
// refused first, whatever their groups are.
func (s *Store) mayReview(ctx context.Context, q querier, w Caller, r session.Request) error {
	if err := w.person(); err != nil {
		return err
	}
	if w.Principal.ID() == r.Principal.ID() {
		return session.ErrOwnRequest
	}
	if len(r.Reviewers) > 0 && !slices.ContainsFunc(r.Reviewers, func(g string) bool { return slices.Contains(w.Principal.Groups, g) }) {
		return session.Refuse(session.ErrForbidden, "This request asks for a reviewer of %s.", strings.Join(r.Reviewers, " or "))
	}
	b, err := s.activeBundle(ctx, q)
	if err != nil {
		return err
	}
	if !b.MayReview(subject(w.Principal, session.Agent{}), subject(r.Principal, r.Agent), settingOf(r), r.Case.Kinds) {
		return session.Refuse(session.ErrForbidden, "The policy does not let you review this request.")
	}
	return nil
}

// maySee reports whether r exists for w. A person who may not decide now only
// because another group must still does not see it.
func (s *Store) maySee(ctx context.Context, q querier, w Caller, r session.Request) (bool, error) {
	if w.isBroker() {
		return r.Kind == session.RequestStatement && r.Case.SessionID == w.Session, nil
	}
	if w.Principal.ID() == r.Principal.ID() || s.isAdmin(w) {
		return true, nil
	}
	switch err := s.mayReview(ctx, q, w, r); {
	case err == nil:
		return true, nil
	case refusal(err):
		return false, nil
	default:
		return false, err
	}
}

// maySeeSession reports whether the session exists for w: its own broker, its
// principal, admins, and those who may review requests like it.
func (s *Store) maySeeSession(ctx context.Context, q querier, w Caller, ses session.Session) (bool, error) {
	if w.isBroker() {
		return ses.ID == w.Session, nil
	}
	if w.Principal.ID() == ses.Principal.ID() || s.isAdmin(w) {
		return true, nil
	}
	b, err := s.activeBundle(ctx, q)
	if err != nil {
		return false, err
	}
	return b.MayReview(subject(w.Principal, session.Agent{}), subject(ses.Principal, ses.Agent), setting(ses.Scope), nil), nil
}
