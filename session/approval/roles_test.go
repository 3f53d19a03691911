package approval

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/jit-access/jit/session"
)

// The roles of this test. What is asked for, decided on and read is the owner's:
// a requester's session, its requests and its recording.
const (
	noToken  = "nobody"   // no token
	owner    = "owner"    // the requester
	stranger = "stranger" // another requester
	reviewer = "reviewer"
	auditor  = "auditor"
	admin    = "admin"
	machine  = "machine" // in the reviewers' and, against all rules, the administrators' group
	broker   = "broker"  // the session's own
	foreign  = "foreign" // another session's broker
)

var (
	allRoles = []string{noToken, owner, stranger, reviewer, auditor, admin, machine, broker, foreign}
	signedIn = []string{owner, stranger, reviewer, auditor, admin, machine}
	anybody  = append([]string{broker, foreign}, signedIn...)
)

func only(roles ...string) []string { return roles }

// route is one operation of the API, and who gets past "not permitted", "not
// found" and "sign in".
type route struct {
	op    string
	roles []string
	body  func(*fixture) any // nil: none
}

func accessMatrix() []route {
	credential := map[string]any{"kind": "password", "material": plantedPassword}
	fixed := func(v any) func(*fixture) any { return func(*fixture) any { return v } }
	return []route{
		// Who am I, and what is there?
		{"GET /v1/config", allRoles, nil},
		{"GET /v1/whoami", anybody, nil},
		{"GET /v1/events", anybody, nil},
		{"GET /v1/policy", anybody, nil},
		{"GET /v1/connections", signedIn, nil},

		// Asking. A statement is its broker's to ask, a session a person's or machine's.
		// The shipped policy lets everybody ask; whether they get it is decided on.
		{"POST /v1/requests", signedIn, fixed(map[string]any{"kind": "session", "scope": map[string]any{"connection": "prod"}, "reason": "r"})},
		{"GET /v1/requests", anybody, nil},
		{"GET /v1/requests/{id}", only(owner, reviewer, auditor, admin), nil},
		{"POST /v1/requests/{id}/withdraw", only(owner), nil},
		{"POST /v1/requests/{id}/comments", only(owner, reviewer, auditor, admin), fixed(map[string]any{"text": "why?"})},
		{"GET /v1/requests/{id}/history", only(owner, reviewer, auditor), nil},
		{"POST /v1/requests/{id}/redeem", only(broker), func(f *fixture) any { return map[string]any{"digest": f.held.Case.Digest()} }},

		// Deciding: those whom the policy makes reviewers. The shipped one makes
		// administrators reviewers too; a machine stays out, whatever its groups.
		{"POST /v1/requests/{id}/decisions", only(reviewer, admin), fixed(map[string]any{"outcome": "deny"})},
		{"GET /v1/emergencies", signedIn, nil},
		{"POST /v1/emergencies/{id}/review", only(reviewer, admin), fixed(map[string]any{"text": "looked at"})},

		// Sessions.
		{"POST /v1/sessions", only(owner), func(f *fixture) any { return map[string]any{"grant_id": f.grant, "recording_key": f.vkey} }},
		{"GET /v1/sessions", anybody, nil},
		{"GET /v1/sessions/{id}", only(owner, reviewer, auditor, admin, broker), nil},
		{"POST /v1/sessions/{id}/revoke", only(owner, reviewer, admin), fixed(map[string]any{})},
		{"POST /v1/sessions/{id}/close", only(broker), nil},
		{"POST /v1/sessions/{id}/upstreams", only(broker), nil},
		{"POST /v1/sessions/{id}/upstreams/{upstream}/renew", only(broker), nil},
		{"DELETE /v1/sessions/{id}/upstreams/{upstream}", only(broker), nil},

		// Recordings hold what people worked on: administrators do not read them.
		{"POST /v1/sessions/{id}/checkpoints", only(broker), fixed(map[string]any{"checkpoint": "eA=="})},
		{"PUT /v1/sessions/{id}/recording/{file}", only(broker), nil},
		{"GET /v1/sessions/{id}/recording", only(owner, reviewer, auditor, admin, broker), nil},
		{"GET /v1/sessions/{id}/recording/{file}", only(owner, reviewer, auditor), nil},
		{"GET /v1/sessions/{id}/tombstone", only(owner, reviewer, auditor, admin, broker), nil},
		{"GET /v1/statements", signedIn, nil},
		{"GET /v1/holds", only(auditor), nil},
		{"POST /v1/sessions/{id}/holds/{matter}", only(auditor), fixed(map[string]any{"reason": "court"})},
		{"POST /v1/sessions/{id}/holds/{matter}/remove", only(auditor), fixed(map[string]any{"reason": "settled"})},

		// Administering: people of the administrators' group alone.
		{"POST /v1/connections", only(admin), fixed(map[string]any{"connection": map[string]any{"name": "more", "account": "a", "role": "R"}, "credential": credential, "replace": true})},
		{"DELETE /v1/connections/{name}", only(admin), nil},
		{"POST /v1/connections/{name}/test", only(admin), nil},
		{"POST /v1/connections/{name}/rotate", only(admin), fixed(map[string]any{"credential": credential})},
		{"PUT /v1/policy", only(admin), func(f *fixture) any { return map[string]any{"bundle": f.bundle} }},
		{"PUT /v1/policy/dry-run", only(admin), func(f *fixture) any { return map[string]any{"bundle": f.bundle} }},
		{"DELETE /v1/policy/dry-run", only(admin), nil},
		{"GET /v1/webhooks", only(admin), nil},
		{"POST /v1/webhooks", only(admin), fixed(map[string]any{"webhook": map[string]any{"name": "more"}, "url": "https://hooks.example.com/x"})},
		{"DELETE /v1/webhooks/{name}", only(admin), nil},
		{"GET /v1/deliveries", only(admin), nil},
		{"POST /v1/deliveries/{id}/retry", only(admin), nil},
	}
}

