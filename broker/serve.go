package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
)

// Broker serves the drivers of one session. Make it with New.
type Broker struct {
	cfg          Config
	log          *slog.Logger
	lease        digestKey
	idKey        []byte // keys the upstream request ids
	masker       *policy.Masker
	analyze      analyzeFunc
	upstream     *http.Client
	ready        chan struct{} // closed when what follows is set
	names        names
	host         string
	protocolRate rate
	poll         time.Duration // longPoll, shorter in tests
	asyncPoll    time.Duration // likewise
	firstByte    time.Duration // likewise
	retryPause   time.Duration // likewise
	// spawn starts work that ends with the session; set by serve before the
	// first request.
	spawn func(func(ctx context.Context))
	// finish starts work that outlives the session by a moment: withdrawing,
	// closing. Serve waits for it.
	finish func(func(ctx context.Context))
	stop   context.CancelCauseFunc
	nudge  chan struct{} // the deadline has moved

	mu        sync.Mutex // guards what follows
	deadline  deadline
	ended     string // why, for people; empty while the session runs
	opening   int    // logins on their way
	logins    map[*login]struct{}
	tokens    map[digestKey]*login // session tokens, current and just replaced
	masters   map[digestKey]*login
	usage     policy.Usage
	firstUse  time.Time
	outliving map[string]bool // requests whose statement has been answered

	requests requestWatch
	chunks   chunkTable
	api      apiCalls
	denials  denials
}

// assemble makes the Broker of a checked configuration.
func assemble(cfg Config, lease digestKey) (*Broker, error) {
	idKey, err := randomKey()
	if err != nil {
		return nil, err
	}
	maskKey, err := randomKey()
	if err != nil {
		return nil, err
	}
	transport := cfg.Transport
	if transport == nil {
		transport = newTransport()
	}
	return &Broker{
		cfg: cfg, log: cfg.Logger, lease: lease, idKey: idKey,
		masker: policy.NewMasker(maskKey), analyze: sql.Analyze,
		upstream: &http.Client{Transport: transport, CheckRedirect: noRedirect}, ready: make(chan struct{}),
		deadline: deadlineOf(time.Now(), cfg.Session),
		poll:     longPoll, asyncPoll: asyncPoll, firstByte: firstByte, retryPause: retryPause,
		protocolRate: rate{burst: 20, every: time.Second},
		logins:       map[*login]struct{}{}, tokens: map[digestKey]*login{}, masters: map[digestKey]*login{},
		outliving: map[string]bool{}, nudge: make(chan struct{}, 1),
	}, nil
}

// errSessionEnded is the cause of the session context's end.
var errSessionEnded = errors.New("the session has ended")

// sweepEvery is how often idle logins and old outcomes are dropped, and how
// late the wall clock's deadline is noticed after a suspend.
const sweepEvery = 10 * time.Second

// closing bounds what is done for order's sake when the session is over.
const closing = 5 * time.Second

func (b *Broker) serve(ctx context.Context, ln net.Listener) error {
	names, err := listenerNames(ln.Addr())
	if err != nil {
		_ = ln.Close() // nothing was accepted
		return err
	}
	b.names, b.host = names, ln.Addr().String()

	// life ends with the session, not with ctx's values: what must still be
	// done then (withdraw, close) runs under finish.
	life, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	b.stop = stop
	var work sync.WaitGroup
	b.spawn = func(f func(context.Context)) { work.Go(func() { f(life) }) }
	b.finish = func(f func(context.Context)) {
		work.Go(func() {
			c, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
			defer cancel()
			f(c)
		})
	}

	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	srv := &http.Server{
		Handler: b, Protocols: protocols, MaxHeaderBytes: maxHeaderBytes, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(discardBodies{b.log.Handler()}, slog.LevelDebug),
	}
	close(b.ready)
	b.spawn(b.watch)
	b.spawn(b.sweep)
	stopped := make(chan struct{})
	shut := context.AfterFunc(ctx, func() {
		defer close(stopped)
		b.end("the broker is stopping") // parked polls answer now
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
		defer cancel()
		_ = srv.Shutdown(c) // waits for handlers; what is left is cut below
	})
	err = srv.Serve(ln)
	b.end("the broker is stopping")
	if !shut() {
		<-stopped
	}
	_ = srv.Close()
	b.closeLogins()
	work.Wait()
	b.upstream.CloseIdleConnections()
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving drivers: %w", err)
}

// discardBodies keeps net/http's error log, which may quote what a client
// sent, to its level alone.
type discardBodies struct{ slog.Handler }

func (h discardBodies) Handle(ctx context.Context, r slog.Record) error {
	return h.Handler.Handle(ctx, slog.NewRecord(r.Time, r.Level, "http connection error", r.PC))
}

