package broker

import (
	"fmt"
	"strings"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
)

// A fault is one way the broker says no: a stable code and name, the Snowflake
// code and SQLSTATE that make drivers surface it without retrying, a fixed
// text and one next step. It is all an agent ever sees of an error.
type fault struct {
	code, name   string
	gs, sqlState string
	ran          string // what happened to the statement
	next         string
	retry        bool // whether sending the same again can help
}

// What happened to the statement, as agents read it.
const (
	notRun     = "It has NOT run."
	mayHaveRun = "It may have run."
	hasRun     = "It has run; its result was withheld."
	failed     = "It was sent, and failed in Snowflake."
	nothingRun = "This call has run nothing."
)

// The faults. Codes are stable: agents and documents refer to them.
var (
	faultLease = fault{"JIT-1001", "LEASE_UNKNOWN", snowflake.CodeLoginFailed, "08001", nothingRun,
		"start the program with `jit exec -- COMMAND`; it gets its own lease.", false}
	faultEnded = fault{"JIT-1002", "SESSION_ENDED", snowflake.CodeLoginFailed, "08001", nothingRun,
		"ask for a new session with `jit exec -- COMMAND`.", false}
	faultAuthenticator = fault{"JIT-1003", "AUTHENTICATOR_REFUSED", snowflake.CodeLoginFailed, "08001", nothingRun,
		"use the connection that `jit exec` wrote: the lease as programmatic access token, OAuth token or password.", false}
	faultLogins = fault{"JIT-1004", "TOO_MANY_LOGINS", snowflake.CodeLoginFailed, "08001", nothingRun,
		"close a connection, or use a smaller pool, then connect again.", true}
	faultScope = fault{"JIT-1005", "OUTSIDE_GRANT", snowflake.CodeLoginFailed, "42501", nothingRun,
		"connect without naming it; if the work needs it, the person you work for can ask for it with `jit exec --role --warehouse`.", false}
	faultUpstreamLogin = fault{"JIT-1006", "UPSTREAM_LOGIN_FAILED", snowflake.CodeLoginFailed, "08001", nothingRun,
		"wait a minute and connect again; if it stays, tell the person you work for: who runs the approval server can test the connection.", true}
	faultGone = fault{"JIT-1007", "SESSION_GONE", snowflake.CodeSessionGone, "08001", nothingRun,
		"connect again; if that is refused, start again with `jit exec -- COMMAND`.", false}
	faultMaster = fault{"JIT-1008", "RENEWAL_REFUSED", snowflake.CodeMasterGone, "08001", nothingRun,
		"connect again.", false}

	faultDenied = fault{"JIT-2001", "DENIED_BY_POLICY", snowflake.CodeAccessDenied, "42501", notRun,
		"do not send it again, in these or in other words; tell the person you work for what was refused and by which rule.", false}
	faultSyntax = fault{"JIT-2002", "NOT_UNDERSTOOD", snowflake.CodeSyntax, "42000", notRun,
		"correct the text at the place named above, so that it says plainly what it does, then send the corrected statement.", false}
	faultUnsupported = fault{"JIT-2003", "UNSUPPORTED", snowflake.CodeUnsupported, "0A000", notRun,
		"do without this feature, or tell the person you work for that it is needed.", false}
	faultRequestID = fault{"JIT-2004", "REQUEST_ID_REUSED", snowflake.CodeAccessDenied, "42501", notRun,
		"send the statement with a request id of its own.", false}
	faultLimit = fault{"JIT-2005", "BUDGET_EXCEEDED", snowflake.CodeAccessDenied, "42501", hasRun,
		"ask for fewer rows or columns, or for an aggregate; asking for it in pieces spends the same budget.", false}
	faultWall = fault{"JIT-2006", "TIME_BUDGET_EXCEEDED", snowflake.CodeCanceled, "57014", mayHaveRun,
		"check what it changed, then make it cheaper: fewer rows, an earlier filter.", false}
	faultBody = fault{"JIT-2007", "MALFORMED_REQUEST", snowflake.CodeUnsupported, "0A000", notRun,
		"use an unmodified Snowflake driver.", false}
	faultBusy = fault{"JIT-2008", "TOO_MANY_STATEMENTS", snowflake.CodeAccessDenied, "42501", notRun,
		"wait until some statements of this connection have finished.", true}

	faultPending = fault{"JIT-3001", "APPROVAL_PENDING", snowflake.CodeAccessDenied, "42501", notRun,
		"wait for a reviewer, then send the very same statement again: it attaches to this request and runs once. Until then do other work, or stop and say what you wait for.", true}
	faultRejected = fault{"JIT-3002", "DENIED_BY_REVIEWER", snowflake.CodeAccessDenied, "42501", notRun,
		"do not send it again, in these or in other words; tell the person you work for what the reviewer said.", false}
	faultExpired = fault{"JIT-3003", "APPROVAL_EXPIRED", snowflake.CodeCanceled, "57014", notRun,
		"tell the person you work for that nobody decided; send it again when a reviewer is there.", true}
	faultWithdrawn = fault{"JIT-3004", "CANCELED", snowflake.CodeCanceled, "57014", notRun,
		"send it again if it is still wanted.", true}
	faultChanged = fault{"JIT-3005", "CONTEXT_CHANGED", snowflake.CodeAccessDenied, "42501", notRun,
		"make sure it still does what you want, then send it again: it is judged anew.", true}
	faultDesk = fault{"JIT-3006", "APPROVAL_UNAVAILABLE", snowflake.CodeInternal, "XX000", notRun,
		"wait a minute and send it again; if it stays, tell the person you work for that the approval server does not answer.", true}

	faultUpstream = fault{"JIT-4001", "UPSTREAM_FAILED", snowflake.CodeInternal, "XX000", mayHaveRun,
		"check what it changed before sending it again.", true}
	faultWithheld = fault{"JIT-4002", "RESULT_WITHHELD", snowflake.CodeInternal, "XX000", hasRun,
		"if it only reads, name each column and qualify each table, then send that; if it changes data, check what it changed first.", false}
	faultRecord = fault{"JIT-4003", "NOT_RECORDED", snowflake.CodeInternal, "XX000", notRun,
		"stop, and tell the person you work for that nothing can be recorded (free disk space, then start again with `jit exec`).", false}
	faultUnknownID = fault{"JIT-4004", "NO_SUCH_STATEMENT", snowflake.CodeNoSuchStatement, "02000", nothingRun,
		"use a query id that this connection was given.", false}
	faultAborted = fault{"JIT-4005", "CANCELED", snowflake.CodeCanceled, "57014", mayHaveRun,
		"check what it changed before sending it again.", false}

	faultRoute = fault{"JIT-5001", "NOT_SERVED", snowflake.CodeUnsupported, "0A000", nothingRun,
		"use a Snowflake driver over the connection that `jit exec` wrote; other endpoints are closed.", false}
)

