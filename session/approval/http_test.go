package approval

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

func TestPublicEndpoints(t *testing.T) {
	w := newWorld(t, Limits{})
	cfg := must[PublicConfig](t)(FetchConfig(t.Context(), w.web.URL, nil))
	if cfg.Issuer != w.idp.URL || cfg.ClientID != clientID || cfg.Audience != clientID || cfg.Version != "test" || len(cfg.Scopes) == 0 {
		t.Errorf("config: %+v", cfg)
	}
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 200, "/v1/config": 200, "/openapi.json": 200,
		"/v1/requests": 401, "/v1/events": 401, "/v1/nothing": 401, "/docs": 404, "/schemas/Problem.json": 404, "/": 404, "/metrics": 404,
	} {
		code, h, body := w.raw("GET", path, "", "", nil)
		if code != want || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v %s", path, code, h, body)
		}
	}
	w.idp.Close()
	fresh, err := NewServer(Config{Store: w.store, Issuer: w.idp.URL, ClientID: clientID})
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	fresh.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "http://127.0.0.1/readyz", nil))
	if rec.Code != http.StatusServiceUnavailable {
		t.Errorf("ready without an identity provider: %d", rec.Code)
	}
}

// Every route that takes a token says so, and its failures are problems.
func TestOpenAPI(t *testing.T) {
	w := newWorld(t, Limits{})
	_, _, text := w.raw("GET", "/openapi.json", "", "", nil)
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string                `json:"operationId"`
			Security    []map[string][]string `json:"security"`
			Responses   map[string]struct {
				Content map[string]json.RawMessage `json:"content"`
			} `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || len(doc.Paths) < 20 {
		t.Fatalf("openapi %s with %d paths", doc.OpenAPI, len(doc.Paths))
	}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			if (len(op.Security) == 0) != (path == "/v1/config") {
				t.Errorf("%s %s: security %v", method, path, op.Security)
			}
			for status, r := range op.Responses {
				if _, ok := r.Content[problemType]; status >= "400" && len(r.Content) > 0 && !ok {
					t.Errorf("%s %s %s: %v", method, path, status, r.Content)
				}
			}
			// The route is really there, and closed to strangers.
			real := strings.NewReplacer("{id}", "x", "{file}", "y", "{upstream}", "z", "{name}", "n").Replace(path)
			want := http.StatusUnauthorized
			if path == "/v1/config" {
				want = http.StatusOK
			}
			if code, _, _ := w.raw(strings.ToUpper(method), real, "", "application/json", nil); code != want {
				t.Errorf("%s %s without a token: %d", method, real, code)
			}
		}
	}
}

// Each sentinel survives the way over the wire; nothing else does.
func TestProblemsRoundTrip(t *testing.T) {
	for _, p := range problems {
		if errors.Is(p.err, context.Canceled) || errors.Is(p.err, context.DeadlineExceeded) {
			continue
		}
		doc := toProblemDoc(fmt.Errorf("inside: %w", p.err))
		if doc.Code != p.code || strings.Contains(doc.Detail, "inside") {
			t.Errorf("%v became %+v", p.err, doc)
		}
		if got := doc.err(); !errors.Is(got, p.err) {
			t.Errorf("%v came back as %v", p.err, got)
		}
	}
	for _, err := range []error{errors.New("SELECT failed at /var/lib/jit.db"), io.ErrUnexpectedEOF, errDamaged} {
		if doc := toProblemDoc(err); doc.Code != codeInternal || strings.Contains(doc.Detail, "SELECT") || doc.Status != 500 {
			t.Errorf("%v became %+v", err, doc)
		}
	}
	said := session.Refuse(session.ErrForbidden, "This needs the group %s.", "x")
	if got := toProblemDoc(said).err(); !errors.Is(got, session.ErrForbidden) || got.Error() != said.Error() {
		t.Errorf("%v came back as %v", said, got)
	}
}

// The client takes nothing but an approval server's answer for an answer.
func TestClientAgainstStrangeServers(t *testing.T) {
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    error
	}{
		"a web page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>hello")
		}, session.ErrUnavailable},
		"404 page":    {http.NotFound, session.ErrUnavailable},
		"bad gateway": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, session.ErrUnavailable},
		"unknown code": {func(w http.ResponseWriter, _ *http.Request) {
			problemAnswer(w, 400, `{"code":"new_thing","detail":"x"}`)
		}, session.ErrUnavailable},
		"unknown state": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"id":"r","kind":"session","state":"approved-ish"}`)
		}, session.ErrInvalid},
		"hangs up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, session.ErrUnavailable},
		"revoked":  {func(w http.ResponseWriter, _ *http.Request) { problemAnswer(w, 410, `{"code":"revoked","detail":"x"}`) }, session.ErrRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			web := httptest.NewServer(test.handler)
			defer web.Close()
			_, err := NewClient(web.URL, fixedToken{secret.New("t")}, nil).Request(t.Context(), "r")
			wantErr(t, err, test.want)
		})
	}
}

