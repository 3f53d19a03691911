package approval

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// receiver is the other side of a webhook.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []received
}

type received struct {
	header http.Header
	body   string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{status: http.StatusOK}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, received{req.Header, string(b)})
		w.Header().Set("Location", "http://169.254.169.254/latest/meta-data")
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) messages() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received{}, r.got...)
}

// loopbackAllowed is w with a store whose webhooks may reach this machine.
func loopbackAllowed(t *testing.T, databaseURL string) *world {
	t.Helper()
	w := newWorldOn(t, databaseURL, Limits{})
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	store, err := NewStore(StoreConfig{Dir: w.dir, Database: databaseURL, Policy: policy.Default(), Now: w.clock.now, Logger: w.log.logger(),
		WebhookAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	server, err := NewServer(Config{Store: store, Issuer: w.idp.URL, ClientID: clientID})
	if err != nil {
		t.Fatal(err)
	}
	w.store, w.server = store, server
	w.web.Config.Handler = server.Handler()
	return w
}

// verifyStandard is the receiver's side of Standard Webhooks, written from its
// specification.
func verifyStandard(t *testing.T, key secret.Text, m received) {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key.Reveal(), "whsec_"))
	if err != nil || len(raw) < 24 {
		t.Fatalf("the secret has %d bytes, %v", len(raw), err)
	}
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte(m.header.Get("webhook-id") + "." + m.header.Get("webhook-timestamp") + "." + m.body))
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); m.header.Get("webhook-signature") != want {
		t.Errorf("signature %s, want %s", m.header.Get("webhook-signature"), want)
	}
}

func eachDatabase(t *testing.T, test func(t *testing.T, databaseURL string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "") })
	t.Run("postgres", func(t *testing.T) { test(t, newPostgres(t)) })
}

