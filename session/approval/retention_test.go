package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// auditorOf is a person who may search everything and place holds.
func auditorOf(w *world) session.Principal {
	a := w.mallory
	a.Subject, a.Email, a.Groups = "audrey", "audrey@example.com", []string{DefaultAuditorGroup}
	return a
}

func onEachDatabase(t *testing.T, test func(t *testing.T, w *world)) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": func(testing.TB) string { return "" }, "postgres": newPostgres} {
		t.Run(name, func(t *testing.T) { test(t, newWorldOn(t, url(t), Limits{})) })
	}
}

func count(t *testing.T, w *world, query string, args ...any) (n int) {
	t.Helper()
	if err := w.store.db.read.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A recording whose time is over goes, with all that could find it; what stays
// is enough to check a copy that somebody kept.
func TestRetention(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		s := httpSide{w}
		auditor := w.client(auditorOf(w))
		facts := statementFacts("select UNIQUEWORD from DB.S.T", "allow", []string{"DB.S.T"}, nil)
		old := recordedSession(t, w, s, w.dave, facts)
		held := recordedSession(t, w, s, w.dave, facts)
		running := openSessionFor(t, w, s, w.alice)
		for _, o := range []session.Opened{old, held} {
			if err := s.broker(o).Close(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.broker(running).Upload(ctx, recording.FileEvents, 0, []byte("running\n")); err != nil {
			t.Fatal(err)
		}
		kept := download(t, w, w.bob, old.Session.ID)
		if err := auditor.AddHold(ctx, held.Session.ID, "case-7", "ordered by the court"); err != nil {
			t.Fatal(err)
		}
		w.clock.advance(30 * 24 * time.Hour)
		young := recordedSession(t, w, s, w.dave, facts)
		if err := s.broker(young).Close(ctx); err != nil {
			t.Fatal(err)
		}
		before := w.clock.now().Add(-20 * 24 * time.Hour)

		would := must[Pruned](t)(w.store.Prune(ctx, before, true))
		if !slices.Equal(would.Deleted, []string{old.Session.ID}) || !slices.Equal(would.Held, []string{held.Session.ID}) {
			t.Errorf("would delete %+v", would)
		}
		if n := count(t, w, `SELECT COUNT(*) FROM tombstones`); n != 0 {
			t.Error("a dry run deleted something")
		}
		keys := len(must[[]string](t)(keysOf(ctx, w.store.blobs)))
		did := must[Pruned](t)(w.store.Prune(ctx, before, false))
		if !slices.Equal(did.Deleted, []string{old.Session.ID}) || did.Erased != 2 || did.Kept != 0 {
			t.Errorf("deleted %+v", did)
		}
		if left := len(must[[]string](t)(keysOf(ctx, w.store.blobs))); left != keys-did.Erased {
			t.Errorf("of %d objects %d are left", keys, left)
		}
		if again := must[Pruned](t)(w.store.Prune(ctx, before, false)); len(again.Deleted) != 0 || again.Erased != 0 {
			t.Errorf("deleted again: %+v", again)
		}

		// Nothing finds or reads it any more.
		found := must[Found](t)(auditor.Search(ctx, Search{Text: "uniqueword"}))
		if got := sessionsOf(found); slices.Contains(got, old.Session.ID) || len(got) != 2 {
			t.Errorf("found %v", got)
		}
		if n := count(t, w, `SELECT COUNT(*) FROM statement_terms x WHERE NOT EXISTS (SELECT 1 FROM statements s WHERE s.id = x.id)`); n != 0 {
			t.Errorf("%d terms of deleted statements are left", n)
		}
		_, err := w.client(w.bob).Recording(ctx, old.Session.ID, recording.FileEvents)
		wantErr(t, err, session.ErrExpired)
		if !strings.Contains(err.Error(), "deleted on") {
			t.Errorf("the reader is told %q", err)
		}
		wantErr(t, auditor.AddHold(ctx, old.Session.ID, "case-8", "too late"), session.ErrExpired)
		if n := count(t, w, `SELECT COUNT(*) FROM audit WHERE action = 'retention.delete' AND target = $1 AND outcome = 'done' AND detail LIKE '%root%'`, old.Session.ID); n != 1 {
			t.Errorf("%d audit rows tell of it", n)
		}

		// The copy that was kept is what the tombstone says.
		stone := must[Tombstone](t)(auditor.Tombstone(ctx, old.Session.ID))
		cosig := must[[]byte](t)(os.ReadFile(filepath.Join(kept, recording.FileCosig)))
		report, err := recording.Verify(kept, recording.VerifyOptions{WitnessKeys: []string{old.WitnessKey}})
		if err != nil || string(cosig) != string(stone.Cosigned) || report.Events != stone.Events || stone.Root == "" {
			t.Errorf("tombstone %+v, copy %+v, %v", stone, report, err)
		}
		for _, p := range stone.Pieces {
			data := must[[]byte](t)(os.ReadFile(filepath.Join(kept, p.File)))
			if sum := sha256.Sum256(data[p.Start : p.Start+p.Length]); hex.EncodeToString(sum[:]) != p.SHA256 {
				t.Errorf("%s at %d is another", p.File, p.Start)
			}
		}
		_, err = w.client(w.mallory).Tombstone(ctx, old.Session.ID)
		wantErr(t, err, session.ErrNotFound)

		// Without the hold, the other goes too.
		wantErr(t, auditor.RemoveHold(ctx, held.Session.ID, "another", "x"), session.ErrNotFound)
		if err := auditor.RemoveHold(ctx, held.Session.ID, "case-7", "the court is done"); err != nil {
			t.Fatal(err)
		}
		did = must[Pruned](t)(w.store.Prune(ctx, before, false))
		if !slices.Equal(did.Deleted, []string{held.Session.ID}) {
			t.Errorf("deleted %+v", did)
		}
		if n := count(t, w, `SELECT COUNT(*) FROM recording_segments WHERE session_id = $1`, running.Session.ID); n != 1 {
			t.Error("the recording of a session that runs was deleted")
		}
	})
}

func sessionsOf(found Found) []string {
	var out []string
	for _, s := range found.Statements {
		out = append(out, s.SessionID)
	}
	return out
}

// Whoever wants evidence gone cannot get it by way of holds and retention.
func TestAttackRetention(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		s := httpSide{w}
		o := recordedSession(t, w, s, w.dave, statementFacts("select 1 from T", "allow", []string{"T"}, nil))
		b := s.broker(o)
		if err := b.Close(ctx); err != nil {
			t.Fatal(err)
		}
		auditor := w.client(auditorOf(w))
		for name, c := range map[string]*Client{"the requester": w.client(w.dave), "a reviewer": w.client(w.bob)} {
			wantErr(t, c.AddHold(ctx, o.Session.ID, "m", "r"), session.ErrForbidden)
			wantErr(t, c.RemoveHold(ctx, o.Session.ID, "m", "r"), session.ErrForbidden)
			if _, err := c.Holds(ctx, ""); !errors.Is(err, session.ErrForbidden) {
				t.Errorf("%s lists holds: %v", name, err)
			}
		}
		wantErr(t, auditor.AddHold(ctx, o.Session.ID, "m", " "), session.ErrInvalid)
		wantErr(t, auditor.AddHold(ctx, o.Session.ID, "two words", "r"), session.ErrInvalid)
		wantErr(t, auditor.AddHold(ctx, "ses_nothing", "m", "r"), session.ErrNotFound)
		for range 2 { // two matters; one that lets go leaves the other
			_ = auditor.AddHold(ctx, o.Session.ID, "one", "r")
		}
		if err := auditor.AddHold(ctx, o.Session.ID, "two", "r"); err != nil {
			t.Fatal(err)
		}
		if err := auditor.RemoveHold(ctx, o.Session.ID, "one", "r"); err != nil {
			t.Fatal(err)
		}
		if list := must[[]Hold](t)(auditor.Holds(ctx, o.Session.ID)); len(list) != 1 || list[0].Matter != "two" {
			t.Errorf("holds %+v", list)
		}
		w.clock.advance(1000 * 24 * time.Hour)
		if did := must[Pruned](t)(w.store.Prune(ctx, w.clock.now().Add(-48*time.Hour), false)); len(did.Deleted) != 0 {
			t.Errorf("a held recording was deleted: %+v", did)
		}
		// A deletion that chose its session before the hold was placed.
		if gone, err := w.store.bury(ctx, o.Session.ID, w.clock.now()); gone || err != nil {
			t.Errorf("a held recording was deleted: %v", err)
		}
		if _, err := w.store.Prune(ctx, w.clock.now(), false); err == nil {
			t.Error("recordings that may still be completed were deleted")
		}
		if err := auditor.RemoveHold(ctx, o.Session.ID, "two", "r"); err != nil {
			t.Fatal(err)
		}
		if did := must[Pruned](t)(w.store.Prune(ctx, w.clock.now().Add(-48*time.Hour), false)); len(did.Deleted) != 1 {
			t.Errorf("deleted %+v", did)
		}
		// Nothing comes back in its place.
		wantErr(t, b.Upload(ctx, recording.FileEvents, 0, []byte("another past\n")), session.ErrExpired)
		wantErr(t, w.client(w.dave).ForRecovery(o.Session.ID).Upload(ctx, recording.FileEvents, 0, []byte("another past\n")), session.ErrConflict)
	})
}

