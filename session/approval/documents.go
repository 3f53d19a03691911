package approval

import (
	"encoding/json"
	"time"

	"github.com/jit-access/jit/session"
)

// The documents below are the API's JSON and the storage's doc columns alike.
// Field names are part of the protocol.

type principalDoc struct {
	Issuer  string   `json:"issuer" doc:"OIDC issuer"`
	Subject string   `json:"subject" doc:"stable subject within the issuer"`
	Email   string   `json:"email,omitempty"`
	Groups  []string `json:"groups,omitempty"`
}

func toPrincipalDoc(p session.Principal) principalDoc {
	return principalDoc{Issuer: p.Issuer, Subject: p.Subject, Email: p.Email, Groups: p.Groups}
}

func (d principalDoc) principal() session.Principal {
	return session.Principal{Issuer: d.Issuer, Subject: d.Subject, Email: d.Email, Groups: d.Groups}
}

type agentDoc struct {
	Command []string `json:"command,omitempty" doc:"argv of the agent, redacted by the client"`
	Host    string   `json:"host,omitempty" maxLength:"255"`
	Version string   `json:"version,omitempty" maxLength:"64" doc:"version of jit"`
}

func toAgentDoc(a session.Agent) agentDoc {
	return agentDoc{Command: a.Command, Host: a.Host, Version: a.Version}
}

func (d agentDoc) agent() session.Agent {
	return session.Agent{Command: d.Command, Host: d.Host, Version: d.Version}
}

type scopeDoc struct {
	Connection string `json:"connection,omitempty" maxLength:"128"`
	Role       string `json:"role,omitempty" maxLength:"255"`
	Warehouse  string `json:"warehouse,omitempty" maxLength:"255"`
	Database   string `json:"database,omitempty" maxLength:"255"`
	Schema     string `json:"schema,omitempty" maxLength:"255"`
	TTLMillis  int64  `json:"ttl_ms,omitempty" minimum:"0" doc:"how long the session may last from its first use"`
}

func toScopeDoc(s session.Scope) scopeDoc {
	return scopeDoc{Connection: s.Connection, Role: s.Role, Warehouse: s.Warehouse, Database: s.Database, Schema: s.Schema, TTLMillis: s.TTL.Milliseconds()}
}

func (d scopeDoc) scope() session.Scope {
	return session.Scope{Connection: d.Connection, Role: d.Role, Warehouse: d.Warehouse, Database: d.Database, Schema: d.Schema, TTL: time.Duration(d.TTLMillis) * time.Millisecond}
}

type caseDoc struct {
	SessionID string   `json:"session_id,omitempty"`
	Canonical string   `json:"canonical,omitempty" doc:"the text that will be sent, byte for byte"`
	Shape     string   `json:"shape,omitempty" doc:"canonical with literals replaced"`
	Binds     string   `json:"binds,omitempty" doc:"canonical JSON of the binds"`
	Kinds     []string `json:"kinds,omitempty"`
	Reads     []string `json:"reads,omitempty"`
	Writes    []string `json:"writes,omitempty"`
	Functions []string `json:"functions,omitempty"`
	Classes   []string `json:"classes,omitempty"`
	Unknown   []string `json:"unknown,omitempty"`
	Lineage   []string `json:"lineage,omitempty"`
	Role      string   `json:"role,omitempty"`
	Warehouse string   `json:"warehouse,omitempty"`
	Database  string   `json:"database,omitempty"`
	Schema    string   `json:"schema,omitempty"`
	Policy    string   `json:"policy,omitempty" doc:"digest of the bundle that held it"`
	Digest    string   `json:"digest,omitempty" maxLength:"64" readOnly:"true" doc:"what an approval binds to"`
	Estimate  string   `json:"estimate,omitempty"`
}

