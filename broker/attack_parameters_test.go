package broker

import (
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
)

// What a date literal means is in a parameter. The agent sends the approved
// text with another one.
func TestAgentChangesTheDateFormatAfterTheApproval(t *testing.T) {
	const held = "DELETE FROM app.public.junk WHERE ts < '01/12/2026'"
	r := newRig(t, func(c *Config) { c.Policy = policy.Default(); c.Hold = 50 * time.Millisecond })
	r.b.analyze = sql.Analyze
	tk := r.login()
	wantRefusal(t, r.query(tk, "", held, `"parameters":{"DATE_INPUT_FORMAT":"MM/DD/YYYY"}`), "003001", "JIT-3001")
	if _, err := r.desk.Decide(t.Context(), <-r.desk.filed, session.Choice{Outcome: session.OutcomeApprove}); err != nil {
		t.Fatal(err)
	}
	r.query(tk, "", held, `"parameters":{"DATE_INPUT_FORMAT":"DD/MM/YYYY"}`)
	for _, q := range r.up.seen() {
		if strings.Contains(q.SQL, held) {
			t.Errorf("it ran with other parameters than were asked for: %v", q.Parameters["DATE_INPUT_FORMAT"])
		}
	}
}
