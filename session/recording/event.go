package recording

import (
	"encoding/json"
	"time"
)

// Kind names what happened. Readers show kinds they do not know as they are.
type Kind string

// The event kinds, in the order a statement meets them.
const (
	KindSessionOpened Kind = "session.opened" // event 0; only Create writes it
	KindAgentStarted  Kind = "agent.started"
	KindLogin         Kind = "login"     // a driver logged in to the broker, or was refused
	KindStatement     Kind = "statement" // received, analysed and ruled on
	KindRequest       Kind = "request"   // submitted to the desk
	KindDecision      Kind = "decision"  // the desk's answer
	KindForwarded     Kind = "forwarded" // durable before anything goes upstream
	KindRefused       Kind = "refused"   // the agent was told no
	KindResult        Kind = "result"    // durable before a row is released
	KindAborted       Kind = "aborted"   // cancelled by the agent, or lost upstream
	KindTerminal      Kind = "terminal"  // the capture of the terminal is whole
	KindLogout        Kind = "logout"
	KindProtocol      Kind = "protocol.refused" // a request outside the route table
	KindAgentExited   Kind = "agent.exited"
	KindExtended      Kind = "session.extended" // Session.Deadline is the new one
	KindSessionEnded  Kind = "session.ended"    // the last event; Seal writes it if nobody has
)

// Event is one line of a recording. Only the fields its Kind uses are set.
// Nothing in it is a credential; SQL text is canonical.
type Event struct {
	Seq int64 `json:"seq"` // from 0, without gaps; set by the Writer
	// Prev is the leaf hash of the line before (base64), for event 0 that of
	// session.json; set by the Writer. It lets a reader name the line that was
	// changed; what proves the log is the signed root.
	Prev      string    `json:"prev"`
	At        time.Time `json:"at"` // UTC; set by the Writer if zero
	Kind      Kind      `json:"kind"`
	Statement string    `json:"statement,omitempty"` // broker-minted statement id (UUID)

	Session   *SessionFacts   `json:"session,omitempty"`
	Login     *LoginFacts     `json:"login,omitempty"`
	SQL       *StatementFacts `json:"sql,omitempty"`
	Request   *RequestFacts   `json:"request,omitempty"`
	Decision  *DecisionFacts  `json:"decision,omitempty"`
	Forwarded *ForwardedFacts `json:"forwarded,omitempty"`
	Refused   *RefusedFacts   `json:"refused,omitempty"`
	Result    *ResultFacts    `json:"result,omitempty"`
	Agent     *AgentFacts     `json:"agent,omitempty"`
	Terminal  *TerminalFacts  `json:"terminal,omitempty"`
	Recovered *RecoveredFacts `json:"recovered,omitempty"`
	Note      string          `json:"note,omitempty"`

	openings []opening // of a parsed event: its texts with their salts
}

