package approval

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
	"github.com/jit-access/jit/session/secret"
)

func TestConnectionsAreChecked(t *testing.T) {
	w := newWorld(t, Limits{})
	good := Connection{Name: "new", Account: "myorg-acc", User: "U", Role: "R"}
	password := NewCredential{Kind: "password", Material: secret.New("x")}
	for name, test := range map[string]struct {
		change func(*Connection, *NewCredential)
		says   string
	}{
		"no name":            {func(c *Connection, _ *NewCredential) { c.Name = "" }, "name"},
		"a path":             {func(c *Connection, _ *NewCredential) { c.Name = "../x" }, "name"},
		"control":            {func(c *Connection, _ *NewCredential) { c.Name = "a\x1b" }, "name"},
		"no account":         {func(c *Connection, _ *NewCredential) { c.Account = "" }, "account"},
		"odd account":        {func(c *Connection, _ *NewCredential) { c.Account = "a/../b" }, "account"},
		"no role":            {func(c *Connection, _ *NewCredential) { c.Role = "" }, "role"},
		"plain http":         {func(c *Connection, _ *NewCredential) { c.URL = "http://example.com" }, "https"},
		"user in URL":        {func(c *Connection, _ *NewCredential) { c.URL = "https://u:p@example.com" }, "https://HOST"},
		"path in URL":        {func(c *Connection, _ *NewCredential) { c.URL = "https://example.com/x" }, "https://HOST"},
		"other scheme":       {func(c *Connection, _ *NewCredential) { c.URL = "file:///etc/passwd" }, "https"},
		"no credential":      {func(_ *Connection, n *NewCredential) { n.Material = secret.Text{} }, "empty"},
		"unknown kind":       {func(_ *Connection, n *NewCredential) { n.Kind = "magic" }, "kind"},
		"a key that is none": {func(_ *Connection, n *NewCredential) { n.Kind = "key-pair" }, ""},
		"name taken":         {func(c *Connection, _ *NewCredential) { c.Name = "prod" }, "already"},
	} {
		c, n := good, password
		test.change(&c, &n)
		_, err := w.store.As(w.root).AddConnection(t.Context(), c, n, false)
		var refused *session.RefusedError
		if !asError(err, &refused) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want words with %q", name, err, test.says)
		}
	}
	got := must[Connection](t)(w.store.As(w.root).AddConnection(t.Context(), good, password, false))
	if got.URL != "https://myorg-acc.snowflakecomputing.com" {
		t.Errorf("the account's URL is %s", got.URL)
	}
	got.Role = "OTHER"
	must[Connection](t)(w.store.As(w.root).AddConnection(t.Context(), got, password, true))
	for _, c := range must[[]Connection](t)(w.store.As(w.root).Connections(t.Context())) {
		if c.Name == "new" && c.Role != "OTHER" {
			t.Errorf("replaced with %+v", c)
		}
	}
}

func TestServerConfigIsChecked(t *testing.T) {
	w := newWorld(t, Limits{})
	for name, change := range map[string]func(*Config){
		"no store":     func(c *Config) { c.Store = nil },
		"no issuer":    func(c *Config) { c.Issuer = "" },
		"no client":    func(c *Config) { c.ClientID = "" },
		"plain issuer": func(c *Config) { c.Issuer = "http://idp.example.com" },
		"no URL":       func(c *Config) { c.PublicURL = "jit" },
	} {
		cfg := Config{Store: w.store, Issuer: w.idp.URL, ClientID: clientID}
		change(&cfg)
		if _, err := NewServer(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if err := w.server.CheckIssuer(t.Context()); err != nil {
		t.Error(err)
	}
	p, admin, err := w.client(w.root).Whoami(t.Context())
	if err != nil || !admin || p.Subject != "root" {
		t.Errorf("root is %+v, %v, %v", p, admin, err)
	}
	digest, data, err := w.client(w.alice).Policy(t.Context())
	if err != nil || digest != policy.Default().Digest() || len(data) == 0 {
		t.Errorf("policy %s, %d bytes, %v", digest, len(data), err)
	}
}

// The server dies during a login: the place it had reserved comes back.
func TestReservationsRunOut(t *testing.T) {
	w := newWorld(t, Limits{MaxLogins: 1})
	s := localSide{w}
	o := openSessionFor(t, w, s, w.alice)
	if _, err := w.store.db.write.ExecContext(t.Context(), `INSERT INTO upstreams (id, session_id, state, base_url, snowflake_id, tokens, opened_at, closed_at, attempts, retry_at)
		VALUES ('up_dead', $1, 'opening', 'https://x', 0, $2, $3, 0, 0, 0)`, o.Session.ID, []byte{}, micros(w.clock.now())); err != nil {
		t.Fatal(err)
	}
	_, err := s.broker(o).OpenUpstream(t.Context())
	wantErr(t, err, session.ErrCapacity)
	w.clock.advance(openingFor)
	if err := w.store.Sweep(t.Context(), w.clock.now()); err != nil {
		t.Fatal(err)
	}
	must[session.Upstream](t)(s.broker(o).OpenUpstream(t.Context()))
}

// The database comes back from a backup without its sealing key, or with
// another one: the server says so at start, and makes nothing up.
func TestAttackWrongSealingKey(t *testing.T) {
	w := newWorld(t, Limits{})
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.dir, keyFile)
	for name, damage := range map[string]func() error{
		"lost":    func() error { return os.Remove(path) },
		"damaged": func() error { return os.WriteFile(path, []byte("bm90IGEga2V5\n"), 0o600) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		_, err := NewStore(StoreConfig{Dir: w.dir, Policy: policy.Default()})
		if err == nil || !strings.Contains(err.Error(), "sealing key") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := NewStore(StoreConfig{Dir: t.TempDir(), SecretsURL: "base64key://not-a-key-but-secret"})
	if err == nil || strings.Contains(err.Error(), "but-secret") {
		t.Errorf("a keeper URL that is none: %v", err)
	}
}

// What cannot be chosen is refused rather than read as something weaker.
func TestChoicesAreChecked(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		for name, test := range map[string]struct {
			choice session.Choice
			want   error
		}{
			"a session by shape":    {session.Choice{Outcome: session.OutcomeApprove, Reuse: session.ReuseShape}, session.ErrInvalid},
			"a session for a while": {session.Choice{Outcome: session.OutcomeApprove, Reuse: session.ReuseWindow}, session.ErrInvalid},
			"unknown outcome":       {session.Choice{Outcome: 7}, session.ErrInvalid},
			"unknown reuse":         {session.Choice{Outcome: session.OutcomeApprove, Reuse: 7}, session.ErrInvalid},
			"long reason":           {session.Choice{Outcome: session.OutcomeApprove, Reason: strings.Repeat("x", maxReason+1)}, session.ErrInvalid},
			"a digest too much":     {session.Choice{Outcome: session.OutcomeApprove, Digest: "x"}, session.ErrConflict},
		} {
			if _, err := s.person(w.bob).Decide(ctx, r.ID, test.choice); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
		}
		if got := must[session.Request](t)(s.person(w.alice).Request(ctx, r.ID)); got.State != session.StatePending {
			t.Errorf("the request is %s", got.State)
		}
		_, err := s.person(w.alice).Open(ctx, "grant_x", "not a key")
		wantErr(t, err, session.ErrInvalid)
		two := sessionSubmission()
		two.Scope.TTL = -time.Hour
		if _, err := s.person(w.alice).Submit(ctx, two); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("a negative time: %v", err)
		}
		two.Kind = session.RequestInvalid
		_, err = s.person(w.alice).Submit(ctx, two)
		wantErr(t, err, session.ErrInvalid)
	})
}

