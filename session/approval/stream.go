package approval

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/jit-access/jit/session"
)

// The pace of an event stream. A client that hears nothing for a few beats
// takes the connection for dead.
const (
	beatEvery    = 15 * time.Second
	streamWindow = 30 * time.Second // for one write
)

// streamEvents is GET /v1/events. The first lines tell the position, so that a
// client that loses the connection before the first event resumes from there.
func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request) {
	c := callerOf(r.Context())
	after, err := s.position(r)
	if err != nil {
		s.writeProblem(w, r, err)
		return
	}
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
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
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
