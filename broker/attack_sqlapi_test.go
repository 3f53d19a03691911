package broker

import (
	"testing"

	"github.com/google/uuid"
)

// TestAttackSessionsUsedUpByOldRequestIDs sends a request id again that the SQL
// API has forgotten and the session it ran in has not. It is refused, and the
// session is there for the next request: a client that retries late must not use
// up the logins one by one.
func TestAttackSessionsUsedUpByOldRequestIDs(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Policy = anything{} })
	id := uuid.NewString()
	if a := r.rest("POST", statements+"?requestId="+id, body{"statement": "select 1"}); a.Status != 200 {
		t.Fatalf("got %s", a.Raw)
	}
	for range 3 {
		r.b.api.mu.Lock()
		delete(r.b.api.calls, id) // as forget does when it is old
		r.b.api.mu.Unlock()
		wantAPI(t, r.rest("POST", statements+"?requestId="+id, body{"statement": "select 1"}), 422, "JIT-2004")
	}
	r.b.mu.Lock()
	logins := len(r.b.logins)
	r.b.mu.Unlock()
	if logins != 1 {
		t.Errorf("%d sessions for one request", logins)
	}
	if q := r.up.seen(); len(q) != 1 {
		t.Errorf("%d statements went upstream", len(q))
	}
}
