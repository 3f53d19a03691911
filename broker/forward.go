package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session/recording"
)

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
	if s.describe && j.ruling.Verdict == policy.Hold {
		plans.undecided()
	}
	b.planSample(&plans, j)
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
		Forwarded: &recording.ForwardedFacts{RequestID: s.upID, Digest: j.digest}}); ref != nil {
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
	if changesContext(j.effects()) {
		defer b.forgetCatalogs() // the other connections' too
	}
	if err != nil {
		l.doubt(s.id, j.effects())
		out := b.lost(ctx, l, s, began, err)
		if movesSession(j.effects()) {
			b.drop(l, "a statement that changes the session's context was lost, and may still run")
			out = outcome{gone: true}
		}
		return out
	}
	if rep.success {
		l.moved(rep, s.id, j.effects())
	} else {
		l.doubt(s.id, j.effects())
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
