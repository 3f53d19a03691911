package broker

import (
	"context"
	"errors"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// touch notes a sign of life of the driver.
func (l *login) touch() {
	l.mu.Lock()
	l.seen = time.Now()
	l.mu.Unlock()
}

// drop forgets a login and closes its upstream session.
func (b *Broker) drop(l *login, why string) {
	b.mu.Lock()
	delete(b.logins, l)
	l.mu.Lock()
	already := l.closed
	l.closed = true
	for _, t := range append(l.old, l.token) {
		delete(b.tokens, t.token)
		delete(b.masters, t.master)
	}
	var running []*statement
	for _, s := range l.statements {
		running = append(running, s)
	}
	up := l.up.ID
	l.mu.Unlock()
	b.mu.Unlock()
	if already {
		return
	}
	for _, s := range running {
		s.cancel(errLoginGone)
	}
	b.chunks.forget(func(set *chunkSet) bool { return set.l == l })
	b.log.Info("login closed", "upstream", up, "why", why)
	b.finish(func(ctx context.Context) {
		if _, err := b.cfg.Record(ctx, recording.Event{Kind: recording.KindLogout,
			Login: &recording.LoginFacts{Driver: l.driver.name, Version: l.driver.version, Upstream: up, OK: true, Why: why}}); err != nil {
			b.log.Error("recording a logout failed", "err", err)
		}
	})
	b.closeUpstream(up)
}

func (b *Broker) closeUpstream(id string) {
	b.finish(func(ctx context.Context) {
		if err := b.cfg.Upstreams.CloseUpstream(ctx, id); err != nil && !errors.Is(err, session.ErrNotFound) {
			b.log.Warn("closing an upstream session failed", "upstream", id, "err", err)
		}
	})
}

// dropIdle forgets logins whose driver has not been heard of, and outcomes
// nobody can ask for any more.
func (b *Broker) dropIdle(now time.Time) {
	var idle []*login
	b.mu.Lock()
	for l := range b.logins {
		l.mu.Lock()
		if now.Sub(l.seen) > l.idleLife() {
			idle = append(idle, l)
		}
		keep := l.old[:0]
		for _, t := range l.old {
			if now.Before(t.until) {
				keep = append(keep, t)
				continue
			}
			delete(b.tokens, t.token)
			delete(b.masters, t.master)
		}
		l.old = keep
		l.forgetOld(now)
		l.mu.Unlock()
	}
	b.mu.Unlock()
	b.api.forget(now)
	for _, l := range idle {
		b.drop(l, "idle")
	}
}

// closeLogins drops every login when the broker stops.
func (b *Broker) closeLogins() {
	b.mu.Lock()
	var all []*login
	for l := range b.logins {
		all = append(all, l)
	}
	b.mu.Unlock()
	for _, l := range all {
		b.drop(l, "the broker is stopping")
	}
}
