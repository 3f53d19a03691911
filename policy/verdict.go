// Package policy decides: it evaluates a Cedar bundle over the facts of a
// statement and says whether it may run, must be held for a human, or is
// refused, and which result columns are masked.
//
// Invariants:
//
//  1. The zero Verdict is Deny, and every evaluation error is Deny: Cedar
//     skips a policy that errors, so a forbid that errors would otherwise
//     permit.
//  2. A statement may run only if the bundle permits it for every object it
//     touches; an object nobody could name is never permitted unattended.
//  3. Masks are decided per output column from its labels, never from its name.
//  4. The package is pure: no I/O after a bundle is loaded, no clock.
package policy

import (
	"time"

	"github.com/jit-access/jit/policy/sql"
)

// Verdict is the machine's answer. The zero value is Deny.
type Verdict uint8

// The verdicts, from least to most permissive.
const (
	Deny Verdict = iota
	Hold
	Allow
)

var verdictNames = [...]string{"deny", "hold", "allow"}

// String returns deny, hold or allow; an unknown value is deny.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return verdictNames[Deny]
}

// Subject is who asks, as Cedar sees it.
type Subject struct {
	User   string // principal id
	Email  string
	Groups []string
	Agent  string // program name, for rules about agents; agent-supplied
}

// Setting is where a statement would run.
type Setting struct {
	Connection, Role, Warehouse, Database, Schema string
	SessionID                                     string
	Emergency                                     bool // the session was opened by Bundle.OpenEmergency
}

// Usage is what the session has consumed so far, for budgets.
type Usage struct {
	Statements int
	Rows       int64
	Bytes      int64
	Elapsed    time.Duration // since first use
}

// Estimate is what Snowflake expects a statement to scan (EXPLAIN USING JSON).
type Estimate struct {
	Bytes      int64
	Partitions int64
	Known      bool
}

// Input is one statement batch to decide on. The batch is one unit: its
// verdict is the strictest of its statements.
type Input struct {
	Subject    Subject
	Setting    Setting
	Statements []sql.Statement
	Usage      Usage
	// MaskAll masks every class, also those that the subject may read in clear.
	MaskAll bool
	// Estimate is called at most once, and only if a policy refers to it.
	// nil or an error: unknown, and a rule that needs it holds.
	Estimate func() (Estimate, error)
}

// Ruling is the answer for one batch.
type Ruling struct {
	Verdict   Verdict
	Rule      string   // @id of the deciding policy; "default" rules have ids too
	Reason    string   // @reason, what agent and reviewer read
	Reviewers []string // @reviewers
	Approvals int      // @approvals, at least 1 when Verdict is Hold
	// Masks has one entry per output column of each statement, in order; the
	// zero Mask leaves the column as it is. Only statements with OutputsKnown
	// have entries.
	Masks [][]ColumnMask
	// Rest has one entry per statement: how to hide result columns that Masks
	// does not list, because the outputs are not known or the result has more
	// columns than were computed. The zero Mask shows them: Snowflake fixes the
	// result of such a statement and it holds no table data.
	Rest []ColumnMask
	// Classes are all data classes the batch touches: outputs, predicates, and
	// what it stores.
	Classes []string
	// Clear are the classes the subject may read in clear throughout the batch,
	// for DetectColumn.
	Clear []string
	// ReadsClassed is true if anything the batch reads touches a class, or may:
	// server error texts must then be scrubbed.
	ReadsClassed bool
	Limits       Limits
}

// Limits are the budgets that still apply to this statement; zero = none.
type Limits struct {
	Rows  int64
	Bytes int64
	Wall  time.Duration
}

// ColumnMask says how one output column is hidden. The zero value shows it.
type ColumnMask struct {
	Class string // data class, e.g. "pii.email"; empty = not masked
	Mask  Mask
}

// Mask is a transformation that hides a value. The zero value is MaskNone.
type Mask uint8

// The masks, see DESIGN: null, redact, keep-last-4, keep-domain, hash.
const (
	MaskNone Mask = iota
	MaskNull
	MaskRedact     // ‹masked:pii.email›
	MaskKeepLast4  // ••••6789
	MaskKeepDomain // ‹masked›@example.com
	MaskHash       // HMAC-SHA-256, joinable within a session
)
