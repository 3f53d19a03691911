package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
)

// faultCount is Snowflake's own answer to a wrong statement count.
var faultCount = fault{"JIT-2009", "STATEMENT_COUNT", "000008", "0A000", notRun,
	"set MULTI_STATEMENT_COUNT to the number of statements, or send them one by one.", false}

// faultMissing is Snowflake's own answer to a name nothing has, given before
// anyone is asked to approve what could only fail.
var faultMissing = fault{"JIT-2010", "OBJECT_MISSING", "002003", "42S02", notRun,
	"check the name, the current database and schema, and the role; then send the corrected statement.", false}

// judgeAttempts bounds how often a statement is judged anew because others
// changed the session's context meanwhile.
const judgeAttempts = 5

// execute takes a statement from its text to its outcome.
func (b *Broker) execute(ctx context.Context, l *login, s *statement) outcome {
	params, count, ref := statementParameters(s.req.Parameters, l.format)
	if ref == nil && s.req.BindStage != "" {
		ref = faultUnsupported.refuse("bind values that travel by a stage cannot be read here")
	}
	if ref != nil {
		return b.refused(ctx, s, ref)
	}
	s.params = params
	if id, ok := ownResultScan(s.req.SQL); ok {
		return b.scanOwn(ctx, l, s, id)
	}
	for range judgeAttempts {
		j, ref := b.judge(ctx, l, s)
		if ref != nil {
			if failed := b.recordRefusedText(ctx, l, s, ref); failed != nil {
				ref = failed
			}
			return b.refused(ctx, s, ref)
		}
		weight := int64(1)
		if j.cancels { // in turn, it would wait for what it is to stop
			return b.perform(ctx, l, s, j, count)
		}
		if j.ruling.Verdict == policy.Hold || changesContext(j.analysis.Statements) {
			weight = everyTurn
		}
		if err := l.turn.Acquire(ctx, weight); err != nil {
			return b.interrupted(ctx, l, s, false)
		}
		if l.presentPlace().version != j.place.version {
			l.turn.Release(weight)
			continue
		}
		out := b.perform(ctx, l, s, j, count)
		l.turn.Release(weight)
		return out
	}
	return b.refused(ctx, s, faultChanged.refuse("other statements of this connection keep changing its context"))
}

// perform acts on a judgement, with the login's turn held.
func (b *Broker) perform(ctx context.Context, l *login, s *statement, j *judgement, count int64) outcome {
	if ref := b.recordStatement(ctx, l, s, j); ref != nil {
		return b.refused(ctx, s, ref)
	}
	if n := int64(len(j.analysis.Statements)); count != 0 && n != max(count, 1) {
		return b.refused(ctx, s, faultCount.refuse(fmt.Sprintf("the text holds %d statements and %d was announced", n, max(count, 1))))
	}
	if ref := readsStoredResult(j.analysis.Statements); ref != nil {
		return b.refused(ctx, s, ref)
	}
	if ref := b.leavesGrant(l, j); ref != nil && j.ruling.Verdict != policy.Deny {
		return b.refused(ctx, s, ref)
	}
	if l.sqlAPI && !s.atLogin && j.ruling.Verdict != policy.Deny {
		if ref := needsSession(j.analysis.Statements); ref != nil {
			return b.refused(ctx, s, ref)
		}
		l.mu.Lock()
		l.spent = l.spent || spends(j.analysis.Statements)
		l.mu.Unlock()
	}
	if name, ok := l.catalog.absent(j.analysis); ok && j.ruling.Verdict != policy.Deny {
		return b.refused(ctx, s, faultMissing.refuse("SQL compilation error: Object '"+name+"' does not exist or not authorized"))
	}
	if ref := b.columnMissing(ctx, l, s, j); ref != nil {
		return b.refused(ctx, s, ref)
	}
	switch {
	case j.ruling.Verdict == policy.Allow:
	case j.ruling.Verdict == policy.Hold && s.req.DescribeOnly && describable(j.analysis.Statements):
		// Compiled, never run, and the same objects are judged: nobody is asked.
	case j.ruling.Verdict == policy.Hold && !s.req.DescribeOnly && !s.atLogin:
		approved, ref := b.hold(ctx, l, s, j)
		if ref != nil {
			if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errAborted) {
				return outcome{gone: true}
			}
			return b.refused(ctx, s, ref)
		}
		j = approved
	case j.ruling.Verdict == policy.Hold && s.req.DescribeOnly:
		ref := faultDenied.refuse("a person must decide on this statement, and nothing about it can be told before; run it instead of describing it")
		ref.rule = j.ruling.Rule
		return b.refused(ctx, s, ref)
	default:
		ref := faultDenied.refuse(j.ruling.Reason)
		ref.rule = j.ruling.Rule
		return b.refused(ctx, s, ref)
	}
	return b.forward(ctx, l, s, j)
}

// describable reports whether a held statement may be described, which nobody
// decides on: one that was understood, and whose description tells no more than
// its text does. Columns that are not known from the text may be named after
// values (a pivot names them so), and a server may answer the description of
// SHOW with the rows.
func describable(statements []sql.Statement) bool {
	for i := range statements {
		st := &statements[i]
		switch {
		case len(st.Unknown) > 0:
			return false
		case st.Category == sql.CategoryQuery && st.OutputsKnown, st.Category == sql.CategoryWrite:
		default:
			return false
		}
	}
	return true
}

// readsStoredResult refuses reading another statement's result in any form but
// the one execute serves from the broker's own table: a stored result is
// unmasked and its lineage is lost.
func readsStoredResult(statements []sql.Statement) *refusal {
	for i := range statements {
		for _, f := range statements[i].Functions {
			name := f.Name[strings.LastIndexByte(f.Name, '.')+1:]
			if name == "RESULT_SCAN" || name == "LAST_QUERY_ID" {
				return faultUnsupported.refuse("stored results are read by SELECT * FROM TABLE(RESULT_SCAN('<query id>')) of this connection's own ids only")
			}
		}
	}
	return nil
}

// refused records and returns a refusal.
func (b *Broker) refused(ctx context.Context, s *statement, ref *refusal) outcome {
	ref.statement = s.id
	b.recordRefusal(ctx, s.id, ref)
	b.log.Info("statement refused", "statement", s.id, "code", ref.code)
	return outcome{refusal: ref}
}