// A bucket that still locks the pieces keeps them: that is reported, and they
// are erased, with every version, once it lets go.
func TestRetentionRespectsObjectLock(t *testing.T) {
	o := newObjectStore(t)
	client := o.bucket("lock", true)
	w := newWorldOn(t, "", Limits{UploadGrace: time.Millisecond}, o.on("lock", 20*time.Second))
	ctx := t.Context()
	w.clock.advance(time.Until(w.clock.now())) // the bucket has the true time
	opened := recordedSession(t, w, localSide{w}, w.dave, statementFacts("select 1 from T", "allow", []string{"T"}, nil))
	if err := (localSide{w}).broker(opened).Close(ctx); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Hour)
	did := must[Pruned](t)(w.store.Prune(ctx, w.clock.now().Add(-time.Minute), false))
	if len(did.Deleted) != 1 || did.Erased != 0 || did.Kept != 2 {
		t.Fatalf("deleted %+v", did)
	}
	versions := func() int {
		n := 0
		for _, v := range must[[]string](t)(versionsOf(ctx, client, "lock")) {
			if strings.HasPrefix(v, opened.Session.ID) {
				n++
			}
		}
		return n
	}
	if n := versions(); n != 2 {
		t.Fatalf("%d objects are left in the bucket", n)
	}
	eventually(t, 2*time.Minute, "the bucket let go", func() bool {
		did := must[Pruned](t)(w.store.Prune(ctx, w.clock.now().Add(-time.Minute), false))
		return did.Erased > 0 && did.Kept == 0 || count(t, w, `SELECT COUNT(*) FROM erasures`) == 0
	})
	if n := versions(); n != 0 {
		t.Errorf("%d versions are left", n)
	}
}
