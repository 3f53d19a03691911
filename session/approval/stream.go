package approval

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/jit-access/jit/session"
)

// The pace of an event stream. A client that hears nothing for a few beats
// takes the connection for dead.
const (
	beatEvery    = 15 * time.Second
	streamWindow = 30 * time.Second // for one write
	maxStreams   = 32               // of one person, or of one broker, at once
)

// streams counts the open event streams of each caller.
type streams struct {
	mu sync.Mutex
	n  map[string]int
}

// enter takes a place, and returns how to give it back.
func (s *streams) enter(w Caller) (leave func(), err error) {
	who := w.Principal.ID() + " " + w.Session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n[who] >= maxStreams {
		return nil, session.Refuse(session.ErrCapacity, "You have %d event streams open. Close one first.", maxStreams)
	}
	s.n[who]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.n[who]--; s.n[who] == 0 {
			delete(s.n, who)
		}
	}, nil
}

// streamEvents is GET /v1/events. The first lines tell the position, so that a
// client that loses the connection before the first event resumes from there.
func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request) {
	c := callerOf(r.Context())
	after, err := s.position(r)
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	leave, err := s.streams.enter(c.Caller)
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	defer leave()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if !c.until.IsZero() { // a stream lives no longer than the token that opened it
		ctx, cancel = context.WithTimeout(ctx, c.until.Sub(s.store.now()))
		defer cancel()
	}
	events, err := s.store.watch(ctx, c.Caller, after)
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	write := func(format string, args ...any) bool {
		// Errors end the stream; the client resumes.
		if out.SetWriteDeadline(time.Now().Add(streamWindow)) != nil {
			return false
		}
		if _, err := fmt.Fprintf(w, format, args...); err != nil { //nolint:gosec // JSON in an event stream, no browser reads it
			return false
		}
		return out.Flush() == nil
	}
	if !write(": connected\nid: %d\n\n", after) {
		return
	}
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		select {
		case <-s.stopping:
			return
		case <-beat.C:
			if !write(": beat\n\n") {
				return
			}
		case e, ok := <-events:
			if !ok || !writeEvent(write, e) {
				return
			}
		}
	}
}

func writeEvent(write func(string, ...any) bool, e session.Event) bool {
	data, err := json.Marshal(toEventDoc(e))
	return err == nil && write("id: %d\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, data)
}

// position is the event after which a stream starts.
func (s *Server) position(r *http.Request) (int64, error) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		return s.store.lastEvent(r.Context())
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 0 {
		return 0, session.Refuse(session.ErrInvalid, "Last-Event-ID must be the number of an event.")
	}
	return id, nil
}