func toCaseDoc(c session.Case) caseDoc {
	return caseDoc{
		SessionID: c.SessionID, Canonical: c.Canonical, Shape: c.Shape, Binds: c.Binds,
		Kinds: c.Kinds, Reads: c.Reads, Writes: c.Writes, Functions: c.Functions,
		Classes: c.Classes, Unknown: c.Unknown, Lineage: c.Lineage,
		Role: c.Role, Warehouse: c.Warehouse, Database: c.Database, Schema: c.Schema,
		Policy: c.Policy, Estimate: c.Estimate,
	}
}

func (d caseDoc) statement() session.Case {
	return session.Case{
		SessionID: d.SessionID, Canonical: d.Canonical, Shape: d.Shape, Binds: d.Binds,
		Kinds: d.Kinds, Reads: d.Reads, Writes: d.Writes, Functions: d.Functions,
		Classes: d.Classes, Unknown: d.Unknown, Lineage: d.Lineage,
		Role: d.Role, Warehouse: d.Warehouse, Database: d.Database, Schema: d.Schema,
		Policy: d.Policy, Estimate: d.Estimate,
	}
}

type submissionDoc struct {
	Kind      string   `json:"kind" enum:"session,statement,extension"`
	Agent     agentDoc `json:"agent,omitzero"`
	Scope     scopeDoc `json:"scope,omitzero" doc:"for a session; for an extension ttl_ms, how much longer"`
	Case      caseDoc  `json:"case,omitzero" doc:"for a statement; for an extension its session_id"`
	Reason    string   `json:"reason,omitempty" maxLength:"4096"`
	Ticket    string   `json:"ticket,omitempty" maxLength:"255"`
	Emergency bool     `json:"emergency,omitempty" doc:"for a session that opens without a reviewer, where the policy names that"`
	Rule      string   `json:"rule,omitempty" maxLength:"255"`
	RuleText  string   `json:"rule_text,omitempty" maxLength:"4096"`
	Reviewers []string `json:"reviewers,omitempty" maxItems:"64"`
	Approvals int      `json:"approvals,omitempty" minimum:"0" maximum:"16"`
}

func toSubmissionDoc(s session.Submission) submissionDoc {
	return submissionDoc{
		Kind: s.Kind.String(), Agent: toAgentDoc(s.Agent), Scope: toScopeDoc(s.Scope), Case: toCaseDoc(s.Case),
		Reason: s.Reason, Ticket: s.Ticket, Emergency: s.Emergency, Rule: s.Rule, RuleText: s.RuleText, Reviewers: s.Reviewers, Approvals: s.Approvals,
	}
}

func (d submissionDoc) submission() (session.Submission, error) {
	kind, err := session.ParseRequestKind(d.Kind)
	return session.Submission{
		Kind: kind, Agent: d.Agent.agent(), Scope: d.Scope.scope(), Case: d.Case.statement(),
		Reason: d.Reason, Ticket: d.Ticket, Emergency: d.Emergency, Rule: d.Rule, RuleText: d.RuleText, Reviewers: d.Reviewers, Approvals: d.Approvals,
	}, err
}

type decisionDoc struct {
	ID        string       `json:"id"`
	RequestID string       `json:"request_id"`
	Reviewer  principalDoc `json:"reviewer"`
	Outcome   string       `json:"outcome" enum:"approve,deny"`
	Reuse     string       `json:"reuse" enum:"once,shape,window"`
	KeepMasks bool         `json:"keep_masks,omitempty" doc:"every class arrives masked"`
	Reason    string       `json:"reason,omitempty"`
	At        time.Time    `json:"at"`
}

func toDecisionDoc(d session.Decision) decisionDoc {
	return decisionDoc{
		ID: d.ID, RequestID: d.RequestID, Reviewer: toPrincipalDoc(d.Reviewer),
		Outcome: d.Outcome.String(), Reuse: d.Reuse.String(), KeepMasks: d.KeepMasks, Reason: d.Reason, At: d.At,
	}
}

func (d decisionDoc) decision() (session.Decision, error) {
	outcome, err := session.ParseOutcome(d.Outcome)
	if err != nil {
		return session.Decision{}, err
	}
	reuse, err := session.ParseReuse(d.Reuse)
	if err != nil {
		return session.Decision{}, err
	}
	return session.Decision{
		ID: d.ID, RequestID: d.RequestID, Reviewer: d.Reviewer.principal(),
		Outcome: outcome, Reuse: reuse, KeepMasks: d.KeepMasks, Reason: d.Reason, At: d.At,
	}, nil
}

