package approval

import (
	"maps"
	"os"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
)

// rulesBesides is the shipped bundle with more rules.
func rulesBesides(t *testing.T, rules string) []byte {
	t.Helper()
	b, err := policy.Overlay(os.DirFS("../../policy/bundles/default"), fstest.MapFS{"more.cedar": &fstest.MapFile{Data: []byte(rules)}})
	if err != nil {
		t.Fatal(err)
	}
	return b.Format()
}

func extension(o session.Opened, longer time.Duration) session.Submission {
	return session.Submission{Kind: session.RequestExtension, Case: session.Case{SessionID: o.Session.ID}, Scope: session.Scope{TTL: longer}, Reason: "not done yet"}
}

// A decision, and nothing else, moves the deadline of a session: by what was
// asked, with a grant of its own beside the first one.
func TestExtend(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.dave) // opened without a reviewer
		b := s.broker(o)
		_, err := s.person(w.dave).Submit(ctx, extension(o, 30*time.Minute))
		wantErr(t, err, session.ErrConflict) // its time has not begun
		must[session.Upstream](t)(b.OpenUpstream(ctx))
		before := must[session.Session](t)(s.person(w.dave).Session(ctx, o.Session.ID))
		if !before.Deadline.Equal(before.AsOf.Add(time.Hour)) {
			t.Fatalf("the session is %+v", before)
		}
		events := must[<-chan session.Event](t)(b.Watch(ctx, -1))

		r := must[session.Request](t)(s.person(w.dave).Submit(ctx, extension(o, 30*time.Minute)))
		if r.State != session.StatePending || r.Kind != session.RequestExtension || r.Case.SessionID != o.Session.ID || r.Scope.Connection != "prod" || r.Scope.TTL != 30*time.Minute {
			t.Fatalf("asked for %+v", r)
		}
		_, err = s.person(w.dave).Submit(ctx, extension(o, time.Minute))
		wantErr(t, err, session.ErrConflict) // one at a time
		_, err = s.person(w.dave).Decide(ctx, r.ID, approveIt(""))
		wantErr(t, err, session.ErrOwnRequest)
		_, err = s.person(w.mallory).Decide(ctx, r.ID, approveIt(""))
		wantErr(t, err, session.ErrNotFound)
		if ses := must[session.Session](t)(b.Session(ctx, o.Session.ID)); !ses.Deadline.Equal(before.Deadline) {
			t.Fatal("the deadline moved without a decision")
		}
		done := must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, approveIt("")))
		if done.State != session.StateUsed || done.GrantID == "" {
			t.Fatalf("decided: %+v", done)
		}
		after := must[session.Session](t)(b.Session(ctx, o.Session.ID))
		if !after.Deadline.Equal(before.Deadline.Add(30*time.Minute)) || after.GrantID != before.GrantID {
			t.Fatalf("the session is %+v", after)
		}
		if e := <-events; e.Kind != session.EventSessionExtended || e.SessionID != o.Session.ID || e.RequestID != "" {
			t.Errorf("the broker heard %+v", e)
		}
		_, vkey := recordingKey(t)
		_, err = s.person(w.dave).Open(ctx, done.GrantID, vkey)
		wantErr(t, err, session.ErrConflict) // it opens nothing
		_, err = s.person(w.carol).Decide(ctx, r.ID, approveIt(""))
		wantErr(t, err, session.ErrConflict) // and moves nothing twice

		w.clock.advance(80 * time.Minute)
		must[session.Upstream](t)(b.OpenUpstream(ctx)) // past the old deadline
		w.clock.advance(10 * time.Minute)
		_, err = b.OpenUpstream(ctx)
		wantErr(t, err, session.ErrExpired)
		_, err = s.person(w.dave).Submit(ctx, extension(o, time.Hour))
		wantErr(t, err, session.ErrExpired) // what is over stays over
	})
}

