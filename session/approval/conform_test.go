package approval

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"github.com/jit-access/jit/session"
)

// What a server answers is compared with the OpenAPI document that it serves, by a
// validator that is not ours.

const openapiValidator = "../../.cache/openapi/bin/python"

// The document itself is valid OpenAPI 3.1.
func TestOpenAPIDocumentIsValid(t *testing.T) {
	if _, err := os.Stat(openapiValidator); err != nil {
		if os.Getenv("JIT_TEST_PARTS") == "required" {
			t.Fatal(err)
		}
		t.Skipf("NOT TESTED with openapi-spec-validator: run .ci/parts.sh (%v)", err)
	}
	w := newWorld(t, Limits{})
	_, _, doc := w.raw(http.MethodGet, "/openapi.json", "", "", nil)
	check := func(text string) ([]byte, error) {
		file := filepath.Join(t.TempDir(), "openapi.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return exec.CommandContext(t.Context(), openapiValidator, "-m", "openapi_spec_validator", "--schema", "3.1.0", file).CombinedOutput() //nolint:gosec // a part of the tests
	}
	if out, err := check(doc); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := check(strings.Replace(doc, `"operationId":"whoami"`, `"operationId":7`, 1)); err == nil {
		t.Errorf("a wrong document passes: %s", out)
	}
}

// contract is the document as the validator knows it; all servers serve the same.
var contract struct {
	once sync.Once
	v    validator.Validator
	mu   sync.Mutex // the validator is not known to be safe for concurrent use
	errs []error
}

func contractOf(s *Server) (validator.Validator, []error) {
	contract.once.Do(func() {
		text, err := s.api.OpenAPI().MarshalJSON()
		if err != nil {
			contract.errs = []error{err}
			return
		}
		doc, err := libopenapi.NewDocument(text)
		if err != nil {
			contract.errs = []error{err}
			return
		}
		contract.v, contract.errs = validator.NewValidator(doc)
	})
	return contract.v, contract.errs
}

// conforming answers as s does, and fails the test for an answer that the
// document does not tell of.
func conforming(t testing.TB, s *Server) http.Handler {
	t.Helper()
	v, errs := contractOf(s)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v1/") || r.URL.Path == "/v1/events" || r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/recording/") {
			s.Handler().ServeHTTP(w, r) // streams
			return
		}
		tee := &teeWriter{ResponseWriter: w}
		s.Handler().ServeHTTP(tee, r)
		if tee.status == 0 {
			tee.status = http.StatusOK
		}
		resp := &http.Response{StatusCode: tee.status, Header: w.Header().Clone(), Body: io.NopCloser(&tee.body), Request: r}
		contract.mu.Lock()
		_, problems := v.ValidateHttpResponse(r, resp)
		contract.mu.Unlock()
		for _, p := range problems {
			if p.ValidationType == "path" { // no such route: nothing is promised
				continue
			}
			t.Errorf("%s %s: %d is not as the document says: %s: %s %v", r.Method, r.URL.Path, tee.status, p.Message, p.Reason, p.SchemaValidationErrors)
		}
	})
}

// teeWriter keeps what it passes on.
type teeWriter struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (w *teeWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *teeWriter) Write(b []byte) (int, error) {
	w.body.Write(b)
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *teeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// The validator finds what it is there to find.
func TestConformingFindsWrongAnswers(t *testing.T) {
	w := newWorld(t, Limits{})
	v, errs := contractOf(w.server)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	_, _, right := w.raw(http.MethodGet, "/v1/whoami", w.token(w.bob), "", nil)
	for name, test := range map[string]struct {
		status int
		body   string
		good   bool
	}{
		"as it is":              {http.StatusOK, right, true},
		"a wrong type":          {http.StatusOK, strings.Replace(right, `"admin":false`, `"admin":"no"`, 1), false},
		"a member missing":      {http.StatusOK, strings.Replace(right, `"admin":false`, `"adnim":false`, 1), false},
		"a member nobody knows": {http.StatusOK, strings.Replace(right, `"admin":false`, `"admin":false,"root":true`, 1), false},
		"a status nobody tells": {http.StatusTeapot, right, false},
		"not JSON":              {http.StatusOK, "admin", false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/v1/whoami", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp := &http.Response{StatusCode: test.status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(test.body)), Request: r}
		contract.mu.Lock()
		_, problems := v.ValidateHttpResponse(r, resp)
		contract.mu.Unlock()
		if (len(problems) == 0) != test.good {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// conform has the rest of the test talk to a server whose answers are compared.
func (w *world) conform() {
	w.web = httptest.NewServer(conforming(w.t, w.server))
	w.t.Cleanup(w.web.Close)
}

// The ways through the API, good and bad, are answered as the document says.
func TestAnswersAreAsDocumented(t *testing.T) {
	w := newWorld(t, Limits{})
	w.conform()
	ctx := t.Context()
	s := httpSide{w}
	o := recordedSession(t, w, s, w.alice, statementFacts("select 1 from T", "allow", []string{"DB.S.T"}, nil))
	b := s.broker(o)
	must[session.Upstream](t)(b.OpenUpstream(ctx))
	sub := heldCase(o, "DELETE FROM T")
	r := must[session.Request](t)(b.Submit(ctx, sub))
	must[session.Request](t)(w.client(w.bob).Decide(ctx, r.ID, approveIt(sub.Case.Digest())))
	_, err := w.client(w.bob).Decide(ctx, r.ID, approveIt(sub.Case.Digest()))
	wantErr(t, err, session.ErrConflict)
	_, err = w.client(w.mallory).Request(ctx, r.ID)
	wantErr(t, err, session.ErrNotFound)
	if err := w.client(auditorOf(w)).AddHold(ctx, o.Session.ID, "m", "r"); err != nil {
		t.Fatal(err)
	}
	must[Found](t)(w.client(auditorOf(w)).Search(ctx, Search{Table: "T"}))
	if err := w.client(w.alice).Revoke(ctx, o.Session.ID, "done"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"whoami", "config", "requests", "sessions", "connections", "policy", "webhooks", "deliveries", "holds", "statements", "sessions/" + o.Session.ID, "requests/" + r.ID,
		"sessions/nothing", "sessions/" + o.Session.ID + "/recording", "statements?limit=-1", "statements?nothing=1", "holds?session=x"} {
		for _, token := range []string{"", w.token(w.root), w.token(auditorOf(w)), w.token(w.mallory), o.Token.Reveal()} {
			w.raw(http.MethodGet, "/v1/"+path, token, "", nil)
		}
	}
	for _, body := range []string{"", "{", "[]", `{"nothing":1}`, `{"reason":7}`} {
		w.raw(http.MethodPost, "/v1/requests", w.token(w.alice), "application/json", strings.NewReader(body))
		w.raw(http.MethodPost, "/v1/sessions/"+o.Session.ID+"/holds/m", w.token(auditorOf(w)), "application/json", strings.NewReader(body))
	}
}
