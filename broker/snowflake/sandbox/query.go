package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/broker/snowflake"
)

type queryRequest struct {
	SQL      string          `json:"sqlText"`
	Async    bool            `json:"asyncExec"`
	Describe bool            `json:"describeOnly"`
	Params   map[string]any  `json:"parameters"`
	Bindings map[string]bind `json:"bindings"`
	Stage    string          `json:"bindStage"`
}

// execution is one request's statement on its way: from running to an outcome
// that is kept for repeats, polls and by-id fetches.
type execution struct {
	id        string // query id
	requestID string
	session   *session
	req       queryRequest
	started   time.Time
	cancel    context.CancelFunc
	done      chan struct{} // closed when out and err are set

	out   *outcome
	err   error
	ended time.Time
}

// parameter is a parameter of the statement, or else of its session.
func (ex *execution) parameter(name string) (string, bool) {
	for k, v := range ex.req.Params {
		if strings.EqualFold(k, name) {
			return paramText(v), true
		}
	}
	return ex.session.param(name)
}

func (s *Server) query(w http.ResponseWriter, r *http.Request, sess *session) {
	var req queryRequest
	if !s.body(w, r, &req) {
		return
	}
	ex, err := s.start(sess, r.URL.Query().Get("requestId"), req)
	if err != nil {
		s.answerError(w, uuid.NewString(), err)
		return
	}
	if req.Async {
		s.answerProgress(w, ex, snowflake.CodeInProgressAsync)
		return
	}
	s.answerWhenDone(w, r, ex)
}

// start begins the execution of req, or finds the one its requestId began.
func (s *Server) start(sess *session, requestID string, req queryRequest) (*execution, error) {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	if ex, ok := sess.requests[requestID]; ok && requestID != "" {
		return ex, nil
	}
	if strings.TrimSpace(req.SQL) == "" {
		return nil, &sqlError{code: "000900", state: "42601", message: "SQL compilation error:\nEmpty SQL statement.", line: -1, pos: -1}
	}
	ctx, cancel := context.WithCancel(sess.ctx)
	ex := &execution{id: uuid.NewString(), requestID: requestID, session: sess, req: req,
		started: time.Now(), cancel: cancel, done: make(chan struct{})}
	if requestID != "" {
		sess.requests[requestID] = ex
	}
	s.keep(ex)
	s.work.Go(func() {
		defer cancel()
		s.finish(ex, func() (*outcome, error) { return s.perform(ctx, ex) })
	})
	return ex, nil
}

// keep makes ex known by its query id.
func (s *Server) keep(ex *execution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[ex.id] = ex
}

// finish runs do and publishes what came of it.
func (s *Server) finish(ex *execution, do func() (*outcome, error)) {
	out, err := do()
	ex.out, ex.err, ex.ended = out, err, time.Now()
	if err == nil && !ex.req.Describe {
		ex.session.mu.Lock()
		ex.session.lastQuery = ex.id
		ex.session.mu.Unlock()
	}
	s.log.Info("statement ended", "query", ex.id, "session", ex.session.id, "ok", err == nil, "took", ex.ended.Sub(ex.started))
	close(ex.done)
}