func TestExtendHasLimits(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.dave)
		must[session.Upstream](t)(s.broker(o).OpenUpstream(ctx))
		dave := s.person(w.dave)
		for longer, want := range map[time.Duration]error{
			24 * time.Hour: session.ErrDenied, 8 * 24 * time.Hour: session.ErrInvalid, 0: session.ErrInvalid, time.Millisecond: session.ErrInvalid,
		} {
			_, err := dave.Submit(ctx, extension(o, longer))
			wantErr(t, err, want)
		}
		_, err := s.person(w.bob).Submit(ctx, extension(o, time.Hour)) // may see the session, and it is not bob's
		wantErr(t, err, session.ErrForbidden)
		_, err = s.person(w.mallory).Submit(ctx, extension(o, time.Hour))
		wantErr(t, err, session.ErrNotFound)
		_, err = s.broker(o).Submit(ctx, extension(o, time.Hour))
		wantErr(t, err, session.ErrForbidden)

		// Without a person only where the policy says so.
		must[string](t)(s.person(w.root).PushPolicy(ctx, rulesBesides(t, `
@id("go-on") @reason("Up to two hours.")
permit (principal, action == Action::"extendUnattended", resource) when { context.ttlMinutes <= 120 };`)))
		r := must[session.Request](t)(dave.Submit(ctx, extension(o, time.Hour)))
		if r.State != session.StateUsed || r.Rule != "go-on" || len(r.Decisions) != 0 {
			t.Fatalf("extended by policy: %+v", r)
		}
		if r = must[session.Request](t)(dave.Submit(ctx, extension(o, time.Second))); r.State != session.StatePending {
			t.Fatalf("a second more: %+v", r)
		}
	})
}

// The policy is asked again when people decide: what it no longer allows is not
// approved past it. And a request does not outlive its session.
func TestAttackExtensionApprovedTooLate(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.dave)
		must[session.Upstream](t)(s.broker(o).OpenUpstream(ctx))
		dave, bob := s.person(w.dave), s.person(w.bob)
		r := must[session.Request](t)(dave.Submit(ctx, extension(o, time.Hour)))
		must[string](t)(s.person(w.root).PushPolicy(ctx, rulesBesides(t, `
@id("short") @reason("An hour is enough.")
forbid (principal, action == Action::"open", resource) when { context.ttlMinutes > 60 };`)))
		_, err := bob.Decide(ctx, r.ID, approveIt(""))
		wantErr(t, err, session.ErrDenied)
		if got := must[session.Request](t)(dave.Request(ctx, r.ID)); got.State != session.StatePending || len(got.Decisions) != 0 {
			t.Fatalf("something of the refused decision stayed: %+v", got)
		}
		must[string](t)(s.person(w.root).PushPolicy(ctx, policy.Default().Format()))
		if err := bob.Revoke(ctx, o.Session.ID, "no"); err != nil {
			t.Fatal(err)
		}
		_, err = bob.Decide(ctx, r.ID, approveIt(""))
		wantErr(t, err, session.ErrConflict)
		if ses := must[session.Session](t)(dave.Session(ctx, o.Session.ID)); ses.Phase != session.PhaseRevoked || !ses.Deadline.Equal(ses.FirstUseAt.Add(time.Hour)) {
			t.Errorf("the session is %+v", ses)
		}
	})
}

const emergencyRule = `
@id("emergency") @reason("On-call engineers may open a session at once.")
permit (principal in Group::"oncall", action == Action::"openEmergency", resource)
when { context.ttlMinutes <= 30 };`

func emergencySubmission() session.Submission {
	sub := sessionSubmission()
	sub.Emergency, sub.Ticket, sub.Scope.TTL = true, "INC-7", 20*time.Minute
	return sub
}