func problemAnswer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// A server that redirects wants the token for somebody else.
func TestAttackRedirectStealsToken(t *testing.T) {
	var stolen atomic.Bool
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen.Store(r.Header.Get("Authorization") != "") }))
	defer thief.Close()
	web := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	defer web.Close()
	_, err := NewClient(web.URL, fixedToken{secret.New("t")}, nil).Request(t.Context(), "r")
	wantErr(t, err, session.ErrUnavailable)
	if stolen.Load() {
		t.Error("the token went to the thief")
	}
	_, err = NewClient("http://jit.example.com", fixedToken{secret.New("t")}, nil).Request(t.Context(), "r")
	wantErr(t, err, session.ErrInvalid)
}

// The connection breaks again and again; the watcher sees every event once.
func TestWatchSurvivesBrokenConnections(t *testing.T) {
	w := newWorld(t, Limits{})
	var connections atomic.Int32
	inner := w.server.Handler()
	flaky := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/events" {
			inner.ServeHTTP(rw, r)
			return
		}
		if n := connections.Add(1); n == 3 {
			panic(http.ErrAbortHandler) // down for a moment
		}
		inner.ServeHTTP(&cutAfter{ResponseWriter: rw, left: 3}, r)
	}))
	defer flaky.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	client := NewClient(flaky.URL, tokens{w, w.alice}, nil)
	events := must[<-chan session.Event](t)(client.Watch(ctx, -1))
	want := map[string]bool{}
	for range 6 {
		want[must[session.Request](t)(w.store.As(w.alice).Submit(ctx, sessionSubmission())).ID] = true
	}
	last := int64(-1)
	for range 6 {
		e := <-events
		if e.ID <= last || !want[e.RequestID] {
			t.Fatalf("event %+v after %d", e, last)
		}
		last = e.ID
		delete(want, e.RequestID)
	}
	if connections.Load() < 3 {
		t.Errorf("only %d connections: nothing broke", connections.Load())
	}
	cancel()
	for range events {
	}
}

// cutAfter lets a few writes through and then breaks the connection.
type cutAfter struct {
	http.ResponseWriter
	left int
}

