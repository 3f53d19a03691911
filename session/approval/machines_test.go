package approval

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/jit-access/jit/session"
)

const machineAudience = "https://jit.example.test"

func TestMachineIdentityRules(t *testing.T) {
	good := MachineIdentity{
		Name: "etl", Issuer: "https://token.actions.githubusercontent.com", Audience: machineAudience,
		Match: map[string]string{"sub": "repo:myorg/etl:ref:refs/heads/main"}, Groups: []string{"analysts"},
	}
	for _, c := range []struct {
		what    string
		change  func(*MachineIdentity)
		refused string // empty: accepted
	}{
		{"a whole subject", func(*MachineIdentity) {}, ""},
		{"one owner's subjects", func(m *MachineIdentity) { m.Match["sub"] = "repo:myorg/*" }, ""},
		{"a GitLab group", func(m *MachineIdentity) { m.Match["sub"] = "project_path:mygroup/*" }, ""},
		{"a namespace's service accounts", func(m *MachineIdentity) { m.Match["sub"] = "system:serviceaccount:etl:*" }, ""},
		{"a repository", func(m *MachineIdentity) { m.Match = map[string]string{"repository": "myorg/etl"} }, ""},
		{"one owner's repositories", func(m *MachineIdentity) { m.Match = map[string]string{"repository": "myorg/*", "ref": "*"} }, ""},
		{"a client", func(m *MachineIdentity) { m.Match = map[string]string{"client_id": "ci-bot"} }, ""},
		{"nothing matched", func(m *MachineIdentity) { m.Match = nil }, "pin"},
		{"a claim that pins nothing", func(m *MachineIdentity) { m.Match = map[string]string{"ref": "refs/heads/main"} }, "pin"},
		{"everybody's subjects", func(m *MachineIdentity) { m.Match["sub"] = "*" }, "pin"},
		{"everybody's repositories as subjects", func(m *MachineIdentity) { m.Match["sub"] = "repo:*/*" }, "pin"},
		{"everybody's, with an end", func(m *MachineIdentity) { m.Match["sub"] = "repo:*/etl:ref:refs/heads/main" }, "pin"},
		{"owners that end alike", func(m *MachineIdentity) { m.Match = map[string]string{"repository": "*org/etl"} }, "pin"},
		{"owners that begin alike", func(m *MachineIdentity) { m.Match = map[string]string{"repository": "my*/etl"} }, "pin"},
		{"a class instead of a star", func(m *MachineIdentity) { m.Match["sub"] = "repo:[a-z]yorg/etl" }, "pin"},
		{"a broken pattern", func(m *MachineIdentity) { m.Match["sub"] = "repo:myorg/[" }, "cannot be read"},
		{"an empty pattern", func(m *MachineIdentity) { m.Match["ref"] = "" }, "cannot be read"},
		{"no audience", func(m *MachineIdentity) { m.Audience = "" }, "audience"},
		{"people's audience", func(m *MachineIdentity) { m.Audience = clientID }, "people"},
		{"administrators", func(m *MachineIdentity) { m.Groups = []string{DefaultAdminGroup} }, "only people"},
		{"an issuer in the clear", func(m *MachineIdentity) { m.Issuer = "http://idp.example.com" }, "https"},
		{"a name for a terminal", func(m *MachineIdentity) { m.Name = "etl\x1b[2J" }, "letters"},
	} {
		m := good
		m.Match = map[string]string{"sub": good.Match["sub"]}
		c.change(&m)
		err := m.check([]string{clientID}, DefaultAdminGroup)
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: got %v, want %q", c.what, err, c.refused)
		}
	}
}

// ciToken is the token of a GitHub job: the claims are those of GitHub's
// documentation of its OpenID Connect provider.
func ciToken(t *testing.T, w *world, change func(map[string]any)) string {
	t.Helper()
	now := w.clock.now()
	claims := map[string]any{
		"iss": w.idp.URL, "aud": machineAudience, "sub": "repo:myorg/etl:ref:refs/heads/main", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"repository": "myorg/etl", "repository_owner": "myorg", "repository_id": "74", "ref": "refs/heads/main", "ref_protected": "true",
		"workflow": "nightly", "run_id": "1234", "event_name": "schedule", "runner_environment": "github-hosted", "actor": "alice",
	}
	if change != nil {
		change(claims)
	}
	return w.idp.sign(t, w.idp.key, claims)
}

