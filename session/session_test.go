package session_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/jit-access/jit/session"
)

func TestNamesRoundTrip(t *testing.T) {
	for s := session.StatePending; s <= session.StateExpired; s++ {
		if got, err := session.ParseState(s.String()); err != nil || got != s {
			t.Errorf("ParseState(%q) = %v, %v", s.String(), got, err)
		}
	}
	for p := session.PhaseClosed; p <= session.PhaseSealed; p++ {
		if got, err := session.ParsePhase(p.String()); err != nil || got != p {
			t.Errorf("ParsePhase(%q) = %v, %v", p.String(), got, err)
		}
	}
	for r := session.ReuseOnce; r <= session.ReuseWindow; r++ {
		if got, err := session.ParseReuse(r.String()); err != nil || got != r {
			t.Errorf("ParseReuse(%q) = %v, %v", r.String(), got, err)
		}
	}
	for o := session.OutcomeDeny; o <= session.OutcomeApprove; o++ {
		if got, err := session.ParseOutcome(o.String()); err != nil || got != o {
			t.Errorf("ParseOutcome(%q) = %v, %v", o.String(), got, err)
		}
	}
	for k := session.RequestSession; k <= session.RequestExtension; k++ {
		if got, err := session.ParseRequestKind(k.String()); err != nil || got != k {
			t.Errorf("ParseRequestKind(%q) = %v, %v", k.String(), got, err)
		}
	}
}

func TestUnknownNamesAreInvalid(t *testing.T) {
	for _, s := range []string{"", "Approve", "approved ", "invalid", "unknown"} {
		if _, err := session.ParseOutcome(s); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("ParseOutcome(%q) = %v, want ErrInvalid", s, err)
		}
		if _, err := session.ParseRequestKind(s); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("ParseRequestKind(%q) = %v, want ErrInvalid", s, err)
		}
	}
	if got := session.State(200).String(); got != "unknown" {
		t.Errorf("State(200) = %q", got)
	}
	if !session.State(200).Ended() {
		t.Error("an unknown state must permit nothing")
	}
}

func TestZeroValuesPermitNothing(t *testing.T) {
	var (
		d session.Decision
		s session.Session
		r session.Request
	)
	if d.Outcome != session.OutcomeDeny {
		t.Error("the zero decision approves")
	}
	if s.Phase != session.PhaseClosed {
		t.Error("the zero session is open")
	}
	if r.Kind != session.RequestInvalid || r.State != session.StatePending {
		t.Error("the zero request is something")
	}
}

// Every field that decides what runs and where must change the digest: moving
// text from one field to the next must too.
func TestDigestBindsEveryField(t *testing.T) {
	base := session.Case{
		SessionID: "s", Canonical: "SELECT 1", Shape: "SELECT ?", Binds: "[]", Role: "R",
		Warehouse: "W", Database: "D", Schema: "S", Policy: "p",
	}
	full := []string{"SessionID", "Canonical", "Binds", "Role", "Warehouse", "Database", "Schema", "Policy"}
	for _, field := range full {
		c := base
		set(&c, field)
		if c.Digest() == base.Digest() {
			t.Errorf("Digest ignores %s", field)
		}
	}
	for _, field := range []string{"SessionID", "Shape", "Binds", "Role", "Warehouse", "Database", "Schema", "Policy"} {
		c := base
		set(&c, field)
		if c.ShapeDigest() == base.ShapeDigest() {
			t.Errorf("ShapeDigest ignores %s", field)
		}
	}
	other := base
	other.Canonical = "SELECT 2" // of the same shape
	if other.ShapeDigest() != base.ShapeDigest() {
		t.Error("ShapeDigest depends on the literals")
	}
	moved := base
	moved.Role, moved.Warehouse = base.Role+base.Warehouse, ""
	if moved.Digest() == base.Digest() {
		t.Error("text moved between fields keeps the digest")
	}
	if base.Digest() == base.ShapeDigest() {
		t.Error("the two digests are not separated")
	}
}

func set(c *session.Case, field string) {
	f := reflect.ValueOf(c).Elem().FieldByName(field)
	f.SetString(f.String() + "x")
}

func TestErrorsKeepTheirSentinel(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want error
		text string
	}{
		{&session.DeniedError{Rule: "no-prod", Reason: "production is closed"}, session.ErrDenied, "denied by policy no-prod: production is closed"},
		{&session.DeniedError{Rule: "no-prod"}, session.ErrDenied, "denied by policy no-prod"},
		{&session.UpstreamError{Code: "390100", Message: "bad password"}, session.ErrUpstream, "logging in to snowflake: bad password (code 390100)"},
		{&session.UpstreamError{Message: "no answer"}, session.ErrUpstream, "logging in to snowflake: no answer"},
		{session.Refuse(session.ErrNotFound, "no connection %q", "x"), session.ErrNotFound, `no connection "x"`},
	} {
		wrapped := fmt.Errorf("opening: %w", tt.err)
		if !errors.Is(wrapped, tt.want) {
			t.Errorf("%v is not %v", tt.err, tt.want)
		}
		if tt.err.Error() != tt.text {
			t.Errorf("text %q, want %q", tt.err.Error(), tt.text)
		}
	}
}
