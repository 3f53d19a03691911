package broker

import (
	"testing"
	"time"

	"github.com/jit-access/jit/policy/sql"
)

// Statements that come at once need the same relation: what one of them has learnt
// between another's analysis and its asking is worth analysing again, and nothing
// is asked twice.
func TestMissingLearntMeanwhile(t *testing.T) {
	r := newRig(t)
	r.login()
	var l *login
	r.b.mu.Lock()
	for l = range r.b.logins {
	}
	r.b.mu.Unlock()
	name := sql.ObjectName{Database: "APP", Schema: "PUBLIC", Name: "CUSTOMERS"}
	before := len(r.up.seen())
	l.catalog.put(name, learnt{sql.Relation{Kind: sql.ObjectTable}, true, false, time.Now()})
	if !r.b.fetchMissing(t.Context(), l, []sql.ObjectName{name}) {
		t.Error("what another statement has learnt is not used")
	}
	l.catalog.put(name, learnt{at: time.Now()})
	if r.b.fetchMissing(t.Context(), l, []sql.ObjectName{name}) {
		t.Error("what is not to be had is asked for again and again")
	}
	if n := len(r.up.seen()) - before; n != 0 {
		t.Errorf("%d questions", n)
	}
}