// note records that ex runs text.
func (s *Server) note(ex *execution, text string) {
	tag, _ := ex.parameter("QUERY_TAG")
	rows := 0
	if b, ok := ex.req.Bindings["1"]; ok {
		rows = b.rows()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := Execution{SQL: text, QueryID: ex.id, RequestID: ex.requestID, QueryTag: tag,
		SessionID: ex.session.id, User: ex.session.user, Binds: rows}
	if ex.req.Describe {
		s.described = append(s.described, e)
	} else {
		s.executed = append(s.executed, e)
	}
}

// perform runs the request: one statement, or several if it says so.
func (s *Server) perform(ctx context.Context, ex *execution) (*outcome, error) {
	if ex.req.Stage != "" {
		return nil, errUnsupported("bindStage")
	}
	parts, err := split(ex.req.SQL)
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, &sqlError{code: "000900", state: "42601", message: "SQL compilation error:\nEmpty SQL statement.", line: -1, pos: -1}
	}
	want := 1
	if v, ok := ex.parameter("MULTI_STATEMENT_COUNT"); ok {
		if want, err = strconv.Atoi(v); err != nil {
			return nil, &sqlError{code: "001007", state: "22023", message: "invalid value for parameter MULTI_STATEMENT_COUNT", line: -1, pos: -1}
		}
	}
	if want != 0 && want != len(parts) {
		return nil, &sqlError{code: "000008", state: "0A000", line: -1, pos: -1,
			message: "Actual statement count " + strconv.Itoa(len(parts)) + " did not match the desired statement count " + strconv.Itoa(want) + "."}
	}
	if len(parts) == 1 {
		s.note(ex, parts[0])
		return s.run(ctx, ex.session, parts[0], ex.req.Bindings, ex.req.Describe)
	}
	if ex.req.Describe {
		return nil, errUnsupported("describing several statements")
	}
	return s.performAll(ctx, ex, parts)
}

// performAll runs the parts one after the other, each as a child with a query
// id of its own. The first failure fails the whole.
func (s *Server) performAll(ctx context.Context, ex *execution, parts []string) (*outcome, error) {
	out := status("Multiple statements executed successfully.", typeMulti)
	out.columns[0].name = "multiple statement execution"
	for _, text := range parts {
		child := &execution{id: uuid.NewString(), requestID: ex.requestID, session: ex.session, started: time.Now(),
			cancel: func() {}, done: make(chan struct{}), req: queryRequest{SQL: text, Params: ex.req.Params}}
		s.keep(child)
		s.note(child, text)
		s.finish(child, func() (*outcome, error) { return s.run(ctx, ex.session, text, nil, false) })
		if child.err != nil {
			return nil, child.err
		}
		out.children = append(out.children, child)
	}
	return out, nil
}

// answerWhenDone waits for ex and answers with its outcome, or that it is
// still running.
func (s *Server) answerWhenDone(w http.ResponseWriter, r *http.Request, ex *execution) {
	t := time.NewTimer(s.opt.AnswerWithin)
	defer t.Stop()
	select {
	case <-ex.done:
		s.answerOutcome(w, r, ex)
	case <-t.C:
		s.answerProgress(w, ex, snowflake.CodeInProgress)
	case <-r.Context().Done():
	}
}

type progress struct {
	QueryID      string  `json:"queryId"`
	ResultURL    string  `json:"getResultUrl"`
	Description  *string `json:"progressDesc"`
	AbortedAfter int     `json:"queryAbortsAfterSecs"`
}

func (s *Server) answerProgress(w http.ResponseWriter, ex *execution, code string) {
	w.Header().Set("Content-Type", "application/json")
	writeEnvelope(w, true, code, "Query execution in progress",
		progress{QueryID: ex.id, ResultURL: "/queries/" + ex.id + "/result", AbortedAfter: 300})
}

func (s *Server) answerOutcome(w http.ResponseWriter, r *http.Request, ex *execution) {
	if ex.err != nil {
		s.answerError(w, ex.id, ex.err)
		return
	}
	if ex.out.answer != nil {
		data, err := s.renderAnswer(r, ex)
		s.answerData(w, ex.id, data, err)
		return
	}
	data, err := s.render(r, ex)
	s.answerData(w, ex.id, data, err)
}

func (s *Server) answerData(w http.ResponseWriter, queryID string, data any, err error) {
	if err != nil {
		s.answerError(w, queryID, err)
		return
	}
	succeed(w, data)
}

