package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session/recording"
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

// changesContext reports whether what later names mean depends on statements.
func changesContext(statements []sql.Statement) bool {
	for i := range statements {
		e := statements[i].Effects
		if e.UseDatabase != "" || e.UseSchema != "" || e.UseWarehouse != "" || e.UseRole != "" ||
			len(e.SetVariables) > 0 || e.CatalogChanged || len(statements[i].Unknown) > 0 {
			return true
		}
	}
	return false
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
	if name, ok := l.catalog.absent(j.analysis); ok && j.ruling.Verdict != policy.Deny {
		return b.refused(ctx, s, faultMissing.refuse("SQL compilation error: Object '"+name+"' does not exist or not authorized"))
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
	default:
		ref := faultDenied.refuse(j.ruling.Reason)
		ref.rule = j.ruling.Rule
		return b.refused(ctx, s, ref)
	}
	return b.forward(ctx, l, s, j)
}

// describable lists what a held statement may be described for: statements
// whose description is the shape of a result or of binds.
func describable(statements []sql.Statement) bool {
	for i := range statements {
		switch statements[i].Category {
		case sql.CategoryQuery, sql.CategoryMetadata, sql.CategoryWrite:
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

// interrupted is the outcome of a statement whose context ended.
func (b *Broker) interrupted(ctx context.Context, l *login, s *statement, sent bool) outcome {
	cause := context.Cause(ctx)
	if sent {
		s.mu.Lock()
		id := s.queryID
		s.mu.Unlock()
		b.abortUpstream(l, s.upID, id)
		if ref := b.record(ctx, recording.Event{Kind: recording.KindAborted, Statement: s.id, Note: causeWord(cause)}); ref != nil {
			return b.refused(ctx, s, ref)
		}
	}
	switch {
	case errors.Is(cause, errWall):
		return b.refused(ctx, s, faultWall.refuse("the policy's time budget for a statement is spent"))
	case errors.Is(cause, errAborted) && sent:
		return b.refused(ctx, s, faultAborted.refuse("canceled by the agent while it ran"))
	case errors.Is(cause, errAborted):
		return b.refused(ctx, s, faultWithdrawn.refuse("canceled by the agent before it ran"))
	}
	return outcome{gone: true}
}

func causeWord(cause error) string {
	for _, known := range [...]error{errWall, errAborted, errLoginGone, errSessionEnded} {
		if errors.Is(cause, known) {
			return known.Error()
		}
	}
	return "lost"
}

// forward sends a statement that may run and works its answer into an outcome.
func (b *Broker) forward(ctx context.Context, l *login, s *statement, j *judgement) outcome {
	if wall := j.ruling.Limits.Wall; wall > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, wall, errWall)
		defer cancel()
	}
	plans := plansOf(j)
	s.mu.Lock()
	s.plans = plans
	s.mu.Unlock()
	if s.upID == "" {
		s.upID = uuid.NewString()
	}
	if ctx.Err() != nil {
		return b.interrupted(ctx, l, s, false)
	}
	// Commit point. A crash before this event is durable means that nothing went
	// upstream; after it, that the statement may have run under this request id.
	if ref := b.record(ctx, recording.Event{Kind: recording.KindForwarded, Statement: s.id,
		Forwarded: &recording.ForwardedFacts{RequestID: s.upID, Digest: j.kase.Digest()}}); ref != nil {
		return b.refused(ctx, s, ref)
	}
	s.enter(phaseRunning)
	b.mu.Lock()
	b.usage.Statements++
	b.mu.Unlock()

	q := s.req
	q.SQL = j.analysis.Canonical
	q.Sequence = l.nextSequence()
	q.Parameters = append(snowflake.Object{}, s.params...)
	q.Parameters.Set(multiStatementCount, json.RawMessage(strconv.Itoa(len(plans.statements))))
	began := time.Now()
	rep, err := b.call(ctx, l, upstreamCall{method: http.MethodPost, path: snowflake.PathQuery, requestID: s.upID, body: q.Append(nil)})
	if err == nil {
		rep, err = b.follow333(ctx, l, rep, func(id string) {
			l.know(id, statementRef{s, -1})
			s.accept(id)
		})
	}
	if err != nil {
		l.doubt(j.analysis.Statements)
		return b.lost(ctx, l, s, began, err)
	}
	if rep.success {
		l.moved(rep, j.analysis.Statements)
	} else {
		l.doubt(j.analysis.Statements)
	}
	return b.release(ctx, l, s, -1, rep, began)
}

// lost is the outcome of a statement that got no answer.
func (b *Broker) lost(ctx context.Context, l *login, s *statement, began time.Time, err error) outcome {
	if ctx.Err() != nil {
		return b.interrupted(ctx, l, s, true)
	}
	b.log.Warn("upstream failed", "statement", s.id, "err", err)
	facts := &recording.ResultFacts{Error: faultUpstream.code, Millis: time.Since(began).Milliseconds()}
	if ref := b.record(ctx, recording.Event{Kind: recording.KindResult, Statement: s.id, Result: facts}); ref != nil {
		return b.refused(ctx, s, ref)
	}
	if errors.Is(err, errUpstreamGone) {
		b.drop(l, "the upstream session is gone")
		return outcome{gone: true}
	}
	return b.refused(ctx, s, faultUpstream.refuse("Snowflake gave no usable answer"))
}

// follow333 polls upstream until the statement has ended.
func (b *Broker) follow333(ctx context.Context, l *login, rep *reply, seen func(queryID string)) (*reply, error) {
	for inProgress(rep) {
		id, _ := rep.data.Text("queryId")
		if !plainSegment(id) {
			return nil, fmt.Errorf("%w: a running statement without a query id", errUpstream)
		}
		seen(id)
		var err error
		if rep, err = b.call(ctx, l, upstreamCall{method: http.MethodGet, path: snowflake.ResultPath(id), requestID: uuid.NewString()}); err != nil {
			return nil, err
		}
		if inProgress(rep) { // Snowflake holds the poll itself; another upstream may not
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	}
	return rep, nil
}

func inProgress(rep *reply) bool {
	return rep.code == snowflake.CodeInProgress || rep.code == snowflake.CodeInProgressAsync
}

// moved takes over the context the server reports after a statement, or, if it
// reports none, what the statement says it did.
func (l *login) moved(rep *reply, statements []sql.Statement) {
	changed := changesContext(statements)
	reported := false
	l.mu.Lock()
	p := l.place
	for i := range statements {
		e := statements[i].Effects
		p.warehouse = orElse(e.UseWarehouse, p.warehouse)
		p.role = orElse(e.UseRole, p.role)
		if e.UseDatabase != "" {
			p.database, p.schema = e.UseDatabase, "PUBLIC"
		}
		p.schema = orElse(e.UseSchema, p.schema)
	}
	for _, f := range [...]struct {
		key string
		to  *string
	}{{"finalDatabaseName", &p.database}, {"finalSchemaName", &p.schema}, {"finalWarehouseName", &p.warehouse}, {"finalRoleName", &p.role}} {
		if name, ok := rep.data.Text(f.key); ok {
			*f.to, reported = name, true
		}
	}
	if changed && !reported {
		p.stale = true // what the statement says it did may not be all
	}
	if p != l.place || changed {
		p.version++
		l.place = p
		l.variables = assigned(l.variables, statements)
	}
	l.mu.Unlock()
	if changed {
		l.catalog.clear()
	}
}

func orElse(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

// doubt notes that statements failed, or got no answer, which may have changed
// the context before they did: a batch fails half-way with its USE in effect,
// and the next unqualified name would be judged as another than it is.
func (l *login) doubt(statements []sql.Statement) {
	if !changesContext(statements) {
		return
	}
	l.mu.Lock()
	l.place.version++
	l.place.stale = true
	l.variables = nil
	l.mu.Unlock()
	l.catalog.clear()
}

// settledPlace is the context names resolve in, asked for anew if it is in
// doubt. If it cannot be had, no name resolves without its database and schema.
func (b *Broker) settledPlace(ctx context.Context, l *login) place {
	p := l.presentPlace()
	if !p.stale {
		return p
	}
	c, cancel := context.WithTimeout(ctx, catalogTimeout)
	defer cancel()
	rows, _, err := b.metadata(c, l, "SELECT CURRENT_DATABASE(), CURRENT_SCHEMA(), CURRENT_WAREHOUSE(), CURRENT_ROLE()", false)
	if err == nil && (len(rows) != 1 || len(rows[0]) != 4) {
		err = errUpstream
	}
	fresh := place{version: p.version + 1, stale: err != nil, role: p.role, warehouse: p.warehouse}
	if err != nil {
		b.log.Warn("asking for the session's context failed", "err", err)
	} else {
		for i, to := range [...]*string{&fresh.database, &fresh.schema, &fresh.warehouse, &fresh.role} {
			if v := rows[0][i]; v != nil {
				*to = *v
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.place.version == p.version {
		l.place = fresh
	}
	return l.place
}

// assigned is the session's known constants after statements.
func assigned(old map[string]string, statements []sql.Statement) map[string]string {
	next := maps.Clone(old)
	if next == nil {
		next = map[string]string{}
	}
	for i := range statements {
		e := statements[i].Effects
		for _, name := range e.SetVariables {
			delete(next, name)
		}
		maps.Copy(next, e.Literals)
		if len(statements[i].Unknown) > 0 {
			clear(next) // it may have assigned anything
		}
	}
	return next
}
