package approval

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
	"github.com/jit-access/jit/session/secret"
)

// Whoever can damage one recording's record does not keep the others by it.
func TestAttackDamageKeepsNothingElse(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		var ids []string
		for range 3 {
			o := recordedSession(t, w, httpSide{w}, w.dave, statementFacts("select 1 from T", "allow", []string{"T"}, nil))
			if err := (httpSide{w}).broker(o).Close(ctx); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, o.Session.ID)
			w.clock.advance(time.Second) // an order to delete in
		}
		w.exec(t, `UPDATE recording_segments SET blob_key = $1 WHERE session_id = $2 AND file = $3`, "../../etc/passwd", ids[0], recording.FileEvents)
		w.clock.advance(100 * 24 * time.Hour)
		did, err := w.store.Prune(ctx, w.clock.now().Add(-48*time.Hour), false)
		if err == nil || !strings.Contains(err.Error(), ids[0]) {
			t.Errorf("the damage is not said: %v", err)
		}
		if !slices.Equal(did.Deleted, ids[1:]) {
			t.Errorf("deleted %v of %v", did.Deleted, ids)
		}
		if n := count(t, w, `SELECT COUNT(*) FROM recording_segments WHERE session_id = $1`, ids[0]); n == 0 {
			t.Error("the damaged recording's record is gone")
		}
	})
}

// A server that is told to stop takes the piece that is on its way, ends the
// streams in good order, and takes nothing new.
func TestStopWithAnUploadAndAStreamUnderWay(t *testing.T) {
	w := newWorld(t, Limits{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, ln) }()
	addr := ln.Addr().String()
	o := openSessionFor(t, w, localSide{w}, w.dave)

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/v1/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+o.Token.Reveal())
	stream, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Body.Close() }()
	if stream.StatusCode != http.StatusOK {
		t.Fatalf("the stream: %s", stream.Status)
	}

	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	const piece = "a line that is on its way\n"
	_, err = fmt.Fprintf(conn, "PUT /v1/sessions/%s/recording/%s?offset=0 HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		o.Session.ID, recording.FileEvents, addr, o.Token.Reveal(), len(piece))
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") { // it reads the body now
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}

	stop()
	eventually(t, 30*time.Second, "a server that takes no more calls", func() bool {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	if _, err := io.WriteString(conn, piece); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		t.Errorf("the upload: %s", resp.Status)
	}
	if rest, err := io.ReadAll(stream.Body); err != nil || !strings.Contains(string(rest), "connected") {
		t.Errorf("the stream ended with %q, %v", rest, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := count(t, w, `SELECT COALESCE(MAX(start + length), 0) FROM recording_segments WHERE session_id = $1`, o.Session.ID); n != len(piece) {
		t.Errorf("%d bytes of the upload are kept", n)
	}
}

// At the most talkative level, the log of a server that handles every kind of
// secret, and statements, holds none of them.
func TestAttackSecretsInTheDebugLog(t *testing.T) {
	hook, p := newReceiver(t), newPostOffice(t, false)
	gone := httptest.NewServer(http.NotFoundHandler())
	goneURL := gone.URL
	gone.Close()
	w := newWorldOn(t, "", Limits{}, func(cfg *StoreConfig) {
		cfg.WebhookAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		cfg.Mail = Mail{URL: "smtp://jit@" + p.addr, Password: secret.New(plantedMailPassword), Roots: p.roots, From: "jit@example.com", To: []Recipient{{Address: "all@example.com"}}}
	})
	ctx := t.Context()
	s := httpSide{w}
	root := s.person(w.root)
	const hookPath, rotated, wrong, statement = "PLANTED-hook-path", "PLANTED-rotated", "PLANTED-wrong", "PLANTEDTABLE"
	_, hookKey, err := w.client(w.root).AddWebhook(ctx, Webhook{Name: "broken"}, secret.New(hook.URL+"/"+hookPath))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.client(w.root).AddWebhook(ctx, Webhook{Name: "gone"}, secret.New(goneURL+"/"+hookPath)); err != nil {
		t.Fatal(err)
	}
	hook.answer(http.StatusInternalServerError)
	p.answer(fmt.Errorf("550 no such user"))

	o := openSessionFor(t, w, s, w.alice)
	b := s.broker(o)
	must[session.Upstream](t)(b.OpenUpstream(ctx))
	must[session.Request](t)(b.Submit(ctx, heldCase(o, "DELETE FROM "+statement+" WHERE ID = 1")))
	if _, err := root.RotateConnection(ctx, "prod", NewCredential{Kind: "password", Material: secret.New(wrong)}); err == nil {
		t.Error("a wrong credential was taken")
	}
	w.sf.mu.Lock()
	w.sf.password = rotated
	w.sf.mu.Unlock()
	must[ConnectionTest](t)(root.RotateConnection(ctx, "prod", NewCredential{Kind: "password", Material: secret.New(rotated)}))
	stale := w.token(w.alice)
	w.clock.advance(time.Hour)
	forged := w.token(w.bob) + "x"
	for _, token := range []string{stale, forged, "PLANTED.not.atoken", brokerTokenPrefix + "PLANTED-broker"} {
		if status, _, _ := w.raw("GET", "/v1/whoami", token, "", nil); status != http.StatusUnauthorized {
			t.Errorf("a bad token: status %d", status)
		}
	}
	w.raw("POST", "/v1/connections", w.token(w.root), "application/json", strings.NewReader(`{"credential":{"material":"`+wrong+`"`))
	_ = w.store.deliverDue(ctx)
	_ = w.store.mailDue(ctx)

	text := w.log.text()
	for _, said := range []string{"a webhook was not delivered", "mail was not sent"} {
		if !strings.Contains(text, said) {
			t.Errorf("the test did not get as far as %q", said)
		}
	}
	for what, planted := range map[string]string{
		"a credential": plantedPassword, "a rotated credential": rotated, "a refused credential": wrong, "an upstream token": "upstream-token-", "a master token": "upstream-master-",
		"the path of a webhook": hookPath, "a webhook's key": hookKey.Reveal(), "the mail password": plantedMailPassword, "a broker token": o.Token.Reveal(),
		"a broker token that is none": "PLANTED-broker", "a token that is none": "PLANTED.not", "an expired token": stale[:len(stale)/2], "a forged token": forged, "a statement": statement,
	} {
		if at := strings.Index(text, planted); at >= 0 {
			t.Errorf("%s is in the log: …%s", what, text[max(0, at-200):at])
		}
	}
}

// What ran in an emergency is found as such, and by those alone who find it otherwise.
func TestSearchForEmergencies(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		must[string](t)(s.person(w.root).PushPolicy(ctx, rulesBesides(t, emergencyRule)))
		facts := statementFacts("select 1 from T", "allow", []string{"T"}, nil)
		usual := recordedSession(t, w, s, w.dave, facts)
		oncall := w.dave
		oncall.Groups = append(slices.Clone(oncall.Groups), "oncall")
		r := must[session.Request](t)(s.person(oncall).Submit(ctx, emergencySubmission()))
		skey, vkey := recordingKey(t)
		o := must[session.Opened](t)(s.person(oncall).Open(ctx, r.GrantID, vkey))
		record(t, w, s.broker(o), o, func() (string, string) { return skey.Reveal(), vkey }, facts)

		auditor := w.client(auditorOf(w))
		if got := sessionsOf(must[Found](t)(auditor.Search(ctx, Search{Emergency: true}))); !slices.Equal(got, []string{o.Session.ID}) {
			t.Errorf("emergencies: %v", got)
		}
		if got := sessionsOf(must[Found](t)(auditor.Search(ctx, Search{}))); len(got) != 2 || !slices.Contains(got, usual.Session.ID) {
			t.Errorf("all: %v", got)
		}
		if got := must[Found](t)(w.client(w.mallory).Search(ctx, Search{Emergency: true})); len(got.Statements) != 0 {
			t.Errorf("a stranger finds %v", got)
		}
	})
}