// With several approvers, the reuse is what all of them agreed to.
func TestReuseIsTheStrictest(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.alice)
		b := s.broker(o)
		sub := heldCase(o, "DELETE FROM T WHERE ID = 1")
		sub.Approvals = 2
		r := must[session.Request](t)(b.Submit(ctx, sub))
		shape := approveIt(sub.Case.Digest())
		shape.Reuse = session.ReuseShape
		must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, shape))
		must[session.Request](t)(s.person(w.carol).Decide(ctx, r.ID, approveIt(sub.Case.Digest())))
		if d := must[session.Decision](t)(b.Redeem(ctx, r.ID, sub.Case.Digest())); d.Reuse != session.ReuseOnce {
			t.Errorf("redeemed for %s", d.Reuse)
		}
		_, err := b.Redeem(ctx, r.ID, sub.Case.Digest())
		wantErr(t, err, session.ErrConflict)
	})
}

// A recording whose signed checkpoint shrinks, or covers what was not sent.
func TestAttackShortenedRecording(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		r := must[session.Request](t)(s.person(w.dave).Submit(ctx, sessionSubmission()))
		skey, vkey := recordingKey(t)
		o := must[session.Opened](t)(s.person(w.dave).Open(ctx, r.GrantID, vkey))
		b := s.broker(o)
		signer, err := recording.NewSigner(skey)
		if err != nil {
			t.Fatal(err)
		}
		var sent [][]byte
		rec, err := recording.Create(filepath.Join(t.TempDir(), o.Session.ID), recording.Options{
			Session: recording.SessionFacts{ID: o.Session.ID}, Signer: signer, VerifierKey: vkey, WitnessKey: o.WitnessKey, Interval: 5 * time.Millisecond,
			Upload: b.Upload,
			Witness: func(ctx context.Context, checkpoint []byte) ([]byte, error) {
				cosigned, err := b.Cosign(ctx, checkpoint)
				if err == nil {
					sent = append(sent, checkpoint)
				}
				return cosigned, err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := rec.Append(ctx, recording.Event{Kind: recording.KindProtocol, Note: "x"}); err != nil {
				t.Fatal(err)
			}
			eventually(t, 10*time.Second, "another checkpoint is stored", func() bool {
				files := must[[]RecordingFile](t)(w.client(w.dave).RecordingFiles(ctx, o.Session.ID))
				return len(files) == 3
			})
		}
		if err := rec.Seal(ctx); err != nil {
			t.Fatal(err)
		}
		if len(sent) < 2 {
			t.Fatalf("only %d checkpoints were cosigned", len(sent))
		}
		if err := b.Close(ctx); err != nil {
			t.Fatal(err)
		}
		// The session is sealed by now; what the witness would say is asked of a
		// session that is not.
		if _, err := w.store.db.write.ExecContext(ctx, `UPDATE sessions SET phase = 'closed' WHERE id = $1`, o.Session.ID); err != nil {
			t.Fatal(err)
		}
		_, err = b.Cosign(ctx, sent[0])
		wantErr(t, err, session.ErrInvalid)
		var tampers int
		if err := w.store.db.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM audit WHERE action = 'recording.cosign' AND outcome = 'refused: invalid' AND detail LIKE '%tamper%'`).Scan(&tampers); err != nil || tampers != 1 {
			t.Errorf("%d audit rows of it, %v", tampers, err)
		}
	})
}

// A data folder with a lax mode is named with the mode that folders need.
func TestLaxDataFolder(t *testing.T) {
	dir, log := t.TempDir(), &logBuffer{}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // what is tested
		t.Fatal(err)
	}
	store, err := NewStore(StoreConfig{Dir: dir, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if said := log.text(); !strings.Contains(said, "chmod 700") || strings.Contains(said, "rotate") {
		t.Errorf("the operator is told %s", said)
	}
}
