package broker

import (
	"context"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// deadlineOf is when a session ends, on this machine's clocks. The server's clock
// is the one that counts: what it says is left is taken from now on, so that a
// clock here that is wrong makes a session neither longer nor shorter.
func deadlineOf(now time.Time, s session.Session) deadline {
	if s.AsOf.IsZero() {
		return deadlineAt(now, s.Deadline)
	}
	return deadlineAt(now, now.Add(s.Deadline.Sub(s.AsOf)))
}

// extended reads the deadline that the server has moved. If it does not answer,
// or the event cannot be recorded, the old deadline stays. Commit point: the
// event is durable before a statement runs past the old deadline.
func (b *Broker) extended(ctx context.Context) {
	c, cancel := context.WithTimeout(ctx, deskTimeout)
	defer cancel()
	s, err := b.cfg.Upstreams.Session(c, b.cfg.Session.ID)
	if err != nil {
		b.log.Warn("reading the session's new deadline failed", "err", err)
		return
	}
	if s.ID != b.cfg.Session.ID || s.Phase != session.PhaseOpen || s.FirstUseAt.IsZero() {
		return // it ended meanwhile: that is an event of its own
	}
	next := deadlineOf(time.Now(), s)
	if ref := b.record(ctx, recording.Event{Kind: recording.KindExtended, Session: &recording.SessionFacts{
		ID: s.ID, Principal: s.Principal.ID(), Connection: s.Scope.Connection, Deadline: s.Deadline}}); ref != nil {
		return
	}
	b.mu.Lock()
	b.deadline = next
	b.mu.Unlock()
	select {
	case b.nudge <- struct{}{}:
	default:
	}
}

// keepMasks hides every class in the results of j, also those that the subject
// may read in clear. Its verdict is not asked again: what was approved runs.
func (b *Broker) keepMasks(j *judgement) {
	in := j.input
	in.MaskAll = true
	hidden := b.cfg.Policy.Statement(in)
	j.ruling.Masks, j.ruling.Rest, j.ruling.Clear, j.ruling.ReadsClassed = hidden.Masks, hidden.Rest, nil, hidden.ReadsClassed
}
