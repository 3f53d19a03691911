package broker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// The lives of what drivers hold.
const (
	tokenLife     = time.Hour        // then 390112, and the driver renews
	tokenGrace    = time.Minute      // a pair just replaced still renews
	masterLife    = 4 * time.Hour    // without a sign of life
	loginTimeout  = 14 * time.Second // .NET gives up at 16 s
	recordTimeout = 10 * time.Second
)

// login is one driver login: the tokens its driver holds, and the upstream
// session that is its alone.
type login struct {
	id     int64 // what the driver is told as session id
	driver driverName
	host   string // what the driver calls this listener, checked

	format json.RawMessage // result format asked for at login; nil = none

	// turn orders statements: one that changes the context, or is held, runs
	// alone; the others share. First come, first served.
	turn *semaphore.Weighted

	// sqlAPI is a login that statements of the SQL API run in, see sqlAPI. No
	// driver holds its tokens.
	sqlAPI bool
	start  place // where it was once it was set up

	mu         sync.Mutex // guards what follows
	up         session.Upstream
	renewing   chan struct{} // closed when the running renewal is done
	place      place
	catalog    catalogCache
	variables  variables
	statements map[string]*statement // by client request id
	byID       map[string]statementRef
	finished   []*statement // in order of completion, for dropping
	kept       int          // bytes of their outcomes
	shed       int          // how many of them have been let go of
	sequence   int64
	seen       time.Time
	token      heldToken
	old        []heldToken // replaced, or aged out; they only renew
	closed     bool
	asked      place // of the SQL API: what its requests ask for
	spent      bool  // of the SQL API: not for another request
	taken      bool  // of the SQL API: a request has it
}

type heldToken struct {
	token, master digestKey
	until         time.Time
}

// place is the context names resolve in, as the server last reported it.
type place struct {
	version                           int  // grows with every change
	stale                             bool // a statement may have changed it unseen: ask before relying on it
	database, schema, warehouse, role string
}

type driverName struct{ name, version string }

// everyTurn is the weight of a statement that runs alone.
const everyTurn = 1 << 30

// serveLogin answers a driver's login (the lease as access token, OAuth token
// or password) with tokens of the broker's own.
func (b *Broker) serveLogin(w http.ResponseWriter, r *http.Request, _ string) {
	body, err := readSmall(r)
	if err != nil {
		b.refuseLogin(w, r, driverName{}, faultBody.refuse("the login body cannot be read"))
		return
	}
	req, err := snowflake.ParseLogin(body)
	if err != nil {
		b.refuseLogin(w, r, driverName{}, faultBody.refuse("the login body is not strict JSON of a driver"))
		return
	}
	driver := driverName{clip(req.AppID, 64), clip(req.AppVersion, 32)}
	if ref := b.checkLease(req); ref != nil {
		b.refuseLogin(w, r, driver, ref)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), loginTimeout)
	defer cancel()
	wish, ref := b.wishOf(r, req, driver)
	if ref != nil {
		b.refuseLogin(w, r, driver, ref)
		return
	}
	l, answer, ref := b.openLogin(ctx, wish)
	if ref != nil {
		b.refuseLogin(w, r, driver, ref)
		return
	}
	if ref := b.recordLogin(ctx, l); ref != nil {
		writeAnswer(w, snowflake.AppendLoginFailure(nil, snowflake.CodeLoginFailed, ref.message()))
		return
	}
	data, err := json.Marshal(answer)
	if err != nil { // a struct of strings and numbers
		b.log.Error("encoding a login answer failed", "err", err)
		b.drop(l, "internal")
		return
	}
	writeAnswer(w, snowflake.AppendSuccess(nil, data))
}

// checkLease accepts the lease in any of the three places drivers can put a
// secret, and no other kind of login.
func (b *Broker) checkLease(req snowflake.LoginRequest) *refusal {
	presented := req.Token
	switch req.Authenticator {
	case "PROGRAMMATIC_ACCESS_TOKEN", "OAUTH":
	case "", "SNOWFLAKE":
		presented = req.Password
		if presented == "" {
			presented = req.Token // Go's OAuth flows send no authenticator
		}
	default:
		return faultAuthenticator.refuse("this kind of login carries another identity")
	}
	if req.Foreign != "" {
		return faultAuthenticator.refuse("this kind of login carries another identity")
	}
	if !leaseMatches(presented, b.lease) {
		return faultLease.refuse("the lease is not one of this broker")
	}
	if why := b.over(); why != "" {
		return faultEnded.refuse("the session has ended: " + why)
	}
	return nil
}

// refuseLogin records and answers a refused login. The data of the answer is
// an object, and the code one that starts no interactive sign-in.
func (b *Broker) refuseLogin(w http.ResponseWriter, r *http.Request, d driverName, ref *refusal) {
	b.recordRefusedLogin(r, d, ref)
	writeAnswer(w, snowflake.AppendLoginFailure(nil, snowflake.CodeLoginFailed, ref.message()))
}

