package broker

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy/sql"
)

// The SQL API is another way to say the same: a statement that comes by it is
// judged, held, recorded and masked as one of a driver, and goes upstream as
// one. Nothing of it is passed through.
//
// It knows no sessions. The broker has some of its own for it, counted like
// drivers' logins: each request gets one that nothing else runs in, in the
// database and schema it names. One that could have been changed by what ran in
// it, as by a request of several statements, is not used for another.

const (
	sqlAPIFamily = "/api/v2/"
	sqlAPIWait   = 40 * time.Second // Snowflake: 45 s, then 202
	sqlAPIPoll   = time.Second      // a client that asks in a loop asks once a second
)

// serveSubmit takes a request of one or several statements.
func (b *Broker) serveSubmit(w http.ResponseWriter, r *http.Request, _ string) {
	if !b.authorizeAPI(w, r) {
		return
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), snowflake.ContentType) {
		ref := faultBody.refuse("the body of the SQL API is application/json")
		b.recordRefusal(r.Context(), "", ref)
		writeBody(w, http.StatusUnsupportedMediaType, apiRefusal(ref, 0))
		return
	}
	q, ref := apiQuery(r, "requestId", "async", "nullable", "retry")
	async := q["async"] == "true"
	var sub snowflake.Submission
	if ref == nil {
		sub, ref = readSubmission(r)
	}
	var want place
	if ref == nil {
		want, ref = b.withinGrant(sub.Database, sub.Schema, sub.Warehouse, sub.Role)
	}
	var req snowflake.QueryRequest
	if ref == nil {
		req, ref = queryOf(sub)
	}
	if ref != nil {
		b.recordRefusal(r.Context(), "", ref)
		writeAPIRefusal(w, ref, 0)
		return
	}
	id := q["requestId"]
	if id == "" {
		id = uuid.NewString()
	}
	c, ref := b.submitAPI(r, id, req, want)
	if ref != nil {
		b.recordRefusal(r.Context(), "", ref)
		writeAPIRefusal(w, ref, 0)
		return
	}
	wait := min(b.poll, sqlAPIWait)
	if async {
		wait = 0
	}
	b.awaitAPI(w, r, apiStatement{l: c.l, s: c.s, child: -1, handle: c.s.id}, wait, 0)
}

// readSubmission reads the body of a submission.
func readSubmission(r *http.Request) (snowflake.Submission, *refusal) {
	body, err := snowflake.ReadBody(r.Body, r.Header.Get("Content-Encoding"), snowflake.MaxRequestBody)
	if err != nil {
		return snowflake.Submission{}, faultBody.refuse("the body cannot be read, or is larger than allowed")
	}
	sub, err := snowflake.ParseSubmission(body)
	if err != nil {
		return snowflake.Submission{}, faultBody.refuse("the body is not strict JSON of the SQL API: statement, timeout, database, schema, warehouse, role, bindings, parameters")
	}
	return sub, nil
}

// queryOf is the submission as the statement of a driver.
func queryOf(sub snowflake.Submission) (snowflake.QueryRequest, *refusal) {
	q := snowflake.QueryRequest{SQL: sub.Statement, HasSQL: true, Binds: sub.Binds}
	for _, p := range sub.Parameters {
		switch {
		case strings.HasSuffix(p.Key, "_OUTPUT_FORMAT"):
			return q, faultUnsupported.refuse("cells come in the SQL API's default encodings; leave " + clip(p.Key, 64) + " out and format in the statement, as by TO_CHAR")
		case p.Key == multiStatementCount, settable(p.Key) && p.Key != "AUTOCOMMIT":
			q.Parameters = append(q.Parameters, p)
		default:
			return q, faultUnsupported.refuse("the parameter " + clip(p.Key, 64) + " is not on the list of harmless ones")
		}
	}
	if sub.Timeout > 0 {
		q.Parameters.Set("STATEMENT_TIMEOUT_IN_SECONDS", strconv.AppendInt(nil, sub.Timeout, 10))
	}
	return q, nil
}

// isBatch reports whether a request announces any number of statements but one.
func isBatch(q snowflake.QueryRequest) bool {
	n, ok := q.Parameters.Int(multiStatementCount)
	return q.Parameters.Has(multiStatementCount) && (!ok || n != 1)
}

// apiHash is what a repeat of a request id must equal.
func apiHash(q snowflake.QueryRequest, want place) [sha256.Size]byte {
	h := requestHash(q)
	all, _ := json.Marshal([]string{string(h[:]), want.database, want.schema, want.warehouse, want.role}) // strings always encode
	return sha256.Sum256(all)
}

