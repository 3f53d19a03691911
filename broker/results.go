package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session/recording"
)

// plan says what is released of one result.
type plan struct {
	outputs []sql.Output
	known   bool                // outputs lists every column
	masks   []policy.ColumnMask // one per output if known
	rest    policy.ColumnMask   // how to hide columns that masks does not list
	scrub   bool                // error texts may quote classed values
	reads   []sql.Object
	query   bool // the answer must be a query's
	// undecided: the description of a statement that waits for nobody's decision;
	// rows in the answer are nobody's to see.
	undecided bool
	limits    policy.Limits
	clear     []string // classes the subject may read
	// sampled and sampledRest are masks and rest for rows that are recorded, in
	// which no class is in clear.
	sampled     []policy.ColumnMask
	sampledRest policy.ColumnMask
}

// planSet is what is released of a request: its statements' plans, and the
// request's own. They differ if there are several statements.
type planSet struct {
	own        plan
	statements []plan
}

func (p planSet) of(child int) plan {
	if child < 0 || child >= len(p.statements) {
		return p.own
	}
	return p.statements[child]
}

// undecided marks what was forwarded to be described only.
func (p *planSet) undecided() {
	p.own.undecided = true
	for i := range p.statements {
		p.statements[i].undecided = true
	}
}

// plansOf fixes what may be released before anything is sent.
func plansOf(j *judgement) planSet {
	var set planSet
	for i := range j.analysis.Statements {
		st := &j.analysis.Statements[i]
		p := plan{outputs: st.Outputs, known: st.OutputsKnown, scrub: j.ruling.ReadsClassed, reads: st.Reads,
			query: st.Category == sql.CategoryQuery, limits: j.ruling.Limits, clear: j.ruling.Clear}
		if i < len(j.ruling.Masks) {
			p.masks = j.ruling.Masks[i]
		}
		if i < len(j.ruling.Rest) {
			p.rest = j.ruling.Rest[i]
		}
		if p.known && len(p.masks) != len(p.outputs) || i >= len(j.ruling.Rest) {
			// A ruling that does not fit its statement shows nothing.
			p.known, p.rest = false, policy.ColumnMask{Class: policy.UnknownClass, Mask: policy.MaskRedact}
		}
		set.statements = append(set.statements, p)
	}
	if len(set.statements) == 1 {
		set.own = set.statements[0]
	} else {
		// The answer to a batch is a fixed status row and the ids of the children.
		set.own = plan{scrub: j.ruling.ReadsClassed, limits: j.ruling.Limits}
	}
	return set
}

// errWithheld reports a result that may not be released; its text is fit for
// the agent.
type errWithheld struct{ why string }

func (e *errWithheld) Error() string { return e.why }

func withheld(format string, args ...any) error { return &errWithheld{fmt.Sprintf(format, args...)} }

// released is a result as it leaves, and what is recorded of it.
type released struct {
	body    []byte
	queryID string
	facts   recording.ResultFacts
}

// release masks, checks and records a result, and only then makes it the
// outcome.
func (b *Broker) release(ctx context.Context, l *login, s *statement, child int, rep *reply, began time.Time) outcome {
	s.mu.Lock()
	plans := s.plans
	s.mu.Unlock()
	p := plans.of(child)
	if !rep.success {
		return b.releaseError(ctx, s, p, rep, began)
	}
	r, err := b.rewrite(l, s, child, p, rep)
	if err == nil && child < 0 {
		err = b.adopt(l, s, plans, rep, r.queryID)
	}
	r.facts.Millis = time.Since(began).Milliseconds()
	ref := refuseRelease(p, &r, err)
	if ref != nil {
		r.facts.Error = ref.code
		b.log.Warn("result withheld", "statement", s.id, "code", ref.code, "err", err)
		l.catalog.clear() // what was believed about the columns may be wrong
	}
	// Commit point. A crash before this event is durable releases nothing; after
	// it, the recording says what may have been seen.
	if failed := b.record(ctx, recording.Event{Kind: recording.KindResult, Statement: s.id, Result: &r.facts}); failed != nil {
		failed.ran = hasRun
		return b.refused(ctx, s, failed)
	}
	if ref != nil {
		return b.refused(ctx, s, ref)
	}
	b.mu.Lock()
	b.usage.Rows += r.facts.Rows
	b.usage.Bytes += r.facts.Bytes
	b.mu.Unlock()
	if child < 0 {
		l.know(r.queryID, statementRef{s, -1})
		s.accept(r.queryID)
	}
	return outcome{success: true, body: r.body}
}

// refuseRelease is the refusal of a result that could not be worked on, or
// that exceeds its budget.
func refuseRelease(p plan, r *released, err error) *refusal {
	var w *errWithheld
	switch {
	case err != nil:
		why := "the result could not be read, so nothing of it was released"
		if errors.As(err, &w) {
			why = w.why
		}
		return faultWithheld.refuse(why)
	case p.limits.Rows > 0 && r.facts.Rows > p.limits.Rows:
		return faultLimit.refuse(fmt.Sprintf("the result has %d rows and the budget leaves %d", r.facts.Rows, p.limits.Rows))
	case p.limits.Bytes > 0 && r.facts.Bytes > p.limits.Bytes:
		return faultLimit.refuse(fmt.Sprintf("the result has %d bytes and the budget leaves %d", r.facts.Bytes, p.limits.Bytes))
	}
	return nil
}

// releaseError relays Snowflake's own error. Its text may quote cells, so it is
// replaced when the statement touches classed data.
func (b *Broker) releaseError(ctx context.Context, s *statement, p plan, rep *reply, began time.Time) outcome {
	f := snowflake.Failure{Code: rep.code}
	f.Message, _ = rep.top.Text("message")
	body := rep.raw
	f.SQLState, _ = rep.data.Text("sqlState")
	f.QueryID, _ = rep.data.Text("queryId")
	f.Type, _ = rep.data.Text("type")
	if p.scrub {
		f.Message = hiddenText
	}
	if p.scrub || rep.data == nil || f.Message == "" {
		body = snowflake.AppendFailure(nil, f)
	}
	facts := &recording.ResultFacts{QueryID: f.QueryID, Error: f.Code + " " + clip(oneLine(f.Message), 500), Millis: time.Since(began).Milliseconds()}
	if ref := b.record(ctx, recording.Event{Kind: recording.KindResult, Statement: s.id, Result: facts}); ref != nil {
		return b.refused(ctx, s, ref)
	}
	return outcome{code: f.Code, body: body}
}
