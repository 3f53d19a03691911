package approval

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jit-access/jit/session"
)

// The planted credential and the tokens made with it are looked for in every
// answer, in the log, in the audit and on disk.
func TestAttackCredentialIsNeverReadable(t *testing.T) {
	w := newWorld(t, Limits{})
	s := httpSide{w}
	ctx := t.Context()
	o := openSessionFor(t, w, s, w.alice)
	up := must[session.Upstream](t)(s.broker(o).OpenUpstream(ctx))
	if up.Token.Reveal() != "upstream-token-1" {
		t.Fatal("the broker did not get its token")
	}
	var said strings.Builder
	for _, who := range []string{w.token(w.root), w.token(w.alice), w.token(w.bob), o.Token.Reveal(), ""} {
		for _, path := range []string{
			"/v1/connections", "/v1/connections/prod", "/v1/sessions", "/v1/sessions/" + o.Session.ID, "/v1/sessions/" + o.Session.ID + "/upstreams",
			"/v1/sessions/" + o.Session.ID + "/upstreams/" + up.ID, "/v1/requests?all=true", "/v1/policy", "/v1/config", "/openapi.json", "/v1/whoami",
		} {
			_, _, body := w.raw("GET", path, who, "", nil)
			said.WriteString(body)
		}
	}
	// A credential in the wrong place is not echoed.
	_, _, body := w.raw("POST", "/v1/connections", w.token(w.root), "application/json",
		strings.NewReader(`{"connection":{"name":"x","account":"a","role":"r"},"credential":{"kind":"key-pair","material":"`+plantedPassword+`","extra":"`+plantedPassword+`"}}`))
	said.WriteString(body)
	_, _, body = w.raw("POST", "/v1/connections", w.token(w.root), "application/json",
		strings.NewReader(`{"connection":{"name":"x","account":"a","role":"r"},"credential":{"kind":"key-pair","material":"`+plantedPassword+`"}}`))
	said.WriteString(body)
	_, _, body = w.raw("POST", "/v1/connections", w.token(w.root), "application/json", strings.NewReader(`{"credential":"`+plantedPassword+`"`))
	said.WriteString(body)
	planted := []string{plantedPassword, "upstream-token-1", "upstream-master-1"}
	for _, p := range planted {
		if strings.Contains(said.String(), p) {
			t.Errorf("%s is in an answer", p)
		}
		if strings.Contains(w.log.text(), p) {
			t.Errorf("%s is in the log", p)
		}
	}
	if strings.Contains(w.log.text(), o.Token.Reveal()) {
		t.Error("the broker token is in the log")
	}
	planted = append(planted, o.Token.Reveal())
	grepDir(t, w.dir, planted)
	if err := w.store.Close(); err != nil { // and once the WAL is folded in
		t.Fatal(err)
	}
	grepDir(t, w.dir, planted)
}

func grepDir(t *testing.T, dir string, planted []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		for _, p := range planted {
			if bytes.Contains(b, []byte(p)) {
				t.Errorf("%s holds %s", path, p)
			}
		}
		if fi, serr := d.Info(); serr == nil && fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %04o", path, fi.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 2 {
		t.Fatalf("only %d files in %s", files, dir)
	}
}

// Whoever can write to the database swaps the sealed credentials of two
// connections, to log in with the stronger one.
func TestAttackSwappedCiphertexts(t *testing.T) {
	w := newWorld(t, Limits{})
	ctx := t.Context()
	w.addConnection("weak")
	if _, err := w.store.db.write.ExecContext(ctx, `UPDATE connections SET credential = (SELECT credential FROM connections WHERE name = 'prod') WHERE name = 'weak'`); err != nil {
		t.Fatal(err)
	}
	_, err := w.store.As(w.root).TestConnection(ctx, "weak")
	if err == nil || refusal(err) {
		t.Fatalf("the swapped credential was used: %v", err)
	}
	if d := toProblemDoc(err); d.Code != codeInternal || strings.Contains(d.Detail, "sealed") {
		t.Errorf("the caller is told %+v", d)
	}
	if len(w.sf.logins) != 0 {
		t.Error("somebody logged in")
	}
}

// A key file that others can read is not used.
func TestAttackReadableSealingKey(t *testing.T) {
	w := newWorld(t, Limits{})
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.dir, keyFile)
	if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // the attack
		t.Fatal(err)
	}
	if _, err := readKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
}

// Every change and every refusal leaves a row, and none of them holds a secret.
func TestAuditHasEverything(t *testing.T) {
	w := newWorld(t, Limits{})
	ctx := t.Context()
	o := openSessionFor(t, w, localSide{w}, w.alice)
	b := localSide{w}.broker(o)
	must[session.Upstream](t)(b.OpenUpstream(ctx))
	r := must[session.Request](t)(b.Submit(ctx, heldCase(o, "DELETE FROM T WHERE ID = 1")))
	_, err := w.store.As(w.alice).Decide(ctx, r.ID, approveIt(r.Case.Digest()))
	wantErr(t, err, session.ErrOwnRequest)
	must[session.Request](t)(w.store.As(w.bob).Decide(ctx, r.ID, approveIt(r.Case.Digest())))
	must[session.Decision](t)(b.Redeem(ctx, r.ID, r.Case.Digest()))
	if err := b.Close(ctx); err != nil {
		t.Fatal(err)
	}
	rows, err := w.store.db.read.QueryContext(ctx, `SELECT id, actor_id, actor_session, action, outcome, detail FROM audit ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var got []string
	for want := int64(1); rows.Next(); want++ {
		var id int64
		var actor, ses, action, outcome, detail string
		if err := rows.Scan(&id, &actor, &ses, &action, &outcome, &detail); err != nil {
			t.Fatal(err)
		}
		if id != want {
			t.Errorf("audit id %d, want %d: a row is missing", id, want)
		}
		if strings.Contains(detail, plantedPassword) || strings.Contains(detail, "upstream-") || !json.Valid([]byte(detail)) {
			t.Errorf("detail %s", detail)
		}
		who := actor[strings.LastIndexByte(actor, '|')+1:]
		if ses != "" {
			who += "'s broker"
		}
		got = append(got, who+" "+action+" "+outcome)
	}
	want := []string{
		"server policy.activate done", "server witness.create done", "root connection.add done",
		"alice request.submit done", "bob request.decide done", "alice session.open done",
		"alice's broker upstream.reserve done", "alice's broker upstream.open done", "alice's broker request.submit done",
		"alice request.decide refused: own_request", "bob request.decide done", "alice's broker request.redeem done", "alice's broker session.close done",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("audit:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A full or broken audit stops everything: what cannot be recorded does not
// happen.
func TestAttackAuditCannotBeWritten(t *testing.T) {
	w := newWorld(t, Limits{})
	ctx := t.Context()
	r := must[session.Request](t)(w.store.As(w.alice).Submit(ctx, sessionSubmission()))
	if _, err := w.store.db.write.ExecContext(ctx, `CREATE TRIGGER audit_full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END`); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.As(w.bob).Decide(ctx, r.ID, approveIt("")); err == nil {
		t.Error("a decision went through without an audit row")
	}
	if _, err := w.store.As(w.alice).Decide(ctx, r.ID, approveIt("")); err == nil || errors.Is(err, session.ErrOwnRequest) {
		t.Errorf("a refusal without an audit row is a fault, not an answer: %v", err)
	}
	if got := must[session.Request](t)(w.store.As(w.alice).Request(ctx, r.ID)); got.State != session.StatePending || len(got.Decisions) != 0 {
		t.Errorf("the request is %s", got.State)
	}
}