func (c *cutAfter) Write(p []byte) (int, error) {
	if c.left--; c.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

func (c *cutAfter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// A stream does not outlive the token that opened it, and a client whose sign-in
// is over stops.
func TestStreamEndsWithTheToken(t *testing.T) {
	w := newWorld(t, Limits{})
	claims := w.idp.claims(w.alice, w.clock.now())
	claims["exp"] = w.clock.now().Add(2 * time.Second).Unix()
	token := secret.New(w.idp.sign(t, w.idp.key, claims))
	events := must[<-chan session.Event](t)(NewClient(w.web.URL, fixedToken{token}, nil).Watch(t.Context(), -1))
	w.clock.advance(time.Minute) // so that reconnecting is refused
	select {
	case e, ok := <-events:
		if ok {
			t.Fatalf("got %+v", e)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the stream outlived its token")
	}
}

// Serve stops when asked, with streams open, and leaves no goroutine behind.
func TestServeShutsDown(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	w := newWorld(t, Limits{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, ln) }()
	hc := &http.Client{Transport: &http.Transport{}}
	client := NewClient("http://"+ln.Addr().String(), tokens{w, w.alice}, hc)
	watchCtx, stopWatching := context.WithCancel(t.Context())
	events := must[<-chan session.Event](t)(client.Watch(watchCtx, -1))
	must[session.Request](t)(client.Submit(t.Context(), sessionSubmission()))
	<-events
	begun := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > shutdownTimeout {
		t.Errorf("stopping took %s", took)
	}
	_, err = client.Sessions(t.Context())
	wantErr(t, err, session.ErrUnavailable)
	stopWatching()
	for range events {
	}
	hc.CloseIdleConnections()
	w.web.Close()
	w.idp.Close()
	w.sf.Close()
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	w.store.hc.CloseIdleConnections()
	goleak.VerifyNone(t, ignore)
}

// A connection that was dialled ahead and never used does not hold up the end.
func TestServeStopsDespiteSilentConnections(t *testing.T) {
	w := newWorld(t, Limits{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, ln) }()
	silent, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	// Connections are accepted in order: once a call on a later one is
	// answered, the silent one is known to the server.
	if _, err := FetchConfig(t.Context(), "http://"+ln.Addr().String(), &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("stopping took %s", took)
	}
}

// Over TLS the clients speak HTTP/2: calls and streams share one connection.
func TestServeOverTLS(t *testing.T) {
	w := newWorld(t, Limits{})
	tlsWeb := httptest.NewUnstartedServer(nil) // for its certificate
	tlsWeb.StartTLS()
	defer tlsWeb.Close()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := tls.NewListener(plain, &tls.Config{Certificates: tlsWeb.TLS.Certificates, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, ln) }()
	hc := tlsWeb.Client()
	hc.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	url := "https://" + plain.Addr().String()
	resp, err := hc.Get(url + "/v1/config")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Errorf("spoke HTTP/%d", resp.ProtoMajor)
	}
	client := NewClient(url, tokens{w, w.alice}, hc)
	events := must[<-chan session.Event](t)(client.Watch(ctx, -1))
	r := must[session.Request](t)(client.Submit(ctx, sessionSubmission()))
	if e := <-events; e.RequestID != r.ID {
		t.Errorf("saw %+v", e)
	}
	hc.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func FuzzUniqueNames(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"A":2}`, `[{"a":{"b":[]}}]`, `{"a":`, `"x"`, `{"a":1}{"a":1}`, `]`, `{"a":[{"a":1}],"b":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := uniqueNames(data)
		if !json.Valid(data) {
			return
		}
		in := func(a, b string) error {
			return uniqueNames([]byte(`{"` + a + `":` + string(data) + `,"` + b + `":0}`))
		}
		for _, twin := range []string{"reason", "Reason", "REASON", "rea\u017fon"} {
			if in("reason", twin) == nil {
				t.Fatalf("two members %q around %q were accepted", twin, data)
			}
		}
		if got := in("reason", "other"); (err == nil) != (got == nil) && !strings.Contains(got.Error(), "levels") {
			t.Fatalf("%q: alone %v, as a member %v", data, err, got)
		}
	})
}

func FuzzEventStream(f *testing.F) {
	f.Add(": connected\nid: 3\n\nid: 4\nevent: x\ndata: {\"id\":4,\"kind\":\"x\",\"at\":\"2026-01-01T00:00:00Z\"}\n\n")
	f.Add("data: {\n\n")
	f.Add("id: 99999999999999999999\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		w := &watcher{position: 2, events: make(chan session.Event, 1<<16)}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		_ = w.read(ctx, stream{io.NopCloser(strings.NewReader(text)), cancel})
		close(w.events)
		last := int64(2)
		for e := range w.events {
			if e.ID <= last {
				t.Fatalf("event %d after %d", e.ID, last)
			}
			last = e.ID
		}
	})
}
