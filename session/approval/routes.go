package approval

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/jit-access/jit/session"
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
	s.rotateRoute()
	s.searchRoutes()
	s.retentionRoutes()
	s.webhookRoutes()
	s.emergencyRoutes()
	mux.HandleFunc("GET /v1/events", s.streamEvents)
	s.documentStreams()
	s.documentProblems()

	root := http.NewServeMux()
	patterns := func(r *http.Request) string {
		_, pattern := mux.Handler(r)
		return pattern
	}
	root.Handle("/v1/", s.authenticate(noteRoute(mux, patterns)))
	root.Handle("GET /v1/config", mux)
	root.HandleFunc("GET /r/{id}", s.linkPage)
	root.Handle("GET /openapi.json", mux)
	root.Handle("GET /openapi.yaml", mux)
	root.Handle("GET /healthz", mux)
	root.Handle("GET /readyz", mux)
	root.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.writeProblem(w, r, session.ErrNotFound) })
	return s.metrics.measure(s.guard(root))
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
	_, err := s.ids.people.discovered(ctx)
	return err
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
