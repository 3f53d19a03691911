package approval

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jit-access/jit/session"
)

// The suite below is the contract of session.Desk, session.Office and
// session.Upstreams; it runs over the store itself and over HTTP.

func approveIt(d string) session.Choice {
	return session.Choice{Outcome: session.OutcomeApprove, Digest: d}
}

func TestSessionNeedsAReviewer(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		if r.State != session.StatePending || r.GrantID != "" || r.Approvals != 1 || r.Rule == "" {
			t.Fatalf("submitted: %+v", r)
		}
		if r.Scope.Role != "ANALYST" || r.Scope.Warehouse != "WH" {
			t.Errorf("the connection's defaults are missing: %+v", r.Scope)
		}
		list := must[[]session.Request](t)(s.person(w.bob).Pending(ctx, session.Filter{}))
		if len(list) != 1 || list[0].ID != r.ID || list[0].Reason != "monthly report" || list[0].Agent.Command[0] != "/usr/bin/claude" {
			t.Fatalf("bob sees %+v", list)
		}
		r = must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, session.Choice{Outcome: session.OutcomeApprove, Reason: "fine"}))
		if r.State != session.StateApproved || r.GrantID == "" {
			t.Fatalf("approved: %+v", r)
		}
		got := must[session.Request](t)(s.person(w.alice).Request(ctx, r.ID))
		if got.State != session.StateApproved || len(got.Decisions) != 1 || got.Decisions[0].Reviewer.Subject != "bob" || got.Decisions[0].Reason != "fine" {
			t.Fatalf("alice sees %+v", got)
		}
		_, vkey := recordingKey(t)
		o := must[session.Opened](t)(s.person(w.alice).Open(ctx, r.GrantID, vkey))
		if o.Session.Phase != session.PhaseOpen || o.Token.IsZero() || len(o.Bundle) == 0 || o.WitnessKey == "" || !o.Session.FirstUseAt.IsZero() {
			t.Fatalf("opened: %+v", o)
		}
		_, err := s.person(w.alice).Open(ctx, r.GrantID, vkey)
		wantErr(t, err, session.ErrConflict)
		if got := must[session.Request](t)(s.person(w.alice).Request(ctx, r.ID)); got.State != session.StateUsed {
			t.Errorf("the request is %s after its grant was opened", got.State)
		}
	})
}

func TestPolicyGrantsAndDeniesSessions(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		r := must[session.Request](t)(s.person(w.dave).Submit(ctx, sessionSubmission()))
		if r.State != session.StateApproved || r.GrantID == "" || len(r.Decisions) != 0 {
			t.Fatalf("an unattended session is %+v", r)
		}
		sub := sessionSubmission()
		sub.Scope.TTL = 30 * time.Hour
		_, err := s.person(w.dave).Submit(ctx, sub)
		wantErr(t, err, session.ErrDenied)
		var denied *session.DeniedError
		if !asError(err, &denied) || denied.Rule == "" || denied.Reason == "" {
			t.Errorf("the denial does not say why: %v", err)
		}
		sub.Scope = session.Scope{Connection: "prod", Role: "SYSADMIN"}
		_, err = s.person(w.dave).Submit(ctx, sub)
		wantErr(t, err, session.ErrForbidden)
		sub.Scope = session.Scope{Connection: "nowhere"}
		_, err = s.person(w.dave).Submit(ctx, sub)
		wantErr(t, err, session.ErrNotFound)
	})
}

func TestTwoDifferentPeople(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		sub := sessionSubmission()
		sub.Scope.Role = "ACCOUNTADMIN"
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sub))
		if r.Approvals != 2 {
			t.Fatalf("an administrator role asks for %d approvals", r.Approvals)
		}
		if r = must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, approveIt(""))); r.State != session.StatePending {
			t.Fatalf("one approval of two made it %s", r.State)
		}
		_, err := s.person(w.bob).Decide(ctx, r.ID, approveIt(""))
		wantErr(t, err, session.ErrConflict)
		if r = must[session.Request](t)(s.person(w.carol).Decide(ctx, r.ID, approveIt(""))); r.State != session.StateApproved {
			t.Fatalf("two approvals made it %s", r.State)
		}
	})
}

