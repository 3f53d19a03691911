package approval

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

type searchParams struct {
	Table   string    `query:"table" maxLength:"1024" doc:"T, S.T or D.S.T; ? finds those that may touch tables nobody could name"`
	Column  string    `query:"column" maxLength:"1024"`
	User    string    `query:"user" maxLength:"255" doc:"e-mail or subject"`
	Agent   string    `query:"agent" maxLength:"255"`
	Session string    `query:"session" maxLength:"64"`
	Verdict string    `query:"verdict" enum:"allow,hold,deny"`
	Text    string    `query:"text" maxLength:"1024" doc:"words that occur, in any order"`
	Since   time.Time `query:"since"`
	Until   time.Time `query:"until" doc:"exclusive"`
	After   string    `query:"after" maxLength:"32" doc:"next of the page before"`
	Limit   int       `query:"limit" minimum:"0" maximum:"1000"`

	Emergency bool `query:"emergency" doc:"only what ran in sessions that were opened as an emergency"`
}

func (s *Server) searchRoutes() {
	handle(s, http.MethodGet, "/v1/statements", "searchStatements", "Find recorded statements: auditors everybody's, others their own", maxBody,
		func(ctx context.Context, w Caller, in *searchParams) (*body[Found], error) {
			found, err := s.store.search(ctx, w, Search(*in))
			if err != nil {
				return nil, err
			}
			return &body[Found]{found}, nil
		})
}

// Search finds recorded statements.
func (c *Client) Search(ctx context.Context, q Search) (Found, error) {
	v := url.Values{}
	for name, value := range map[string]string{
		"table": q.Table, "column": q.Column, "user": q.User, "agent": q.Agent, "session": q.Session, "verdict": q.Verdict, "text": q.Text, "after": q.After,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	for name, t := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !t.IsZero() {
			v.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	if q.Emergency {
		v.Set("emergency", "true")
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var found Found
	err := c.t.call(ctx, http.MethodGet, "/v1/statements?"+v.Encode(), nil, &found)
	return found, err
}
