package broker

import (
	"context"
	"net/http"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session/recording"
)

const (
	// longPoll is how long an answer may take: Python gives up at 60 s.
	longPoll = 30 * time.Second
	// asyncPoll is how long a driver that asked for asyncExec waits for the
	// real query id before it gets the provisional one.
	asyncPoll = 3 * time.Second
)

// serveQuery takes one statement. A repeat of a request id attaches to the
// first; the work itself does not end with the connection that brought it.
func (b *Broker) serveQuery(w http.ResponseWriter, r *http.Request, _ string) {
	l, ok := b.authorize(w, r)
	if !ok {
		return
	}
	requestID := r.URL.Query().Get("requestId")
	if !plainSegment(requestID) {
		b.refuseStatement(w, r, faultBody.refuse("the request has no requestId"))
		return
	}
	body, err := snowflake.ReadBody(r.Body, r.Header.Get("Content-Encoding"), snowflake.MaxRequestBody)
	if err != nil {
		b.refuseStatement(w, r, faultBody.refuse("the body cannot be read, or is larger than allowed"))
		return
	}
	req, err := snowflake.ParseQuery(body)
	if err != nil {
		b.refuseStatement(w, r, faultBody.refuse("the body is not strict JSON of a driver"))
		return
	}
	s, fresh, ref := l.admit(requestID, req)
	if ref != nil {
		b.refuseStatement(w, r, ref)
		return
	}
	if fresh {
		s.upID = b.upstreamRequestID(l, requestID)
		b.start(l, s)
	}
	b.await(w, r, l, s)
}

// refuseStatement records and answers a request that never became a statement.
func (b *Broker) refuseStatement(w http.ResponseWriter, r *http.Request, ref *refusal) {
	b.recordRefusal(r.Context(), "", ref)
	writeAnswer(w, ref.envelope())
}

// start runs a statement on its own. Its context ends with the session, with
// its login, or when its driver cancels it.
func (b *Broker) start(l *login, s *statement) {
	ctx, cancel := context.WithCancelCause(context.Background())
	s.cancel = cancel
	b.spawn(func(life context.Context) {
		unlink := context.AfterFunc(life, func() { cancel(errSessionEnded) })
		defer unlink()
		defer cancel(nil)
		out := b.execute(ctx, l, s)
		s.req, s.params = snowflake.QueryRequest{}, nil // binds are large
		l.keep(len(out.body))
		if l.sqlAPI {
			b.api.put(l) // before the answer: the next request may come with it
		}
		s.settle(out)
		l.settled(s)
	})
}

// await answers with the outcome, or keeps the driver polling.
func (b *Broker) await(w http.ResponseWriter, r *http.Request, l *login, s *statement) {
	s.park()
	defer s.leave()
	wait, accepted := b.poll, (<-chan struct{})(nil)
	detached := s.async && r.Method == http.MethodPost
	if detached {
		wait, accepted = b.asyncPoll, s.accepted
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-s.done:
		if detached {
			b.answerAccepted(w, r, l, s)
			return
		}
		b.answer(w, r, l, s, -1)
	case <-accepted:
		b.answerAccepted(w, r, l, s)
	case <-t.C:
		if detached {
			writeAnswer(w, snowflake.AppendInProgress(nil, snowflake.CodeInProgressAsync, s.id))
			return
		}
		writeAnswer(w, snowflake.AppendInProgress(nil, snowflake.CodeInProgress, s.id))
	case <-r.Context().Done(): // the driver has gone; it may come back
	}
}

// answerAccepted answers an asynchronous statement with its real id; if it has
// already failed, the failure is the answer.
func (b *Broker) answerAccepted(w http.ResponseWriter, r *http.Request, l *login, s *statement) {
	s.mu.Lock()
	id, failed := s.queryID, s.phase == phaseDone && !s.out.success
	s.mu.Unlock()
	if failed {
		b.answer(w, r, l, s, -1)
		return
	}
	writeAnswer(w, snowflake.AppendInProgress(nil, snowflake.CodeInProgressAsync, id))
}

// answer writes the outcome of a finished statement, or of one child of it.
func (b *Broker) answer(w http.ResponseWriter, r *http.Request, l *login, s *statement, child int) {
	s.mu.Lock()
	out := s.out
	s.mu.Unlock()
	switch {
	case out.gone:
		why := b.over()
		if why == "" {
			why = "the login was closed"
		}
		writeAnswer(w, faultGone.refuse("the session has ended: "+why).envelope())
	case out.refusal != nil:
		writeAnswer(w, out.refusal.envelope())
	case child < 0 && out.body != nil:
		writeAnswer(w, out.body)
		if n := s.drop(keepBodyBytes); n > 0 {
			l.keep(-n)
		}
	default:
		b.answerAgain(w, r, l, s, child)
	}
}