func TestOneDenialEndsIt(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		r = must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, session.Choice{Reason: "not today"}))
		if r.State != session.StateDenied {
			t.Fatalf("the zero choice made it %s", r.State)
		}
		_, err := s.person(w.carol).Decide(ctx, r.ID, approveIt(""))
		wantErr(t, err, session.ErrConflict)
		wantErr(t, s.person(w.alice).Withdraw(ctx, r.ID), session.ErrConflict)
	})
}

func TestWithdraw(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		wantErr(t, s.person(w.bob).Withdraw(ctx, r.ID), session.ErrForbidden)
		if err := s.person(w.alice).Withdraw(ctx, r.ID); err != nil {
			t.Fatal(err)
		}
		_, err := s.person(w.bob).Decide(ctx, r.ID, approveIt(""))
		wantErr(t, err, session.ErrConflict)
	})
}

func TestStatementOnce(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.alice)
		b := s.broker(o)
		sub := heldCase(o, "DELETE FROM T WHERE ID = 1")
		digest := sub.Case.Digest()
		r := must[session.Request](t)(b.Submit(ctx, sub))
		again := must[session.Request](t)(b.Submit(ctx, sub))
		if again.ID != r.ID {
			t.Fatal("submitting twice made two requests")
		}
		if r.Principal.Subject != "alice" || r.Scope.Connection != "prod" || r.Agent.Command[0] != "/usr/bin/claude" {
			t.Errorf("the request lacks its session's facts: %+v", r)
		}
		_, err := b.Redeem(ctx, r.ID, digest)
		wantErr(t, err, session.ErrConflict)
		_, err = s.person(w.bob).Decide(ctx, r.ID, approveIt("something else"))
		wantErr(t, err, session.ErrConflict)
		must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, approveIt(digest)))
		if again := must[session.Request](t)(b.Submit(ctx, sub)); again.ID != r.ID || again.State != session.StateApproved {
			t.Fatalf("sending the statement again gives %s %s", again.ID, again.State)
		}
		_, err = b.Redeem(ctx, r.ID, heldCase(o, "DELETE FROM T WHERE ID = 2").Case.Digest())
		wantErr(t, err, session.ErrConflict)
		d := must[session.Decision](t)(b.Redeem(ctx, r.ID, digest))
		if d.Reviewer.Subject != "bob" || d.Outcome != session.OutcomeApprove || d.Reuse != session.ReuseOnce {
			t.Errorf("redeemed %+v", d)
		}
		_, err = b.Redeem(ctx, r.ID, digest)
		wantErr(t, err, session.ErrConflict)
		if next := must[session.Request](t)(b.Submit(ctx, sub)); next.ID == r.ID || next.State != session.StatePending {
			t.Errorf("after its use, the statement got %s %s", next.ID, next.State)
		}
	})
}

func TestStatementShape(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.alice)
		b := s.broker(o)
		first, second := heldCase(o, "DELETE FROM T WHERE ID = 1"), heldCase(o, "DELETE FROM T WHERE ID = 2")
		r := must[session.Request](t)(b.Submit(ctx, first))
		must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, session.Choice{Outcome: session.OutcomeApprove, Reuse: session.ReuseShape, Digest: first.Case.Digest()}))

		_, err := b.Redeem(ctx, r.ID, second.Case.Digest())
		wantErr(t, err, session.ErrConflict) // never submitted: nobody checked its shape
		if got := must[session.Request](t)(b.Submit(ctx, second)); got.ID != r.ID {
			t.Fatal("the shape's approval was not found")
		}
		for range 2 {
			if d := must[session.Decision](t)(b.Redeem(ctx, r.ID, second.Case.Digest())); d.Reuse != session.ReuseShape {
				t.Errorf("redeemed %+v", d)
			}
		}
		other := heldCase(o, "DELETE FROM U WHERE ID = 1")
		if got := must[session.Request](t)(b.Submit(ctx, other)); got.ID == r.ID {
			t.Fatal("another shape got the approval")
		}
		// Another session of the same person starts with nothing.
		o2 := openSessionFor(t, w, s, w.alice)
		if got := must[session.Request](t)(s.broker(o2).Submit(ctx, heldCase(o2, "DELETE FROM T WHERE ID = 2"))); got.State != session.StatePending {
			t.Fatal("the approval crossed into another session")
		}
	})
}