func TestWebhooks(t *testing.T) {
	eachDatabase(t, func(t *testing.T, databaseURL string) {
		w, ctx := loopbackAllowed(t, databaseURL), t.Context()
		all, slack := newReceiver(t), newReceiver(t)
		root := w.client(w.root)
		h, key, err := root.AddWebhook(ctx, Webhook{Name: "siem"}, secret.New(all.URL+"/hook"))
		if err != nil || h.Host != "127.0.0.1" || !strings.HasPrefix(key.Reveal(), "whsec_") {
			t.Fatalf("added %+v, %v", h, err)
		}
		if _, _, err := root.AddWebhook(ctx, Webhook{Name: "chat", Format: FormatSlack, Events: []string{"request.submitted"}}, secret.New(slack.URL)); err != nil {
			t.Fatal(err)
		}
		evil := w.alice
		evil.Email = "<!channel>`*@example.com"
		r := must[session.Request](t)(w.store.As(evil).Submit(ctx, sessionSubmission()))
		_, err = w.store.As(w.alice).Decide(ctx, r.ID, approveIt("")) // refused: tells nobody
		wantErr(t, err, session.ErrOwnRequest)
		must[session.Request](t)(w.store.As(w.bob).Decide(ctx, r.ID, approveIt("")))
		if err := w.store.deliverDue(ctx); err != nil {
			t.Fatal(err)
		}
		got := all.messages()
		if len(got) != 2 {
			t.Fatalf("%d messages arrived", len(got))
		}
		kinds := map[string]messageData{}
		for _, m := range got {
			verifyStandard(t, key, m)
			if at, err := strconv.ParseInt(m.header.Get("webhook-timestamp"), 10, 64); err != nil || at != w.clock.now().Unix() {
				t.Errorf("sent at %d, %v", at, err)
			}
			var doc messageDoc
			if err := json.Unmarshal([]byte(m.body), &doc); err != nil {
				t.Fatal(err)
			}
			kinds[doc.Type] = doc.Data
		}
		if d := kinds["request.submitted"]; d.RequestID != r.ID || d.State != "pending" || d.Connection != "prod" || d.Principal != evil.Email {
			t.Errorf("told %+v", d)
		}
		if d := kinds["request.decided"]; d.State != "approved" {
			t.Errorf("told %+v", d)
		}
		chat := slack.messages()
		if len(chat) != 1 || !strings.Contains(chat[0].body, "`jit review "+r.ID+"`") || strings.Contains(chat[0].body, "<!") || strings.Contains(chat[0].body, "\\u003c!") {
			t.Errorf("the chat reads %+v", chat)
		}
		// Nothing is sent twice, and nothing is told to those who left.
		if err := w.store.deliverDue(ctx); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"siem", "chat"} {
			if err := root.RemoveWebhook(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
		must[session.Request](t)(w.store.As(w.alice).Submit(ctx, sessionSubmission()))
		if err := w.store.deliverDue(ctx); err != nil || len(all.messages()) != 2 || len(slack.messages()) != 1 {
			t.Errorf("afterwards: %d and %d messages, %v", len(all.messages()), len(slack.messages()), err)
		}
	})
}

// A message that fails is tried again, with the same id and body, for more than
// a day; then it is dead until somebody looks.
func TestWebhookRetriesAndDies(t *testing.T) {
	eachDatabase(t, func(t *testing.T, databaseURL string) {
		w, ctx := loopbackAllowed(t, databaseURL), t.Context()
		rec := newReceiver(t)
		rec.answer(http.StatusFound) // a redirect is a failure, not a way
		root := w.client(w.root)
		if _, _, err := root.AddWebhook(ctx, Webhook{Name: "siem"}, secret.New(rec.URL)); err != nil {
			t.Fatal(err)
		}
		must[session.Request](t)(w.store.As(w.alice).Submit(ctx, sessionSubmission()))
		tries := func() int {
			if err := w.store.deliverDue(ctx); err != nil {
				t.Fatal(err)
			}
			return len(rec.messages())
		}
		begun := w.clock.now()
		for i, wait := range retryAfter {
			if n := tries(); n != i+1 {
				t.Fatalf("attempt %d made %d calls", i+1, n)
			}
			w.clock.advance(wait - time.Second)
			if n := tries(); n != i+1 {
				t.Fatalf("attempt %d came too early", i+2)
			}
			w.clock.advance(time.Second)
		}
		if n := tries(); n != len(retryAfter)+1 || w.clock.now().Sub(begun) < 24*time.Hour {
			t.Fatalf("%d calls in %s", n, w.clock.now().Sub(begun))
		}
		w.clock.advance(24 * time.Hour)
		if n := tries(); n != len(retryAfter)+1 {
			t.Fatal("a dead message was sent")
		}
		dead := must[[]Delivery](t)(root.DeadDeliveries(ctx))
		if len(dead) != 1 || dead[0].Webhook != "siem" || dead[0].LastError != "it answered 302" || dead[0].Attempts != len(retryAfter)+1 {
			t.Fatalf("dead: %+v", dead)
		}
		rec.answer(http.StatusOK)
		if err := root.RetryDelivery(ctx, dead[0].ID); err != nil {
			t.Fatal(err)
		}
		n := tries()
		ms := rec.messages()
		if n != len(retryAfter)+2 || ms[0].body != ms[n-1].body || ms[0].header.Get("webhook-id") != ms[n-1].header.Get("webhook-id") {
			t.Error("the retry is another message")
		}
		if dead := must[[]Delivery](t)(root.DeadDeliveries(ctx)); len(dead) != 0 {
			t.Errorf("still dead: %+v", dead)
		}
		wantErr(t, root.RetryDelivery(ctx, "msg_x"), session.ErrNotFound)
	})
}

// No webhook reaches what only the server can reach.
func TestAttackSSRFThroughWebhook(t *testing.T) {
	w, ctx := newWorld(t, Limits{}), t.Context()
	rec := newReceiver(t)
	root := w.client(w.root)
	for _, target := range []string{
		rec.URL, "http://example.com/x", "ftp://example.com/", "file:///etc/passwd", "https://", "https://u:p@example.com/", "https://example.com/#f",
		"https://127.0.0.1/", "https://[::1]/", "https://10.1.2.3/", "https://169.254.169.254/latest/meta-data", "https://192.168.0.1/", "https://172.16.0.1/",
		"https://0.0.0.0/", "https://100.64.0.1/", "https://[fd00::1]/", "https://[fe80::1]/", "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/",
		"https://[2002:7f00:1::]/", "https://224.0.0.1/", "https://255.255.255.255/",
	} {
		if _, _, err := root.AddWebhook(ctx, Webhook{Name: "evil"}, secret.New(target)); err == nil {
			t.Errorf("%s is accepted", target)
			_ = root.RemoveWebhook(ctx, "evil")
		}
	}
	// A name that resolves to this machine passes the look, and not the dial.
	if _, _, err := root.AddWebhook(ctx, Webhook{Name: "rebound"}, secret.New("https://localhost:"+rec.URL[strings.LastIndex(rec.URL, ":")+1:]+"/")); err != nil {
		t.Fatal(err)
	}
	must[session.Request](t)(w.store.As(w.alice).Submit(ctx, sessionSubmission()))
	if err := w.store.deliverDue(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(rec.messages()); n != 0 {
		t.Errorf("%d messages arrived", n)
	}
	var why string
	if err := w.store.db.read.QueryRowContext(ctx, `SELECT last_error FROM deliveries`).Scan(&why); err != nil || !strings.Contains(why, errPrivateAddress.Error()) {
		t.Errorf("the attempt ended with %q, %v", why, err)
	}
}

// Webhooks are for admins, and what they are is not read back.
func TestAttackWebhooksOfOthers(t *testing.T) {
	w, ctx := newWorld(t, Limits{}), t.Context()
	const path = "T000-PLANTED-capability"
	if _, _, err := w.client(w.root).AddWebhook(ctx, Webhook{Name: "chat"}, secret.New("https://hooks.example.com/"+path)); err != nil {
		t.Fatal(err)
	}
	for _, p := range []session.Principal{w.alice, w.bob, w.mallory} {
		c := w.client(p)
		_, _, err := c.AddWebhook(ctx, Webhook{Name: "mine"}, secret.New("https://example.com/"))
		wantErr(t, err, session.ErrForbidden)
		_, err = c.Webhooks(ctx)
		wantErr(t, err, session.ErrForbidden)
		wantErr(t, c.RemoveWebhook(ctx, "chat"), session.ErrForbidden)
		_, err = c.DeadDeliveries(ctx)
		wantErr(t, err, session.ErrForbidden)
		wantErr(t, c.RetryDelivery(ctx, "msg_1"), session.ErrForbidden)
	}
	_, _, list := w.raw("GET", "/v1/webhooks", w.token(w.root), "", nil)
	if strings.Contains(list, path) || strings.Contains(list, "whsec_") || !strings.Contains(list, "hooks.example.com") {
		t.Errorf("the list is %s", list)
	}
	if strings.Contains(w.log.text(), path) {
		t.Error("the log holds the URL")
	}
	var doc string
	if err := w.store.db.read.QueryRowContext(ctx, `SELECT doc FROM webhooks`).Scan(&doc); err != nil || strings.Contains(doc, path) {
		t.Errorf("stored in the clear: %s, %v", doc, err)
	}
	for _, bad := range []Webhook{{Name: ""}, {Name: "a/b"}, {Name: "x", Format: "morse"}, {Name: "x", Events: []string{"nothing"}}} {
		_, _, err := w.store.addWebhook(context.Background(), Caller{Principal: w.root}, bad, secret.New("https://example.com/"))
		wantErr(t, err, session.ErrInvalid)
	}
}
