package approval

import (
	"strings"
	"testing"

	"github.com/jit-access/jit/session/recording"
)

// What was recorded before there was an index is found after it was made; a
// recording that is not what was cosigned is not indexed.
func TestReindex(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		one := recordedSession(t, w, localSide{w}, w.dave, statementFacts("select FIRST from T", "allow", []string{"T"}, nil), statementFacts("select 2", "allow", nil, nil))
		two := recordedSession(t, w, localSide{w}, w.alice, statementFacts("select SECOND from T", "allow", []string{"T"}, nil))
		if done := must[Reindexed](t)(w.store.Reindex(ctx, false)); done.Sessions != 0 {
			t.Errorf("indexed again without need: %+v", done)
		}
		before := must[Found](t)(w.store.As(auditorOf(w)).Search(ctx, Search{}))
		for _, table := range []string{"statement_terms", "statements"} {
			if _, err := w.store.db.write.ExecContext(ctx, `DELETE FROM `+table); err != nil {
				t.Fatal(err)
			}
		}
		done := must[Reindexed](t)(w.store.Reindex(ctx, false))
		if done.Sessions != 2 || done.Statements != 3 || len(done.Damaged) != 0 {
			t.Errorf("indexed %+v", done)
		}
		after := must[Found](t)(w.store.As(auditorOf(w)).Search(ctx, Search{}))
		if len(after.Statements) != 3 || after.Statements[0].Text != before.Statements[0].Text {
			t.Errorf("found %+v, before %+v", after, before)
		}
		if done := must[Reindexed](t)(w.store.Reindex(ctx, true)); done.Sessions != 2 || count(t, w, `SELECT COUNT(*) FROM statements`) != 3 {
			t.Errorf("indexed all again: %+v", done)
		}

		// Somebody who can write to database and bucket puts another piece in place.
		segs := must[[]segment](t)(segments(ctx, w.store.db.read, two.Session.ID, recording.FileEvents, 0))
		g := segs[0]
		data := must[[]byte](t)(readPiece(ctx, w.store.blobs, g))
		plantPiece(t, w, two.Session.ID, g, []byte(strings.Replace(string(data), "SECOND", "FORGED", 1)))
		done = must[Reindexed](t)(w.store.Reindex(ctx, true))
		if done.Sessions != 1 || !strings.Contains(done.Damaged[two.Session.ID], "") || done.Damaged[two.Session.ID] == "" {
			t.Errorf("a forged recording: %+v", done)
		}
		if found := must[Found](t)(w.store.As(auditorOf(w)).Search(ctx, Search{Text: "forged"})); len(found.Statements) != 0 {
			t.Error("a forged statement is found")
		}
		if found := must[Found](t)(w.store.As(auditorOf(w)).Search(ctx, Search{Session: one.Session.ID})); len(found.Statements) != 2 {
			t.Error("another recording's statements are gone")
		}
	})
}

// plantPiece puts other bytes in the place of a piece, in the bucket and in the
// database, as whoever has both can.
func plantPiece(t *testing.T, w *world, sessionID string, g segment, data []byte) {
	t.Helper()
	ctx := t.Context()
	sum := sha256Of(data)
	key := pieceKey(sessionID, recording.FileEvents, g.start, sum)
	if err := w.store.storePiece(ctx, key, data, sum); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.db.write.ExecContext(ctx, `UPDATE recording_segments SET blob_key = $1, length = $2 WHERE session_id = $3 AND file = $4 AND start = $5`,
		key, len(data), sessionID, recording.FileEvents, g.start); err != nil {
		t.Fatal(err)
	}
}