// lists says who finds the owner's things in a list that everybody may ask for;
// TestSearch says it of statements.
var lists = map[string][]string{
	"GET /v1/requests?all=true&limit=1000": {owner, reviewer, auditor, admin},
	"GET /v1/sessions":                     {owner, reviewer, auditor, admin, broker},
	"GET /v1/emergencies":                  {owner, reviewer, auditor, admin},
}

// fixture is one set of the owner's things.
type fixture struct {
	request session.Request // pending, for a session
	held    session.Request // approved, of open
	open    session.Opened
	grant   string // not opened yet
	up      session.Upstream
	bundle  []byte
	vkey    string
	other   session.Opened // the foreign broker's
}

func newFixture(t *testing.T, w *world) *fixture {
	t.Helper()
	ctx, s := t.Context(), localSide{w}
	f := &fixture{open: openSessionFor(t, w, s, w.alice), other: openSessionFor(t, w, s, w.dave)}
	_, f.vkey = recordingKey(t)
	ask := func() session.Request {
		return must[session.Request](t)(w.store.As(w.alice).Submit(ctx, sessionSubmission()))
	}
	yes := session.Choice{Outcome: session.OutcomeApprove}
	f.request = ask()
	f.grant = must[session.Request](t)(w.store.As(w.bob).Decide(ctx, ask().ID, yes)).GrantID
	b := s.broker(f.open)
	f.up = must[session.Upstream](t)(b.OpenUpstream(ctx))
	f.held = must[session.Request](t)(b.Submit(ctx, heldCase(f.open, "DELETE FROM APP.PUBLIC.T")))
	yes.Digest = f.held.Case.Digest()
	must[session.Request](t)(w.store.As(w.bob).Decide(ctx, f.held.ID, yes))
	if err := b.Upload(ctx, "events.jsonl", 0, []byte("an event\n")); err != nil {
		t.Fatal(err)
	}
	_, f.bundle, _ = w.store.policyData(ctx)
	run := func(query string, args ...any) {
		t.Helper()
		if _, err := w.store.db.write.ExecContext(ctx, query, args...); err != nil {
			t.Fatal(err)
		}
	}
	// What takes days or luck to come about is written as the server would.
	run(`INSERT INTO emergencies (request_id, at, reviewed_at, review) VALUES ($1, 1, 0, '')`, f.request.ID)
	run(`INSERT INTO holds (session_id, matter, reason, placed_at, placed_by) VALUES ($1, 'old', 'r', 1, 'x')`, f.open.Session.ID)
	run(`INSERT INTO webhooks (name, doc, sealed, created_at, created_by) VALUES ('hook', '{"name":"hook"}', $1, 1, 'x') ON CONFLICT DO NOTHING`, []byte("x"))
	run(`INSERT INTO deliveries (id, webhook, event_id, body, state, attempts, retry_at, created_at, last_error) VALUES ('dlv', 'hook', 1, '{}', 'dead', 8, 0, 1, '') ON CONFLICT (id) DO UPDATE SET state = 'dead'`)
	return f
}

// path fills the parts of a route's path.
func (f *fixture) path(op string) string {
	id := f.open.Session.ID
	file := "events.jsonl"
	switch {
	case strings.Contains(op, "/history"), strings.Contains(op, "/redeem"):
		id = f.held.ID
	case strings.Contains(op, "/requests/"), strings.Contains(op, "/emergencies/"):
		id = f.request.ID
	case strings.Contains(op, "/deliveries/"):
		id = "dlv"
	}
	name, matter := "spare", "new"
	if strings.Contains(op, "/webhooks/") {
		name = "hook"
	}
	if strings.HasSuffix(op, "/remove") {
		matter = "old"
	}
	return strings.NewReplacer("{id}", id, "{name}", name, "{upstream}", f.up.ID, "{file}", file, "{matter}", matter).Replace(op)
}

