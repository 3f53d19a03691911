package approval

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jit-access/jit/session"
)

// A server's data goes from SQLite to PostgreSQL, from there into a backup, and
// the server goes on with it: nothing changed on the way.
func TestCopy(t *testing.T) {
	for name, start := range map[string]func(testing.TB) string{"from sqlite": func(testing.TB) string { return "" }, "from postgres": newPostgres} {
		t.Run(name, func(t *testing.T) {
			w := newWorldOn(t, start(t), Limits{})
			ctx := t.Context()
			recordedSession(t, w, localSide{w}, w.dave, statementFacts("select 1 from T", "allow", []string{"DB.S.T"}, nil))
			o := openSessionFor(t, w, localSide{w}, w.alice)
			must[session.Upstream](t)(localSide{w}.broker(o).OpenUpstream(ctx))
			pending := must[session.Request](t)(w.store.As(w.alice).Submit(ctx, sessionSubmission()))
			events := must[int64](t)(w.store.lastEvent(ctx))

			root := t.TempDir()
			first := Place{Dir: w.dir, Database: w.url}
			second := Place{Dir: filepath.Join(root, "pg"), Database: newPostgres(t)}
			third := Place{Dir: filepath.Join(root, "backup")}
			there := must[Copied](t)(Copy(ctx, first, second))
			back := must[Copied](t)(Copy(ctx, second, third))
			if there.Rows < 20 || there.Pieces < 2 || there != back {
				t.Errorf("copied %+v, then %+v", there, back)
			}
			if _, err := Copy(ctx, first, third); err == nil || !strings.Contains(err.Error(), "data already") {
				t.Errorf("copying over a copy: %v", err)
			}
			if _, err := os.Stat(filepath.Join(third.Dir, keyFile)); err == nil {
				t.Error("the backup holds the sealing key")
			}
			if _, err := NewStore(StoreConfig{Dir: third.Dir}); err == nil || !strings.Contains(err.Error(), "sealing key") {
				t.Fatalf("with another sealing key: %v", err)
			}
			key := must[[]byte](t)(os.ReadFile(filepath.Join(w.dir, keyFile)))
			if err := os.WriteFile(filepath.Join(third.Dir, keyFile), key, 0o600); err != nil {
				t.Fatal(err)
			}
			store := must[*Store](t)(NewStore(StoreConfig{Dir: third.Dir, Now: w.clock.now}))
			defer func() { _ = store.Close() }()
			if got := must[int64](t)(store.lastEvent(ctx)); got != events {
				t.Errorf("the last event is %d, was %d", got, events)
			}
			must[session.Request](t)(store.As(w.bob).Decide(ctx, pending.ID, approveIt("")))
			b := must[*LocalBroker](t)(store.AsBroker(ctx, o.Token))
			must[session.Upstream](t)(b.OpenUpstream(ctx))
			found := must[Found](t)(store.As(session.Principal{Issuer: w.idp.URL, Subject: "audrey", Groups: []string{DefaultAuditorGroup}}).Search(ctx, Search{Table: "T"}))
			if len(found.Statements) != 1 {
				t.Fatalf("found %+v", found)
			}
			if _, err := store.openRecording(ctx, Caller{Principal: w.dave}, found.Statements[0].SessionID, "events.jsonl"); err != nil {
				t.Errorf("reading a recording: %v", err)
			}
		})
	}
}

func TestCopyOfNothing(t *testing.T) {
	if _, err := Copy(t.Context(), Place{Dir: t.TempDir()}, Place{Dir: t.TempDir()}); err == nil {
		t.Error("a folder without a database was copied")
	}
}

// A table that Copy does not know would be missing in every backup.
func TestCopyKnowsEveryTable(t *testing.T) {
	w := newWorld(t, Limits{})
	rows, err := w.store.db.read.QueryContext(t.Context(), `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'goose_db_version'`)
	if err != nil {
		t.Fatal(err)
	}
	have := must[[]string](t)(scanStrings(rows))
	want := slices.Clone(tables)
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("the schema has %v, Copy knows %v", have, want)
	}
}
