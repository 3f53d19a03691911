package broker

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session/recording"
)

// adopt takes over the children of a batch, each under its own plan.
func (b *Broker) adopt(l *login, s *statement, plans planSet, rep *reply, queryID string) error {
	ids, _ := rep.data.Text("resultIds")
	if ids == "" {
		if len(plans.statements) > 1 && !s.describe {
			return withheld("the batch came back without its children")
		}
		return nil
	}
	list := strings.Split(ids, ",")
	kinds, _ := rep.data.Text("resultTypes")
	if len(plans.statements) < 2 || len(list) != len(plans.statements) || len(strings.Split(kinds, ",")) != len(list) {
		return withheld("Snowflake ran another number of statements than were judged")
	}
	for i, id := range list {
		id = strings.TrimSpace(id)
		if !plainSegment(id) || id == queryID {
			return withheld("Snowflake answered with a query id that is none")
		}
		l.know(id, statementRef{s, i})
	}
	return nil
}

// fetchResult reads a result again from Snowflake by its id.
func (b *Broker) fetchResult(ctx context.Context, l *login, queryID string) (*reply, error) {
	return b.call(ctx, l, upstreamCall{method: http.MethodGet, path: snowflake.ResultPath(queryID), requestID: uuid.NewString()})
}

// answerAgain serves a child's result, or a large result asked for once more,
// from Snowflake under the plan that was fixed before it ran.
func (b *Broker) answerAgain(w http.ResponseWriter, r *http.Request, l *login, s *statement, child int) {
	ctx, cancel := context.WithTimeout(r.Context(), longPoll)
	defer cancel()
	id := pathID(r.URL.Path)
	s.mu.Lock()
	if child < 0 {
		id = s.queryID
	}
	s.mu.Unlock()
	out, running := b.readAgain(ctx, l, s, child, id)
	if running {
		writeAnswer(w, snowflake.AppendInProgress(nil, snowflake.CodeInProgress, id))
		return
	}
	if out.refusal != nil {
		writeAnswer(w, out.refusal.envelope())
		return
	}
	writeAnswer(w, out.body)
}

// readAgain reads a result once more, under the plan that was fixed before it
// ran; running if it is not there yet.
func (b *Broker) readAgain(ctx context.Context, l *login, s *statement, child int, id string) (out outcome, running bool) {
	began := time.Now()
	rep, err := b.fetchResult(ctx, l, id)
	switch {
	case err != nil && ctx.Err() != nil, err == nil && inProgress(rep):
		return outcome{}, true
	case err != nil:
		return outcome{refusal: faultUpstream.refuse("Snowflake gave no usable answer")}, false
	}
	return b.release(ctx, l, s, child, rep, began), false
}

func pathID(path string) string {
	path = strings.TrimPrefix(path, "/queries/")
	id, _, _ := strings.Cut(path, "/")
	return id
}

// ownResultScan recognises the one form drivers use to read an asynchronous
// result, by comparing the whole text: it is served from the broker's table and
// never sent as SQL.
func ownResultScan(text string) (queryID string, ok bool) {
	compact := strings.ToLower(strings.Join(strings.Fields(strings.TrimSuffix(strings.TrimSpace(text), ";")), " "))
	rest, ok := strings.CutPrefix(compact, "select * from table(result_scan('")
	if !ok {
		return "", false
	}
	id, ok := strings.CutSuffix(rest, "'))")
	return id, ok && plainSegment(id)
}

// scanOwn answers such a statement with the stored result of an own query,
// under that query's plan.
func (b *Broker) scanOwn(ctx context.Context, l *login, s *statement, queryID string) outcome {
	facts := &recording.StatementFacts{Text: s.req.SQL, Kinds: []string{"SELECT"}, Verdict: policy.Deny.String(), Rule: "own-results",
		Functions: []string{"RESULT_SCAN"}}
	ref, found := l.find(queryID)
	var origin string
	if found {
		ref.s.mu.Lock()
		found = ref.s.phase == phaseDone && ref.s.out.success
		origin = ref.s.queryID
		s.plans = planSet{own: ref.s.plans.of(ref.child)}
		ref.s.mu.Unlock()
		if ref.child >= 0 {
			origin = queryID
		}
	}
	if found && origin != "" {
		facts.Verdict = policy.Allow.String()
	}
	if failed := b.recordFacts(ctx, l, s, nil, facts); failed != nil {
		return b.refused(ctx, s, failed)
	}
	if facts.Verdict != policy.Allow.String() {
		return b.refused(ctx, s, faultUnknownID.refuse("no finished statement of this connection has this query id"))
	}
	if failed := b.record(ctx, recording.Event{Kind: recording.KindForwarded, Statement: s.id,
		Forwarded: &recording.ForwardedFacts{RequestID: origin}}); failed != nil {
		return b.refused(ctx, s, failed)
	}
	s.enter(phaseRunning)
	began := time.Now()
	rep, err := b.fetchResult(ctx, l, origin)
	if err == nil {
		rep, err = b.follow333(ctx, l, rep, func(string) {})
	}
	if err != nil {
		return b.lost(ctx, l, s, began, err)
	}
	return b.release(ctx, l, s, -1, rep, began)
}
