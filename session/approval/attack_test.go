package approval

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// Each test below is an attacker's moves and the property that must hold.

// The requester joins a reviewers' group, then an administrators' one, and
// decides on their own request.
func TestAttackSelfApprovalBySecondGroup(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		twin := w.alice
		twin.Groups = []string{"jit-reviewers", "approvers", DefaultAdminGroup}
		for _, outcome := range []session.Outcome{session.OutcomeApprove, session.OutcomeDeny} {
			_, err := s.person(twin).Decide(ctx, r.ID, session.Choice{Outcome: outcome})
			wantErr(t, err, session.ErrOwnRequest)
		}
		if got := must[session.Request](t)(s.person(w.alice).Request(ctx, r.ID)); got.State != session.StatePending || len(got.Decisions) != 0 {
			t.Errorf("the request is %s with %d decisions", got.State, len(got.Decisions))
		}
	})
}

// An administrator who is no reviewer decides.
func TestAttackAdministratorDecides(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		r := must[session.Request](t)(s.person(w.alice).Submit(t.Context(), sessionSubmission()))
		someone := session.Principal{Issuer: w.idp.URL, Subject: "olga", Groups: []string{"ops"}}
		_, err := s.person(someone).Decide(t.Context(), r.ID, approveIt(""))
		wantErr(t, err, session.ErrNotFound)
	})
}

// One reviewer stands in for two, by deciding twice and under another e-mail
// address.
func TestAttackOneReviewerCountsTwice(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		sub := sessionSubmission()
		sub.Scope.Role = "ACCOUNTADMIN"
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sub))
		must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, approveIt("")))
		alias := w.bob
		alias.Email, alias.Groups = "robert@example.com", append([]string{"security"}, w.bob.Groups...)
		_, err := s.person(alias).Decide(ctx, r.ID, approveIt(""))
		wantErr(t, err, session.ErrConflict)
		if got := must[session.Request](t)(s.person(w.alice).Request(ctx, r.ID)); got.State != session.StatePending {
			t.Errorf("the request is %s", got.State)
		}
	})
}

// A reviewer's HTTP request is recorded and sent again, for the same request
// and for another one.
func TestAttackReplayedDecision(t *testing.T) {
	w := newWorld(t, Limits{})
	s := httpSide{w}
	ctx := t.Context()
	o := openSessionFor(t, w, s, w.alice)
	first := heldCase(o, "DELETE FROM T WHERE ID = 1")
	r := must[session.Request](t)(s.broker(o).Submit(ctx, first))
	body := `{"outcome":"approve","digest":"` + first.Case.Digest() + `"}`
	token := w.token(w.bob)
	if code, _, text := w.raw("POST", "/v1/requests/"+r.ID+"/decisions", token, "application/json", strings.NewReader(body)); code != 200 {
		t.Fatalf("the genuine decision: %d %s", code, text)
	}
	must[session.Decision](t)(s.broker(o).Redeem(ctx, r.ID, first.Case.Digest()))
	if code, _, _ := w.raw("POST", "/v1/requests/"+r.ID+"/decisions", token, "application/json", strings.NewReader(body)); code != http.StatusConflict {
		t.Errorf("replayed on its request: %d", code)
	}
	if _, err := s.broker(o).Redeem(ctx, r.ID, first.Case.Digest()); !errors.Is(err, session.ErrConflict) {
		t.Errorf("redeemed after the replay: %v", err)
	}
	other := must[session.Request](t)(s.broker(o).Submit(ctx, heldCase(o, "DELETE FROM T WHERE ID = 2")))
	if code, _, _ := w.raw("POST", "/v1/requests/"+other.ID+"/decisions", token, "application/json", strings.NewReader(body)); code != http.StatusConflict {
		t.Errorf("replayed on another request: %d", code)
	}
}