// faultHidden stands for an upstream error whose text may quote cell values; the
// upstream's own code stays.
var faultHidden = fault{"JIT-4006", "ERROR_TEXT_HIDDEN", snowflake.CodeInternal, "XX000", failed,
	"check names, types and casts against the columns of the tables, then send the corrected statement. Masked values are not to be found out by errors.", false}

// hiddenText is what is said instead of such a text.
var hiddenText = faultHidden.refuse("Snowflake's error text is hidden because it may quote masked values").message()

// A refusal is a fault with the facts of one case. Every field is the broker's
// or the policy's own words, never text from upstream or an error's.
type refusal struct {
	fault
	statement string // broker-minted statement id
	request   string // request id at the desk
	rule      string
	expires   time.Time
	why       string // policy reason, position, name of the refused thing
	line, pos int    // in the text; line 0 is nowhere
}

// message is the text agents read: the code line, what happened, why, one next
// step, whether a retry helps.
func (r refusal) message() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s", r.code, r.name)
	if id := r.request; id != "" {
		fmt.Fprintf(&s, " request=%s", oneWord(id))
	} else if r.statement != "" {
		fmt.Fprintf(&s, " statement=%s", r.statement)
	}
	if r.rule != "" {
		fmt.Fprintf(&s, " rule=%s", oneWord(r.rule))
	}
	if !r.expires.IsZero() {
		fmt.Fprintf(&s, " expires=%s", r.expires.UTC().Format(time.RFC3339))
	}
	if r.why != "" {
		fmt.Fprintf(&s, "%s%s.", whyMark, strings.TrimRight(oneLine(r.why), "."))
	}
	fmt.Fprintf(&s, "\n%s%s%s\n", r.ran, nextMark, r.next)
	if r.retry {
		s.WriteString(retryYes)
	} else {
		s.WriteString(retryNo)
	}
	return s.String()
}

// How the lines of a message begin; ParseRefusal reads them.
const (
	whyMark  = "\njit: "
	nextMark = "\nNEXT: "
	retryYes = "RETRY: yes, the same statement can succeed later"
	retryNo  = "RETRY: no, the same statement gets the same answer"
)

// envelope is the refusal as the answer of a statement endpoint.
func (r refusal) envelope() []byte {
	return snowflake.AppendFailure(nil, snowflake.Failure{
		Code: r.gs, SQLState: r.sqlState, QueryID: r.statement, Message: r.message(), Line: r.line, Pos: r.pos})
}

// oneLine keeps text from policy files and servers from faking further lines.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

// oneWord keeps a value of the first line from faking another.
func oneWord(s string) string { return strings.ReplaceAll(oneLine(s), " ", "_") }

func (f fault) refuse(why string) *refusal { return &refusal{fault: f, why: why} }

// Error makes a refusal travel as an error inside the broker. What crosses the
// wire is envelope or message, never this.
func (r *refusal) Error() string { return r.code + " " + r.name + ": " + r.why }
