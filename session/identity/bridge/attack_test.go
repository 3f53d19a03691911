package bridge

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Somebody begins a sign-in and sends the link to the identity provider, a
// genuine one, to a person who is signed in there: their browser answers without
// a question. Whoever began must not go on as that person.
func TestAttackAnsweredBySomebodyElse(t *testing.T) {
	w := newWorld(t)
	c := w.begin()
	attacker, victim := w.visitor(), w.visitor()
	to := attacker.toProvider(c)
	status, _, confirm := victim.post("/saml/acs", victim.response(to, ""))
	if status != http.StatusSeeOther {
		t.Fatalf("status %d", status)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	relay := u.Query().Get("RelayState")
	if relay == "" || strings.Contains(confirm, relay) {
		t.Fatalf("the attacker knows where the answer leads: %s", confirm)
	}
	if status, page, _ := attacker.get("/device/confirm?login=" + url.QueryEscape(relay)); status != http.StatusForbidden || strings.Contains(page, "alice") {
		t.Errorf("the attacker is asked whether to sign in as the victim: %d\n%s", status, page)
	}
	if status, page, _ := victim.get(confirm); status != http.StatusForbidden || strings.Contains(page, "alice") {
		t.Errorf("the victim is asked about the attacker's device: %d\n%s", status, page)
	}
	w.advance(6 * time.Second)
	if got := w.poll(c); got.ID != "" || got.Error != "authorization_pending" {
		t.Errorf("the attacker's device got %+v", got)
	}
}
