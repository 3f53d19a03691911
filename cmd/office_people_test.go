package cmd

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// More time, an emergency, and talk about requests, from the command line.
func TestOfficePeople(t *testing.T) {
	o := newOffice(t)
	alice, bob, carol := o.signIn("alice"), o.signIn("bob"), o.signIn("carol")
	bob.In = strings.NewReader(plantedPassword + "\n")
	bob.run(ExitOK, "connection", "add", "prod", "--account", "SANDBOX", "--url", o.upstream, "--user", "JIT_SVC", "--role", "ANALYST", "--password-file", "-")

	req := alice.ask("report")
	carol.run(ExitOK, "review", req.ID, "--comment", "Which \x1b[31mreport?")
	alice.run(ExitOK, "request", "comment", req.ID, "The monthly one.")
	if out, _ := carol.run(ExitOK, "request", "show", req.ID); !strings.Contains(out, "Which") || !strings.Contains(out, "The monthly one.") || strings.Contains(out, "\x1b") {
		t.Errorf("shown:\n%s", out)
	}
	out, _ := carol.run(ExitOK, "review", req.ID, "--json")
	var doc struct {
		ID, Risk string
		Comments []struct{ Text string }
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.ID != req.ID || doc.Risk != "low" || len(doc.Comments) != 2 {
		t.Errorf("%v: %s", err, out)
	}
	carol.run(ExitUsage, "review", "--approve")
	carol.run(ExitUsage, "review", req.ID, "--keep-masks")
	carol.run(ExitUsage, "review", req.ID, "--deny", "--shape")
	carol.run(ExitUsage, "review", req.ID, "--approve", "--deny")
	alice.run(ExitDenied, "review", req.ID, "--approve") // one's own
	carol.run(ExitOK, "review", req.ID, "--approve", "--reason", "fine")

	_, vkey, err := recording.NewKey("jit-session")
	if err != nil {
		t.Fatal(err)
	}
	approved, err := alice.api().Request(t.Context(), req.ID)
	if err != nil || approved.State != session.StateApproved {
		t.Fatalf("%s, %v", approved.State, err)
	}
	opened, err := alice.api().Open(t.Context(), approved.GrantID, vkey)
	if err != nil {
		t.Fatal(err)
	}
	alice.run(ExitError, "session", "extend", "--for", "30m") // not used yet
	up, err := alice.api().ForBroker(opened.Session.ID, opened.Token).OpenUpstream(t.Context())
	if err != nil || up.ID == "" {
		t.Fatal(err)
	}
	out, _ = alice.run(ExitPending, "session", "extend", "--for", "30m", "--reason", "two to go", "--no-wait")
	longer := strings.TrimSpace(out)
	if out, _ := carol.run(ExitOK, "review", longer, "--plain"); !strings.Contains(out, "more time") || !strings.Contains(out, "two to go") || !strings.Contains(out, opened.Session.ID) {
		t.Errorf("shown:\n%s", out)
	}
	carol.run(ExitOK, "approve", longer)
	alice.run(ExitOK, "request", "wait", longer)
	ses, err := alice.api().Session(t.Context(), opened.Session.ID)
	if err != nil || !ses.Deadline.Equal(ses.FirstUseAt.Add(90*time.Minute)) {
		t.Errorf("the session ends at %s, %v", ses.Deadline, err)
	}
	alice.run(ExitUsage, "session", "extend", "--for", "0s")
	alice.run(ExitDenied, "session", "extend", opened.Session.ID, "--for", "24h") // the policy says a day in all

	alice.run(ExitUsage, "exec", "--emergency", "--reason", "x", "--", "true")
	alice.run(ExitDenied, "exec", "--connection", "prod", "--emergency", "--reason", "stuck", "--ticket", "INC-7", "--", "true")
	b, err := policy.Overlay(os.DirFS("../policy/bundles/default"), fstest.MapFS{"emergency.cedar": &fstest.MapFile{Data: []byte(`
@id("emergency") @reason("At once.") permit (principal, action == Action::"openEmergency", resource) when { context.ttlMinutes <= 30 };`)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.api().PushPolicy(t.Context(), b.Format()); err != nil {
		t.Fatal(err)
	}
	alice.run(ExitOK, "exec", "--connection", "prod", "--emergency", "--reason", "stuck", "--ticket", "INC-7", "--", "true")
	out, _ = carol.run(ExitOK, "audit", "emergencies", "--open")
	if !strings.Contains(out, "INC-7") || !strings.Contains(out, "NOT YET") {
		t.Fatalf("listed:\n%s", out)
	}
	id := strings.Fields(strings.Split(out, "\n")[1])[0]
	alice.run(ExitDenied, "audit", "emergencies", "review", id, "--reason", "all well")
	carol.run(ExitOK, "audit", "emergencies", "review", id, "--reason", "read it")
	if out, _ = carol.run(ExitOK, "audit", "emergencies", "--open", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("still open: %s", out)
	}
}