// Tokens that this server must not take, in every way that a token can be
// wrong.
func TestAttackForeignTokens(t *testing.T) {
	w := newWorld(t, Limits{})
	now := w.clock.now()
	with := func(change func(c map[string]any)) map[string]any {
		c := w.idp.claims(w.bob, now)
		change(c)
		return c
	}
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub := elliptic.Marshal(elliptic.P256(), w.idp.key.X, w.idp.key.Y) //nolint:staticcheck // the attacker's choice of encoding
	none := "eyJhbGciOiJub25lIn0." + strings.Split(w.token(w.bob), ".")[1] + "."
	for name, token := range map[string]string{
		"another audience":   w.idp.sign(t, w.idp.key, with(func(c map[string]any) { c["aud"] = "other-app" })),
		"no audience":        w.idp.sign(t, w.idp.key, with(func(c map[string]any) { delete(c, "aud") })),
		"expired":            w.idp.sign(t, w.idp.key, with(func(c map[string]any) { c["exp"] = now.Add(-time.Second).Unix() })),
		"no expiry":          w.idp.sign(t, w.idp.key, with(func(c map[string]any) { delete(c, "exp") })),
		"another issuer":     w.idp.sign(t, w.idp.key, with(func(c map[string]any) { c["iss"] = "https://evil.example.com" })),
		"no subject":         w.idp.sign(t, w.idp.key, with(func(c map[string]any) { delete(c, "sub") })),
		"another key":        w.idp.sign(t, foreign, w.idp.claims(w.bob, now)),
		"public key as HMAC": w.idp.sign(t, pub, w.idp.claims(w.bob, now)),
		"algorithm none":     none,
		"not a token":        "hello",
		"empty":              "",
		"invented broker":    brokerTokenPrefix + strings.Repeat("A", 43),
	} {
		if code, h, body := w.raw("GET", "/v1/whoami", token, "", nil); code != http.StatusUnauthorized || h.Get("Content-Type") != problemType || strings.Contains(body, "bob") {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	if code, _, _ := w.raw("GET", "/v1/whoami", w.token(w.bob), "", nil); code != 200 {
		t.Errorf("the genuine token: %d", code)
	}
	if strings.Contains(w.log.text(), w.token(w.bob)) {
		t.Error("a token is in the log")
	}
}

// A token without groups, or with a groups claim of a strange type, belongs to
// nobody's group.
func TestAttackStrangeGroups(t *testing.T) {
	w := newWorld(t, Limits{})
	for name, groups := range map[string]any{
		"none": nil, "object": map[string]any{DefaultAdminGroup: true}, "numbers": []any{1, 2}, "mixed": []any{DefaultAdminGroup, 1}, "substring": "not-" + DefaultAdminGroup,
		"comma list": DefaultAdminGroup + ",x",
	} {
		c := w.idp.claims(w.mallory, w.clock.now())
		c["groups"] = groups
		if code, _, body := w.raw("GET", "/v1/whoami", w.idp.sign(t, w.idp.key, c), "", nil); code != 200 || strings.Contains(body, `"admin":true`) {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
}

// A broker token of one session is used for another session, and for what only
// people may do.
func TestAttackStolenBrokerToken(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		mine, theirs := openSessionFor(t, w, s, w.mallory), openSessionFor(t, w, s, w.alice)
		up := must[session.Upstream](t)(s.broker(theirs).OpenUpstream(ctx))
		held := must[session.Request](t)(s.broker(theirs).Submit(ctx, heldCase(theirs, "DELETE FROM T WHERE ID = 1")))
		must[session.Request](t)(s.person(w.bob).Decide(ctx, held.ID, approveIt(held.Case.Digest())))

		// Mallory's token, alice's session.
		b := s.broker(mine)
		crossed := session.Opened{Session: theirs.Session, Token: mine.Token}
		if _, local := s.(localSide); !local {
			x := s.broker(crossed)
			_, err := x.OpenUpstream(ctx)
			wantErr(t, err, session.ErrNotFound)
			_, err = x.RenewUpstream(ctx, up.ID)
			wantErr(t, err, session.ErrNotFound)
			wantErr(t, x.CloseUpstream(ctx, up.ID), session.ErrNotFound)
			wantErr(t, x.Close(ctx), session.ErrNotFound)
			wantErr(t, x.Upload(ctx, "events.jsonl", 0, []byte("x\n")), session.ErrNotFound)
			_, err = x.Cosign(ctx, []byte("x"))
			wantErr(t, err, session.ErrNotFound)
		}
		_, err := b.RenewUpstream(ctx, up.ID)
		wantErr(t, err, session.ErrNotFound)
		wantErr(t, b.CloseUpstream(ctx, up.ID), session.ErrNotFound)
		_, err = b.Session(ctx, theirs.Session.ID)
		wantErr(t, err, session.ErrNotFound)
		_, err = b.Request(ctx, held.ID)
		wantErr(t, err, session.ErrNotFound)
		_, err = b.Redeem(ctx, held.ID, held.Case.Digest())
		wantErr(t, err, session.ErrNotFound)
		wantErr(t, b.Withdraw(ctx, held.ID), session.ErrNotFound)
		_, err = b.Submit(ctx, heldCase(theirs, "DELETE FROM T WHERE ID = 9"))
		wantErr(t, err, session.ErrNotFound)
		_, err = b.Pending(ctx, session.Filter{SessionID: theirs.Session.ID})
		wantErr(t, err, session.ErrNotFound)
		if w.sf.count() != 1 {
			t.Error("the other session's upstream session is gone")
		}

		// A broker token, a person's doings.
		_, err = b.Submit(ctx, sessionSubmission())
		wantErr(t, err, session.ErrForbidden)
		own := must[session.Request](t)(b.Submit(ctx, heldCase(mine, "DELETE FROM T WHERE ID = 1")))
		_, err = b.Decide(ctx, own.ID, approveIt(own.Case.Digest()))
		wantErr(t, err, session.ErrForbidden)
	})
}

// A broker token is tried on every operation that is for people.
func TestAttackBrokerTokenOnPeoplesRoutes(t *testing.T) {
	w := newWorld(t, Limits{})
	o := openSessionFor(t, w, httpSide{w}, w.alice)
	_, vkey := recordingKey(t)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/v1/sessions", `{"grant_id":"` + o.Session.GrantID + `","recording_key":"` + vkey + `"}`},
		{"POST", "/v1/sessions/" + o.Session.ID + "/revoke", `{"reason":"x"}`},
		{"GET", "/v1/connections", ""},
		{"POST", "/v1/connections", `{"connection":{"name":"x","account":"a","role":"r"},"credential":{"kind":"password","material":"m"}}`},
		{"DELETE", "/v1/connections/prod", ""},
		{"POST", "/v1/connections/prod/test", ""},
		{"PUT", "/v1/policy", `{"bundle":"eA=="}`},
		{"GET", "/v1/sessions/" + o.Session.ID + "/recording/events.jsonl", ""},
	} {
		if code, _, body := w.raw(c.method, c.path, o.Token.Reveal(), "application/json", strings.NewReader(c.body)); code != http.StatusForbidden {
			t.Errorf("%s %s: %d %s", c.method, c.path, code, body)
		}
	}
}

// An ID token, even of the session's own principal, does not do what only the
// broker may: it would get the Snowflake token.
func TestAttackPersonUsesBrokerCalls(t *testing.T) {
	w := newWorld(t, Limits{})
	o := openSessionFor(t, w, httpSide{w}, w.alice)
	for _, p := range []session.Principal{w.alice, w.mallory, w.root} {
		x := w.client(p).ForBroker(o.Session.ID, secret.New(w.token(p)))
		_, err := x.OpenUpstream(t.Context())
		wantErr(t, err, session.ErrForbidden)
		_, err = x.Redeem(t.Context(), "req_x", "d")
		wantErr(t, err, session.ErrNotFound)
		_, err = x.Submit(t.Context(), heldCase(o, "DELETE FROM T"))
		wantErr(t, err, session.ErrForbidden)
		wantErr(t, x.Close(t.Context()), session.ErrForbidden)
	}
	if len(w.sf.logins) != 0 {
		t.Error("somebody logged in to Snowflake")
	}
}

// Somebody who knows every id of others reads, decides, opens and revokes.
func TestAttackIDOR(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		approved := must[session.Request](t)(s.person(w.dave).Submit(ctx, sessionSubmission()))
		pending := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		o := openSessionFor(t, w, s, w.alice)
		_, vkey := recordingKey(t)
		m := s.person(w.mallory)
		for _, id := range []string{approved.ID, pending.ID, "req_unknown", "", "' OR 1=1 --"} {
			_, err := m.Request(ctx, id)
			if id == "" && err != nil { // over HTTP this is another route: the list
				continue
			}
			wantErr(t, err, session.ErrNotFound)
			_, err = m.Decide(ctx, id, approveIt(""))
			wantErr(t, err, session.ErrNotFound)
			wantErr(t, m.Withdraw(ctx, id), session.ErrNotFound)
			_, err = m.Redeem(ctx, id, "x")
			wantErr(t, err, session.ErrNotFound)
		}
		_, err := m.Open(ctx, approved.GrantID, vkey)
		wantErr(t, err, session.ErrNotFound)
		_, err = m.Session(ctx, o.Session.ID)
		wantErr(t, err, session.ErrNotFound)
		wantErr(t, m.Revoke(ctx, o.Session.ID, "mine"), session.ErrNotFound)
		for _, all := range []bool{false, true} {
			if list := must[[]session.Request](t)(m.Pending(ctx, session.Filter{All: all, SessionID: o.Session.ID})); len(list) != 0 {
				t.Errorf("mallory lists %+v", list)
			}
		}
		if list := must[[]session.Session](t)(m.Sessions(ctx)); len(list) != 0 {
			t.Errorf("mallory lists %+v", list)
		}
		// The grant is still whole: its owner opens it.
		must[session.Opened](t)(s.person(w.dave).Open(ctx, approved.GrantID, vkey))
	})
}