// TestAccessMatrix reads as the specification of who may do what, and fails if
// the API has an operation that is not in it.
func TestAccessMatrix(t *testing.T) {
	w := newWorld(t, Limits{MaxPending: 1 << 20})
	groups := []string{"analysts", "jit-reviewers", DefaultAdminGroup}
	w.server.ids = newIdentities(Config{Store: w.store, Issuer: w.idp.URL, ClientID: clientID, Audiences: []string{clientID}, GroupsClaim: "groups", HTTPClient: http.DefaultClient,
		Machines: []MachineIdentity{{Name: "etl", Issuer: w.idp.URL, Audience: machineAudience, Match: map[string]string{"sub": "etl"}, Groups: groups}}})
	people := map[string]session.Principal{
		owner: w.alice, stranger: w.mallory, reviewer: w.bob, admin: w.root,
		auditor: {Issuer: w.idp.URL, Subject: "audrey", Groups: []string{DefaultAuditorGroup}},
		machine: {Issuer: session.MachineIssuer, Subject: "etl"},
	}
	call := func(f *fixture, role, op string, body any) (int, string) {
		t.Helper()
		method, path, _ := strings.Cut(op, " ")
		token, contentType, text := "", "", ""
		switch role {
		case noToken:
		case broker:
			token = f.open.Token.Reveal()
		case foreign:
			token = f.other.Token.Reveal()
		default:
			token = w.token(people[role])
		}
		if strings.HasPrefix(op, "PUT ") && strings.Contains(op, "/recording/") {
			contentType, text = "application/octet-stream", "an event\n"
			path += "?offset=0"
		} else if body != nil {
			b, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			contentType, text = "application/json", string(b)
		}
		code, _, answer := w.raw(method, path, token, contentType, strings.NewReader(text))
		return code, answer
	}

	documented := map[string]bool{}
	for path, item := range w.server.api.OpenAPI().Paths {
		for method, op := range map[string]any{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete, "PATCH": item.Patch, "HEAD": item.Head, "OPTIONS": item.Options} {
			if fmt.Sprint(op) != "<nil>" {
				documented[method+" "+path] = true
			}
		}
	}
	w.addSpare(t)
	shared := newFixture(t, w)
	w.exec(t, `INSERT INTO tombstones (session_id, deleted_at, doc) VALUES ($1, 1, '[]')`, shared.open.Session.ID)
	for _, r := range accessMatrix() {
		if !documented[r.op] {
			t.Errorf("%s is not an operation of the API (twice in the matrix?)", r.op)
		}
		delete(documented, r.op)
		for _, role := range allRoles {
			if r.op == "GET /v1/events" && role != noToken {
				continue // the stream stays open; TestAccessMatrix's lists and the watch tests see who gets what
			}
			f := shared
			if slices.Contains(r.roles, role) && !strings.HasPrefix(r.op, "GET ") { // it will change things
				w.addSpare(t)
				f = newFixture(t, w)
			}
			var body any
			if r.body != nil {
				body = r.body(f)
			}
			code, answer := call(f, role, f.path(r.op), body)
			if code >= 500 && code != http.StatusBadGateway || code == http.StatusBadRequest || code == http.StatusTooManyRequests {
				t.Fatalf("%s by %s: %d %s", r.op, role, code, answer)
			}
			in := code != http.StatusUnauthorized && code != http.StatusForbidden && code != http.StatusNotFound
			if want := slices.Contains(r.roles, role); in != want {
				t.Errorf("%s by %s: let in %v, want %v (%d %s)", r.op, role, in, want, code, answer)
			}
		}
	}
	for _, op := range slices.Sorted(maps.Keys(documented)) {
		t.Errorf("%s is in the API and not in the matrix: say there who may", op)
	}

	f := newFixture(t, w)
	for op, roles := range lists {
		id := f.open.Session.ID
		if !strings.Contains(op, "sessions") {
			id = f.request.ID
		}
		for _, role := range allRoles[1:] {
			code, answer := call(f, role, op, nil)
			if found, want := strings.Contains(answer, id), slices.Contains(roles, role); found != want {
				t.Errorf("%s by %s: finds the owner's %v, want %v (%d)", op, role, found, want, code)
			}
		}
	}
}

// addSpare makes sure that there is a connection to lose.
func (w *world) addSpare(t *testing.T) {
	t.Helper()
	if _, err := loadConnection(t.Context(), w.store.db.read, "spare"); err != nil {
		w.addConnection("spare")
	}
}

func (w *world) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := w.store.db.write.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}
