package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jit-access/jit/policy/sql"
)

// Result is how one test of a bundle went.
type Result struct {
	Case        Case
	Explanation Explanation
	// Wrong says what is not as expected; empty if the test passed.
	Wrong []string
}

// Test runs the tests of the bundle.
func (b *Bundle) Test() []Result {
	var out []Result
	for _, c := range b.tests {
		out = append(out, b.try(c))
	}
	return out
}

func (b *Bundle) try(c Case) Result {
	x := b.Explain(c.SQL, Input{Subject: c.Subject, Setting: c.Setting}, c.Catalog)
	r := Result{Case: c, Explanation: x}
	if got := x.Ruling; got.Verdict != c.Verdict {
		r.Wrong = append(r.Wrong, fmt.Sprintf("the verdict is %v by %s, not %v", got.Verdict, got.Rule, c.Verdict))
	} else if c.Rule != "" && got.Rule != c.Rule {
		r.Wrong = append(r.Wrong, fmt.Sprintf("the rule is %s, not %s", got.Rule, c.Rule))
	}
	if got := x.Masked(); c.Masked != nil && !slices.Equal(got, c.Masked) {
		r.Wrong = append(r.Wrong, fmt.Sprintf("masked are [%s], not [%s]", strings.Join(got, ", "), strings.Join(c.Masked, ", ")))
	}
	return r
}

func outputName(s *sql.Statement, n int) string {
	if n < len(s.Outputs) && s.Outputs[n].Name != "" {
		return s.Outputs[n].Name
	}
	return fmt.Sprintf("$%d", n+1)
}
