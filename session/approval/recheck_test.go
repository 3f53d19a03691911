package approval

import (
	"errors"
	"strings"
	"testing"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
)

// The requester patches their broker, to have a DROP decided by fewer people,
// under a milder name, or as a shape that covers more.
func TestAttackPatchedBroker(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.alice)
		b := s.broker(o)

		drop := heldCase(o, "DROP DATABASE PROD")
		drop.Approvals, drop.Rule, drop.RuleText, drop.Case.Kinds = 1, "harmless", "nothing to see", []string{"SELECT"}
		r := must[session.Request](t)(b.Submit(ctx, drop))
		if r.Approvals != 2 || r.Rule != "drop-database" || r.Case.Kinds[0] != "DROP_DATABASE" || strings.Contains(r.RuleText, "nothing") {
			t.Fatalf("the reviewers see %d approvals, rule %s, kinds %v", r.Approvals, r.Rule, r.Case.Kinds)
		}
		must[session.Request](t)(s.person(w.bob).Decide(ctx, r.ID, approveIt(drop.Case.Digest())))
		_, err := b.Redeem(ctx, r.ID, drop.Case.Digest())
		wantErr(t, err, session.ErrConflict)

		for name, change := range map[string]func(*session.Submission){
			"a shape of something else": func(s *session.Submission) { s.Case.Shape = "DELETE FROM T" },
			"no shape":                  func(s *session.Submission) { s.Case.Shape = "" },
			"not canonical":             func(s *session.Submission) { s.Case.Canonical += " /* trust me */ # x" },
			"not SQL":                   func(s *session.Submission) { s.Case.Canonical = "'" },
			"nothing but blanks":        func(s *session.Submission) { s.Case.Canonical = "  " },
		} {
			sub := heldCase(o, "DELETE FROM T WHERE ID = 1")
			change(&sub)
			if _, err := b.Submit(ctx, sub); !errors.Is(err, session.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}

		// What the policy denies is not put before a reviewer at all.
		_, err = b.Submit(ctx, heldCase(o, "ALTER USER BOB ADD PROGRAMMATIC ACCESS TOKEN X"))
		var denied *session.DeniedError
		if !asError(err, &denied) || denied.Rule == "" {
			t.Errorf("minting a credential: %v", err)
		}
	})
}

// A pushed bundle survives a restart, unless the operator names another; and
// running sessions keep the one they were opened with.
func TestPushedPolicyStays(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.alice)
		_, err := s.person(w.bob).PushPolicy(ctx, policy.Demo().Format())
		wantErr(t, err, session.ErrForbidden)
		_, err = s.person(w.root).PushPolicy(ctx, []byte("-- x.cedar --\npermit(\n"))
		wantErr(t, err, session.ErrInvalid)
		digest := must[string](t)(s.person(w.root).PushPolicy(ctx, policy.Demo().Format()))
		if digest != policy.Demo().Digest() {
			t.Errorf("pushed %s", digest)
		}
		if r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission())); r.State != session.StateApproved {
			t.Errorf("under the pushed policy a session is %s", r.State)
		}
		must[session.Request](t)(s.broker(o).Submit(ctx, heldCase(o, "DELETE FROM T WHERE ID = 1")))

		if err := w.store.Close(); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct{ given, want *policy.Bundle }{{nil, policy.Demo()}, {policy.Default(), policy.Default()}, {nil, policy.Default()}} {
			store, err := NewStore(StoreConfig{Dir: w.dir, Database: w.url, Policy: test.given})
			if err != nil {
				t.Fatal(err)
			}
			if got, _, err := store.policyData(ctx); err != nil || got != test.want.Digest() {
				t.Errorf("after a restart %s is active, %v", got, err)
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
