package broker

import (
	"strings"
	"testing"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
)

// estimating is a policy with a rule about the estimate; it denies.
type estimating struct{ firstWord }

func (estimating) Statement(in policy.Input) policy.Ruling {
	if in.Estimate != nil {
		_, _ = in.Estimate()
	}
	return policy.Ruling{Verdict: policy.Deny, Rule: "no", Rest: make([]policy.ColumnMask, len(in.Statements)), Masks: make([][]policy.ColumnMask, len(in.Statements))}
}

// The broker asks for a plan before it knows the verdict. What it asks about
// must be one query: in a chain, EXPLAIN belongs to the first step alone.
func TestAgentRunsTheSecondStepOfAChainByItsEstimate(t *testing.T) {
	for _, text := range []string{
		"SELECT 1 ->> DELETE FROM app.public.customers",
		"DELETE FROM app.public.customers",
		"CALL app.public.p()",
		"BEGIN DELETE FROM app.public.customers; END",
		"EXECUTE IMMEDIATE 'DELETE FROM app.public.customers'",
	} {
		r := newRig(t, func(c *Config) { c.Policy = estimating{} })
		r.b.analyze = sql.Analyze
		tk := r.login()
		a := r.query(tk, "", text)
		if a.Success {
			t.Errorf("it ran: %s", a.Raw)
		}
		for _, q := range r.up.seen() {
			if !q.Describe && strings.Contains(q.SQL, text) {
				t.Errorf("denied, and sent upstream: %s (events %v)", q.SQL, r.kinds())
			}
		}
	}
}
