package approval

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
	"github.com/jit-access/jit/session/secret"
)

// record makes a recording of o with the given statements, uploads it and has
// it cosigned.
func record(t *testing.T, w *world, b brokerSide, o session.Opened, keys func() (skey, vkey string), statements ...recording.StatementFacts) {
	t.Helper()
	skey, vkey := keys()
	signer, err := recording.NewSigner(secret.New(skey))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := recording.Create(filepath.Join(t.TempDir(), o.Session.ID), recording.Options{
		Session: recording.SessionFacts{ID: o.Session.ID, Principal: o.Session.Principal.ID(), Connection: "prod"},
		Signer:  signer, VerifierKey: vkey, WitnessKey: o.WitnessKey, Witness: b.Cosign, Upload: b.Upload, Interval: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range statements {
		if _, err := rec.Append(t.Context(), recording.Event{Kind: recording.KindStatement, At: w.clock.now(), SQL: &statements[i]}); err != nil {
			t.Fatal(err)
		}
		w.clock.advance(time.Second)
	}
	if err := rec.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// recordedSession opens a session of p and records statements in it.
func recordedSession(t *testing.T, w *world, s side, p session.Principal, statements ...recording.StatementFacts) session.Opened {
	t.Helper()
	ctx := t.Context()
	r := must[session.Request](t)(s.person(p).Submit(ctx, sessionSubmission()))
	if r.State == session.StatePending {
		r = must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, session.Choice{Outcome: session.OutcomeApprove}))
	}
	skey, vkey := recordingKey(t)
	o := must[session.Opened](t)(s.person(p).Open(ctx, r.GrantID, vkey))
	record(t, w, s.broker(o), o, func() (string, string) { return skey.Reveal(), vkey }, statements...)
	return o
}

func statementFacts(text, verdict string, reads, columns []string) recording.StatementFacts {
	return recording.StatementFacts{
		Text: text, Digest: "d", Kinds: []string{"SELECT"}, Verdict: verdict, Rule: "r", Reads: reads,
		Outputs: []recording.OutputFacts{{Name: "X", From: columns}},
	}
}

// Who accessed which table, and when?
func TestSearch(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		auditor := w.mallory
		auditor.Groups = []string{DefaultAuditorGroup}
		begun := w.clock.now()
		describe := statementFacts("select described", "allow", []string{"DB.S.ORDERS"}, nil)
		describe.Describe = true
		top := statementFacts("select from nowhere known", "hold", nil, []string{"⊤"})
		top.Unknown = []string{"CALL P"}
		dave := recordedSession(t, w, s, w.dave,
			statementFacts("select EMAIL from DB.SALES.ORDERS where ID = 7", "allow", []string{"DB.SALES.ORDERS"}, []string{"DB.SALES.ORDERS.EMAIL", "constant"}),
			statementFacts("delete from DB.SALES.ORDERS", "deny", []string{"DB.SALES.ORDERS"}, nil),
			describe,
		)
		middle := w.clock.now()
		alice := recordedSession(t, w, s, w.alice,
			statementFacts(`select 1 from DB.HR."Odd.Name"`, "allow", []string{`DB.HR."Odd.Name"`}, nil),
			statementFacts("select NAME from DB.HR.ORDERS", "allow", []string{"DB.HR.ORDERS"}, []string{"DB.HR.ORDERS.NAME"}),
			top,
		)
		for name, test := range map[string]struct {
			who  session.Principal
			q    Search
			want []string // session initial and event number, newest first
		}{
			"everything":            {auditor, Search{}, []string{"a3", "a2", "a1", "d2", "d1"}},
			"table":                 {auditor, Search{Table: "orders"}, []string{"a2", "d2", "d1"}},
			"schema and table":      {auditor, Search{Table: "sales.orders"}, []string{"d2", "d1"}},
			"full name":             {auditor, Search{Table: "DB.HR.ORDERS"}, []string{"a2"}},
			"quoted name":           {auditor, Search{Table: `"Odd.Name"`}, []string{"a1"}},
			"part of a name":        {auditor, Search{Table: `Name"`}, nil},
			"column":                {auditor, Search{Column: "email"}, []string{"d1"}},
			"column of a table":     {auditor, Search{Column: "hr.orders.name"}, []string{"a2"}},
			"table nobody can name": {auditor, Search{Table: "?"}, []string{"a3"}},
			"column unknown":        {auditor, Search{Column: "?"}, []string{"a3"}},
			"user":                  {auditor, Search{User: "Alice@Example.com"}, []string{"a3", "a2", "a1"}},
			"subject":               {auditor, Search{User: "dave"}, []string{"d2", "d1"}},
			"agent":                 {auditor, Search{Agent: "claude", Verdict: "deny"}, []string{"d2"}},
			"another agent":         {auditor, Search{Agent: "dbt"}, nil},
			"session":               {auditor, Search{Session: alice.Session.ID}, []string{"a3", "a2", "a1"}},
			"words":                 {auditor, Search{Text: "FROM  email"}, []string{"d1"}},
			"since":                 {auditor, Search{Since: middle}, []string{"a3", "a2", "a1"}},
			"until":                 {auditor, Search{Since: begun, Until: middle, Table: "orders"}, []string{"d2", "d1"}},
			"one's own":             {w.dave, Search{}, []string{"d2", "d1"}},
			"not others'":           {w.dave, Search{User: "alice"}, nil},
			"reviewers neither":     {w.bob, Search{}, nil},
			"an administrator":      {w.root, Search{Verdict: "hold"}, nil},
		} {
			// In pages of two, to the end.
			var got []string
			q := test.q
			q.Limit = 2
			for page := 0; ; page++ {
				found := must[Found](t)(s.person(test.who).Search(ctx, q))
				for _, st := range found.Statements {
					initial := map[string]string{dave.Session.ID: "d", alice.Session.ID: "a"}[st.SessionID]
					got = append(got, initial+strconv.FormatInt(st.Seq, 10))
				}
				if q.After = found.Next; q.After == "" || page > 5 {
					break
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%s: found %v, want %v", name, got, test.want)
			}
		}
		st := must[Found](t)(s.person(auditor).Search(ctx, Search{Column: "EMAIL"})).Statements[0]
		if st.User != "dave@example.com" || st.Agent != "claude" || st.Connection != "prod" || st.Verdict != "allow" || !st.At.Equal(begun) ||
			st.Text != "select EMAIL from DB.SALES.ORDERS where ID = 7" || !slices.Equal(st.Columns, []string{"DB.SALES.ORDERS.EMAIL"}) {
			t.Errorf("found %+v", st)
		}
		for _, bad := range []Search{{Text: "+-"}, {After: "x"}, {After: "-1"}, {Text: "a b c d e f g h i j k l m n o p q"}} {
			_, err := s.person(auditor).Search(ctx, bad)
			wantErr(t, err, session.ErrInvalid)
		}
	})
}

