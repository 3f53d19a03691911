package session

import "fmt"

// The names below are what documents, storage and terminals show. Parsing an
// unknown name is ErrInvalid, so that a newer peer's word is never read as a
// zero value with a meaning.

var (
	kindNames    = [...]string{RequestInvalid: "invalid", RequestSession: "session", RequestStatement: "statement", RequestExtension: "extension"}
	stateNames   = [...]string{StatePending: "pending", StateApproved: "approved", StateUsed: "used", StateDenied: "denied", StateWithdrawn: "withdrawn", StateExpired: "expired"}
	reuseNames   = [...]string{ReuseOnce: "once", ReuseShape: "shape", ReuseWindow: "window"}
	outcomeNames = [...]string{OutcomeDeny: "deny", OutcomeApprove: "approve"}
	phaseNames   = [...]string{PhaseClosed: "closed", PhaseOpen: "open", PhaseRevoked: "revoked", PhaseExpired: "expired", PhaseSealed: "sealed"}
)

// String returns session, statement, extension or invalid.
func (k RequestKind) String() string { return name(kindNames[:], uint8(k)) }

// String returns the state's name.
func (s State) String() string { return name(stateNames[:], uint8(s)) }

// Ended reports whether nothing can happen to a request in this state any more.
func (s State) Ended() bool { return s != StatePending && s != StateApproved }

// String returns once, shape or window.
func (r Reuse) String() string { return name(reuseNames[:], uint8(r)) }

// String returns deny or approve.
func (o Outcome) String() string { return name(outcomeNames[:], uint8(o)) }

// String returns the phase's name.
func (p Phase) String() string { return name(phaseNames[:], uint8(p)) }

// ParseRequestKind is the inverse of RequestKind.String; "invalid" is ErrInvalid.
func ParseRequestKind(s string) (RequestKind, error) {
	k, err := parse[RequestKind](kindNames[:], s, "request kind")
	if err == nil && k == RequestInvalid {
		return RequestInvalid, fmt.Errorf("parsing request kind %q: %w", s, ErrInvalid)
	}
	return k, err
}

// ParseState is the inverse of State.String.
func ParseState(s string) (State, error) { return parse[State](stateNames[:], s, "state") }

// ParseReuse is the inverse of Reuse.String.
func ParseReuse(s string) (Reuse, error) { return parse[Reuse](reuseNames[:], s, "reuse") }

// ParseOutcome is the inverse of Outcome.String.
func ParseOutcome(s string) (Outcome, error) { return parse[Outcome](outcomeNames[:], s, "outcome") }

// ParsePhase is the inverse of Phase.String.
func ParsePhase(s string) (Phase, error) { return parse[Phase](phaseNames[:], s, "phase") }

func name(names []string, v uint8) string {
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown"
}

func parse[T ~uint8](names []string, s, what string) (T, error) {
	for i, n := range names {
		if n == s {
			return T(i), nil
		}
	}
	return 0, fmt.Errorf("parsing %s %q: %w", what, s, ErrInvalid)
}
