package broker

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
)

// serveRenew exchanges the master token for a new pair. Only RENEW is served:
// the protocol's other request types mint credentials. Upstream renewal is an
// affair of its own (see forward) and has nothing to do with it.
func (b *Broker) serveRenew(w http.ResponseWriter, r *http.Request, _ string) {
	refuse := func(why string) { writeAnswer(w, faultMaster.refuse(why).envelope()) }
	if why := b.over(); why != "" {
		refuse("the session has ended: " + why)
		return
	}
	body, err := readSmall(r)
	if err != nil {
		refuse("the body cannot be read")
		return
	}
	o, err := snowflake.ParseObject(body)
	if err != nil {
		refuse("the body is not strict JSON")
		return
	}
	if kind, _ := o.Text("requestType"); kind != "RENEW" {
		refuse("only renewal is served")
		return
	}
	master, _ := bearer(r)
	now := time.Now()
	l := b.masterOf(keyOf(master), now)
	if l == nil {
		refuse("the token is not a master token of this broker")
		return
	}
	token, next, err := b.rotate(l, now)
	if err != nil {
		b.log.Error("renewing a login failed", "err", err)
		refuse("no new token could be drawn")
		return
	}
	data, err := json.Marshal(snowflake.RenewAnswer{
		SessionToken: token.Reveal(), ValidInSeconds: int64(tokenLife.Seconds()),
		MasterToken: next.Reveal(), MasterValidSecs: int64(masterLife.Seconds()), SessionID: l.id,
	})
	if err != nil {
		refuse("internal")
		return
	}
	writeAnswer(w, snowflake.AppendSuccess(nil, data))
}

// masterOf finds the login of a master token that may still renew.
func (b *Broker) masterOf(key digestKey, now time.Time) *login {
	b.mu.Lock()
	l := b.masters[key]
	b.mu.Unlock()
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.seen = now
	if l.token.master == key {
		return l
	}
	for _, t := range l.old {
		if t.master == key && now.Before(t.until) {
			return l
		}
	}
	return nil
}

// serveHeartbeat keeps a login from idling out.
func (b *Broker) serveHeartbeat(w http.ResponseWriter, r *http.Request, _ string) {
	if _, ok := b.authorize(w, r); ok {
		writeAnswer(w, snowflake.AppendSuccess(nil, nil))
	}
}

// serveDelete closes a login and its upstream session.
func (b *Broker) serveDelete(w http.ResponseWriter, r *http.Request, _ string) {
	if r.URL.Query().Get("delete") != "true" {
		b.refuseRoute(w, r, "query")
		return
	}
	l, ok := b.authorize(w, r)
	if !ok {
		return
	}
	b.drop(l, "closed by the driver")
	writeAnswer(w, snowflake.AppendSuccess(nil, nil))
}

// serveTelemetry swallows telemetry: it carries SQL fragments and error texts
// outward. Any other answer would make drivers try elsewhere.
func (b *Broker) serveTelemetry(w http.ResponseWriter, _ *http.Request, _ string) {
	writeAnswer(w, snowflake.AppendSuccess(nil, []byte(`"Log Received"`)))
}

// serveAuthenticator refuses the first step of browser and identity-provider
// sign-in as a failed login.
func (b *Broker) serveAuthenticator(w http.ResponseWriter, r *http.Request, _ string) {
	b.refuseLogin(w, r, driverName{}, faultAuthenticator.refuse("browser and identity-provider sign-in are not served here"))
}
