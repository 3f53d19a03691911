package broker

import (
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
)

// apiLife is how long a session of the SQL API is kept that nobody uses: as long
// as the results of what ran in it are.
const apiLife = rememberFor + 5*time.Minute

// apiStatement is what a handle names: a request, or one statement of a batch.
type apiStatement struct {
	l      *login
	s      *statement
	child  int // -1 for the request itself
	handle string
}

// apiCall is one request id: however often it is sent, it runs once.
type apiCall struct {
	hash  [sha256.Size]byte
	ready chan struct{} // closed once what follows is set
	l     *login
	s     *statement
	ref   *refusal // nothing was started
}

// apiCalls are the request ids of the SQL API, and the sessions that wait for
// the next request.
type apiCalls struct {
	mu    sync.Mutex
	calls map[string]*apiCall
	free  map[place][]*login // by the place asked for
}

// submitAPI starts the statement of a request id, or finds it.
func (b *Broker) submitAPI(r *http.Request, id string, req snowflake.QueryRequest, want place) (*apiCall, *refusal) {
	hash := apiHash(req, want)
	b.api.mu.Lock()
	if c := b.api.calls[id]; c != nil {
		b.api.mu.Unlock()
		if c.hash != hash {
			return nil, faultRequestID.refuse("this request id was used for another statement")
		}
		select {
		case <-c.ready:
			return c, c.ref
		case <-r.Context().Done():
			return nil, faultWithdrawn.refuse("the client has gone")
		}
	}
	if len(b.api.calls) >= rememberMost {
		b.api.mu.Unlock()
		return nil, faultBusy.refuse("too many requests are remembered")
	}
	if b.api.calls == nil {
		b.api.calls, b.api.free = map[string]*apiCall{}, map[place][]*login{}
	}
	c := &apiCall{hash: hash, ready: make(chan struct{})}
	b.api.calls[id] = c
	b.api.mu.Unlock()

	defer close(c.ready)
	var fresh bool
	if c.l, c.ref = b.takeAPILogin(r, req, want); c.ref == nil {
		c.s, fresh, c.ref = c.l.admit(id, req)
	}
	if c.ref != nil || !fresh { // nothing has run: the id may be sent again
		b.api.mu.Lock()
		delete(b.api.calls, id)
		b.api.mu.Unlock()
		if c.l != nil {
			b.api.put(c.l)
		}
		if c.ref == nil {
			c.ref = faultRequestID.refuse("this request id was used before")
		}
		return nil, c.ref
	}
	c.s.upID = b.upstreamRequestID(c.l, id)
	b.start(c.l, c.s)
	return c, nil
}

// takeAPILogin is a session nothing runs in, in the place that is wanted. A
// batch has one to itself: it may change it.
func (b *Broker) takeAPILogin(r *http.Request, req snowflake.QueryRequest, want place) (*login, *refusal) {
	if !isBatch(req) {
		if l := b.api.take(want); l != nil {
			return l, nil
		}
	}
	l, ref := b.openAPILogin(r, want)
	if ref != nil {
		return nil, ref
	}
	l.mu.Lock()
	l.asked, l.spent, l.taken = want, isBatch(req), true
	l.mu.Unlock()
	return l, nil
}

func (a *apiCalls) take(want place) *login {
	a.mu.Lock()
	defer a.mu.Unlock()
	for list := a.free[want]; len(list) > 0; list = a.free[want] {
		l := list[len(list)-1]
		a.free[want] = list[:len(list)-1]
		l.mu.Lock()
		closed := l.closed
		l.seen, l.taken = time.Now(), true
		l.mu.Unlock()
		if !closed {
			return l
		}
	}
	return nil
}

// put gives a session back for the next request, if nothing in it has changed.
func (a *apiCalls) put(l *login) {
	l.mu.Lock()
	l.taken = false
	now, start := l.place, l.start
	now.version, start.version = 0, 0
	v := l.variables
	keep := !l.closed && !l.spent && now == start && len(v.literals)+len(v.opaque)+len(v.settings) == 0 && v.unseen == ""
	want := l.asked
	l.mu.Unlock()
	if !keep {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free[want] = append(a.free[want], l)
}

// forget drops request ids nobody can repeat any more, and sessions that are
// closed.
func (a *apiCalls) forget(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, c := range a.calls {
		select {
		case <-c.ready:
		default:
			continue
		}
		if c.s == nil {
			continue // its submission takes it out
		}
		select {
		case <-c.s.done:
			if now.Sub(c.s.finished()) > rememberFor {
				delete(a.calls, id)
			}
		default:
		}
	}
	for want, list := range a.free {
		open := list[:0]
		for _, l := range list {
			l.mu.Lock()
			if !l.closed {
				open = append(open, l)
			}
			l.mu.Unlock()
		}
		clear(list[len(open):])
		if a.free[want] = open; len(open) == 0 {
			delete(a.free, want)
		}
	}
}

// findHandle finds what a handle names among the SQL API's own statements.
func (b *Broker) findHandle(handle string) (apiStatement, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for l := range b.logins {
		if !l.sqlAPI {
			continue
		}
		if ref, ok := l.find(handle); ok {
			return apiStatement{l: l, s: ref.s, child: ref.child, handle: handle}, true
		}
	}
	return apiStatement{}, false
}

// evictIdle closes the SQL API's session that has been idle for longest, to make
// room; its results are gone with it.
func (b *Broker) evictIdle() bool {
	var oldest *login
	var seen time.Time
	b.mu.Lock()
	for l := range b.logins {
		l.mu.Lock()
		if l.sqlAPI && l.idle() && (oldest == nil || l.seen.Before(seen)) {
			oldest, seen = l, l.seen
		}
		l.mu.Unlock()
	}
	b.mu.Unlock()
	if oldest == nil {
		return false
	}
	b.drop(oldest, "idle, and another login needed the room")
	return true
}

// idle reports that a session of the SQL API has run something and runs nothing.
// l.mu is held.
func (l *login) idle() bool {
	return !l.taken && len(l.finished) > 0 && len(l.statements) == len(l.finished)
}

// idleLife is how long a login is kept without a sign of life. l.mu is held.
func (l *login) idleLife() time.Duration {
	if l.sqlAPI && len(l.statements) == len(l.finished) {
		return apiLife
	}
	return masterLife
}

// renew keeps a finished statement's result for as long again.
func (s *statement) renew() {
	s.mu.Lock()
	s.finishedAt = time.Now()
	s.mu.Unlock()
}

// cancelRunning cancels the statement if it has not ended.
func (s *statement) cancelRunning() bool {
	s.mu.Lock()
	running := s.phase != phaseDone
	s.mu.Unlock()
	if running {
		s.cancel(errAborted)
	}
	return running
}
