package session

import (
	"context"
	"errors"
	"time"
)

// The errors of a Desk. Implementations wrap them; callers use errors.Is.
var (
	ErrNotFound  = errors.New("not found")
	ErrForbidden = errors.New("not permitted")
	// ErrOwnRequest refuses a decision by the requester, whatever their groups.
	ErrOwnRequest = errors.New("the requester may not decide on their own request")
	ErrConflict   = errors.New("the state has moved on")
	ErrExpired    = errors.New("expired")
	ErrRevoked    = errors.New("revoked")
	ErrDenied     = errors.New("denied")
	ErrInvalid    = errors.New("invalid")
	// ErrUnavailable means the approval server gave no answer; nothing may proceed.
	ErrUnavailable = errors.New("the approval server is unavailable")
	ErrSignIn      = errors.New("sign-in needed")
	// ErrCapacity means a limit of the session is reached (concurrent logins).
	ErrCapacity = errors.New("limit reached")
)

// Submission is what a requester sends. For RequestSession, Scope counts; for
// RequestStatement, Case and the rule that held it; for RequestExtension,
// Case.SessionID and Scope.TTL, how much longer.
type Submission struct {
	Kind      RequestKind
	Agent     Agent
	Scope     Scope
	Case      Case
	Reason    string
	Ticket    string
	Emergency bool // of RequestSession only
	Rule      string
	RuleText  string
	Reviewers []string
	Approvals int
}

// Choice is what a reviewer sends.
type Choice struct {
	Outcome Outcome
	Reuse   Reuse
	Reason  string
	// Digest is Case.Digest (statement) or empty (session) of what the reviewer
	// saw; a mismatch is ErrConflict.
	Digest string
	// KeepMasks approves a statement with every class masked.
	KeepMasks bool
}

// Event is one change a Watch reports. IDs grow; a watcher resumes after the
// last one it saw.
type Event struct {
	ID        int64
	Kind      EventKind
	At        time.Time
	RequestID string // for request events
	SessionID string // for session events, and for requests of a session
}

// EventKind names a change.
type EventKind string

// The event kinds.
const (
	EventRequestSubmitted EventKind = "request.submitted"
	EventRequestDecided   EventKind = "request.decided" // approved or denied
	EventRequestEnded     EventKind = "request.ended"   // withdrawn, expired, used
	EventRequestCommented EventKind = "request.commented"
	EventEmergency        EventKind = "request.emergency" // emergency access was taken; besides submitted and decided
	EventSessionOpened    EventKind = "session.opened"
	EventSessionExtended  EventKind = "session.extended" // its deadline has moved
	EventSessionEnded     EventKind = "session.ended"    // closed, revoked, expired
)

// Filter narrows Pending. The zero value lists everything the caller may see
// that is still pending.
type Filter struct {
	SessionID string
	Mine      bool // only what the caller submitted
	All       bool // decided and ended ones too
	Limit     int  // 0 = 200
}

// Desk is where requests are submitted and decided. The local store and the
// HTTP client implement it alike; a Desk acts for one caller.
type Desk interface {
	// Submit files a request. Submitting a statement whose digest already has
	// a pending, or an approved and unused, request of the same session returns
	// that request.
	Submit(ctx context.Context, s Submission) (Request, error)
	Request(ctx context.Context, id string) (Request, error)
	Pending(ctx context.Context, f Filter) ([]Request, error)
	Decide(ctx context.Context, id string, c Choice) (Request, error)
	// Withdraw ends a pending request of the caller's own.
	Withdraw(ctx context.Context, id string) error
	// Comment adds to what is said about a request, whatever its state.
	Comment(ctx context.Context, id, text string) (Request, error)
	// Redeem spends an approval: it succeeds at most once for ReuseOnce, and
	// only if digest is the one approved. Shape and window approvals are
	// checked for session and time.
	Redeem(ctx context.Context, id, digest string) (Decision, error)
	// Watch reports changes after the given event id until ctx ends; it
	// reconnects by itself and closes the channel only when ctx ends or the
	// caller's access ends. after < 0 starts with the next change.
	Watch(ctx context.Context, after int64) (<-chan Event, error)
}

// Office opens and ends sessions. The approval server and its client implement
// it alike.
type Office interface {
	// Open starts the session of a grant. recordingKey is the note verifier key
	// (C2SP signed note, Ed25519) that will sign this session's checkpoints.
	Open(ctx context.Context, grantID, recordingKey string) (Opened, error)
	Session(ctx context.Context, id string) (Session, error)
	Sessions(ctx context.Context) ([]Session, error)
	// Revoke ends a session now: its upstream sessions are closed.
	Revoke(ctx context.Context, id, reason string) error
}

// Opened is a new session and the means to use it.
type Opened struct {
	Session Session
	// Token authorises broker calls for this one session; nothing else.
	Token  BrokerToken
	Bundle []byte // the policy bundle, as policy.Parse reads it
	DryRun []byte // a bundle in dry run, which decides nothing; nil: none
	// WitnessKey is the server's note verifier key; empty if it does not cosign.
	WitnessKey string
}

// Upstreams opens and keeps the Snowflake sessions of one Session. It is what
// a broker holds.
type Upstreams interface {
	// OpenUpstream logs in to Snowflake once more for this session. The first
	// call starts the session's clock.
	OpenUpstream(ctx context.Context) (Upstream, error)
	// RenewUpstream returns a fresh token after Snowflake reported expiry.
	RenewUpstream(ctx context.Context, upstreamID string) (Upstream, error)
	CloseUpstream(ctx context.Context, upstreamID string) error
	// Session reads the broker's own session: its deadline may have moved.
	Session(ctx context.Context, id string) (Session, error)
	// Close ends the session in good order.
	Close(ctx context.Context) error
	// Cosign submits a checkpoint and returns the witness's cosigned note.
	Cosign(ctx context.Context, checkpoint []byte) ([]byte, error)
	// Upload stores bytes of a recording file at offset. Re-sending what is
	// already stored is fine; changing it is ErrConflict.
	Upload(ctx context.Context, file string, offset int64, data []byte) error
}
