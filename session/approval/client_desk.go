package approval

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/jit-access/jit/session"
)

// desk is session.Desk over HTTP, for people and brokers alike.
type desk struct{ t *transport }

func (d desk) requestCall(ctx context.Context, method, path string, in any) (session.Request, error) {
	var doc requestDoc
	if err := d.t.call(ctx, method, path, in, &doc); err != nil {
		return session.Request{}, err
	}
	return doc.request()
}

// Submit implements session.Desk.
func (d desk) Submit(ctx context.Context, sub session.Submission) (session.Request, error) {
	return d.requestCall(ctx, http.MethodPost, "/v1/requests", toSubmissionDoc(sub))
}

// Request implements session.Desk.
func (d desk) Request(ctx context.Context, id string) (session.Request, error) {
	return d.requestCall(ctx, http.MethodGet, "/v1/requests/"+url.PathEscape(id), nil)
}

// Pending implements session.Desk.
func (d desk) Pending(ctx context.Context, f session.Filter) ([]session.Request, error) {
	q := url.Values{"mine": {strconv.FormatBool(f.Mine)}, "all": {strconv.FormatBool(f.All)}, "limit": {strconv.Itoa(f.Limit)}}
	if f.SessionID != "" {
		q.Set("session", f.SessionID)
	}
	var doc requestsDoc
	if err := d.t.call(ctx, http.MethodGet, "/v1/requests?"+q.Encode(), nil, &doc); err != nil {
		return nil, err
	}
	var out []session.Request
	for _, rd := range doc.Requests {
		r, err := rd.request()
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Decide implements session.Desk.
func (d desk) Decide(ctx context.Context, id string, c session.Choice) (session.Request, error) {
	return d.requestCall(ctx, http.MethodPost, "/v1/requests/"+url.PathEscape(id)+"/decisions",
		choiceDoc{Outcome: c.Outcome.String(), Reuse: c.Reuse.String(), Reason: c.Reason, Digest: c.Digest, KeepMasks: c.KeepMasks})
}

// Comment implements session.Desk.
func (d desk) Comment(ctx context.Context, id, text string) (session.Request, error) {
	var in commentInput
	in.Body.Text = text
	return d.requestCall(ctx, http.MethodPost, "/v1/requests/"+url.PathEscape(id)+"/comments", in.Body)
}

// Withdraw implements session.Desk.
func (d desk) Withdraw(ctx context.Context, id string) error {
	return d.t.call(ctx, http.MethodPost, "/v1/requests/"+url.PathEscape(id)+"/withdraw", nil, nil)
}

// Redeem implements session.Desk.
func (d desk) Redeem(ctx context.Context, id, digest string) (session.Decision, error) {
	var in redeemInput
	in.Body.Digest = digest
	var doc decisionDoc
	if err := d.t.call(ctx, http.MethodPost, "/v1/requests/"+url.PathEscape(id)+"/redeem", in.Body, &doc); err != nil {
		return session.Decision{}, err
	}
	return doc.decision()
}

// Session is session.Office's Session; brokers read their own.
func (d desk) Session(ctx context.Context, id string) (session.Session, error) {
	var doc sessionDoc
	if err := d.t.call(ctx, http.MethodGet, sessionPath(id), nil, &doc); err != nil {
		return session.Session{}, err
	}
	return doc.session()
}

func sessionPath(id string) string { return "/v1/sessions/" + url.PathEscape(id) }