func (s *Server) answerError(w http.ResponseWriter, queryID string, err error) {
	var e *sqlError
	if !errors.As(err, &e) {
		s.log.Error("statement failed", "query", queryID, "error", err)
		e = &sqlError{code: snowflake.CodeInternal, state: "XX000", line: -1, pos: -1, message: "The sandbox failed: " + err.Error()}
	}
	typ := "COMPILATION"
	if strings.HasPrefix(e.state, "22") || e.state == "57014" {
		typ = "EXECUTION"
	}
	refuse(w, e.code, e.message, snowflake.ErrorData{ErrorCode: e.code, SQLState: e.state, QueryID: queryID, Line: e.line, Pos: e.pos, Type: typ})
}

// lookup finds the execution with the path's query id, if it is the user's.
func (s *Server) lookup(w http.ResponseWriter, r *http.Request, sess *session) *execution {
	s.mu.Lock()
	ex := s.results[r.PathValue("id")]
	s.mu.Unlock()
	if ex == nil || ex.session.user != sess.user {
		s.answerError(w, r.PathValue("id"), &sqlError{code: snowflake.CodeNoSuchStatement, state: "02000", line: -1, pos: -1,
			message: "Statement " + r.PathValue("id") + " not found"})
		return nil
	}
	return ex
}

func (s *Server) resultByID(w http.ResponseWriter, r *http.Request, sess *session) {
	if ex := s.lookup(w, r, sess); ex != nil {
		s.answerWhenDone(w, r, ex)
	}
}

func (s *Server) abortRequest(w http.ResponseWriter, r *http.Request, sess *session) {
	var req struct {
		RequestID string `json:"requestId"`
	}
	if !s.body(w, r, &req) {
		return
	}
	sess.mu.Lock()
	ex := sess.requests[req.RequestID]
	sess.mu.Unlock()
	s.abort(w, req.RequestID, ex)
}

func (s *Server) abortQuery(w http.ResponseWriter, r *http.Request, sess *session) {
	if ex := s.lookup(w, r, sess); ex != nil {
		s.abort(w, ex.id, ex)
	}
}

func (s *Server) abort(w http.ResponseWriter, id string, ex *execution) {
	s.mu.Lock()
	s.aborted = append(s.aborted, id)
	s.mu.Unlock()
	if ex != nil {
		select {
		case <-ex.done:
		default:
			ex.cancel()
			succeed(w, nil)
			return
		}
	}
	refuse(w, snowflake.CodeNotExecuting, "Identified SQL statement is not currently executing.", nil)
}

type monitored struct {
	Queries []monitoredQuery `json:"queries"`
}

type monitoredQuery struct {
	ID        string          `json:"id"`
	Status    string          `json:"status"`
	State     string          `json:"state"`
	Code      json.RawMessage `json:"errorCode"`
	Message   json.RawMessage `json:"errorMessage"`
	SQL       string          `json:"sqlText"`
	SessionID int64           `json:"sessionId"`
	Start     int64           `json:"startTime"`
	End       int64           `json:"endTime"`
	Duration  int64           `json:"totalDuration"`
}

func (s *Server) monitoring(w http.ResponseWriter, r *http.Request, sess *session) {
	ex := s.lookup(w, r, sess)
	if ex == nil {
		return
	}
	m := monitoredQuery{ID: ex.id, SQL: ex.req.SQL, SessionID: ex.session.id, Start: ex.started.UnixMilli(),
		Status: "RUNNING", Code: json.RawMessage("null"), Message: json.RawMessage("null")}
	select {
	case <-ex.done:
		m.End, m.Duration = ex.ended.UnixMilli(), ex.ended.Sub(ex.started).Milliseconds()
		m.Status = "SUCCESS"
		var e *sqlError
		if errors.As(ex.err, &e) {
			m.Status = "FAILED_WITH_ERROR"
			m.Code, _ = json.Marshal(strings.TrimLeft(e.code, "0"))
			m.Message, _ = json.Marshal(e.message)
		}
	default:
	}
	m.State = m.Status
	succeed(w, monitored{Queries: []monitoredQuery{m}})
}
