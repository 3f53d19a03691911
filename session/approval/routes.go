package approval

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// The body limits of the API.
const (
	maxBody           = 64 << 10
	maxSubmissionBody = 8 << 20 // canonical text, shape and binds, escaped
	maxPolicyBody     = 4 << 20
)

// PublicConfig is what GET /v1/config answers to everyone: enough to sign in.
type PublicConfig struct {
	Issuer   string   `json:"issuer"`
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes"`
	Audience string   `json:"audience" doc:"what tokens must be for"`
	Version  string   `json:"version"`
}

// routes builds the API. /v1 needs a token, except /v1/config.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	cfg := huma.DefaultConfig("jit approval API", "1")
	cfg.Info.Description = "Just-in-time access to Snowflake: requests, decisions, sessions."
	cfg.DocsPath, cfg.SchemasPath, cfg.CreateHooks = "", "", nil
	cfg.Formats = map[string]huma.Format{"application/json": strictJSON(), "json": strictJSON()}
	cfg.Transformers = []huma.Transformer{plainProblems}
	cfg.RejectUnknownQueryParameters = true
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "an ID token of the issuer in /v1/config, or the broker token of one session"},
	}
	s.api = humago.New(mux, cfg)

	s.publicRoutes(mux)
	s.requestRoutes()
	s.sessionRoutes()
	s.recordingRoutes(mux)
	s.adminRoutes()
	mux.HandleFunc("GET /v1/events", s.streamEvents)
	s.documentStreams()
	s.documentProblems()

	root := http.NewServeMux()
	root.Handle("/v1/", s.authenticate(mux))
	root.Handle("GET /v1/config", mux)
	root.Handle("GET /openapi.json", mux)
	root.Handle("GET /openapi.yaml", mux)
	root.Handle("GET /healthz", mux)
	root.Handle("GET /readyz", mux)
	root.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.writeProblem(w, r, session.ErrNotFound) })
	return s.guard(root)
}

type body[T any] struct{ Body T }

// IDParam is exported because huma fills embedded fields by reflection.
type IDParam struct {
	ID string `path:"id" maxLength:"64"`
}

// handle registers an operation whose errors go through the table.
func handle[I, O any](s *Server, method, path, id, summary string, limit int64, do func(ctx context.Context, w Caller, in *I) (*O, error)) {
	op := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, MaxBodyBytes: limit,
		BodyReadTimeout: readTimeout, Security: []map[string][]string{{"bearer": {}}},
		Errors: []int{400, 401, 403, 404, 409, 410, 413, 422, 429, 500, 502, 503},
	}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, callerOf(ctx).Caller, in)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return out, nil
	})
}