func TestMachines(t *testing.T) {
	w := newWorld(t, Limits{})
	key := signingKey(t, "op")
	p := newProvider(t, key)
	ci, people := w.idp, p // CI's issuer is the small one, whose tokens this test writes itself
	d := newDoor(t, w, func(c *Config) {
		c.Issuer = people.issuer
		c.Machines = []MachineIdentity{
			{Name: "deploy", Issuer: ci.URL, Audience: machineAudience, Match: map[string]string{"repository": "myorg/deploy"}, Groups: []string{"deployers"}},
			{Name: "etl-main", Issuer: ci.URL, Audience: machineAudience, Match: map[string]string{"repository": "myorg/*", "ref": "refs/heads/main"}, Groups: []string{"analysts"}},
			{Name: "etl-any", Issuer: ci.URL, Audience: machineAudience, Match: map[string]string{"sub": "repo:myorg/etl:*"}},
			{Name: "never", Issuer: ci.URL, Audience: machineAudience, Match: map[string]string{"repository": "myorg/etl", "actor": "bob"}},
			{Name: "bot", Issuer: people.issuer, Audience: machineAudience, Match: map[string]string{"client_id": "ci-bot"}, Groups: []string{"analysts"}},
		}
	})
	is := func(what, token, name string) {
		t.Helper()
		got := d.ask(t, token)
		if got.Status != http.StatusOK || got.Principal.Subject != name || got.Principal.Issuer != session.MachineIssuer || got.Principal.Email != "" {
			t.Errorf("%s: got %s, want the machine %s", what, got, name)
		}
	}
	set := func(pairs ...any) string {
		return ciToken(t, w, func(c map[string]any) {
			for i := 0; i < len(pairs); i += 2 {
				c[pairs[i].(string)] = pairs[i+1]
			}
		})
	}
	is("the first rule that fits", set(), "etl-main")
	is("an earlier rule", set("repository", "myorg/deploy"), "deploy")
	is("a later rule", set("ref", "feature", "sub", "repo:myorg/etl:environment:dev"), "etl-any")
	d.refuses(t, "no rule fits", set("repository", "evil/etl", "sub", "repo:evil/etl:ref:refs/heads/main"), "No rule")
	d.refuses(t, "a star stops at a slash", set("repository", "myorg/etl/x", "sub", "repo:myorg/etl/x"), "No rule")
	d.refuses(t, "a claim is missing", ciToken(t, w, func(c map[string]any) { delete(c, "repository"); delete(c, "sub"); c["sub"] = "x" }), "No rule")
	d.refuses(t, "a list is not a value", set("repository", []string{"myorg/etl"}, "sub", "x"), "No rule")
	d.refuses(t, "another audience", set("aud", "https://elsewhere.example"), "another audience")
	d.refuses(t, "people's audience from CI's issuer", set("aud", clientID), "another audience")
	d.refuses(t, "expired", set("exp", w.clock.now().Add(-time.Second).Unix()), "expired")
	d.refuses(t, "no subject", ciToken(t, w, func(c map[string]any) { delete(c, "sub") }), "claims")
	d.refuses(t, "another issuer's signature", forge(t, jose.RS256, key.Key, "op", claimsOf(t, set())), "not valid")
	d.refuses(t, "CI's claims from people's issuer", forge(t, jose.RS256, key.Key, "op", func() map[string]any {
		c := claimsOf(t, set())
		c["iss"] = people.issuer
		return c
	}()), "No rule")

	is("client credentials at the people's provider", people.machineToken(machineAudience), "bot")
	d.refuses(t, "client credentials for another audience", people.machineToken(machineAudience+"/other"), "another audience")
	d.admits(t, "people beside machines", people.idToken(clientID, "alice"), "analysts", "night-shift")
}

// A machine asks like a person and is decided on by people; it decides and
// administers nothing, whatever groups it is in.
func TestAMachineNeverDecidesOrAdministers(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		machine := session.Principal{Issuer: session.MachineIssuer, Subject: "etl", Groups: []string{"analysts", "jit-reviewers", "security", DefaultAdminGroup}}
		if _, over := s.(httpSide); over {
			server, err := NewServer(Config{Store: w.store, Issuer: w.idp.URL, ClientID: clientID, Logger: w.log.logger(), Machines: []MachineIdentity{
				{Name: "etl", Issuer: w.idp.URL, Audience: machineAudience, Match: map[string]string{"sub": "etl"}, Groups: []string{"analysts", "jit-reviewers", "security"}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			w.web.Config.Handler = server.Handler()
		}
		o := openSessionFor(t, w, s, machine)
		if o.Session.Principal.ID() != "machine|etl" || o.Session.Principal.Display() != "etl" {
			t.Errorf("the session is %s's", o.Session.Principal.ID())
		}
		r := must[session.Request](t)(s.person(w.alice).Submit(ctx, sessionSubmission()))
		_, err := s.person(machine).Decide(ctx, r.ID, session.Choice{Outcome: session.OutcomeApprove})
		wantErr(t, err, session.ErrNotFound) // it does not even see it
		_, err = s.person(machine).PushPolicy(ctx, []byte("x"))
		wantErr(t, err, session.ErrForbidden)
		_, err = s.person(machine).AddConnection(ctx, Connection{Name: "mine", Account: "a", Role: "R"}, NewCredential{Kind: "password"}, true)
		wantErr(t, err, session.ErrForbidden)
		wantErr(t, s.person(machine).RemoveConnection(ctx, "prod"), session.ErrForbidden)
	})
}