// recordLogin records a login that was opened; one that cannot be is closed.
func (b *Broker) recordLogin(ctx context.Context, l *login) *refusal {
	facts := &recording.LoginFacts{Driver: l.driver.name, Version: l.driver.version, Upstream: l.upstreamSession().ID, OK: true}
	if _, err := b.cfg.Record(ctx, recording.Event{Kind: recording.KindLogin, Login: facts}); err != nil {
		b.log.Error("recording a login failed", "err", err)
		b.drop(l, "not recorded")
		return faultRecord.refuse("")
	}
	return nil
}

// recordRefusedLogin records a refused login within a rate.
func (b *Broker) recordRefusedLogin(r *http.Request, d driverName, ref *refusal) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), recordTimeout)
	defer cancel()
	if n, ok := b.protocolRate.take(time.Now()); ok {
		e := recording.Event{Kind: recording.KindLogin,
			Login: &recording.LoginFacts{Driver: d.name, Version: d.version, Why: ref.code + " " + ref.name + ": " + ref.why}}
		if n > 0 {
			e.Note = strconv.Itoa(n) + " more before it"
		}
		if _, err := b.cfg.Record(ctx, e); err != nil {
			b.log.Error("recording a refused login failed", "err", err)
		}
	}
	b.log.Warn("login refused", "code", ref.code, "driver", d.name)
}

// loginWish is a checked login: who asks, and where it wants to be.
type loginWish struct {
	driver     driverName
	host       string // what the caller calls this listener
	place      place
	parameters snowflake.Object
	format     json.RawMessage // of results; nil = Snowflake's choice
	sqlAPI     bool
}

// wishOf reads what a driver's login asks for, if the grant allows it.
func (b *Broker) wishOf(r *http.Request, req snowflake.LoginRequest, d driverName) (loginWish, *refusal) {
	want, ref := b.wantedPlace(r, req)
	return loginWish{driver: d, host: r.Host, place: want, parameters: req.Parameters, format: wantedFormat(req)}, ref
}

// openLogin opens the upstream session of a checked login and brings it to
// where it wants to be.
func (b *Broker) openLogin(ctx context.Context, wish loginWish) (*login, *snowflake.LoginAnswer, *refusal) {
	for !b.reserveLogin() {
		if !b.evictIdle() {
			return nil, nil, faultLogins.refuse("the session's limit of concurrent logins is reached")
		}
	}
	up, err := b.cfg.Upstreams.OpenUpstream(ctx)
	b.mu.Lock()
	b.opening--
	b.mu.Unlock()
	if err != nil {
		return nil, nil, b.upstreamLoginRefusal(err)
	}
	b.clockStarts()
	if ref := foreignNames(up.Parameters); ref != nil {
		b.closeUpstream(up.ID)
		return nil, nil, ref
	}
	l := &login{
		id: sessionNumber(up.SnowflakeID), driver: wish.driver, host: wish.host, format: wish.format, sqlAPI: wish.sqlAPI,
		up: up, turn: semaphore.NewWeighted(everyTurn),
		place:      place{database: up.Database, schema: up.Schema, warehouse: up.Warehouse, role: up.Role},
		statements: map[string]*statement{}, byID: map[string]statementRef{}, seen: time.Now(),
	}
	if ref := b.settle(ctx, l, wish.place, wish.parameters); ref != nil {
		b.closeUpstream(up.ID)
		return nil, nil, ref
	}
	l.start = l.presentPlace()
	answer, err := b.mint(l)
	if err != nil {
		b.log.Error("opening a login failed", "err", err)
		b.closeUpstream(up.ID)
		return nil, nil, faultUpstreamLogin.refuse("the upstream session's facts cannot be read")
	}
	if why := b.over(); why != "" { // ended while the login was on its way
		b.drop(l, why)
		return nil, nil, faultEnded.refuse("the session has ended: " + why)
	}
	return l, answer, nil
}

// reserveLogin takes one of the session's logins, to be given back when the
// login is open; false if all are taken.
func (b *Broker) reserveLogin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.logins)+b.opening >= b.cfg.MaxLogins {
		return false
	}
	b.opening++
	return true
}

func (b *Broker) upstreamLoginRefusal(err error) *refusal {
	b.log.Warn("opening an upstream session failed", "err", err)
	switch {
	case errors.Is(err, session.ErrRevoked), errors.Is(err, session.ErrExpired), errors.Is(err, session.ErrForbidden):
		b.end("it was revoked or closed at the approval server")
		return faultEnded.refuse("the session has ended at the approval server")
	case errors.Is(err, session.ErrCapacity):
		return faultLogins.refuse("the approval server's limit of upstream sessions is reached")
	case errors.Is(err, session.ErrUnavailable):
		return faultUpstreamLogin.refuse("the approval server is unavailable")
	}
	return faultUpstreamLogin.refuse("the approval server could not log in to Snowflake")
}

// sessionNumber is Snowflake's own session id when there is one (people
// compare it with query history), else a random one. Below 2^53 it survives
// drivers that read numbers as floats.
func sessionNumber(upstream int64) int64 {
	if upstream > 0 {
		return upstream
	}
	n, err := rand.Int(rand.Reader, big.NewInt(1<<53-1))
	if err != nil {
		return 1
	}
	return n.Int64() + 1
}
