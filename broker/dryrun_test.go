package broker

import (
	"testing"

	"github.com/google/uuid"

	"github.com/jit-access/jit/policy"
)

// denyAll refuses every statement.
type denyAll struct{ firstWord }

func (denyAll) Digest() string { return "trial-policy" }
func (denyAll) Statement(policy.Input) policy.Ruling {
	return policy.Ruling{Rule: "trial-deny", Reason: "No more."}
}

func TestDryRunDecidesNothingAndIsRecorded(t *testing.T) {
	for name, c := range map[string]struct {
		trial    Rules
		recorded bool
	}{
		"a stricter bundle": {denyAll{}, true},
		"the same rules":    {firstWord{}, false},
		"none":              {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(cfg *Config) { cfg.DryRun = c.trial })
			if a := r.query(r.login(), uuid.NewString(), "select 1"); !a.Success {
				t.Fatalf("a bundle in dry run refused: %s", a.Raw)
			}
			if n := len(r.up.seen()); n != 1 {
				t.Errorf("%d statements forwarded", n)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			found := false
			for _, e := range r.events {
				if e.SQL == nil || e.SQL.DryRun == nil {
					continue
				}
				found = true
				if d := e.SQL.DryRun; d.Policy != "trial-policy" || d.Verdict != "deny" || d.Rule != "trial-deny" || d.Masks {
					t.Errorf("recorded %+v", d)
				}
			}
			if found != c.recorded {
				t.Errorf("recorded: %v, want %v", found, c.recorded)
			}
		})
	}
}
