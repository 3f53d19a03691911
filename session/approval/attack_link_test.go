package approval

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// Whoever has the link of a message has nothing: it reads nothing, decides
// nothing, and is the same for every id, whatever is sent along.
func TestAttackDecisionByLink(t *testing.T) {
	w, ctx := newWorld(t, Limits{}), t.Context()
	r := must[session.Request](t)(w.store.As(w.alice).Submit(ctx, sessionSubmission()))
	unknown := "req_" + strings.Repeat("A", 22)
	_, _, real := w.raw(http.MethodGet, "/r/"+r.ID, "", "", nil)
	status, header, none := w.raw(http.MethodGet, "/r/"+unknown, "", "", nil)
	if status != http.StatusOK || strings.ReplaceAll(real, r.ID, unknown) != none || !strings.Contains(real, "jit review "+r.ID) {
		t.Errorf("the pages are %d %q and %q", status, real, none)
	}
	if !strings.HasPrefix(header.Get("Content-Type"), "text/plain") || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Content-Security-Policy") == "" {
		t.Errorf("headers %v", header)
	}
	token := w.token(w.bob) // as a browser with a signed-in reviewer would
	for _, try := range []struct{ method, path, token string }{
		{http.MethodGet, "/r/" + r.ID + "?approve=1&outcome=approve", ""}, {http.MethodGet, "/r/" + r.ID + "?outcome=approve", token},
		{http.MethodPost, "/r/" + r.ID, token}, {http.MethodGet, "/r/" + r.ID + "/approve", token}, {http.MethodPut, "/r/" + r.ID, token},
		{http.MethodGet, "/v1/requests/" + r.ID + "/decisions?outcome=approve", token}, {http.MethodPost, "/v1/requests/" + r.ID + "/decisions?outcome=approve", token},
		{http.MethodPost, "/v1/requests/" + r.ID + "/decisions", ""}, {http.MethodGet, "/r/%3Cscript%3E", ""}, {http.MethodGet, "/r/..%2fv1%2frequests", token},
	} {
		_, _, text := w.raw(try.method, try.path, try.token, "application/json", nil)
		if strings.Contains(text, "<script>") || strings.Contains(text, w.alice.Email) {
			t.Errorf("%s %s answers %s", try.method, try.path, text)
		}
	}
	if got := must[session.Request](t)(w.store.As(w.alice).Request(ctx, r.ID)); got.State != session.StatePending || len(got.Decisions) != 0 {
		t.Errorf("a link decided: %+v", got)
	}
}

// A receiver cannot send the server on to where it may not go itself.
func TestAttackWebhookRedirect(t *testing.T) {
	w, ctx := loopbackAllowed(t, ""), t.Context()
	var inside atomic.Int64
	internal := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
	defer internal.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		outside := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, internal.URL, status)
		}))
		defer outside.Close()
		root := w.client(w.root)
		if _, _, err := root.AddWebhook(ctx, Webhook{Name: "evil"}, secret.New(outside.URL)); err != nil {
			t.Fatal(err)
		}
		r := must[session.Request](t)(w.store.As(w.alice).Submit(ctx, sessionSubmission()))
		if err := w.store.deliverDue(ctx); err != nil {
			t.Fatal(err)
		}
		var why string
		if err := w.store.db.read.QueryRowContext(ctx, `SELECT last_error FROM deliveries`).Scan(&why); err != nil || !strings.Contains(why, "it answered 30") {
			t.Errorf("%d ended with %q, %v", status, why, err)
		}
		if err := root.RemoveWebhook(ctx, "evil"); err != nil {
			t.Fatal(err)
		}
		if err := w.store.As(w.alice).Withdraw(ctx, r.ID); err != nil {
			t.Fatal(err)
		}
	}
	if n := inside.Load(); n != 0 {
		t.Errorf("the server was sent on %d times", n)
	}
}

// What people write reaches a chat as text: no mention, no link, no formatting.
func TestAttackSlackMentions(t *testing.T) {
	const evil = "<!channel> <@U123> <https://evil.example|click> *bold* `x` @here http://evil.example\u202e\nnew"
	doc := slackMessage(session.EventRequestSubmitted, messageData{
		RequestID: "req_1", Principal: evil, Connection: evil, Role: evil, Rule: evil, Reason: evil, Ticket: evil, Kind: "session", URL: "https://jit.example.com/r/req_1",
	})
	check := func(where, text string) {
		for _, bad := range []string{"<!", "<@", "<https://evil", "http://evil", "\n", "\u202e"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: %q in %q", where, bad, text)
			}
		}
	}
	check("text", doc.Text)
	plain := 0
	for _, b := range doc.Blocks {
		if b.Text != nil {
			check("block", b.Text.Text)
			if b.Text.Type != "mrkdwn" || !b.Text.Verbatim {
				t.Errorf("Slack would look for links in %+v", b.Text)
			}
		}
		for _, f := range b.Fields {
			if plain++; f.Type != "plain_text" || strings.Contains(f.Text, "\n") {
				t.Errorf("a field is %+v", f)
			}
		}
	}
	if plain != 4 || !strings.Contains(doc.Text, "`jit review req_1`") || doc.UnfurlLinks {
		t.Errorf("the message is %+v", doc)
	}
}