func TestStatementWindow(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.alice)
		b := s.broker(o)
		sub := heldCase(o, "DELETE FROM T WHERE ID = 1")
		r := must[session.Request](t)(b.Submit(ctx, sub))
		must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, session.Choice{Outcome: session.OutcomeApprove, Reuse: session.ReuseWindow, Digest: sub.Case.Digest()}))
		for range 3 {
			must[session.Decision](t)(b.Redeem(ctx, r.ID, sub.Case.Digest()))
		}
		w.clock.advance(15 * time.Minute)
		_, err := b.Redeem(ctx, r.ID, sub.Case.Digest())
		wantErr(t, err, session.ErrExpired)
		if next := must[session.Request](t)(b.Submit(ctx, sub)); next.ID == r.ID || next.State != session.StatePending {
			t.Errorf("after the window: %s %s", next.ID, next.State)
		}
	})
}

func TestDeniedStatementSaysWhy(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.alice)
		b := s.broker(o)
		sub := heldCase(o, "DROP DATABASE PROD")
		r := must[session.Request](t)(b.Submit(ctx, sub))
		must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, session.Choice{Reason: "use the copy", Digest: sub.Case.Digest()}))
		_, err := b.Redeem(ctx, r.ID, sub.Case.Digest())
		var denied *session.DeniedError
		if !asError(err, &denied) || denied.Reason != "use the copy" {
			t.Fatalf("redeeming a denied statement: %v", err)
		}
	})
}

func TestReviewersOfTheRule(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.alice)
		sub := heldCase(o, "GRANT ROLE X TO USER Y")
		sub.Reviewers = []string{"security"}
		r := must[session.Request](t)(s.broker(o).Submit(ctx, sub))
		_, err := s.person(w.bob).Decide(ctx, r.ID, approveIt(sub.Case.Digest()))
		wantErr(t, err, session.ErrNotFound) // a reviewer, but not of this request
		must[session.Request](t)(s.person(w.carol).Decide(ctx, r.ID, approveIt(sub.Case.Digest())))
	})
}

func TestUpstreams(t *testing.T) {
	eachSide(t, Limits{MaxLogins: 2}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		w.run()
		o := openSessionFor(t, w, s, w.alice)
		b := s.broker(o)
		w.clock.advance(20 * time.Minute) // the clock starts at first use
		up := must[session.Upstream](t)(b.OpenUpstream(ctx))
		if up.Token.Reveal() != "upstream-token-1" || up.URL != w.sf.URL || up.SnowflakeID != 1 || len(up.Parameters) == 0 || up.ValidFor != time.Hour {
			t.Errorf("upstream: %+v", up)
		}
		l := w.sf.lastLogin(t)
		if l.Role != "ANALYST" || l.Warehouse != "WH" || l.Data.LoginName != "JIT_SVC" || l.Data.Secondary != "NONE" ||
			l.Data.Parameters["STATEMENT_TIMEOUT_IN_SECONDS"] != "3600" {
			t.Errorf("login: %+v", l)
		}
		if want := `{"jit_session":"` + o.Session.ID + `","jit_principal":"alice@example.com"}`; l.Data.Parameters["QUERY_TAG"] != want {
			t.Errorf("tag %s, want %s", l.Data.Parameters["QUERY_TAG"], want)
		}
		ses := must[session.Session](t)(b.Session(ctx, o.Session.ID))
		if !ses.FirstUseAt.Equal(w.clock.now()) || !ses.Deadline.Equal(w.clock.now().Add(time.Hour)) {
			t.Errorf("first use %s, deadline %s", ses.FirstUseAt, ses.Deadline)
		}
		deadline := ses.Deadline
		w.clock.advance(10 * time.Minute)
		second := must[session.Upstream](t)(b.OpenUpstream(ctx))
		if ses := must[session.Session](t)(b.Session(ctx, o.Session.ID)); !ses.Deadline.Equal(deadline) {
			t.Error("a second login moved the deadline")
		}
		_, err := b.OpenUpstream(ctx)
		wantErr(t, err, session.ErrCapacity)
		fresh := must[session.Upstream](t)(b.RenewUpstream(ctx, up.ID))
		if fresh.Token.Reveal() == up.Token.Reveal() {
			t.Error("renewing gave the old token")
		}
		if err := b.CloseUpstream(ctx, second.ID); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "the closed upstream session is gone", func() bool { return w.sf.count() == 1 })
		if err := b.Close(ctx); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "all upstream sessions are gone", func() bool { return w.sf.count() == 0 })
		if err := b.Close(ctx); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		_, err = b.OpenUpstream(ctx)
		wantErr(t, err, session.ErrConflict)
		_, err = b.RenewUpstream(ctx, up.ID)
		wantErr(t, err, session.ErrConflict)
	})
}