// needsSession refuses what makes sense only together with what follows it: a
// lone statement has the session to itself.
func needsSession(statements []sql.Statement) *refusal {
	if len(statements) != 1 {
		return nil
	}
	st := &statements[0]
	switch {
	case st.Category == sql.CategorySession, st.Category == sql.CategoryTransaction, st.Category == sql.CategoryRole, st.Kind == "ALTER_SESSION":
		return faultUnsupported.refuse("each request to the SQL API has a session of its own; send this together with the statements it is for, and their number as the parameter MULTI_STATEMENT_COUNT")
	}
	return nil
}

// spends reports whether statements leave the session other than it was.
func spends(statements []sql.Statement) bool {
	if len(statements) != 1 || changesContext(statements) {
		return true
	}
	switch statements[0].Category {
	case sql.CategoryQuery, sql.CategoryMetadata, sql.CategoryWrite:
		return statements[0].Effects.Anything
	}
	return true
}

// serveHandle answers for a handle: its status, its result, or one partition.
func (b *Broker) serveHandle(w http.ResponseWriter, r *http.Request, handle string) {
	if !b.authorizeAPI(w, r) {
		return
	}
	q, ref := apiQuery(r, "requestId", "partition")
	partition := 0
	if ref == nil && q["partition"] != "" {
		var err error
		if partition, err = strconv.Atoi(q["partition"]); err != nil || partition < 0 {
			ref = faultBody.refuse("partition is not a number")
		}
	}
	at, known := b.findHandle(handle)
	if ref == nil && !known {
		ref = faultUnknownID.refuse("no statement of this lease has this handle")
	}
	if ref != nil {
		writeAPIRefusal(w, ref, 0)
		return
	}
	b.awaitAPI(w, r, at, min(b.poll, sqlAPIPoll), partition)
}

// serveCancel cancels the statement of a handle.
func (b *Broker) serveCancel(w http.ResponseWriter, r *http.Request, handle string) {
	if !b.authorizeAPI(w, r) {
		return
	}
	at, known := b.findHandle(handle)
	if _, ref := apiQuery(r, "requestId"); ref != nil || !known {
		if ref == nil {
			ref = faultUnknownID.refuse("no statement of this lease has this handle")
		}
		writeAPIRefusal(w, ref, 0)
		return
	}
	a := snowflake.StatementAnswer{Code: snowflake.CodeNotExecuting, SQLState: "02000", Handle: handle, Created: at.s.arrived.UnixMilli(),
		Message: "Identified SQL statement is not currently executing."}
	if at.s.cancelRunning() {
		a.Code, a.SQLState, a.Message = snowflake.CodeCanceled, "57014", "Statement is being canceled."
		writeBody(w, http.StatusOK, a.Append(nil))
		return
	}
	writeBody(w, http.StatusUnprocessableEntity, a.Append(nil))
}

// awaitAPI answers with the outcome, or 202 if there is none in time.
func (b *Broker) awaitAPI(w http.ResponseWriter, r *http.Request, at apiStatement, wait time.Duration, partition int) {
	at.l.touch()
	at.s.park()
	defer at.s.leave()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-at.s.done:
	case <-t.C:
		select {
		case <-at.s.done: // both at once
		default:
			writeBody(w, http.StatusAccepted, at.underWay(wait == 0).Append(nil))
			return
		}
	case <-r.Context().Done(): // the client has gone; it may come back
		return
	}
	at.s.renew()
	b.answerAPI(w, r, at, partition)
}

// underWay says that a statement has no outcome yet.
func (at apiStatement) underWay(async bool) snowflake.StatementAnswer {
	a := snowflake.StatementAnswer{Code: snowflake.CodeInProgress, Handle: at.handle, Created: at.s.arrived.UnixMilli(),
		Message: "Statement execution in progress; ask again at statementStatusUrl."}
	if async {
		a.Code = snowflake.CodeInProgressAsync
	}
	at.s.mu.Lock()
	defer at.s.mu.Unlock()
	if at.s.phase == phaseQueued {
		a.Message = "Statement has NOT run yet: it waits for its turn or for a person's decision; ask again at statementStatusUrl."
	}
	return a
}