// end ends the session once: everything is refused from now on, running work
// is cancelled, held statements are withdrawn by their own goroutines, upstream
// sessions are closed (the server closes them too; this does not wait for it).
func (b *Broker) end(why string) {
	b.mu.Lock()
	already := b.ended != ""
	if !already {
		b.ended = why
	}
	b.mu.Unlock()
	if already {
		return
	}
	b.log.Info("session ended", "why", why)
	if b.cfg.Ended != nil {
		b.cfg.Ended(why)
	}
	b.stop(errSessionEnded)
	b.finish(func(context.Context) { b.closeLogins() })
}

// over returns why the session is over, or "".
func (b *Broker) over() string {
	b.mu.Lock()
	why, passed := b.ended, b.deadline.left(time.Now()) <= 0
	b.mu.Unlock()
	if why == "" && passed {
		why = "its deadline has passed"
		b.end(why)
	}
	return why
}

// clockStarts notes the first use: from then on the session lives its TTL.
func (b *Broker) clockStarts() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.firstUse.IsZero() {
		return
	}
	b.firstUse = time.Now()
	if ttl := b.cfg.Session.Scope.TTL; ttl > 0 && b.cfg.Session.FirstUseAt.IsZero() {
		if d := deadlineAt(b.firstUse, b.firstUse.Add(ttl)); d.left(b.firstUse) < b.deadline.left(b.firstUse) {
			b.deadline = d
			select {
			case b.nudge <- struct{}{}:
			default:
			}
		}
	}
}

// deadline counts on the wall clock, as the grant states it and across a
// suspend, and on the monotonic one, so that setting the clock back does not
// lengthen a session.
type deadline struct{ wall, mono time.Time }

func deadlineAt(now, end time.Time) deadline {
	return deadline{wall: end.Round(0), mono: now.Add(end.Round(0).Sub(now.Round(0)))}
}

// left is the shorter of what both clocks leave.
func (d deadline) left(now time.Time) time.Duration {
	return min(d.wall.Sub(now.Round(0)), d.mono.Sub(now))
}

// sweep notices the deadline and forgets what is old.
func (b *Broker) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		b.mu.Lock()
		left := b.deadline.left(time.Now())
		b.mu.Unlock()
		due := time.NewTimer(max(left, 0))
		select {
		case <-ctx.Done():
			due.Stop()
			return
		case <-due.C:
		case <-tick.C:
		case <-b.nudge:
		}
		due.Stop()
		if b.over() != "" {
			return
		}
		b.dropIdle(time.Now())
	}
}

// watch follows the desk: it ends the session when the server says so, and
// wakes statements whose requests moved. Losing the caller's access ends it.
func (b *Broker) watch(ctx context.Context) {
	for backoff := time.Second; ; backoff = min(2*backoff, 30*time.Second) {
		events, err := b.cfg.Desk.Watch(ctx, -1)
		if err == nil {
			b.follow(ctx, events)
			if ctx.Err() == nil {
				b.end("the approval server ended the broker's access")
			}
			return
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, session.ErrRevoked), errors.Is(err, session.ErrExpired), errors.Is(err, session.ErrForbidden):
			b.end("the approval server ended the broker's access")
			return
		}
		b.log.Warn("watching the approval server failed", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
	}
}

func (b *Broker) follow(ctx context.Context, events <-chan session.Event) {
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			switch e.Kind {
			case session.EventSessionExtended:
				if e.SessionID == b.cfg.Session.ID {
					b.extended(ctx)
				}
			case session.EventSessionEnded:
				if e.SessionID == b.cfg.Session.ID {
					b.end("it was revoked or closed at the approval server")
					return
				}
			case session.EventRequestDecided, session.EventRequestEnded:
				b.requests.wake(e.RequestID)
			}
		}
	}
}

// requestWatch wakes the statements that wait for a request.
type requestWatch struct {
	mu   sync.Mutex
	wait map[string]map[chan struct{}]struct{}
}

// join returns a channel that receives when the request moves, and a leave
// function.
func (w *requestWatch) join(id string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wait == nil {
		w.wait = map[string]map[chan struct{}]struct{}{}
	}
	if w.wait[id] == nil {
		w.wait[id] = map[chan struct{}]struct{}{}
	}
	w.wait[id][ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.wait[id], ch)
		if len(w.wait[id]) == 0 {
			delete(w.wait, id)
		}
	}
}

func (w *requestWatch) wake(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.wait[id] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// rate lets burst events through at once and one per interval after that; it
// counts what it stopped.
type rate struct {
	burst int
	every time.Duration

	mu      sync.Mutex
	used    int
	since   time.Time
	stopped int
}

// take reports whether an event may pass, and how many were stopped before it.
func (r *rate) take(now time.Time) (stopped int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if back := int(now.Sub(r.since) / r.every); back > 0 {
		r.used = max(0, r.used-back)
		r.since = now
	}
	if r.used >= r.burst {
		r.stopped++
		return 0, false
	}
	r.used++
	stopped, r.stopped = r.stopped, 0
	return stopped, true
}
