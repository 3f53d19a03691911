package approval

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

type emergenciesDoc struct {
	Emergencies []Emergency `json:"emergencies"`
}

type emergencyParams struct {
	Open bool `query:"open" doc:"only those that nobody has looked at yet"`
}

type emergencyReviewInput struct {
	IDParam
	Body struct {
		Text string `json:"text" minLength:"1" maxLength:"4096" doc:"what was found"`
	}
}

func (s *Server) emergencyRoutes() {
	handle(s, http.MethodGet, "/v1/emergencies", "emergencies", "Uses of emergency access", maxBody,
		func(ctx context.Context, w Caller, in *emergencyParams) (*body[emergenciesDoc], error) {
			list, err := s.store.emergencies(ctx, w, in.Open)
			return &body[emergenciesDoc]{emergenciesDoc{list}}, err
		})
	handle(s, http.MethodPost, "/v1/emergencies/{id}/review", "reviewEmergency", "Say that one has looked at an emergency (reviewers)", maxBody,
		func(ctx context.Context, w Caller, in *emergencyReviewInput) (*body[Emergency], error) {
			e, err := s.store.reviewEmergency(ctx, w, in.ID, in.Body.Text)
			return &body[Emergency]{e}, err
		})
}

// Emergencies lists uses of emergency access, newest first; open: only those
// that nobody has looked at yet.
func (c *Client) Emergencies(ctx context.Context, open bool) ([]Emergency, error) {
	var doc emergenciesDoc
	err := c.t.call(ctx, http.MethodGet, "/v1/emergencies?open="+strconv.FormatBool(open), nil, &doc)
	return doc.Emergencies, err
}

// ReviewEmergency records that the caller has looked at one.
func (c *Client) ReviewEmergency(ctx context.Context, requestID, text string) (Emergency, error) {
	var in emergencyReviewInput
	in.Body.Text = text
	var doc Emergency
	err := c.t.call(ctx, http.MethodPost, "/v1/emergencies/"+url.PathEscape(requestID)+"/review", in.Body, &doc)
	return doc, err
}

// History is what the session behind a request ran last, newest first.
func (c *Client) History(ctx context.Context, requestID string) ([]Statement, error) {
	var doc historyDoc
	err := c.t.call(ctx, http.MethodGet, "/v1/requests/"+url.PathEscape(requestID)+"/history", nil, &doc)
	return doc.Statements, err
}

// Emergencies lists uses of emergency access.
func (l *Local) Emergencies(ctx context.Context, open bool) ([]Emergency, error) {
	return l.s.emergencies(ctx, l.w, open)
}

// ReviewEmergency records that the caller has looked at one.
func (l *Local) ReviewEmergency(ctx context.Context, requestID, text string) (Emergency, error) {
	return l.s.reviewEmergency(ctx, l.w, requestID, text)
}

// History is what the session behind a request ran last.
func (l *Local) History(ctx context.Context, requestID string) ([]Statement, error) {
	return l.s.history(ctx, l.w, requestID)
}