func TestAttackOversizedBody(t *testing.T) {
	w := newWorld(t, Limits{})
	token := w.token(w.alice)
	big := `{"kind":"session","reason":"` + strings.Repeat("x", maxSubmissionBody) + `"}`
	code, _, body := w.raw("POST", "/v1/requests", token, "application/json", strings.NewReader(big))
	if code != http.StatusRequestEntityTooLarge || strings.Contains(body, "xxx") {
		t.Errorf("an oversized submission: %d %.200s", code, body)
	}
	deep := strings.Repeat(`{"case":`, 10000) + "1" + strings.Repeat("}", 10000)
	if code, _, _ := w.raw("POST", "/v1/requests", token, "application/json", strings.NewReader(deep)); code != http.StatusBadRequest {
		t.Errorf("deep nesting: %d", code)
	}
	o := openSessionFor(t, w, httpSide{w}, w.alice)
	piece := bytes.Repeat([]byte("x"), maxUpload+2)
	if code, _, _ := w.raw("PUT", "/v1/sessions/"+o.Session.ID+"/recording/events.jsonl?offset=0", o.Token.Reveal(), "application/octet-stream", bytes.NewReader(piece)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("an oversized piece: %d", code)
	}
}

func TestAttackAmbiguousJSON(t *testing.T) {
	w := newWorld(t, Limits{})
	r := must[session.Request](t)(w.client(w.alice).Submit(t.Context(), sessionSubmission()))
	token := w.token(w.bob)
	for name, body := range map[string]string{
		"unknown member":      `{"outcome":"deny","note":"x"}`,
		"two outcomes":        `{"outcome":"deny","outcome":"approve"}`,
		"two in other case":   `{"outcome":"deny","Outcome":"approve"}`,
		"two escaped":         `{"outcome":"deny","outcom\u0065":"approve"}`,
		"unknown outcome":     `{"outcome":"Approve"}`,
		"no outcome":          `{}`,
		"trailing":            `{"outcome":"approve"} {"outcome":"approve"}`,
		"an array":            `["approve"]`,
		"not JSON":            `outcome=approve`,
		"outcome of a number": `{"outcome":1}`,
		"empty":               ``,
	} {
		code, _, text := w.raw("POST", "/v1/requests/"+r.ID+"/decisions", token, "application/json", strings.NewReader(body))
		if code != http.StatusBadRequest && code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
	for _, contentType := range []string{"application/x-www-form-urlencoded", "text/plain"} {
		if code, _, _ := w.raw("POST", "/v1/requests/"+r.ID+"/decisions", token, contentType, strings.NewReader(`{"outcome":"approve"}`)); code < 400 {
			t.Errorf("%s: %d", contentType, code)
		}
	}
	if got := must[session.Request](t)(w.client(w.alice).Request(t.Context(), r.ID)); got.State != session.StatePending {
		t.Errorf("the request is %s", got.State)
	}
}

func TestAttackDecisionAfterExpiry(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		w.clock.advance(15 * time.Minute)
		_, err := s.person(w.bob).Decide(ctx, r.ID, approveIt(""))
		wantErr(t, err, session.ErrExpired)
		if err := w.store.Sweep(ctx, w.clock.now()); err != nil {
			t.Fatal(err)
		}
		_, err = s.person(w.bob).Decide(ctx, r.ID, approveIt(""))
		wantErr(t, err, session.ErrExpired)
	})
}