func TestRefusedLoginSaysWhatSnowflakeSaid(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.alice)
		w.sf.mu.Lock()
		w.sf.password = "changed"
		w.sf.mu.Unlock()
		_, err := s.broker(o).OpenUpstream(ctx)
		var up *session.UpstreamError
		if !asError(err, &up) || up.Code != "390100" || up.Message == "" {
			t.Fatalf("login: %v", err)
		}
		if ses := must[session.Session](t)(s.person(w.alice).Session(ctx, o.Session.ID)); !ses.FirstUseAt.IsZero() {
			t.Error("a refused login started the clock")
		}
		_, err = s.person(w.root).TestConnection(ctx, "prod")
		if !asError(err, &up) || up.Code != "390100" {
			t.Fatalf("testing the connection: %v", err)
		}
	})
}

// A revoke takes effect upstream within two seconds, with nobody's help.
func TestRevokeClosesUpstream(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		w.run()
		o := openSessionFor(t, w, s, w.alice)
		b := s.broker(o)
		events := must[<-chan session.Event](t)(b.Watch(ctx, -1))
		for range 3 {
			must[session.Upstream](t)(b.OpenUpstream(ctx))
		}
		pending := must[session.Request](t)(b.Submit(ctx, heldCase(o, "DELETE FROM T WHERE ID = 1")))
		if err := s.person(w.bob).Revoke(ctx, o.Session.ID, "incident"); err != nil {
			t.Fatal(err)
		}
		eventually(t, 2*time.Second, "the upstream sessions are closed", func() bool { return w.sf.count() == 0 })
		_, err := b.OpenUpstream(ctx)
		wantErr(t, err, session.ErrRevoked)
		_, err = b.Submit(ctx, heldCase(o, "SELECT 1"))
		wantErr(t, err, session.ErrRevoked)
		if r := must[session.Request](t)(s.person(w.alice).Request(ctx, pending.ID)); r.State != session.StateWithdrawn {
			t.Errorf("the session's pending request is %s", r.State)
		}
		ses := must[session.Session](t)(s.person(w.alice).Session(ctx, o.Session.ID))
		if ses.Phase != session.PhaseRevoked || ses.EndReason != "revoked by bob@example.com: incident" {
			t.Errorf("the session is %s: %s", ses.Phase, ses.EndReason)
		}
		var last session.Event
		for e := range events { // closes by itself: the broker's access ends
			last = e
		}
		if last.Kind != session.EventSessionEnded || last.SessionID != o.Session.ID {
			t.Errorf("the broker's last event is %+v", last)
		}
	})
}

func TestExpiry(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		o := openSessionFor(t, w, s, w.dave)
		b := s.broker(o)
		must[session.Upstream](t)(b.OpenUpstream(ctx))
		w.clock.advance(time.Hour)

		// Before any sweep: time alone decides.
		if got := must[session.Request](t)(s.person(w.alice).Request(ctx, r.ID)); got.State != session.StateExpired {
			t.Errorf("the request is %s", got.State)
		}
		_, err := b.OpenUpstream(ctx)
		wantErr(t, err, session.ErrExpired)
		_, err = b.Submit(ctx, heldCase(o, "SELECT 1"))
		wantErr(t, err, session.ErrExpired)

		if err := w.store.Sweep(ctx, w.clock.now()); err != nil {
			t.Fatal(err)
		}
		if ses := must[session.Session](t)(s.person(w.dave).Session(ctx, o.Session.ID)); ses.Phase != session.PhaseExpired {
			t.Errorf("the session is %s", ses.Phase)
		}
		if err := w.store.closeQueued(ctx); err != nil {
			t.Fatal(err)
		}
		if n := w.sf.count(); n != 0 {
			t.Errorf("%d upstream sessions are still open", n)
		}
	})
}

