package policy

import (
	"testing"
	"time"

	"github.com/jit-access/jit/policy/sql"
)

const emergencyRules = `
@id("emergency") @reason("On-call engineers may open a session at once.")
permit (principal in Group::"oncall", action == Action::"openEmergency", resource)
when { context.ttlMinutes <= 30 && context.role == "ANALYST" };

@id("emergency-writes") @reason("In an emergency, writes do not wait.")
forbid (principal, action == Action::"runUnattended", resource)
when { !context.emergency && context.category == "write" };
`

// Emergency access is there only where a permit names it, and never past what
// forbids the session.
func TestAttackEmergencyThatNobodyNamed(t *testing.T) {
	oncall := Subject{User: "idp|ana", Groups: []string{"oncall"}}
	admin := prod()
	admin.Role = "ACCOUNTADMIN"
	named := mustLoadOver(t, map[string]string{"emergency.cedar": emergencyRules})
	for _, tt := range []struct {
		name    string
		b       *Bundle
		sub     Subject
		set     Setting
		ttl     time.Duration
		verdict Verdict
		rule    string
	}{
		{"the shipped bundle has none", Default(), oncall, prod(), 10 * time.Minute, Deny, ruleNoEmergency},
		{"nor has one that permits everything", mustLoad(t, permitAll), oncall, prod(), 10 * time.Minute, Deny, ruleNoEmergency},
		{"named", named, oncall, prod(), 30 * time.Minute, Allow, "emergency"},
		{"another group", named, ana(), prod(), 10 * time.Minute, Deny, ruleNoEmergency},
		{"too long", named, oncall, prod(), 31 * time.Minute, Deny, ruleNoEmergency},
		{"another role", named, oncall, admin, 10 * time.Minute, Deny, ruleNoEmergency},
		{"no time", named, oncall, prod(), 0, Deny, ruleNoEmergency},
		{"what may not be opened", mustLoadOver(t, map[string]string{"emergency.cedar": emergencyRules + `
@id("suspended") @reason("Suspended.") forbid (principal in Group::"oncall", action == Action::"open", resource);`}), oncall, prod(), time.Minute, Deny, "suspended"},
		{"a forbid of everything", mustLoadOver(t, map[string]string{"emergency.cedar": emergencyRules + `
@id("stop") @reason("Stop.") forbid (principal, action, resource);`}), oncall, prod(), time.Minute, Deny, "stop"},
	} {
		if got := tt.b.OpenEmergency(tt.sub, tt.set, tt.ttl); got.Verdict != tt.verdict || got.Rule != tt.rule {
			t.Errorf("%s: %s by %s", tt.name, got.Verdict, got.Rule)
		}
	}
}

// A rule sees whether the session is one of an emergency; MaskAll hides what is
// readable otherwise.
func TestEmergencyAndMaskAllInStatements(t *testing.T) {
	b := mustLoadOver(t, map[string]string{"x.cedar": `
@id("clear") @reason("In an emergency, addresses are shown.")
permit (principal, action == Action::"readClear", resource == Class::"pii.email") when { context.emergency };
`})
	in := Input{Subject: ana(), Setting: prod(), Statements: []sql.Statement{query(direct("EMAIL"))}}
	masked := func() bool { return b.Statement(in).Masks[0][0].Hides() }
	if !masked() {
		t.Error("shown without an emergency")
	}
	in.Setting.Emergency = true
	if masked() {
		t.Error("hidden in an emergency")
	}
	in.MaskAll = true
	if r := b.Statement(in); !r.Masks[0][0].Hides() || len(r.Clear) != 0 {
		t.Errorf("shown with all masks kept: %+v", r)
	}
}

func TestExtend(t *testing.T) {
	unattended := Subject{User: "idp|dave", Groups: []string{"jit-unattended"}}
	admin := prod()
	admin.Role = "ACCOUNTADMIN"
	named := mustLoadOver(t, map[string]string{"x.cedar": `
@id("go-on") @reason("Up to two hours.")
permit (principal, action == Action::"extendUnattended", resource) when { context.ttlMinutes <= 120 };
`})
	for _, tt := range []struct {
		name      string
		b         *Bundle
		sub       Subject
		set       Setting
		ttl       time.Duration
		verdict   Verdict
		rule      string
		approvals int
	}{
		{"opening without a person is not extending without one", Default(), unattended, prod(), time.Hour, Hold, ruleAsk, 1},
		{"nor is permitting everything", mustLoad(t, permitAll), ana(), prod(), time.Hour, Hold, ruleAsk, 1},
		{"the longest there is", Default(), ana(), prod(), 25 * time.Hour, Deny, "open-too-long", 0},
		{"named", named, ana(), prod(), 2 * time.Hour, Allow, "go-on", 0},
		{"named, and longer", named, ana(), prod(), 3 * time.Hour, Hold, ruleAsk, 1},
		{"what takes two people to open takes two to extend", named, ana(), admin, time.Hour, Hold, "open-admin-role", 2},
	} {
		if got := tt.b.Extend(tt.sub, tt.set, tt.ttl); got.Verdict != tt.verdict || got.Rule != tt.rule || got.Approvals != tt.approvals {
			t.Errorf("%s: %s by %s, %d approvals", tt.name, got.Verdict, got.Rule, got.Approvals)
		}
	}
}
