package broker

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
)

// invalidIdentifier is Snowflake's code for a name that nothing has.
const invalidIdentifier = "000904"

// faultColumn is Snowflake's own answer to a column nothing has, given before
// anyone is asked to approve what could only fail.
var faultColumn = fault{"JIT-2012", "COLUMN_MISSING", invalidIdentifier, "42000", notRun,
	"check the spelling and the table's columns; then send the corrected statement.", false}

// columnMissing answers a query that would be held for a column that, as far as
// is known here, nothing has: a slip of the pen that no person need look at. What
// is known here may be wrong or old, so Snowflake is asked to compile it; only if
// it says the same is that the answer. The text is not run, and Snowflake's own
// text does not cross.
func (b *Broker) columnMissing(ctx context.Context, l *login, s *statement, j *judgement) *refusal {
	at, ok := absentColumn(j)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, catalogTimeout)
	defer cancel()
	q := snowflake.QueryRequest{SQL: j.analysis.Canonical, DescribeOnly: true, Sequence: l.nextSequence(), Binds: s.req.Binds,
		Parameters: snowflake.Object{{Key: multiStatementCount, Raw: []byte("1")}}}
	rep, err := b.call(ctx, l, upstreamCall{method: http.MethodPost, path: snowflake.PathQuery, requestID: uuid.NewString(), body: q.Append(nil)})
	if err == nil {
		rep, err = b.follow333(ctx, l, rep, func(string) {})
	}
	if err != nil || rep.success || rep.code != invalidIdentifier {
		l.catalog.clear() // it may be what is known here that is wrong
		return nil
	}
	before := s.req.SQL[:min(max(at.Pos, 0), len(s.req.SQL))]
	line, pos := 1+strings.Count(before, "\n"), len(before)-1-strings.LastIndexByte(before, '\n')
	ref := faultColumn.refuse(fmt.Sprintf("SQL compilation error: error line %d at position %d: invalid identifier '%s'", line, pos, at.Absent))
	ref.line, ref.pos = line, pos
	return ref
}

// absentColumn is the first column that is absent, if such columns are all that
// a lone query, which calls nothing but pure functions, is held for not being
// understood. Compiling it tells nothing but whether it compiles.
func absentColumn(j *judgement) (sql.Reason, bool) {
	if j.ruling.Verdict != policy.Hold || len(j.analysis.Statements) != 1 {
		return sql.Reason{}, false
	}
	st := &j.analysis.Statements[0]
	if st.Category != sql.CategoryQuery || len(st.Unknown) == 0 || len(st.Writes)+len(st.Nested) != 0 {
		return sql.Reason{}, false
	}
	for _, f := range st.Functions {
		if f.Risk != sql.FunctionPure {
			return sql.Reason{}, false
		}
	}
	for _, u := range st.Unknown {
		if u.Absent == "" {
			return sql.Reason{}, false
		}
	}
	return st.Unknown[0], true
}
