package approval

import (
	"context"
	"errors"
	"net/http"

	"github.com/jit-access/jit/session"
)

// A problem is an error as the API shows it (RFC 9457, with the members code,
// rule, reason and upstream_code). The table is the whole vocabulary: an error
// that is not in it crosses the wire as "internal", without its text.
type problem struct {
	code   string
	status int
	err    error
	text   string // unless the error brings words of its own for the caller
}

const (
	codeInternal    = "internal"
	codeUnavailable = "unavailable"
	problemType     = "application/problem+json"
)

// problems is searched in order: the first match wins.
var problems = [...]problem{
	{"own_request", http.StatusForbidden, session.ErrOwnRequest, "The requester may not decide on their own request. Ask another reviewer."},
	{"sign_in", http.StatusUnauthorized, session.ErrSignIn, "Sign in first: run jit login."},
	{"denied", http.StatusForbidden, session.ErrDenied, "Denied."},
	{"forbidden", http.StatusForbidden, session.ErrForbidden, "Not permitted for you."},
	{"not_found", http.StatusNotFound, session.ErrNotFound, "There is no such thing, or you may not see it."},
	{"conflict", http.StatusConflict, session.ErrConflict, "The state has moved on. Look at it again."},
	{"expired", http.StatusGone, session.ErrExpired, "It has expired. Ask again."},
	{"revoked", http.StatusGone, session.ErrRevoked, "It was revoked."},
	{"capacity", http.StatusTooManyRequests, session.ErrCapacity, "A limit is reached."},
	{"upstream", http.StatusBadGateway, session.ErrUpstream, "Snowflake refused."},
	{"invalid", http.StatusUnprocessableEntity, session.ErrInvalid, "The request is not valid."},
	{codeUnavailable, http.StatusServiceUnavailable, session.ErrUnavailable, "The service cannot answer now. Try again."},
	{codeUnavailable, http.StatusServiceUnavailable, context.Canceled, "The service cannot answer now. Try again."},
	{codeUnavailable, http.StatusServiceUnavailable, context.DeadlineExceeded, "The service cannot answer now. Try again."},
}

func problemOf(err error) problem {
	for _, p := range problems {
		if errors.Is(err, p.err) {
			return p
		}
	}
	return problem{codeInternal, http.StatusInternalServerError, err, "Internal error. The server's log has the details."}
}

// problemDoc is the body of a failure.
type problemDoc struct {
	Title        string `json:"title"`
	Status       int    `json:"status"`
	Code         string `json:"code"`
	Detail       string `json:"detail"`
	Rule         string `json:"rule,omitempty"`
	Reason       string `json:"reason,omitempty"`
	UpstreamCode string `json:"upstream_code,omitempty"`
	Trace        string `json:"trace,omitempty" doc:"names the server's log lines of an internal error"`
}

// Error implements error.
func (p *problemDoc) Error() string { return p.Detail }

// GetStatus tells huma the HTTP status.
func (p *problemDoc) GetStatus() int { return p.Status }

// ContentType makes it problem+json.
func (p *problemDoc) ContentType(string) string { return problemType }

func toProblemDoc(err error) *problemDoc {
	p := problemOf(err)
	d := &problemDoc{Title: http.StatusText(p.status), Status: p.status, Code: p.code, Detail: p.text}
	var (
		refused  *session.RefusedError
		denied   *session.DeniedError
		upstream *session.UpstreamError
	)
	switch {
	case p.code == codeInternal:
	case errors.As(err, &denied):
		d.Rule, d.Reason, d.Detail = denied.Rule, denied.Reason, denied.Error()
	case errors.As(err, &upstream):
		d.UpstreamCode, d.Reason, d.Detail = upstream.Code, upstream.Message, upstream.Error()
	case errors.As(err, &refused):
		d.Detail = refused.Text
	}
	return d
}

// err is the inverse of toProblemDoc, for the client.
func (p *problemDoc) err() error {
	switch p.Code {
	case "denied":
		if p.Rule != "" {
			return &session.DeniedError{Rule: p.Rule, Reason: p.Reason}
		}
	case "upstream":
		return &session.UpstreamError{Code: p.UpstreamCode, Message: p.Reason}
	}
	for _, known := range problems {
		if known.code == p.Code {
			return &session.RefusedError{Sentinel: known.err, Text: p.Detail}
		}
	}
	return nil
}