// Emergency access opens at once, is marked in everything, and stays on the list
// until somebody else has looked at it.
func TestEmergency(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		oncall := w.alice
		oncall.Groups = []string{"analysts", "oncall", "jit-reviewers"}
		must[string](t)(s.person(w.root).PushPolicy(ctx, rulesBesides(t, emergencyRule)))
		events := must[<-chan session.Event](t)(s.person(w.bob).Watch(ctx, -1))
		r := must[session.Request](t)(s.person(oncall).Submit(ctx, emergencySubmission()))
		if r.State != session.StateApproved || !r.Emergency || r.Ticket != "INC-7" || r.Rule != "emergency" {
			t.Fatalf("got %+v", r)
		}
		told := map[session.EventKind]bool{}
		for range 3 {
			told[(<-events).Kind] = true
		}
		if !told[session.EventEmergency] {
			t.Errorf("reviewers heard %v", slices.Collect(maps.Keys(told)))
		}
		_, vkey := recordingKey(t)
		o := must[session.Opened](t)(s.person(oncall).Open(ctx, r.GrantID, vkey))
		if !o.Session.Emergency || o.Session.Scope.TTL != 20*time.Minute {
			t.Errorf("opened %+v", o.Session)
		}
		if ses := must[session.Session](t)(s.person(w.bob).Session(ctx, o.Session.ID)); !ses.Emergency {
			t.Errorf("read %+v", ses)
		}
		must[session.Upstream](t)(s.broker(o).OpenUpstream(ctx))
		if held := must[session.Request](t)(s.broker(o).Submit(ctx, heldCase(o, "DELETE FROM T WHERE ID = 1"))); !held.Emergency || held.State != session.StatePending {
			t.Errorf("a statement that is held: %+v", held)
		}
		_, err := s.person(oncall).Submit(ctx, extension(o, time.Minute))
		wantErr(t, err, session.ErrForbidden)

		open := must[[]Emergency](t)(s.person(w.bob).Emergencies(ctx, true))
		if len(open) != 1 || open[0].RequestID != r.ID || open[0].SessionID != o.Session.ID || open[0].Ticket != "INC-7" || !open[0].ReviewedAt.IsZero() {
			t.Fatalf("to look at: %+v", open)
		}
		if list := must[[]Emergency](t)(s.person(w.mallory).Emergencies(ctx, false)); len(list) != 0 {
			t.Errorf("mallory sees %+v", list)
		}
		_, err = s.person(oncall).ReviewEmergency(ctx, r.ID, "all well")
		wantErr(t, err, session.ErrOwnRequest)
		_, err = s.person(w.mallory).ReviewEmergency(ctx, r.ID, "all well")
		wantErr(t, err, session.ErrNotFound)
		done := must[Emergency](t)(s.person(w.bob).ReviewEmergency(ctx, r.ID, "looked at the recording"))
		if done.ReviewedBy != "bob@example.com" || done.Review != "looked at the recording" || done.ReviewedAt.IsZero() {
			t.Errorf("reviewed: %+v", done)
		}
		_, err = s.person(w.carol).ReviewEmergency(ctx, r.ID, "I too")
		wantErr(t, err, session.ErrConflict)
		if open := must[[]Emergency](t)(s.person(w.bob).Emergencies(ctx, true)); len(open) != 0 {
			t.Errorf("still to look at: %+v", open)
		}
		for _, action := range []string{"request.submit", "session.open"} {
			var n int
			if err := w.store.db.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM audit WHERE action = $1 AND outcome = 'done' AND detail LIKE '%"emergency":"true"%'`, action).Scan(&n); err != nil || n != 1 {
				t.Errorf("%s: %d audit rows say emergency, %v", action, n, err)
			}
		}
	})
}

// There is no emergency access that the policy does not name, none without words
// that people read later, none that lasts, and none for a statement.
func TestAttackEmergencyWithoutOne(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		oncall := w.alice
		oncall.Groups = append(slices.Clone(oncall.Groups), "oncall", DefaultAdminGroup, "jit-unattended")
		_, err := s.person(oncall).Submit(ctx, emergencySubmission())
		wantErr(t, err, session.ErrDenied) // the shipped bundle names none
		must[string](t)(s.person(w.root).PushPolicy(ctx, rulesBesides(t, emergencyRule)))
		_, err = s.person(w.dave).Submit(ctx, emergencySubmission())
		wantErr(t, err, session.ErrDenied) // of another group
		for name, change := range map[string]func(*session.Submission){
			"no reason": func(s *session.Submission) { s.Reason = " \n" },
			"no ticket": func(s *session.Submission) { s.Ticket = "" },
			"long":      func(s *session.Submission) { s.Scope.TTL = 61 * time.Minute },
		} {
			sub := emergencySubmission()
			change(&sub)
			if _, err := s.person(oncall).Submit(ctx, sub); err == nil {
				t.Errorf("%s: accepted", name)
			} else {
				wantErr(t, err, session.ErrInvalid)
			}
		}
		sub := emergencySubmission()
		sub.Scope.TTL = 31 * time.Minute
		_, err = s.person(oncall).Submit(ctx, sub)
		wantErr(t, err, session.ErrDenied)
		o := openSessionFor(t, w, s, w.dave)
		held := heldCase(o, "DELETE FROM T WHERE ID = 1")
		held.Emergency = true
		_, err = s.broker(o).Submit(ctx, held)
		wantErr(t, err, session.ErrInvalid)
		if list := must[[]Emergency](t)(s.person(w.root).Emergencies(ctx, false)); len(list) != 0 {
			t.Errorf("listed: %+v", list)
		}
	})
}

// Those who see a request talk about it; nobody else does, and no talk decides.
func TestComments(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		must[session.Request](t)(s.person(w.bob).Comment(ctx, r.ID, "Which report?"))
		got := must[session.Request](t)(s.person(w.alice).Comment(ctx, r.ID, "The \x1b[31mred\x1b[0m one."))
		if len(got.Comments) != 2 || got.Comments[0].By.ID() != w.bob.ID() || got.Comments[0].Text != "Which report?" || got.State != session.StatePending {
			t.Fatalf("said: %+v", got)
		}
		if again := must[session.Request](t)(s.person(w.carol).Request(ctx, r.ID)); len(again.Comments) != 2 || again.Comments[1].ID != got.Comments[1].ID {
			t.Errorf("read: %+v", again.Comments)
		}
		_, err := s.person(w.mallory).Comment(ctx, r.ID, "me too")
		wantErr(t, err, session.ErrNotFound)
		for _, text := range []string{"", " \n", "\x00"} {
			if _, err := s.person(w.bob).Comment(ctx, r.ID, text); err == nil {
				t.Errorf("%q is accepted", text)
			}
		}
		must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, approveIt("")))
		must[session.Request](t)(s.person(w.alice).Comment(ctx, r.ID, "Thanks.")) // also afterwards
	})
}

// Who wants masks kept is not outvoted, and the broker hears of it when it uses
// the approval.
func TestKeepMasks(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.dave)
		b := s.broker(o)
		held := heldCase(o, "DROP DATABASE D") // takes two
		held.Approvals = 2
		r := must[session.Request](t)(b.Submit(ctx, held))
		digest := r.Case.Digest()
		keep := approveIt(digest)
		keep.KeepMasks = true
		denyKeep := session.Choice{Digest: digest, KeepMasks: true}
		_, err := s.person(w.bob).Decide(ctx, r.ID, denyKeep)
		wantErr(t, err, session.ErrInvalid)
		must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, keep))
		must[session.Request](t)(s.person(w.carol).Decide(ctx, r.ID, approveIt(digest)))
		if d := must[session.Decision](t)(b.Redeem(ctx, r.ID, digest)); !d.KeepMasks {
			t.Errorf("redeemed %+v", d)
		}
		plain := must[session.Request](t)(b.Submit(ctx, heldCase(o, "DELETE FROM T WHERE ID = 1")))
		must[session.Request](t)(s.person(w.bob).Decide(ctx, plain.ID, approveIt(plain.Case.Digest())))
		if d := must[session.Decision](t)(b.Redeem(ctx, plain.ID, plain.Case.Digest())); d.KeepMasks {
			t.Errorf("redeemed %+v", d)
		}
		ask := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		_, err = s.person(w.bob).Decide(ctx, ask.ID, session.Choice{Outcome: session.OutcomeApprove, KeepMasks: true})
		wantErr(t, err, session.ErrInvalid)
	})
}
