package approval

import (
	"context"
	"net/http"

	"github.com/jit-access/jit/session"
)

type requestsDoc struct {
	Requests []requestDoc `json:"requests"`
}

type filterParams struct {
	Session string `query:"session" maxLength:"64"`
	Mine    bool   `query:"mine"`
	All     bool   `query:"all"`
	Limit   int    `query:"limit" minimum:"0" maximum:"1000"`
}

type choiceDoc struct {
	Outcome string `json:"outcome" enum:"approve,deny"`
	Reuse   string `json:"reuse,omitempty" enum:"once,shape,window" default:"once"`
	Reason  string `json:"reason,omitempty" maxLength:"4096"`
	Digest  string `json:"digest,omitempty" maxLength:"64" doc:"of the statement that the reviewer saw"`
	// KeepMasks has no meaning beyond statements.
	KeepMasks bool `json:"keep_masks,omitempty" doc:"approve a statement with every class masked, also what the requester may read in clear"`
}

type decideInput struct {
	IDParam
	Body choiceDoc
}

type redeemInput struct {
	IDParam
	Body struct {
		Digest string `json:"digest" maxLength:"64"`
	}
}

func (s *Server) requestRoutes() {
	handle(s, http.MethodPost, "/v1/requests", "submit", "Ask for a session, or for a held statement", maxSubmissionBody,
		func(ctx context.Context, w Caller, in *body[submissionDoc]) (*body[requestDoc], error) {
			sub, err := in.Body.submission()
			if err != nil {
				return nil, err
			}
			return requestBody(s.store.submit(ctx, w, sub))
		})
	handle(s, http.MethodGet, "/v1/requests", "requests", "List requests", maxBody,
		func(ctx context.Context, w Caller, in *filterParams) (*body[requestsDoc], error) {
			rs, err := s.store.pending(ctx, w, session.Filter{SessionID: in.Session, Mine: in.Mine, All: in.All, Limit: in.Limit})
			if err != nil {
				return nil, err
			}
			out := requestsDoc{Requests: []requestDoc{}}
			for _, r := range rs {
				out.Requests = append(out.Requests, toRequestDoc(r))
			}
			return &body[requestsDoc]{out}, nil
		})
	handle(s, http.MethodGet, "/v1/requests/{id}", "request", "One request", maxBody,
		func(ctx context.Context, w Caller, in *IDParam) (*body[requestDoc], error) {
			return requestBody(s.store.request(ctx, w, in.ID))
		})
	handle(s, http.MethodPost, "/v1/requests/{id}/decisions", "decide", "Approve or deny", maxBody,
		func(ctx context.Context, w Caller, in *decideInput) (*body[requestDoc], error) {
			outcome, err := session.ParseOutcome(in.Body.Outcome)
			if err != nil {
				return nil, err
			}
			reuse, err := session.ParseReuse(in.Body.Reuse)
			if err != nil {
				return nil, err
			}
			return requestBody(s.store.decide(ctx, w, in.ID, session.Choice{Outcome: outcome, Reuse: reuse, Reason: in.Body.Reason, Digest: in.Body.Digest, KeepMasks: in.Body.KeepMasks}))
		})
	handle(s, http.MethodPost, "/v1/requests/{id}/withdraw", "withdraw", "Take back one's own request", maxBody,
		func(ctx context.Context, w Caller, in *IDParam) (*struct{}, error) {
			return nil, s.store.withdraw(ctx, w, in.ID)
		})
	handle(s, http.MethodPost, "/v1/requests/{id}/comments", "comment", "Say something about a request", maxBody,
		func(ctx context.Context, w Caller, in *commentInput) (*body[requestDoc], error) {
			return requestBody(s.store.comment(ctx, w, in.ID, in.Body.Text))
		})
	handle(s, http.MethodGet, "/v1/requests/{id}/history", "history", "The last statements of the session behind a request", maxBody,
		func(ctx context.Context, w Caller, in *IDParam) (*body[historyDoc], error) {
			list, err := s.store.history(ctx, w, in.ID)
			return &body[historyDoc]{historyDoc{list}}, err
		})
	handle(s, http.MethodPost, "/v1/requests/{id}/redeem", "redeem", "Use an approval (brokers)", maxBody,
		func(ctx context.Context, w Caller, in *redeemInput) (*body[decisionDoc], error) {
			d, err := s.store.redeem(ctx, w, in.ID, in.Body.Digest)
			if err != nil {
				return nil, err
			}
			return &body[decisionDoc]{toDecisionDoc(d)}, nil
		})
}

func requestBody(r session.Request, err error) (*body[requestDoc], error) {
	if err != nil {
		return nil, err
	}
	return &body[requestDoc]{toRequestDoc(r)}, nil
}
