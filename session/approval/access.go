package approval

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
)

// All questions of "may this caller" are answered here. The roles are groups of
// the identity provider:
//
//   - requester: whoever the policy lets open something; sees what is their own.
//   - reviewer: whoever the policy lets review; sees, decides and ends what they
//     may review, and reads those recordings.
//   - auditor (AuditorGroup): reads everything there is to know of what was
//     asked, decided and done, recordings too. Changes nothing but legal holds.
//   - admin (AdminGroup): manages connections, policy and webhooks, sees requests
//     and sessions, and ends sessions. Recordings hold what people worked on:
//     those are the auditors'.
//
// One person may be several of these. Nobody ever sees a credential.

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

// isAuditor also holds for a machine in the group: an export job reads.
func (s *Store) isAuditor(w Caller) bool {
	return !w.isBroker() && slices.Contains(w.Principal.Groups, s.cfg.AuditorGroup)
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
	if w.Principal.ID() == r.Principal.ID() || s.isAdmin(w) || s.isAuditor(w) {
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

// maySeeSession reports whether the session exists for w: its own broker, admins,
// auditors, and those it concerns.
func (s *Store) maySeeSession(ctx context.Context, q querier, w Caller, ses session.Session) (bool, error) {
	if w.isBroker() {
		return ses.ID == w.Session, nil
	}
	if s.isAdmin(w) || s.isAuditor(w) {
		return true, nil
	}
	return s.concerns(ctx, q, w, ses)
}

// mayEnd says why w may not end a session that they see; nil if they may.
func (s *Store) mayEnd(ctx context.Context, q querier, w Caller, ses session.Session) error {
	if err := w.signedIn(); err != nil || s.isAdmin(w) {
		return err
	}
	ok, err := s.concerns(ctx, q, w, ses)
	if err == nil && !ok {
		err = session.Refuse(session.ErrForbidden, "An auditor reads. Ending a session takes a reviewer or an administrator.")
	}
	return err
}

// mayRead says why w may not read the recording of a session that they see. An
// administrator may not, even one whom the policy makes a reviewer too.
func (s *Store) mayRead(ctx context.Context, q querier, w Caller, ses session.Session) error {
	if err := w.signedIn(); err != nil || s.isAuditor(w) || w.Principal.ID() == ses.Principal.ID() {
		return err
	}
	ok, err := s.concerns(ctx, q, w, ses)
	if err == nil && (!ok || s.isAdmin(w)) {
		err = session.Refuse(session.ErrForbidden, "Recordings are for those they are of, their reviewers, and the group %s.", s.cfg.AuditorGroup)
	}
	return err
}

// concerns reports whether a session is w's own or one like those they review.
func (s *Store) concerns(ctx context.Context, q querier, w Caller, ses session.Session) (bool, error) {
	if w.Principal.ID() == ses.Principal.ID() {
		return true, nil
	}
	if w.person() != nil {
		return false, nil
	}
	b, err := s.activeBundle(ctx, q)
	if err != nil {
		return false, err
	}
	set := setting(ses.Scope)
	set.Emergency = ses.Emergency
	return b.MayReview(subject(w.Principal, session.Agent{}), subject(ses.Principal, ses.Agent), set, nil), nil
}
