package approval

import (
	"strings"
	"testing"

	"github.com/jit-access/jit/session"
)

// Two agents of one person are two sessions: neither sees, uses or ends what is
// the other's, and events and audit tell them apart.
func TestAgentsOfOnePersonStayApart(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		open := func(command ...string) (session.Opened, brokerSide) {
			t.Helper()
			sub := sessionSubmission()
			sub.Agent = session.Agent{Command: command, Host: "laptop", Version: "1"}
			r := must[session.Request](t)(s.person(w.dave).Submit(ctx, sub))
			_, vkey := recordingKey(t)
			o := must[session.Opened](t)(s.person(w.dave).Open(ctx, r.GrantID, vkey))
			return o, s.broker(o)
		}
		a, brokerA := open("/usr/bin/claude", "--task", "report")
		b, brokerB := open("/opt/agents/claude", "--task", "load")
		c, _ := open("/usr/bin/dbt")
		if a.Session.Agent.Command[2] != "report" || b.Session.Agent.Command[2] != "load" || c.Session.Agent.Command[0] != "/usr/bin/dbt" {
			t.Errorf("the sessions' agents: %v %v %v", a.Session.Agent, b.Session.Agent, c.Session.Agent)
		}

		// The same statement of both is two requests, and an approval serves one.
		held := must[session.Request](t)(brokerA.Submit(ctx, heldCase(a, "DELETE FROM APP.PUBLIC.T")))
		other := must[session.Request](t)(brokerB.Submit(ctx, heldCase(b, "DELETE FROM APP.PUBLIC.T")))
		if held.ID == other.ID || held.Case.Digest() == other.Case.Digest() {
			t.Error("one request serves two agents")
		}
		must[session.Request](t)(s.person(w.bob).Decide(ctx, held.ID, session.Choice{Outcome: session.OutcomeApprove, Reuse: session.ReuseShape, Digest: held.Case.Digest()}))
		_, err := brokerB.Redeem(ctx, held.ID, held.Case.Digest())
		wantErr(t, err, session.ErrNotFound)
		_, err = brokerB.Redeem(ctx, other.ID, other.Case.Digest())
		if err == nil {
			t.Error("the other agent's request is approved too")
		}
		_, err = brokerB.Request(ctx, held.ID)
		wantErr(t, err, session.ErrNotFound)
		_, err = brokerB.Session(ctx, a.Session.ID)
		wantErr(t, err, session.ErrNotFound)
		must[session.Decision](t)(brokerA.Redeem(ctx, held.ID, held.Case.Digest()))

		// Ending one leaves the other.
		up := must[session.Upstream](t)(brokerA.OpenUpstream(ctx))
		wantErr(t, brokerB.CloseUpstream(ctx, up.ID), session.ErrNotFound)
		if err := s.person(w.dave).Revoke(ctx, a.Session.ID, "enough"); err != nil {
			t.Fatal(err)
		}
		must[session.Upstream](t)(brokerB.OpenUpstream(ctx))

		rows, err := w.store.db.read.QueryContext(ctx, `SELECT actor_session || ' ' || action FROM audit WHERE actor_id = $1 ORDER BY id`, w.dave.ID())
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(must[[]string](t)(scanStrings(rows)), "\n")
		for _, want := range []string{a.Session.ID + " request.submit", b.Session.ID + " request.submit", a.Session.ID + " upstream.open", b.Session.ID + " upstream.open"} {
			if !strings.Contains(all, want) {
				t.Errorf("the audit does not say %q:\n%s", want, all)
			}
		}
		rows, err = w.store.db.read.QueryContext(ctx, `SELECT detail FROM audit WHERE action = 'request.submit' AND actor_session = '' ORDER BY id`)
		if err != nil {
			t.Fatal(err)
		}
		asked := strings.Join(must[[]string](t)(scanStrings(rows)), "\n")
		if strings.Count(asked, `"agent":"claude"`) != 2 || strings.Count(asked, `"agent":"dbt"`) != 1 {
			t.Errorf("the audit of the requests does not name the agents:\n%s", asked)
		}
	})
}