// Many people and brokers act on one thing at once; exactly one has effect.
func TestAttackRaces(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		deciders := []session.Principal{w.bob, w.carol}
		won := atOnce(8, func(i int) error {
			c := approveIt("")
			if i%2 == 1 {
				c = session.Choice{Outcome: session.OutcomeDeny}
			}
			_, err := s.person(deciders[i%2]).Decide(ctx, r.ID, c)
			return err
		})
		got := must[session.Request](t)(s.person(w.alice).Request(ctx, r.ID))
		if won != 1 || len(got.Decisions) != 1 || (got.State == session.StateApproved) != (got.Decisions[0].Outcome == session.OutcomeApprove) {
			t.Fatalf("%d deciders won; the request is %s with %+v", won, got.State, got.Decisions)
		}

		grant := must[session.Request](t)(s.person(w.dave).Submit(ctx, sessionSubmission())).GrantID
		_, vkey := recordingKey(t)
		if won := atOnce(8, func(int) error { _, err := s.person(w.dave).Open(ctx, grant, vkey); return err }); won != 1 {
			t.Errorf("one grant opened %d sessions", won)
		}

		o := openSessionFor(t, w, s, w.dave)
		b := s.broker(o)
		sub := heldCase(o, "DELETE FROM T WHERE ID = 1")
		ids := make([]string, 8)
		atOnce(8, func(i int) error { r, err := b.Submit(ctx, sub); ids[i] = r.ID; return err })
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("one statement made several requests: %v", ids)
			}
		}
		must[session.Request](t)(s.person(w.bob).Decide(ctx, ids[0], approveIt(sub.Case.Digest())))
		if won := atOnce(8, func(int) error { _, err := b.Redeem(ctx, ids[0], sub.Case.Digest()); return err }); won != 1 {
			t.Errorf("an approval for once was redeemed %d times", won)
		}
	})
}