// What is searched for is data, wherever it goes.
func TestAttackSQLInSearch(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		recordedSession(t, w, s, w.dave, statementFacts("select 1 from T", "allow", []string{"DB.S.T"}, nil))
		for _, evil := range []string{`' OR '1'='1`, `T'; DROP TABLE statements; --`, `%`, `_`, `T%`, `") UNION SELECT id, doc FROM sessions --`, `p:x`, `$1`} {
			for _, q := range []Search{{Table: evil}, {Column: evil}, {User: evil}, {Agent: evil}, {Session: evil}, {Verdict: evil}, {Text: evil + " zzz"}, {After: evil}} {
				for _, who := range []session.Principal{w.mallory, auditorOf(w)} { // an auditor would see what a filter let through
					found, err := s.person(who).Search(t.Context(), q)
					refusable := q.Verdict != "" || q.After != "" // they are no free text
					if len(found.Statements) != 0 || err != nil && (!refusable || !errors.Is(err, session.ErrInvalid)) {
						t.Errorf("%+v: found %v, %v", q, found, err)
					}
				}
			}
		}
		found := must[Found](t)(s.person(w.dave).Search(t.Context(), Search{}))
		if len(found.Statements) != 1 {
			t.Errorf("afterwards there are %d statements", len(found.Statements))
		}
	})
}

// A broker's token finds nothing: searching is for people.
func TestAttackBrokerSearches(t *testing.T) {
	w := newWorld(t, Limits{})
	o := recordedSession(t, w, localSide{w}, w.dave, statementFacts("select 1", "allow", nil, nil))
	status, _, _ := w.raw("GET", "/v1/statements", o.Token.Reveal(), "", nil)
	if status != 403 {
		t.Errorf("it answers %d", status)
	}
}