// serveResult answers polls of held and running statements, and results by id,
// for this login's own ids only.
func (b *Broker) serveResult(w http.ResponseWriter, r *http.Request, id string) {
	l, ok := b.authorize(w, r)
	if !ok {
		return
	}
	ref, ok := l.find(id)
	if !ok {
		writeAnswer(w, faultUnknownID.refuse("no statement of this connection has this query id").envelope())
		return
	}
	if ref.child >= 0 {
		b.answer(w, r, l, ref.s, ref.child)
		return
	}
	b.await(w, r, l, ref.s)
}

// serveAbort cancels by the request id of the statement.
func (b *Broker) serveAbort(w http.ResponseWriter, r *http.Request, _ string) {
	l, ok := b.authorize(w, r)
	if !ok {
		return
	}
	body, err := readSmall(r)
	if err != nil {
		writeAnswer(w, faultBody.refuse("the body cannot be read").envelope())
		return
	}
	o, err := snowflake.ParseObject(body)
	if err != nil {
		writeAnswer(w, faultBody.refuse("the body is not strict JSON").envelope())
		return
	}
	id, _ := o.Text("requestId")
	l.mu.Lock()
	s := l.statements[id]
	l.mu.Unlock()
	b.abort(w, s)
}

// serveAbortByID cancels by query id, provisional or real.
func (b *Broker) serveAbortByID(w http.ResponseWriter, r *http.Request, id string) {
	l, ok := b.authorize(w, r)
	if !ok {
		return
	}
	ref, _ := l.find(id)
	b.abort(w, ref.s)
}

func (b *Broker) abort(w http.ResponseWriter, s *statement) {
	if s != nil && s.cancelRunning() {
		writeAnswer(w, snowflake.AppendSuccess(nil, nil))
		return
	}
	writeAnswer(w, snowflake.AppendFailure(nil, snowflake.Failure{Code: snowflake.CodeNotExecuting, SQLState: "02000",
		Message: "Identified SQL statement is not currently executing."}))
}

// serveMonitoring synthesizes the status of an own id. Snowflake's answer would
// carry the text of whatever the role can see.
func (b *Broker) serveMonitoring(w http.ResponseWriter, r *http.Request, id string) {
	l, ok := b.authorize(w, r)
	if !ok {
		return
	}
	ref, ok := l.find(id)
	if !ok {
		writeAnswer(w, faultUnknownID.refuse("no statement of this connection has this query id").envelope())
		return
	}
	s := ref.s
	s.mu.Lock()
	m := snowflake.Monitored{QueryID: id, SessionID: l.id, Start: s.arrived.UnixMilli()}
	switch {
	case s.phase == phaseQueued:
		m.Status = "QUEUED"
	case s.phase == phaseRunning:
		m.Status = "RUNNING"
	default:
		m.End = s.finishedAt.UnixMilli()
		m.Status, m.ErrorCode, m.Message = s.out.status()
	}
	s.mu.Unlock()
	writeAnswer(w, snowflake.AppendMonitored(nil, m))
}

// status is the outcome in the words of the monitoring endpoint. .NET throws on
// a word it does not know.
func (o outcome) status() (status, code, message string) {
	switch {
	case o.success:
		return "SUCCESS", "", ""
	case o.gone:
		return "ABORTED", snowflake.CodeCanceled, "the session has ended"
	case o.refusal != nil:
		return "FAILED_WITH_ERROR", o.refusal.gs, o.refusal.message()
	}
	return "FAILED_WITH_ERROR", o.code, "the statement failed in Snowflake"
}

// recordRefusal records what the agent is told. A refusal stands whether or not
// it can be recorded: nothing is forwarded or released by it.
func (b *Broker) recordRefusal(ctx context.Context, statement string, ref *refusal) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if _, err := b.cfg.Record(ctx, recording.Event{Kind: recording.KindRefused, Statement: statement,
		Refused: &recording.RefusedFacts{Code: ref.code, Message: ref.message()}}); err != nil {
		b.log.Error("recording a refusal failed", "statement", statement, "err", err)
	}
}