// authorizeAPI accepts the lease as bearer token, as access token or OAuth
// token; or answers.
func (b *Broker) authorizeAPI(w http.ResponseWriter, r *http.Request) bool {
	var ref *refusal
	token, ok := "", false
	if values := r.Header.Values("Authorization"); len(values) == 1 {
		scheme, rest, _ := strings.Cut(values[0], " ")
		token, ok = rest, strings.EqualFold(scheme, "Bearer")
	}
	kinds := r.Header.Values(snowflake.HeaderTokenType)
	switch {
	case len(kinds) > 1 || len(kinds) == 1 && kinds[0] != "PROGRAMMATIC_ACCESS_TOKEN" && kinds[0] != "OAUTH":
		ref = faultAuthenticator.refuse("this kind of token carries another identity")
	case !ok || !leaseMatches(token, b.lease):
		ref = faultLease.refuse("the bearer token is not the lease of this broker")
	default:
		if why := b.over(); why != "" {
			ref = faultEnded.refuse("the session has ended: " + why)
		}
	}
	if ref == nil {
		return true
	}
	b.recordRefusedLogin(r, apiDriver(r), ref)
	writeAPIRefusal(w, ref, 0)
	return false
}

// apiDriver names the client of the SQL API, as it names itself.
func apiDriver(r *http.Request) driverName {
	return driverName{"SQL API", clip(oneLine(r.UserAgent()), 32)}
}

// apiQuery reads the query string: each known key once at most, and no other.
func apiQuery(r *http.Request, known ...string) (map[string]string, *refusal) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, faultBody.refuse("the query string cannot be read")
	}
	q := map[string]string{}
	for _, key := range known {
		if len(values[key]) > 1 {
			return nil, faultBody.refuse(key + " is given twice")
		}
		q[key] = values.Get(key)
		delete(values, key)
	}
	if len(values) > 0 {
		return nil, faultBody.refuse("the query string has a parameter that is not served here; known are " + strings.Join(known, ", "))
	}
	if id := q["requestId"]; id != "" && !plainSegment(id) {
		return nil, faultBody.refuse("requestId is not a UUID")
	}
	for _, key := range [...]string{"async", "nullable", "retry"} {
		switch q[key] {
		case "", "true", "false":
		default:
			return nil, faultBody.refuse(key + " is neither true nor false")
		}
	}
	if q["nullable"] == "false" {
		return nil, faultUnsupported.refuse("NULL comes as null; leave nullable=false out")
	}
	return q, nil
}

// apiStatus is the HTTP status of a refusal. What may have run is never a 5xx,
// which clients send again by themselves; 408 is Snowflake's own for a timeout.
func apiStatus(ref *refusal) int {
	switch ref.code {
	case faultBody.code:
		return http.StatusBadRequest
	case faultLease.code, faultEnded.code, faultAuthenticator.code, faultGone.code:
		return http.StatusUnauthorized
	case faultScope.code:
		return http.StatusForbidden
	case faultUnknownID.code:
		if ref.statement != "" { // the statement is known; what it names is not
			return http.StatusUnprocessableEntity
		}
		return http.StatusNotFound
	case faultWall.code:
		return http.StatusRequestTimeout
	case faultLogins.code, faultBusy.code:
		return http.StatusTooManyRequests
	case faultUpstreamLogin.code:
		return http.StatusServiceUnavailable
	}
	return http.StatusUnprocessableEntity
}

func writeAPIRefusal(w http.ResponseWriter, ref *refusal, created int64) {
	writeBody(w, apiStatus(ref), apiRefusal(ref, created))
}

func apiRefusal(ref *refusal, created int64) []byte {
	return snowflake.StatementAnswer{Code: ref.gs, SQLState: ref.sqlState, Message: ref.message(),
		Handle: ref.statement, Created: created}.Append(nil)
}

// refuseAPI answers what is not served of the REST API.
func refuseAPI(w http.ResponseWriter, status int) {
	ref := faultRoute.refuse("of the REST API only /api/v2/statements is served; do it in SQL")
	writeBody(w, status, apiRefusal(ref, 0))
}

// openAPILogin opens a session for a request.
func (b *Broker) openAPILogin(r *http.Request, want place) (*login, *refusal) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), loginTimeout)
	defer cancel()
	l, _, ref := b.openLogin(ctx, loginWish{driver: apiDriver(r), host: r.Host, place: want, format: json.RawMessage(`"JSON"`), sqlAPI: true})
	if ref != nil {
		return nil, ref
	}
	return l, b.recordLogin(ctx, l)
}