func (s *Server) publicRoutes(mux *http.ServeMux) {
	huma.Register(s.api, huma.Operation{OperationID: "config", Method: http.MethodGet, Path: "/v1/config", Summary: "How to sign in"},
		func(context.Context, *struct{}) (*body[PublicConfig], error) {
			return &body[PublicConfig]{PublicConfig{
				Issuer: s.cfg.Issuer, ClientID: s.cfg.ClientID, Scopes: s.cfg.Scopes, Audience: s.cfg.Audiences[0], Version: s.cfg.Version,
			}}, nil
		})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := s.ready(r.Context()); err != nil {
			s.log.WarnContext(r.Context(), "not ready", "error", err)
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	handle(s, http.MethodGet, "/v1/whoami", "whoami", "Who the token names", maxBody,
		func(_ context.Context, w Caller, _ *struct{}) (*body[whoamiDoc], error) {
			return &body[whoamiDoc]{whoamiDoc{Principal: toPrincipalDoc(w.Principal), Session: w.Session, Admin: s.store.isAdmin(w)}}, nil
		})
}

type whoamiDoc struct {
	Principal principalDoc `json:"principal"`
	Session   string       `json:"session,omitempty" doc:"of a broker token"`
	Admin     bool         `json:"admin"`
}

func (s *Server) ready(ctx context.Context) error {
	if _, err := s.store.lastEvent(ctx); err != nil {
		return err
	}
	_, err := s.ids.discovered(ctx)
	return err
}

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
			return requestBody(s.store.decide(ctx, w, in.ID, session.Choice{Outcome: outcome, Reuse: reuse, Reason: in.Body.Reason, Digest: in.Body.Digest}))
		})
	handle(s, http.MethodPost, "/v1/requests/{id}/withdraw", "withdraw", "Take back one's own request", maxBody,
		func(ctx context.Context, w Caller, in *IDParam) (*struct{}, error) {
			return nil, s.store.withdraw(ctx, w, in.ID)
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
			return &body[openedDoc]{openedDoc{Session: toSessionDoc(o.Session), Token: o.Token.Reveal(), Bundle: o.Bundle, WitnessKey: o.WitnessKey}}, nil
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

type checkpointInput struct {
	IDParam
	Body struct {
		Checkpoint []byte `json:"checkpoint" doc:"signed note"`
	}
}

type cosignedDoc struct {
	Cosigned []byte `json:"cosigned" doc:"the note with the witness's signature"`
}

type filesDoc struct {
	Files []RecordingFile `json:"files"`
}

type uploadInput struct {
	IDParam
	File    string `path:"file" maxLength:"64"`
	Offset  int64  `query:"offset" minimum:"0"`
	RawBody []byte `contentType:"application/octet-stream"`
}

func (s *Server) recordingRoutes(mux *http.ServeMux) {
	handle(s, http.MethodPost, "/v1/sessions/{id}/checkpoints", "cosign", "Have a checkpoint cosigned (its broker)", maxBody,
		func(ctx context.Context, w Caller, in *checkpointInput) (*body[cosignedDoc], error) {
			b, err := s.store.cosign(ctx, w, in.ID, in.Body.Checkpoint)
			if err != nil {
				return nil, err
			}
			return &body[cosignedDoc]{cosignedDoc{b}}, nil
		})
	handle(s, http.MethodPut, "/v1/sessions/{id}/recording/{file}", "upload", "Append to a recording file (its broker)", maxUpload+1,
		func(ctx context.Context, w Caller, in *uploadInput) (*struct{}, error) {
			return nil, s.store.upload(ctx, w, in.ID, in.File, in.Offset, in.RawBody)
		})
	handle(s, http.MethodGet, "/v1/sessions/{id}/recording", "recordingFiles", "What is stored of a recording", maxBody,
		func(ctx context.Context, w Caller, in *IDParam) (*body[filesDoc], error) {
			files, err := s.store.recordingFilesOf(ctx, w, in.ID)
			if err != nil {
				return nil, err
			}
			return &body[filesDoc]{filesDoc{append([]RecordingFile{}, files...)}}, nil
		})
	mux.HandleFunc("GET /v1/sessions/{id}/recording/{file}", func(w http.ResponseWriter, r *http.Request) {
		content, err := s.store.openRecording(r.Context(), callerOf(r.Context()).Caller, r.PathValue("id"), r.PathValue("file"))
		if err != nil {
			s.writeProblem(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if _, err := io.Copy(w, content); err != nil {
			s.log.WarnContext(r.Context(), "sending a recording broke off", "error", err)
			panic(http.ErrAbortHandler) // a cut file must not look like a whole one
		}
	})
}

type connectionsDoc struct {
	Connections []connectionDoc `json:"connections"`
}

type credentialDoc struct {
	Kind       string `json:"kind" enum:"key-pair,password,pat,oauth"`
	Material   string `json:"material" writeOnly:"true" maxLength:"32768" doc:"the password, the token, or the private key in PEM"`
	Passphrase string `json:"passphrase,omitempty" writeOnly:"true" maxLength:"4096" doc:"of an encrypted private key"`
}

type addConnectionInput struct {
	Body struct {
		Connection connectionDoc `json:"connection"`
		Credential credentialDoc `json:"credential"`
		Replace    bool          `json:"replace,omitempty"`
	}
}

type nameParam struct {
	Name string `path:"name" maxLength:"64"`
}

type policyDoc struct {
	Digest string `json:"digest"`
	Bundle []byte `json:"bundle,omitempty"`
}

type pushInput struct {
	Body struct {
		Bundle []byte `json:"bundle"`
	}
}

func (s *Server) adminRoutes() {
	handle(s, http.MethodGet, "/v1/connections", "connections", "Connections that can be asked for", maxBody,
		func(ctx context.Context, w Caller, _ *struct{}) (*body[connectionsDoc], error) {
			cs, err := s.store.connections(ctx, w)
			if err != nil {
				return nil, err
			}
			out := connectionsDoc{Connections: []connectionDoc{}}
			for _, c := range cs {
				out.Connections = append(out.Connections, connectionDoc(c))
			}
			return &body[connectionsDoc]{out}, nil
		})
	handle(s, http.MethodPost, "/v1/connections", "addConnection", "Add a connection (admins)", maxBody,
		func(ctx context.Context, w Caller, in *addConnectionInput) (*body[connectionDoc], error) {
			c, err := s.store.addConnection(ctx, w, Connection(in.Body.Connection), NewCredential{
				Kind: in.Body.Credential.Kind, Material: secret.New(in.Body.Credential.Material), Passphrase: secret.New(in.Body.Credential.Passphrase),
			}, in.Body.Replace)
			if err != nil {
				return nil, err
			}
			return &body[connectionDoc]{connectionDoc(c)}, nil
		})
	handle(s, http.MethodDelete, "/v1/connections/{name}", "removeConnection", "Remove a connection (admins)", maxBody,
		func(ctx context.Context, w Caller, in *nameParam) (*struct{}, error) {
			return nil, s.store.removeConnection(ctx, w, in.Name)
		})
	handle(s, http.MethodPost, "/v1/connections/{name}/test", "testConnection", "Log in and out once (admins)", maxBody,
		func(ctx context.Context, w Caller, in *nameParam) (*body[ConnectionTest], error) {
			t, err := s.store.testConnection(ctx, w, in.Name)
			if err != nil {
				return nil, err
			}
			return &body[ConnectionTest]{t}, nil
		})
	handle(s, http.MethodGet, "/v1/policy", "policy", "The active policy bundle", maxBody,
		func(ctx context.Context, _ Caller, _ *struct{}) (*body[policyDoc], error) {
			digest, data, err := s.store.policyData(ctx)
			if err != nil {
				return nil, err
			}
			return &body[policyDoc]{policyDoc{digest, data}}, nil
		})
	handle(s, http.MethodPut, "/v1/policy", "pushPolicy", "Make a bundle the active one (admins)", maxPolicyBody,
		func(ctx context.Context, w Caller, in *pushInput) (*body[policyDoc], error) {
			digest, err := s.store.pushPolicy(ctx, w, in.Body.Bundle)
			if err != nil {
				return nil, err
			}
			return &body[policyDoc]{policyDoc{Digest: digest}}, nil
		})
}

// documentStreams describes what huma does not route.
func (s *Server) documentStreams() {
	secured := []map[string][]string{{"bearer": {}}}
	s.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "events", Method: http.MethodGet, Path: "/v1/events", Summary: "Changes, as server-sent events", Security: secured,
		Parameters: []*huma.Param{{Name: "Last-Event-ID", In: "header", Description: "resume after this event; without it, start with the next change", Schema: &huma.Schema{Type: "integer", Format: "int64"}}},
		Responses: map[string]*huma.Response{
			"200": {Description: "id, event (the kind) and data (the event as JSON)", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}}},
			"401": {Description: http.StatusText(http.StatusUnauthorized)},
		},
	})
	id := func(name string) *huma.Param {
		return &huma.Param{Name: name, In: "path", Required: true, Schema: &huma.Schema{Type: "string"}}
	}
	s.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "recordingFile", Method: http.MethodGet, Path: "/v1/sessions/{id}/recording/{file}", Summary: "One file of a stored recording", Security: secured,
		Parameters: []*huma.Param{id("id"), id("file")},
		Responses: map[string]*huma.Response{
			"200": {Description: "the file", Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}},
			"404": {Description: http.StatusText(http.StatusNotFound)},
		},
	})
}

// documentProblems makes the document tell the truth about failures.
func (s *Server) documentProblems() {
	doc := s.api.OpenAPI()
	schema := doc.Components.Schemas.Schema(reflect.TypeFor[problemDoc](), true, "Problem")
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
			if op == nil {
				continue
			}
			for status, r := range op.Responses {
				if strings.HasPrefix(status, "4") || strings.HasPrefix(status, "5") || status == "default" {
					r.Content = map[string]*huma.MediaType{problemType: {Schema: schema}}
				}
			}
		}
	}
}
