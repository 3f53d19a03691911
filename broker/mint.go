package broker

import (
	"net/http"
	"strings"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session/secret"
)

// mint draws the driver's tokens and composes the login answer.
func (b *Broker) mint(l *login) (*snowflake.LoginAnswer, error) {
	parameters, err := clientParameters(l.up.Parameters)
	if err != nil {
		return nil, err
	}
	token, master, err := b.rotate(l, time.Now())
	if err != nil {
		return nil, err
	}
	return &snowflake.LoginAnswer{
		Token: token.Reveal(), MasterToken: master.Reveal(),
		ValidInSeconds: int64(tokenLife.Seconds()), MasterValidInSecs: int64(masterLife.Seconds()),
		DisplayUser: b.cfg.Session.Principal.Display(), ServerVersion: l.up.ServerVersion, HealthCheck: 45,
		SessionID: l.id, Parameters: parameters,
		SessionInfo: snowflake.SessionInfo{Database: l.place.database, Schema: l.place.schema,
			Warehouse: l.place.warehouse, Role: l.place.role},
	}, nil
}

// rotate gives the login a new pair of tokens. The old pair keeps renewing for
// a moment: drivers renew from several threads at once.
func (b *Broker) rotate(l *login, now time.Time) (token, master secret.Text, err error) {
	if token, err = newToken(); err != nil {
		return token, master, err
	}
	if master, err = newToken(); err != nil {
		return token, master, err
	}
	held := heldToken{token: keyOf(token.Reveal()), master: keyOf(master.Reveal()), until: now.Add(tokenLife)}
	b.mu.Lock()
	defer b.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token != (heldToken{}) {
		old := l.token
		old.until = now.Add(tokenGrace)
		l.old = append(l.old, old)
	}
	l.token = held
	b.logins[l] = struct{}{}
	b.tokens[held.token], b.masters[held.master] = l, l
	return token, master, nil
}

// bearer returns the token of an Authorization header of the one form the
// broker accepts: Snowflake Token="…", once.
func bearer(r *http.Request) (string, bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	token, ok := strings.CutPrefix(values[0], `Snowflake Token="`)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(token, `"`)
}

// authorize finds the login of a request, or answers it: 390111 for a token
// that is not (any more) one of this broker, 390112 for one that aged out.
func (b *Broker) authorize(w http.ResponseWriter, r *http.Request) (*login, bool) {
	why := b.over()
	if why != "" {
		ref := faultGone.refuse("the session has ended: " + why)
		writeAnswer(w, ref.envelope())
		return nil, false
	}
	token, ok := bearer(r)
	var l *login
	key := keyOf(token)
	if ok {
		b.mu.Lock()
		l = b.tokens[key]
		b.mu.Unlock()
	}
	if l == nil {
		writeAnswer(w, faultGone.refuse("the token is not one of this broker").envelope())
		return nil, false
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = now
	if l.token.token != key || !now.Before(l.token.until) {
		writeAnswer(w, snowflake.AppendFailure(nil, snowflake.Failure{
			Code: snowflake.CodeSessionExpired, SQLState: "08001", Message: "session token expired; renew it"}))
		return nil, false
	}
	return l, true
}