type commentDoc struct {
	ID   string       `json:"id"`
	By   principalDoc `json:"by"`
	Text string       `json:"text"`
	At   time.Time    `json:"at"`
}

type requestDoc struct {
	ID        string        `json:"id"`
	Kind      string        `json:"kind" enum:"session,statement,extension"`
	Principal principalDoc  `json:"principal"`
	Agent     agentDoc      `json:"agent,omitzero"`
	Scope     scopeDoc      `json:"scope,omitzero"`
	Case      caseDoc       `json:"case,omitzero"`
	Reason    string        `json:"reason,omitempty"`
	Ticket    string        `json:"ticket,omitempty"`
	Emergency bool          `json:"emergency,omitempty"`
	Rule      string        `json:"rule,omitempty"`
	RuleText  string        `json:"rule_text,omitempty"`
	Reviewers []string      `json:"reviewers,omitempty"`
	Approvals int           `json:"approvals"`
	CreatedAt time.Time     `json:"created_at"`
	ExpiresAt time.Time     `json:"expires_at"`
	State     string        `json:"state" enum:"pending,approved,used,denied,withdrawn,expired"`
	Decisions []decisionDoc `json:"decisions,omitempty"`
	Comments  []commentDoc  `json:"comments,omitempty"`
	GrantID   string        `json:"grant_id,omitempty"`
}

func toRequestDoc(r session.Request) requestDoc {
	d := requestDoc{
		ID: r.ID, Kind: r.Kind.String(), Principal: toPrincipalDoc(r.Principal), Agent: toAgentDoc(r.Agent),
		Scope: toScopeDoc(r.Scope), Case: toCaseDoc(r.Case), Reason: r.Reason, Ticket: r.Ticket, Emergency: r.Emergency, Rule: r.Rule, RuleText: r.RuleText,
		Reviewers: r.Reviewers, Approvals: r.Approvals, CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt,
		State: r.State.String(), GrantID: r.GrantID,
	}
	if r.Kind == session.RequestStatement {
		d.Case.Digest = r.Case.Digest()
	}
	for _, cm := range r.Comments {
		d.Comments = append(d.Comments, commentDoc{ID: cm.ID, By: toPrincipalDoc(cm.By), Text: cm.Text, At: cm.At})
	}
	for _, dec := range r.Decisions {
		d.Decisions = append(d.Decisions, toDecisionDoc(dec))
	}
	return d
}

func (d requestDoc) request() (session.Request, error) {
	kind, err := session.ParseRequestKind(d.Kind)
	if err != nil {
		return session.Request{}, err
	}
	state, err := session.ParseState(d.State)
	if err != nil {
		return session.Request{}, err
	}
	r := session.Request{
		ID: d.ID, Kind: kind, Principal: d.Principal.principal(), Agent: d.Agent.agent(),
		Scope: d.Scope.scope(), Case: d.Case.statement(), Reason: d.Reason, Ticket: d.Ticket, Emergency: d.Emergency, Rule: d.Rule, RuleText: d.RuleText,
		Reviewers: d.Reviewers, Approvals: d.Approvals, CreatedAt: d.CreatedAt, ExpiresAt: d.ExpiresAt,
		State: state, GrantID: d.GrantID,
	}
	for _, cm := range d.Comments {
		r.Comments = append(r.Comments, session.Comment{ID: cm.ID, By: cm.By.principal(), Text: cm.Text, At: cm.At})
	}
	for _, dd := range d.Decisions {
		dec, err := dd.decision()
		if err != nil {
			return session.Request{}, err
		}
		r.Decisions = append(r.Decisions, dec)
	}
	return r, nil
}

