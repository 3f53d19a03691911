package approval

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/jit-access/jit/session"
)

type openInput struct {
	Body struct {
		GrantID      string `json:"grant_id" maxLength:"64"`
		RecordingKey string `json:"recording_key" maxLength:"1024" doc:"note verifier key that will sign the recording"`
	}
}

type openedDoc struct {
	Session    sessionDoc `json:"session"`
	Token      string     `json:"token" doc:"broker token of this session; shown once"`
	Bundle     []byte     `json:"bundle" doc:"policy bundle"`
	DryRun     []byte     `json:"dry_run,omitempty" doc:"policy bundle in dry run: it decides nothing"`
	WitnessKey string     `json:"witness_key"`
}

type sessionsDoc struct {
	Sessions []sessionDoc `json:"sessions"`
}

type reasonInput struct {
	IDParam
	Body struct {
		Reason string `json:"reason,omitempty" maxLength:"4096"`
	}
}

type upstreamParam struct {
	IDParam
	Upstream string `path:"upstream" maxLength:"64"`
}

type upstreamDoc struct {
	ID            string          `json:"id"`
	URL           string          `json:"url"`
	Token         string          `json:"token" doc:"session token; the master token stays at the server"`
	SnowflakeID   int64           `json:"snowflake_id"`
	Parameters    json.RawMessage `json:"parameters,omitempty" doc:"parameters of the login answer"`
	Database      string          `json:"database,omitempty"`
	Schema        string          `json:"schema,omitempty"`
	Warehouse     string          `json:"warehouse,omitempty"`
	Role          string          `json:"role,omitempty"`
	ServerVersion string          `json:"server_version,omitempty"`
	ValidMillis   int64           `json:"valid_ms"`
}

// The session token's only way out: to the broker of its session.
func toUpstreamDoc(u session.Upstream) upstreamDoc {
	return upstreamDoc{
		ID: u.ID, URL: u.URL, Token: u.Token.Reveal(), SnowflakeID: u.SnowflakeID, Parameters: u.Parameters,
		Database: u.Database, Schema: u.Schema, Warehouse: u.Warehouse, Role: u.Role,
		ServerVersion: u.ServerVersion, ValidMillis: u.ValidFor.Milliseconds(),
	}
}

func upstreamBody(u session.Upstream, err error) (*body[upstreamDoc], error) {
	if err != nil {
		return nil, err
	}
	return &body[upstreamDoc]{toUpstreamDoc(u)}, nil
}

func (s *Server) sessionRoutes() {
	handle(s, http.MethodPost, "/v1/sessions", "open", "Open the session of a grant", maxBody,
		func(ctx context.Context, w Caller, in *openInput) (*body[openedDoc], error) {
			o, err := s.store.openGrant(ctx, w, in.Body.GrantID, in.Body.RecordingKey)
			if err != nil {
				return nil, err
			}
			return &body[openedDoc]{openedDoc{Session: toSessionDoc(o.Session), Token: o.Token.Reveal(), Bundle: o.Bundle, DryRun: o.DryRun, WitnessKey: o.WitnessKey}}, nil
		})
	handle(s, http.MethodGet, "/v1/sessions", "sessions", "List sessions", maxBody,
		func(ctx context.Context, w Caller, _ *struct{}) (*body[sessionsDoc], error) {
			all, err := s.store.sessions(ctx, w)
			if err != nil {
				return nil, err
			}
			out := sessionsDoc{Sessions: []sessionDoc{}}
			for _, ses := range all {
				out.Sessions = append(out.Sessions, toSessionDoc(ses))
			}
			return &body[sessionsDoc]{out}, nil
		})
	handle(s, http.MethodGet, "/v1/sessions/{id}", "session", "One session", maxBody,
		func(ctx context.Context, w Caller, in *IDParam) (*body[sessionDoc], error) {
			ses, err := s.store.session(ctx, w, in.ID)
			if err != nil {
				return nil, err
			}
			return &body[sessionDoc]{toSessionDoc(ses)}, nil
		})
	handle(s, http.MethodPost, "/v1/sessions/{id}/revoke", "revoke", "End a session now", maxBody,
		func(ctx context.Context, w Caller, in *reasonInput) (*struct{}, error) {
			return nil, s.store.revoke(ctx, w, in.ID, in.Body.Reason)
		})
	handle(s, http.MethodPost, "/v1/sessions/{id}/close", "close", "End a session in good order (its broker)", maxBody,
		func(ctx context.Context, w Caller, in *IDParam) (*struct{}, error) {
			return nil, s.store.closeSession(ctx, w, in.ID)
		})
	handle(s, http.MethodPost, "/v1/sessions/{id}/upstreams", "openUpstream", "Log in to Snowflake (its broker)", maxBody,
		func(ctx context.Context, w Caller, in *IDParam) (*body[upstreamDoc], error) {
			return upstreamBody(s.store.openUpstream(ctx, w, in.ID))
		})
	handle(s, http.MethodPost, "/v1/sessions/{id}/upstreams/{upstream}/renew", "renewUpstream", "Renew a session token (its broker)", maxBody,
		func(ctx context.Context, w Caller, in *upstreamParam) (*body[upstreamDoc], error) {
			return upstreamBody(s.store.renewUpstream(ctx, w, in.ID, in.Upstream))
		})
	handle(s, http.MethodDelete, "/v1/sessions/{id}/upstreams/{upstream}", "closeUpstream", "Close a Snowflake session (its broker)", maxBody,
		func(ctx context.Context, w Caller, in *upstreamParam) (*struct{}, error) {
			return nil, s.store.closeUpstream(ctx, w, in.ID, in.Upstream)
		})
}
