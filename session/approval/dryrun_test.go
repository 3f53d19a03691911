package approval

import (
	"testing"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
)

// A bundle in dry run travels with new sessions, and decides nothing.
func TestDryRunPolicy(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		if o := openSessionFor(t, w, s, w.alice); o.DryRun != nil {
			t.Error("a dry run that nobody started")
		}
		_, err := s.person(w.bob).DryRunPolicy(ctx, policy.Demo().Format())
		wantErr(t, err, session.ErrForbidden)
		_, err = s.person(w.root).DryRunPolicy(ctx, []byte("-- x.cedar --\npermit(\n"))
		wantErr(t, err, session.ErrInvalid)
		digest := must[string](t)(s.person(w.root).DryRunPolicy(ctx, policy.Demo().Format()))

		if r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission())); r.State != session.StatePending {
			t.Errorf("the bundle in dry run decided: the session is %s", r.State)
		}
		o := openSessionFor(t, w, s, w.carol)
		trial, err := policy.Parse(o.DryRun)
		if err != nil || trial.Digest() != digest || o.Session.PolicyDigest == digest {
			t.Errorf("the session carries %v (%v), active %s", trial, err, o.Session.PolicyDigest)
		}
		must[string](t)(s.person(w.root).DryRunPolicy(ctx, nil))
		if o := openSessionFor(t, w, s, w.carol); o.DryRun != nil {
			t.Error("the dry run goes on after its end")
		}
		must[string](t)(s.person(w.root).DryRunPolicy(ctx, policy.Demo().Format()))
		must[string](t)(s.person(w.root).PushPolicy(ctx, policy.Demo().Format()))
		if o := openSessionFor(t, w, s, w.carol); o.DryRun != nil || o.Session.PolicyDigest != digest {
			t.Error("the bundle is active and still in dry run")
		}
	})
}