// What the witness refuses is not found: the index holds what was cosigned.
func TestAttackForgedSegmentIsNotIndexed(t *testing.T) {
	w := newWorld(t, Limits{})
	ctx := t.Context()
	o := openSessionFor(t, w, localSide{w}, w.dave)
	b := localSide{w}.broker(o)
	if err := b.Upload(ctx, recording.FileEvents, 0, []byte(`{"seq":0,"kind":"statement","sql":{"text":"select forged","verdict":"allow"}}`+"\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Cosign(ctx, []byte("jit\n1\nAAAA\n\n— x AAAA\n")); err == nil {
		t.Error("the witness signed a forgery")
	}
	if found := must[Found](t)(w.store.As(session.Principal{Issuer: w.idp.URL, Subject: "audrey", Groups: []string{DefaultAuditorGroup}}).Search(ctx, Search{})); len(found.Statements) != 0 {
		t.Errorf("found %+v", found)
	}
}

// BenchmarkSearch measures searches over JIT_BENCH_STATEMENTS statements
// (1,000,000 by default; making them takes minutes) on each database.
func BenchmarkSearch(b *testing.B) {
	n := 1_000_000
	if text := os.Getenv("JIT_BENCH_STATEMENTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	for _, db := range []struct {
		name string
		url  func(testing.TB) string
	}{{"sqlite", func(testing.TB) string { return "" }}, {"postgres", newPostgres}} {
		b.Run(db.name, func(b *testing.B) { benchmarkSearch(b, db.url(b), n) })
	}
}

func benchmarkSearch(b *testing.B, url string, n int) {
	store, err := NewStore(StoreConfig{Dir: b.TempDir(), Database: url, Policy: policy.Default()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	begun := time.Now()
	fillIndex(b, store, n)
	b.Logf("%d statements indexed in %s", n, time.Since(begun).Round(time.Second))
	auditor := store.As(session.Principal{Issuer: "i", Subject: "auditor", Groups: []string{DefaultAuditorGroup}})
	day := 24 * time.Hour
	now := store.now()
	for _, q := range []struct {
		name string
		q    Search
	}{
		{"everything", Search{}},
		{"table", Search{Table: "SALES.T17"}},
		{"table-user", Search{Table: "T17", User: "user3@example.com"}},
		{"table-since-verdict", Search{Table: "T17", Since: now.Add(-7 * day), Verdict: "deny"}},
		{"column-agent-text", Search{Column: "T17.C3", Agent: "claude", Text: "where"}},
		{"rare-word", Search{Text: "needle42"}},
		{"two-common-never-together", Search{Table: "T17", Text: "tag5"}},
		{"common-verdict-common-word", Search{Verdict: "hold", Text: "select"}},
		{"none", Search{Table: "NOWHERE", User: "user3@example.com"}},
	} {
		b.Run(q.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := auditor.Search(b.Context(), q.q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// fillIndex makes n statements of 50 people in 200 sessions over a year: 100
// tables of 10 columns, 20 words and two of them rare.
func fillIndex(b *testing.B, store *Store, n int) {
	b.Helper()
	ctx := b.Context()
	year := 365 * 24 * time.Hour
	now := store.now()
	const sessions, batch = 200, 5000
	list := make([]session.Session, sessions)
	fill := func(do func(ctx context.Context, c *change) error) {
		if err := store.checkAndRecord(ctx, systemCaller, "bench", "", do); err != nil {
			b.Fatal(err)
		}
	}
	fill(func(ctx context.Context, c *change) error {
		for i := range list {
			p := session.Principal{Issuer: "i", Subject: fmt.Sprintf("user%d", i%50), Email: fmt.Sprintf("user%d@example.com", i%50)}
			agent := session.Agent{Command: []string{[]string{"claude", "python", "dbt", "snow"}[i%4]}}
			list[i] = session.Session{ID: fmt.Sprintf("ses_%d", i), Principal: p, Agent: agent, OpenedAt: now.Add(-year), Scope: session.Scope{Connection: "prod", Role: "ANALYST"}}
			for _, insert := range []string{
				`INSERT INTO requests VALUES ($1, 'session', '', '', 'used', 'once', '', '', 1, '', '{}', 0, 0, 0, 0)`,
				`INSERT INTO grants VALUES ($1, $1, '', '{}', 0, 0)`,
				`INSERT INTO sessions VALUES ($1, $1, '', 'sealed', '', '{}', 0, 0, 0, 0, 0, '', $1, '', 0)`,
			} {
				if _, err := c.ExecContext(ctx, insert, list[i].ID); err != nil {
					return err
				}
			}
		}
		return nil
	})
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same data every time
	for done := 0; done < n; {
		fill(func(ctx context.Context, c *change) error {
			for end := min(done+batch, n); done < end; done++ {
				table := fmt.Sprintf("DB.SALES.T%d", random.IntN(100))
				column := fmt.Sprintf("%s.C%d", table, random.IntN(10))
				tag := 0
				if table != "DB.SALES.T17" {
					tag = random.IntN(10)
				}
				sql := statementFacts(fmt.Sprintf("SELECT C%d FROM %s WHERE ID = %d AND needle%d = 'tag%d'", done%10, table, random.IntN(100000), random.IntN(20000), tag),
					[]string{"allow", "allow", "allow", "allow", "hold", "deny"}[random.IntN(6)], []string{table}, []string{column})
				at := now.Add(-year + time.Duration(done)*(year/time.Duration(n)))
				e := recording.Event{Seq: int64(done), At: at, Kind: recording.KindStatement, SQL: &sql}
				if err := store.indexStatement(ctx, c, list[random.IntN(sessions)], e); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if store.db.postgres() {
		if _, err := store.db.write.ExecContext(ctx, `ANALYZE`); err != nil {
			b.Fatal(err)
		}
	}
}
