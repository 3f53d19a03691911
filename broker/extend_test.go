package broker

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

func (r *rig) left() time.Duration {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	return r.b.deadline.left(time.Now())
}

// A session goes on past its deadline once the server says so, and not because
// somebody else says so, or the recording cannot say it.
func TestExtended(t *testing.T) {
	r := newRig(t)
	tk := r.login()
	say := func(s session.Session) {
		r.account.mu.Lock()
		r.account.session = s
		before := r.account.asked
		r.account.mu.Unlock()
		r.desk.events <- session.Event{Kind: session.EventSessionExtended, SessionID: "sess-1"}
		eventually(t, "the server is asked", func() bool { r.account.mu.Lock(); defer r.account.mu.Unlock(); return r.account.asked > before })
	}
	now := time.Now()
	open := session.Session{ID: "sess-1", Phase: session.PhaseOpen, FirstUseAt: now, AsOf: now, Deadline: now.Add(3 * time.Hour)}
	revoked, unused, other := open, open, open
	revoked.Phase, unused.FirstUseAt, other.ID = session.PhaseRevoked, time.Time{}, "sess-2"
	for _, s := range []session.Session{revoked, unused, other} {
		say(s)
	}
	r.desk.events <- session.Event{Kind: session.EventSessionExtended, SessionID: "sess-2"}
	say(open)
	eventually(t, "a later deadline", func() bool { return r.left() > 2*time.Hour })
	if a := r.query(tk, "", "select 1"); !a.Success {
		t.Errorf("got %s", a.Raw)
	}
	extended := 0
	r.mu.Lock()
	for _, e := range r.events {
		if e.Kind == recording.KindExtended {
			extended++
			if !e.Session.Deadline.Equal(open.Deadline) {
				t.Errorf("recorded %+v", e.Session)
			}
		}
	}
	refused := make(chan struct{}, 1)
	r.refuse = func(recording.Event) error {
		select {
		case refused <- struct{}{}:
		default: // the end of the test
		}
		return os.ErrClosed
	}
	r.mu.Unlock()
	if extended != 1 {
		t.Errorf("%d extensions recorded", extended)
	}
	longer := open
	longer.Deadline = now.Add(30 * time.Hour)
	say(longer)
	<-refused
	if r.left() > 4*time.Hour {
		t.Error("extended without a record")
	}
}

// A machine whose clock is hours off neither keeps a session nor loses one.
func TestAttackClockOfTheBroker(t *testing.T) {
	for name, skew := range map[string]time.Duration{"behind": -5 * time.Hour, "ahead": 5 * time.Hour, "right": 0} {
		now := time.Now()
		server := now.Add(-skew) // what the server's clock shows when this one shows now
		d := deadlineOf(now, session.Session{AsOf: server, Deadline: server.Add(time.Hour)})
		if left := d.left(now); left != time.Hour {
			t.Errorf("%s: %s left", name, left)
		}
		if left := d.left(now.Add(time.Hour)); left > 0 {
			t.Errorf("%s: %s left after an hour", name, left)
		}
	}
}

// An approval with every mask kept shows nothing of what the person may read in
// clear otherwise; a plain one shows it.
func TestHoldApprovedWithMasksKept(t *testing.T) {
	rules, err := policy.Overlay(os.DirFS("../policy/bundles/default"), fstest.MapFS{"more.cedar": &fstest.MapFile{Data: []byte(`
@id("clear") @reason("They answer mail.") permit (principal, action == Action::"readClear", resource == Class::"pii.email");
@id("look") @reason("A person looks at every query.")
forbid (principal, action == Action::"runUnattended", resource) when { context.category == "query" };`)}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *Config) {
		c.Policy, c.Subject = rules, policy.Subject{User: "idp|dev", Groups: []string{"analysts"}}
		c.Session.Emergency = true
	})
	r.up.setAnswer(func(seenQuery) (int, string) { return 200, customers })
	tk := r.login()
	for _, keep := range []bool{false, true} {
		request, final := r.held(tk, "", "select ID, EMAIL, SSN from customers")
		r.desk.mu.Lock()
		r.desk.keepMasks = keep
		r.desk.mu.Unlock()
		r.decide(request, session.OutcomeApprove)
		a := <-final
		if !a.Success || strings.Contains(a.Raw, "planted-ada") == keep || strings.Contains(a.Raw, "987654321") {
			t.Errorf("keep %v: %s", keep, a.Raw)
		}
	}
	var kept []bool
	for _, e := range r.events {
		if e.Decision != nil {
			kept = append(kept, e.Decision.KeepMasks)
		}
		if e.SQL != nil && !e.SQL.Emergency {
			t.Error("a statement of an emergency is not recorded as one")
		}
	}
	if len(kept) != 2 || kept[0] || !kept[1] {
		t.Errorf("recorded %v", kept)
	}
}
