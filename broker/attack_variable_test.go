package broker

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
)

// The text a reviewer approves names a session variable; the agent sets the
// variable to something else before it uses the approval.
func TestAgentChangesTheVariableAfterTheApproval(t *testing.T) {
	for _, c := range []struct{ first, second, held string }{
		{"SET s = 'SELECT 1'", "SET s = 'DELETE FROM app.public.payroll'", "EXECUTE IMMEDIATE $s"},
		{"SET t = 'app.public.junk'", "SET t = 'app.public.payroll'", "DELETE FROM IDENTIFIER($t)"},
		{"SET n = 1", "SET n = 1000000", "DELETE FROM app.public.junk WHERE id < $n"},
	} {
		t.Run(c.held, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Policy = policy.Default(); c.Hold = 50 * time.Millisecond })
			r.b.analyze = sql.Analyze
			tk := r.login()
			if a := r.query(tk, "", c.first); !a.Success {
				t.Fatalf("%s: %s", c.first, a.Raw)
			}
			wantRefusal(t, r.query(tk, "", c.held), "003001", "JIT-3001")
			id := <-r.desk.filed
			seen, _ := json.Marshal(r.desk.requests[id].Case)
			t.Logf("the reviewer saw %s", seen)
			if _, err := r.desk.Decide(t.Context(), id, session.Choice{Outcome: session.OutcomeApprove}); err != nil {
				t.Fatal(err)
			}
			if a := r.query(tk, "", c.second); !a.Success {
				t.Fatalf("%s: %s", c.second, a.Raw)
			}
			a := r.query(tk, "", c.held)
			for _, q := range r.up.seen() {
				if strings.Contains(q.SQL, c.held) {
					t.Errorf("%s ran with the other value under the approval of the first: %.80s", c.held, a.Raw)
				}
			}
		})
	}
}