// SessionFacts opens or ends a recording.
type SessionFacts struct {
	ID         string    `json:"id"`
	Principal  string    `json:"principal"`
	Email      string    `json:"email,omitempty"`
	Connection string    `json:"connection"`
	Role       string    `json:"role,omitempty"`
	Warehouse  string    `json:"warehouse,omitempty"`
	Database   string    `json:"database,omitempty"`
	Schema     string    `json:"schema,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Rule       string    `json:"rule,omitempty"` // what granted it
	Policy     string    `json:"policy,omitempty"`
	Deadline   time.Time `json:"deadline,omitzero"`
	Emergency  bool      `json:"emergency,omitempty"` // opened without a reviewer
	Ticket     string    `json:"ticket,omitempty"`
	Confined   bool      `json:"confined"` // without a known gap
	// Confinement says by what, and what is open; empty in recordings from before it.
	Confinement string `json:"confinement,omitempty"`
	End         string `json:"end,omitempty"` // why it ended
}

// AgentFacts says which program ran and how it ended.
type AgentFacts struct {
	Command []string `json:"command,omitempty"` // redacted
	Exit    int      `json:"exit"`
	Signal  string   `json:"signal,omitempty"`
}

// LoginFacts is one driver login at the broker.
type LoginFacts struct {
	Driver   string `json:"driver,omitempty"`
	Version  string `json:"version,omitempty"`
	Upstream string `json:"upstream,omitempty"` // the server's handle of the upstream session
	OK       bool   `json:"ok"`
	Why      string `json:"why,omitempty"`
}

// StatementFacts is what the broker understood and ruled. In Text, Binds and
// Unknown, values that the policy recognises as a person's are ‹redacted:class›;
// Digest is that of what ran.
type StatementFacts struct {
	Text       string          `json:"text"` // canonical; if it could not be lexed, the received text
	Digest     string          `json:"digest"`
	Binds      json.RawMessage `json:"binds,omitempty"`
	Kinds      []string        `json:"kinds"`
	Reads      []string        `json:"reads,omitempty"`
	Writes     []string        `json:"writes,omitempty"`
	Functions  []string        `json:"functions,omitempty"`
	Unknown    []string        `json:"unknown,omitempty"`
	Outputs    []OutputFacts   `json:"outputs,omitempty"`
	Predicates []string        `json:"predicates,omitempty"`
	Verdict    string          `json:"verdict"` // allow, hold, deny
	Rule       string          `json:"rule"`
	Reason     string          `json:"reason,omitempty"`
	// DryRun is set where the bundle in dry run would have ruled otherwise.
	DryRun   *DryRunFacts `json:"dry_run,omitempty"`
	Describe bool         `json:"describe,omitempty"` // describeOnly
	Driver   string       `json:"driver,omitempty"`
	Upstream string       `json:"upstream,omitempty"` // the server's handle of the upstream session
	// Emergency: it stands in a session that was opened without a reviewer.
	Emergency bool `json:"emergency,omitempty"`
}

// DryRunFacts is what a bundle in dry run would have said.
type DryRunFacts struct {
	Policy  string `json:"policy"`
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"`
	Reason  string `json:"reason,omitempty"`
	Masks   bool   `json:"masks,omitempty"` // other columns would be masked, or otherwise
}

// OutputFacts is one result column: where it comes from and how it is masked.
type OutputFacts struct {
	Name  string   `json:"name"`
	From  []string `json:"from,omitempty"`
	Top   bool     `json:"top,omitempty"`
	Class string   `json:"class,omitempty"`
	Mask  string   `json:"mask,omitempty"`
}

// RequestFacts is a request at the desk.
type RequestFacts struct {
	ID        string    `json:"id"`
	Reviewers []string  `json:"reviewers,omitempty"`
	Approvals int       `json:"approvals"`
	Expires   time.Time `json:"expires"`
}

// DecisionFacts is how a request ended.
type DecisionFacts struct {
	Request  string   `json:"request"`
	Outcome  string   `json:"outcome"` // approved, denied, expired, withdrawn
	Reviewer []string `json:"reviewer,omitempty"`
	Reuse    string   `json:"reuse,omitempty"`
	// KeepMasks: the results arrive with every class masked.
	KeepMasks bool   `json:"keep_masks,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// ForwardedFacts precedes the upstream call.
type ForwardedFacts struct {
	RequestID string `json:"request_id"` // the upstream request id
	Digest    string `json:"digest"`
}

// RefusedFacts is what the agent was told.
type RefusedFacts struct {
	Code    string `json:"code"` // JIT-3001, …
	Message string `json:"message"`
}

// ResultFacts summarises a result before it is released.
type ResultFacts struct {
	QueryID string   `json:"query_id,omitempty"`
	Rows    int64    `json:"rows"`
	Columns int      `json:"columns"`
	Bytes   int64    `json:"bytes"`
	Masked  []string `json:"masked,omitempty"` // names of masked columns
	Error   string   `json:"error,omitempty"`  // upstream code and scrubbed text
	Millis  int64    `json:"millis"`
	Chunks  int      `json:"chunks,omitempty"`
	// Sample is the first rows as the agent got them, masked: a JSON array of arrays
	// of texts or null.
	Sample string `json:"sample,omitempty"`
	// Kept is where all rows are, encrypted.
	Kept *KeptFacts `json:"kept,omitempty"`
}

// KeptFacts says which part of the recording's file FileRows holds a result.
type KeptFacts struct {
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of those bytes, base64
}

// TerminalFacts is a whole file beside the log.
type TerminalFacts struct {
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // base64
}

// RecoveredFacts stands in the session.ended event of a recording whose writer
// died before it could seal: what the session key had signed by then, and the
// key that sealed the recording instead.
type RecoveredFacts struct {
	Key        string `json:"key"`        // verifier key of the final checkpoint
	Checkpoint string `json:"checkpoint"` // the last note of the session key, verbatim
	Torn       int64  `json:"torn"`       // bytes of an unfinished line that were dropped
}