func TestUnusedSessionExpires(t *testing.T) {
	eachSide(t, Limits{FirstUse: time.Hour}, func(t *testing.T, w *world, s side) {
		o := openSessionFor(t, w, s, w.dave)
		w.clock.advance(time.Hour)
		_, err := s.broker(o).OpenUpstream(t.Context()) // time alone decides
		wantErr(t, err, session.ErrExpired)
		if err := w.store.Sweep(t.Context(), w.clock.now()); err != nil {
			t.Fatal(err)
		}
		if ses := must[session.Session](t)(s.person(w.dave).Session(t.Context(), o.Session.ID)); ses.Phase != session.PhaseExpired {
			t.Errorf("the session is %s", ses.Phase)
		}
	})
}

func TestUnopenedGrantExpires(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		r := must[session.Request](t)(s.person(w.dave).Submit(t.Context(), sessionSubmission()))
		w.clock.advance(15 * time.Minute)
		_, vkey := recordingKey(t)
		_, err := s.person(w.dave).Open(t.Context(), r.GrantID, vkey)
		wantErr(t, err, session.ErrExpired)
	})
}

func TestWatch(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		before := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		seen := must[<-chan session.Event](t)(s.person(w.bob).Watch(ctx, -1))
		blind := must[<-chan session.Event](t)(s.person(w.mallory).Watch(ctx, 0))
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, approveIt("")))
		first, second := <-seen, <-seen
		if first.Kind != session.EventRequestSubmitted || first.RequestID != r.ID || second.Kind != session.EventRequestDecided || second.ID <= first.ID {
			t.Fatalf("bob saw %+v then %+v", first, second)
		}
		// Resuming after an event repeats nothing and skips nothing.
		resumed := must[<-chan session.Event](t)(s.person(w.bob).Watch(ctx, first.ID))
		if e := <-resumed; e != second {
			t.Errorf("resumed with %+v, want %+v", e, second)
		}
		all := must[<-chan session.Event](t)(s.person(w.bob).Watch(ctx, 0))
		if e := <-all; e.RequestID != before.ID {
			t.Errorf("from the start came %+v", e)
		}
		// Mallory's first event is her own, though others came before.
		mine := must[session.Request](t)(s.person(w.mallory).Submit(ctx, sessionSubmission()))
		if e := <-blind; e.RequestID != mine.ID {
			t.Errorf("mallory saw %+v", e)
		}
		cancel()
		for range seen {
		}
	})
}

func TestConnections(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		for _, c := range must[[]Connection](t)(s.person(w.alice).Connections(ctx)) {
			if c.Name != "prod" || c.User != "" || c.Account != "" || c.URL != "" || c.Role != "ANALYST" {
				t.Errorf("alice sees %+v", c)
			}
		}
		if c := must[[]Connection](t)(s.person(w.root).Connections(ctx)); len(c) != 1 || c[0].User != "JIT_SVC" || c[0].Authenticator != "password" {
			t.Errorf("root sees %+v", c)
		}
		got := must[ConnectionTest](t)(s.person(w.root).TestConnection(ctx, "prod"))
		if got.Role != "ANALYST" || got.ServerVersion != "9.0" || w.sf.count() != 0 {
			t.Errorf("test answered %+v and left %d sessions", got, w.sf.count())
		}
		_, err := s.person(w.bob).TestConnection(ctx, "prod")
		wantErr(t, err, session.ErrForbidden)
		_, err = s.person(w.bob).AddConnection(ctx, Connection{Name: "evil", Account: "a", Role: "R"}, NewCredential{Kind: "password"}, false)
		wantErr(t, err, session.ErrForbidden)
		wantErr(t, s.person(w.bob).RemoveConnection(ctx, "prod"), session.ErrForbidden)
		wantErr(t, s.person(w.root).RemoveConnection(ctx, "other"), session.ErrNotFound)
		if err := s.person(w.root).RemoveConnection(ctx, "prod"); err != nil {
			t.Fatal(err)
		}
		_, err = s.person(w.alice).Submit(ctx, sessionSubmission())
		wantErr(t, err, session.ErrNotFound)
	})
}

func asError[E error](err error, target *E) bool { return errors.As(err, target) }
