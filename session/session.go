// Package session holds the domain of just-in-time access: what is asked
// (Request), what was decided (Decision), what may be done (Grant), one use of
// it (Session), and the Desk where requests are submitted and decided.
//
// Invariants:
//
//  1. A Request is immutable once submitted; only its state moves, and only
//     forward: pending → approved | denied | withdrawn | expired; approved → used.
//  2. The requester never decides on their own request, whatever groups they
//     are in; approvals count people, not groups.
//  3. An approval binds to Case.Digest: same canonical text, binds, role,
//     warehouse, database, schema, session and policy, or it does not apply.
//  4. A Session's Deadline is absolute. It is set at first use and moves only by
//     another Grant: a new decision, of a reviewer or of a rule made for that.
//  5. An emergency opens a session without a reviewer only where the policy names
//     it, and is marked as one in everything that is kept of it.
package session

import (
	"time"

	"github.com/jit-access/jit/session/secret"
)

// Principal is the human behind an agent, as the identity provider names them,
// or a machine (a CI job, a service) that the server's configuration names.
type Principal struct {
	Issuer  string // OIDC issuer URL
	Subject string // stable subject within the issuer; with Issuer the identity
	Email   string // for display; may be empty
	Groups  []string
}

// ID is the principal's stable identity, comparable across requests.
func (p Principal) ID() string { return p.Issuer + "|" + p.Subject }

// MachineIssuer is the Issuer of machines, whose Subject is the name that the
// server's configuration gives them. It is no URL, so that no identity provider
// can issue it.
const MachineIssuer = "machine"

// Machine reports whether the principal is a machine: it may ask, and never
// decide or administer.
func (p Principal) Machine() bool { return p.Issuer == MachineIssuer }

// Display is what people read: the e-mail if known, else the subject.
func (p Principal) Display() string {
	if p.Email != "" {
		return p.Email
	}
	return p.Subject
}

// Agent is the program that asks on behalf of a Principal.
type Agent struct {
	Command []string // argv, redacted; agent-supplied, sanitise before drawing
	Host    string
	Version string // of jit
}

// Scope is what access is asked for or granted: objects × actions × limits.
type Scope struct {
	Connection string // name of a connection known to the approval server
	Role       string
	Warehouse  string
	Database   string
	Schema     string
	TTL        time.Duration // from first use
}

// RequestKind says what a Request asks for. The zero value is invalid.
type RequestKind uint8

// The request kinds.
const (
	RequestInvalid   RequestKind = iota
	RequestSession               // a session with a Scope
	RequestStatement             // one held statement of a running session
	RequestExtension             // Scope.TTL more for the running session Case.SessionID
)

// State is where a request stands. The zero value is StatePending, which
// permits nothing.
type State uint8

// The request states.
const (
	StatePending State = iota
	StateApproved
	StateUsed // approved, and the single use is spent
	StateDenied
	StateWithdrawn
	StateExpired
)

// Reuse says how often an approval may be used. The zero value is ReuseOnce.
type Reuse uint8

// The reuse scopes of an approval.
const (
	ReuseOnce   Reuse = iota
	ReuseShape        // the same shape with the same binds, within this session
	ReuseWindow       // the same digest for 15 minutes, within this session
)

// Case is one held statement as the reviewer judges it.
type Case struct {
	SessionID string
	Canonical string // the text that will be sent, byte for byte
	Shape     string // Canonical with literals replaced, for ReuseShape
	Binds     string // canonical JSON of the binds; empty if none
	Kinds     []string
	Reads     []string
	Writes    []string
	Functions []string
	Classes   []string // data classes in outputs or predicates
	Unknown   []string // what was not understood
	Lineage   []string // "EMAIL ← APP.PUBLIC.CUSTOMERS.EMAIL", one per output
	Role      string
	Warehouse string
	Database  string
	Schema    string
	Policy    string // digest of the bundle that held it
	Estimate  string // human words; empty if not estimated
}

// Request is what is asked: a session, or one held statement.
type Request struct {
	ID        string
	Kind      RequestKind
	Principal Principal
	Agent     Agent
	Scope     Scope
	Case      Case // only for RequestStatement; of RequestExtension its SessionID
	Reason    string
	Ticket    string   // in another system; may be empty
	Emergency bool     // a session that opens without a reviewer, or a statement in one
	Rule      string   // the policy rule that asks for a human
	RuleText  string   // the rule's @reason
	Reviewers []string // groups that may decide; empty = the default review groups
	Approvals int      // distinct people needed
	CreatedAt time.Time
	ExpiresAt time.Time
	State     State
	Decisions []Decision
	Comments  []Comment // oldest first
	GrantID   string    // set when a request for a session or an extension is approved
}

// Comment is what somebody who can see a request says about it. It decides
// nothing.
type Comment struct {
	ID   string
	By   Principal
	Text string // sanitise before drawing
	At   time.Time
}

// Outcome is what a reviewer decided. The zero value is OutcomeDeny.
type Outcome uint8

// The outcomes.
const (
	OutcomeDeny Outcome = iota
	OutcomeApprove
)

// Decision is a reviewer's act on a request.
type Decision struct {
	ID        string
	RequestID string
	Reviewer  Principal
	Outcome   Outcome
	Reuse     Reuse
	// KeepMasks: the statement's results arrive with every class masked, also
	// those that the requester may read in clear.
	KeepMasks bool
	Reason    string
	At        time.Time
}

// Grant is a scope with an expiry, made by a decision or by policy.
type Grant struct {
	ID        string
	RequestID string
	Principal Principal
	Agent     Agent
	Scope     Scope
	Rule      string // the rule or the decision that made it
	Emergency bool
	Extends   string // id of the session whose deadline it moves; empty: it opens one
	IssuedAt  time.Time
	ExpiresAt time.Time // by when the session must be opened
}

// Phase is where a session stands. The zero value is PhaseClosed.
type Phase uint8

// The session phases.
const (
	PhaseClosed Phase = iota
	PhaseOpen
	PhaseRevoked
	PhaseExpired
	PhaseSealed // closed, and the recording is complete at the server
)

// Session is one use of a grant, from opened to sealed.
type Session struct {
	ID           string
	GrantID      string
	Principal    Principal
	Agent        Agent
	Scope        Scope
	Phase        Phase
	EndReason    string // who ended it and why; for people
	OpenedAt     time.Time
	FirstUseAt   time.Time // zero until the first upstream session
	Deadline     time.Time // absolute; before first use: latest possible
	AsOf         time.Time // the server's clock when it said so; zero: unknown
	Emergency    bool      // opened without a reviewer
	PolicyDigest string
}

// Upstream is one Snowflake session the approval server opened for a Session.
// The master token stays with the server.
type Upstream struct {
	ID                                string // the server's handle
	URL                               string // base URL of the account
	Token                             secret.Text
	SnowflakeID                       int64  // Snowflake's own session id
	Parameters                        []byte // raw JSON of the login answer's parameters list
	Database, Schema, Warehouse, Role string
	ServerVersion                     string
	ValidFor                          time.Duration
}