// atOnce runs do n times together and returns how often it succeeded.
func atOnce(n int, do func(i int) error) (won int) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		start = make(chan struct{})
	)
	for i := range n {
		wg.Go(func() {
			<-start
			if do(i) == nil {
				mu.Lock()
				defer mu.Unlock()
				won++
			}
		})
	}
	close(start)
	wg.Wait()
	return won
}

// The session is revoked while its login is under way at Snowflake: nobody gets
// the token, and the Snowflake session does not stay.
func TestAttackRevokeDuringLogin(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.alice)
		gate := make(chan struct{})
		w.sf.mu.Lock()
		w.sf.gate = gate
		w.sf.mu.Unlock()
		result := make(chan error, 1)
		go func() {
			_, err := s.broker(o).OpenUpstream(ctx)
			result <- err
		}()
		eventually(t, 10*time.Second, "the login has begun", func() bool { w.sf.mu.Lock(); defer w.sf.mu.Unlock(); return len(w.sf.logins) == 1 })
		if err := s.person(w.bob).Revoke(ctx, o.Session.ID, ""); err != nil {
			t.Fatal(err)
		}
		close(gate)
		wantErr(t, <-result, session.ErrRevoked)
		if err := w.store.closeQueued(ctx); err != nil {
			t.Fatal(err)
		}
		if n := w.sf.count(); n != 0 {
			t.Errorf("%d Snowflake sessions are left", n)
		}
	})
}