// The policy became stricter between the request for more time and its approval:
// whoever was enough then is not enough now.
func TestAttackExtensionUnderAnOlderPolicy(t *testing.T) {
	for name, rule := range map[string]string{
		"more people":  `@id("two") @reason("Two people.") @approvals("2")`,
		"other people": `@id("dba") @reason("The DBAs decide.") @reviewers("dba")`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Limits{})
			ctx := t.Context()
			o := openSessionFor(t, w, localSide{w}, w.dave)
			must[session.Upstream](t)(localSide{w}.broker(o).OpenUpstream(ctx))
			r := must[session.Request](t)(w.store.As(w.dave).Submit(ctx, extension(o, time.Hour)))
			before := must[session.Session](t)(w.store.As(w.dave).Session(ctx, o.Session.ID)).Deadline
			must[string](t)(w.store.As(w.root).PushPolicy(ctx, rulesBesides(t, rule+`
forbid (principal, action == Action::"openUnattended", resource);`)))
			_, err := w.store.As(w.bob).Decide(ctx, r.ID, approveIt(""))
			wantErr(t, err, session.ErrConflict)
			if after := must[session.Session](t)(w.store.As(w.dave).Session(ctx, o.Session.ID)).Deadline; !after.Equal(before) {
				t.Errorf("the session lasts until %s, not %s", after, before)
			}
		})
	}
}

// Where people may type an address into their account, it is nobody's name
// until it is verified: not a machine's either.
func TestAttackMachineByUnverifiedAddress(t *testing.T) {
	m := MachineIdentity{Name: "etl", Match: map[string]string{"email": "etl@example.com"}}
	claims := func(verified string) claimSet {
		c := claimSet{"email": []byte(`"etl@example.com"`)}
		if verified != "" {
			c["email_verified"] = []byte(verified)
		}
		return c
	}
	for verified, want := range map[string]bool{"": true, "true": true, `"true"`: true, "false": false, `"false"`: false, "0": false, "null": false, "[]": false} {
		if got := m.matches(claims(verified)); got != want {
			t.Errorf("email_verified %s: matches %v", verified, got)
		}
	}
}
