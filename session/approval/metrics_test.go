package approval

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session"
)

func scrape(t *testing.T, s *Server) string {
	t.Helper()
	rec := httptest.NewRecorder()
	s.Metrics().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("/metrics answers %d", rec.Code)
	}
	return rec.Body.String()
}

func TestMetrics(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, _ side) {
		ctx := t.Context()
		o := openSessionFor(t, w, localSide{w}, w.dave)
		r := must[session.Request](t)(w.client(w.alice).Submit(ctx, sessionSubmission()))
		must[session.Request](t)(w.client(w.alice).Request(ctx, r.ID))
		_, err := w.client(w.alice).Request(ctx, "req_secret-looking-id")
		wantErr(t, err, session.ErrNotFound)
		w.raw("BREW", "/v1/tea", "", "", nil)
		text := scrape(t, w.server)
		for _, want := range []string{
			`jit_requests{kind="session",state="pending"} 1`, `jit_sessions{phase="open"} 1`, `jit_storage_up 1`, `jit_rate_limited_total 0`,
			`jit_http_request_duration_seconds_count{method="GET",route="GET /v1/requests/{id}",status="200"} 1`,
			`jit_http_request_duration_seconds_count{method="GET",route="GET /v1/requests/{id}",status="404"} 1`,
			`jit_http_request_duration_seconds_count{method="other",route="unrouted",status="401"} 1`,
		} {
			if !strings.Contains(text, want+"\n") {
				t.Errorf("no line %s", want)
			}
		}
		for _, secret := range []string{o.Session.ID, r.ID, "secret-looking", "alice", "/v1/tea"} {
			if strings.Contains(text, secret) {
				t.Errorf("the metrics hold %q", secret)
			}
		}
		// The API itself serves them to nobody.
		if status, _, _ := w.raw("GET", "/metrics", w.token(w.root), "", nil); status != http.StatusNotFound {
			t.Errorf("the API's /metrics answers %d", status)
		}
		if err := w.store.db.Close(); err != nil {
			t.Fatal(err)
		}
		if text := scrape(t, w.server); !strings.Contains(text, "jit_storage_up 0\n") {
			t.Error("a database that is gone is up")
		}
	})
}

// One caller who never stops is slowed down; others do not notice.
func TestAttackFlood(t *testing.T) {
	w := newWorld(t, Limits{})
	server, err := NewServer(Config{Store: w.store, Issuer: w.idp.URL, ClientID: clientID, Rate: 5})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server.Handler())
	defer web.Close()
	at := func(p session.Principal) *Client { return NewClient(web.URL, tokens{w, p}, nil) }
	var refused int
	for range 40 { // the clock stands still
		if _, err := at(w.mallory).Sessions(t.Context()); errors.Is(err, session.ErrCapacity) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if refused != 20 {
		t.Errorf("%d of 40 calls were refused, with a burst of 20", refused)
	}
	if _, err := at(w.alice).Sessions(t.Context()); err != nil {
		t.Errorf("another caller: %v", err)
	}
	w.clock.advance(time.Second)
	if _, err := at(w.mallory).Sessions(t.Context()); err != nil {
		t.Errorf("after a second: %v", err)
	}
	if text := scrape(t, server); !strings.Contains(text, "jit_rate_limited_total 20\n") {
		t.Error("the refusals are not counted")
	}
}

func TestRatesForgetWhoIsGone(t *testing.T) {
	c := newClock()
	r := newRates(1, c.now)
	for i := range maxBuckets {
		r.take(string(rune('a'+i%26)) + time.Duration(i).String())
	}
	c.advance(time.Hour)
	r.take("one more")
	if len(r.buckets) != 1 {
		t.Errorf("%d buckets are kept", len(r.buckets))
	}
}
