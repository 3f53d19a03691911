package broker

import (
	"strconv"
	"strings"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
)

// cancelAll is what a client calls to stop what it left running. Snowpark does
// when it closes.
const cancelAll = "SYSTEM$CANCEL_ALL_QUERIES"

// ownQueries lets through what a policy holds because it is a system function,
// and which can only stop statements of this connection: SELECT
// SYSTEM$CANCEL_ALL_QUERIES of this login's own upstream session, which no other
// login shares. A Deny stays one, and so does a Hold with any other id.
func (l *login) ownQueries(j *judgement, r policy.Ruling) policy.Ruling {
	if r.Verdict != policy.Hold || !j.cancels {
		return r
	}
	r.Verdict, r.Rule, r.Reason = policy.Allow, "own-queries", "It stops statements of this connection only."
	r.Reviewers, r.Approvals = nil, 0
	return r
}

// cancelsOwn asks for both: that the statement means a call of that function and
// nothing besides, and that it is, letter for letter, the call with this id.
func (l *login) cancelsOwn(a *sql.Analysis) bool {
	id := l.upstreamSession().SnowflakeID
	if id <= 0 || id != l.id || len(a.Statements) != 1 {
		return false
	}
	st := &a.Statements[0]
	if st.Category != sql.CategoryQuery || len(st.Functions) != 1 || st.Functions[0].Name != cancelAll ||
		len(st.Reads)+len(st.Writes)+len(st.Nested) != 0 || !st.OutputsKnown || len(st.Outputs) != 1 {
		return false
	}
	return upperASCII(st.Text) == "SELECT "+cancelAll+"("+strconv.FormatInt(id, 10)+")" && a.Canonical == st.Text
}

// upperASCII folds as Snowflake folds names: letters beyond ASCII that look
// alike in upper case are not the same.
func upperASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, s)
}