// Snowflake does not answer when a session is to be closed: it is tried again,
// also by the process that comes after this one.
func TestAttackCrashBeforeUpstreamIsClosed(t *testing.T) {
	w := newWorld(t, Limits{})
	ctx := t.Context()
	o := openSessionFor(t, w, localSide{w}, w.alice)
	must[session.Upstream](t)(localSide{w}.broker(o).OpenUpstream(ctx))
	w.sf.mu.Lock()
	w.sf.broken = true
	w.sf.mu.Unlock()
	if err := w.store.As(w.bob).Revoke(ctx, o.Session.ID, ""); err != nil {
		t.Fatal(err)
	}
	if err := w.store.closeQueued(ctx); err != nil {
		t.Fatal(err)
	}
	if w.sf.count() != 1 {
		t.Fatal("the test double closed it")
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.sf.mu.Lock()
	w.sf.broken = false
	w.sf.mu.Unlock()
	w.clock.advance(2 * time.Hour) // the session token is past its time by now, too
	w.open(Limits{})
	w.run()
	eventually(t, 2*time.Second, "the next process closed it", func() bool { return w.sf.count() == 0 })
}

func TestAttackPathTraversalInUpload(t *testing.T) {
	w := newWorld(t, Limits{})
	o := openSessionFor(t, w, httpSide{w}, w.alice)
	b := httpSide{w}.broker(o)
	for _, name := range []string{"../jit.db", "..", ".", "../../etc/passwd", "/etc/passwd", `..\x`, "events.jsonl/../x", "sealing.key", "checkpoint", "EVENTS.JSONL", "events.jsonl\x00", "", strings.Repeat("a", 300)} {
		if err := b.Upload(t.Context(), name, 0, []byte("x")); err == nil {
			t.Errorf("uploaded to %q", name)
		}
		if err := w.store.upload(t.Context(), Caller{Principal: w.alice, Session: o.Session.ID}, o.Session.ID, name, 0, []byte("x")); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("the store on %q: %v", name, err)
		}
		if _, err := w.client(w.alice).Recording(t.Context(), o.Session.ID, name); err == nil {
			t.Errorf("read %q", name)
		}
	}
	err := filepath.WalkDir(filepath.Join(w.dir, "recordings"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("something was stored: %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Text that would be SQL stands wherever a caller can put text.
func TestAttackSQLInjection(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		const evil = `x'); DROP TABLE requests; --`
		sub := sessionSubmission()
		sub.Reason, sub.Agent.Command, sub.Agent.Host = evil, []string{evil}, evil
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sub))
		if got := must[session.Request](t)(s.person(w.bob).Request(ctx, r.ID)); got.Reason != evil || got.Agent.Host != evil {
			t.Errorf("the text came back as %+v", got)
		}
		for _, id := range []string{evil, `' OR '1'='1`, `" OR ""="`, `%`, `_`} {
			_, err := s.person(w.root).Request(ctx, id)
			wantErr(t, err, session.ErrNotFound)
			_, err = s.person(w.root).Session(ctx, id)
			wantErr(t, err, session.ErrNotFound)
			_, err = s.person(w.root).TestConnection(ctx, id)
			wantErr(t, err, session.ErrNotFound)
			if list := must[[]session.Request](t)(s.person(w.root).Pending(ctx, session.Filter{SessionID: id, All: true})); len(list) != 0 {
				t.Errorf("the filter %q found %d", id, len(list))
			}
			sub := sessionSubmission()
			sub.Scope.Connection = id
			_, err = s.person(w.alice).Submit(ctx, sub)
			wantErr(t, err, session.ErrNotFound)
		}
	})
}