type grantDoc struct {
	Principal principalDoc `json:"principal"`
	Agent     agentDoc     `json:"agent,omitzero"`
	Scope     scopeDoc     `json:"scope"`
	Rule      string       `json:"rule"`
	Emergency bool         `json:"emergency,omitempty"`
	Extends   string       `json:"extends,omitempty"` // id of a session
}

type sessionDoc struct {
	ID           string       `json:"id"`
	GrantID      string       `json:"grant_id"`
	Principal    principalDoc `json:"principal"`
	Agent        agentDoc     `json:"agent,omitzero"`
	Scope        scopeDoc     `json:"scope"`
	Phase        string       `json:"phase" enum:"open,closed,revoked,expired,sealed"`
	EndReason    string       `json:"end_reason,omitempty"`
	OpenedAt     time.Time    `json:"opened_at"`
	FirstUseAt   time.Time    `json:"first_use_at,omitzero"`
	Deadline     time.Time    `json:"deadline"`
	AsOf         time.Time    `json:"as_of,omitzero" doc:"the server's clock: what is left is deadline - as_of, whatever other clocks say"`
	Emergency    bool         `json:"emergency,omitempty" doc:"opened without a reviewer"`
	PolicyDigest string       `json:"policy_digest"`
}

func toSessionDoc(s session.Session) sessionDoc {
	return sessionDoc{
		ID: s.ID, GrantID: s.GrantID, Principal: toPrincipalDoc(s.Principal), Agent: toAgentDoc(s.Agent),
		Scope: toScopeDoc(s.Scope), Phase: s.Phase.String(), EndReason: s.EndReason, OpenedAt: s.OpenedAt,
		FirstUseAt: s.FirstUseAt, Deadline: s.Deadline, AsOf: s.AsOf, Emergency: s.Emergency, PolicyDigest: s.PolicyDigest,
	}
}

func (d sessionDoc) session() (session.Session, error) {
	phase, err := session.ParsePhase(d.Phase)
	return session.Session{
		ID: d.ID, GrantID: d.GrantID, Principal: d.Principal.principal(), Agent: d.Agent.agent(),
		Scope: d.Scope.scope(), Phase: phase, EndReason: d.EndReason, OpenedAt: d.OpenedAt,
		FirstUseAt: d.FirstUseAt, Deadline: d.Deadline, AsOf: d.AsOf, Emergency: d.Emergency, PolicyDigest: d.PolicyDigest,
	}, err
}

type eventDoc struct {
	ID        int64     `json:"id"`
	Kind      string    `json:"kind"`
	At        time.Time `json:"at"`
	RequestID string    `json:"request_id,omitempty"`
	SessionID string    `json:"session_id,omitempty"`
}

func toEventDoc(e session.Event) eventDoc {
	return eventDoc{ID: e.ID, Kind: string(e.Kind), At: e.At, RequestID: e.RequestID, SessionID: e.SessionID}
}

func (d eventDoc) event() session.Event {
	return session.Event{ID: d.ID, Kind: session.EventKind(d.Kind), At: d.At, RequestID: d.RequestID, SessionID: d.SessionID}
}

// FormatRequest is a request as the API shows it, in JSON.
func FormatRequest(r session.Request) ([]byte, error) { return json.Marshal(toRequestDoc(r)) }

// ReviewNotes is what a reviewer's tools add to the document of a request.
type ReviewNotes struct {
	Risk    string      `json:"risk"` // low, medium, high, severe
	Own     bool        `json:"own"`  // the viewer's: somebody else must decide
	History []Statement `json:"history,omitempty"`
}

// FormatReview is a request as FormatRequest has it, with notes beside it.
func FormatReview(r session.Request, notes ReviewNotes) ([]byte, error) {
	return json.Marshal(struct {
		requestDoc
		ReviewNotes
	}{toRequestDoc(r), notes})
}

// FormatSession is a session as the API shows it, in JSON.
func FormatSession(s session.Session) ([]byte, error) { return json.Marshal(toSessionDoc(s)) }

// FormatConnection is a connection as the API shows it, in JSON.
func FormatConnection(c Connection) ([]byte, error) { return json.Marshal(connectionDoc(c)) }