// A broker invents a case: for another policy, for nothing, or without end.
func TestAttackForgedCase(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.alice)
		b := s.broker(o)
		for name, change := range map[string]func(*session.Submission){
			"another policy": func(s *session.Submission) { s.Case.Policy = "0000" },
			"no text":        func(s *session.Submission) { s.Case.Canonical = "" },
			"too long":       func(s *session.Submission) { s.Case.Canonical = strings.Repeat("x", maxCanonical+1) },
			"NUL":            func(s *session.Submission) { s.Case.Canonical = "SELECT 1\x00" },
			"many approvals": func(s *session.Submission) { s.Approvals = 1000 },
			"negative":       func(s *session.Submission) { s.Approvals = -1 },
		} {
			sub := heldCase(o, "DELETE FROM T WHERE ID = 1")
			change(&sub)
			if _, err := b.Submit(ctx, sub); !errors.Is(err, session.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		sub := heldCase(o, "DELETE FROM T WHERE ID = 1")
		sub.Approvals = 0
		if r := must[session.Request](t)(b.Submit(ctx, sub)); r.Approvals != 1 {
			t.Errorf("no approvals asked for became %d", r.Approvals)
		}
	})
}

func TestAttackFloodOfRequests(t *testing.T) {
	eachSide(t, Limits{MaxPending: 3}, func(t *testing.T, w *world, s side) {
		for range 3 {
			must[session.Request](t)(s.person(w.alice).Submit(t.Context(), sessionSubmission()))
		}
		_, err := s.person(w.alice).Submit(t.Context(), sessionSubmission())
		wantErr(t, err, session.ErrCapacity)
		must[session.Request](t)(s.person(w.mallory).Submit(t.Context(), sessionSubmission()))
	})
}

// One person opens streams without end; others still get theirs.
func TestAttackFloodOfStreams(t *testing.T) {
	w := newWorld(t, Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range maxStreams {
		must[<-chan session.Event](t)(w.client(w.mallory).Watch(ctx, -1))
	}
	_, err := w.client(w.mallory).Watch(ctx, -1)
	wantErr(t, err, session.ErrCapacity)
	must[<-chan session.Event](t)(w.client(w.bob).Watch(ctx, -1))
	cancel()
	eventually(t, 10*time.Second, "the places are free again", func() bool {
		again, stop := context.WithCancel(t.Context())
		defer stop()
		_, err := w.client(w.mallory).Watch(again, -1)
		return err == nil
	})
}

// A web page on a rebound name, and one on another origin, reach for the API of
// a server on the developer's machine.
func TestAttackDNSRebinding(t *testing.T) {
	w := newWorld(t, Limits{})
	for name, change := range map[string]func(*http.Request){
		"rebound name": func(r *http.Request) { r.Host = "evil.example.com" },
		"with port":    func(r *http.Request) { r.Host = "evil.example.com:80" },
		"lookalike":    func(r *http.Request) { r.Host = "127.0.0.1.evil.example.com" },
		"origin":       func(r *http.Request) { r.Header.Set("Origin", "https://evil.example.com") },
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", w.web.URL+"/v1/config", nil)
		if err != nil {
			t.Fatal(err)
		}
		change(req)
		resp, err := w.web.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
}

// A NUL byte, which PostgreSQL refuses to store or compare, is a name nobody has
// and a reason nobody gives; it never becomes an internal error.
func TestAttackNULInNames(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.alice)
		wantErr(t, s.person(w.bob).Revoke(ctx, o.Session.ID, "a\x00b"), session.ErrInvalid)
		for _, path := range []string{"/v1/sessions/a%00b", "/v1/requests/%00", "/v1/requests?session=%00", "/v1/sessions/%ff"} {
			if status, _, text := w.raw("GET", path, w.token(w.bob), "", nil); status != 404 {
				t.Errorf("%s answers %d %s", path, status, text)
			}
		}
	})
}
