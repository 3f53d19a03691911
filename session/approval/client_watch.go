package approval

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jit-access/jit/session"
)

// The patience of a watcher.
const (
	silence    = 3 * beatEvery // no byte for so long: the connection is dead
	retryFirst = 200 * time.Millisecond
	retryMost  = 5 * time.Second
	maxLine    = 64 << 10
)

// Watch implements session.Desk. The first connection is made before it
// returns, so that "the next change" means the next one from here.
func (d desk) Watch(ctx context.Context, after int64) (<-chan session.Event, error) {
	w := &watcher{t: d.t, position: after, events: make(chan session.Event)}
	stream, err := w.connect(ctx)
	if err != nil {
		return nil, err
	}
	go w.run(ctx, stream) // ends with ctx, or with the caller's access
	return w.events, nil
}

// Watch implements session.Desk. A broker's watch ends with its session.
func (b *BrokerClient) Watch(ctx context.Context, after int64) (<-chan session.Event, error) {
	w := &watcher{t: b.t, position: after, session: b.id, events: make(chan session.Event)}
	stream, err := w.connect(ctx)
	if err != nil {
		return nil, err
	}
	go w.run(ctx, stream)
	return w.events, nil
}

// watcher keeps one event stream alive. Only its own goroutine uses it after
// the first connect.
type watcher struct {
	t        *transport
	position int64  // the last event seen; < 0: wherever the server is
	session  string // of a broker
	events   chan session.Event
}

// stream is one connection.
type stream struct {
	body   io.ReadCloser
	cancel context.CancelFunc
}

func (s stream) close() {
	s.cancel()
	_ = s.body.Close()
}

func (w *watcher) connect(ctx context.Context) (stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	stop := time.AfterFunc(silence, cancel)
	defer stop.Stop()
	req, err := w.t.request(ctx, http.MethodGet, "/v1/events", nil)
	if err != nil {
		cancel()
		return stream{}, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if w.position >= 0 {
		req.Header.Set("Last-Event-ID", strconv.FormatInt(w.position, 10))
	}
	resp, err := w.t.send(req) //nolint:bodyclose // the stream owns it, see stream.close
	if err != nil {
		cancel()
		return stream{}, err
	}
	return stream{resp.Body, cancel}, nil
}

// run reads streams until ctx or the access ends.
func (w *watcher) run(ctx context.Context, s stream) {
	defer close(w.events)
	wait := retryFirst
	for {
		before := w.position
		err := w.read(ctx, s)
		s.close()
		if errors.Is(err, errAccessEnded) || ctx.Err() != nil {
			return
		}
		if w.position != before {
			wait = retryFirst
		}
		for {
			pause := time.NewTimer(wait/2 + rand.N(wait/2))
			select {
			case <-ctx.Done():
				pause.Stop()
				return
			case <-pause.C:
			}
			wait = min(2*wait, retryMost)
			if s, err = w.connect(ctx); err == nil {
				break
			}
			if accessEnded(err) || ctx.Err() != nil {
				return
			}
		}
	}
}

// accessEnded tells the answers that no retry changes.
func accessEnded(err error) bool {
	for _, end := range []error{session.ErrSignIn, session.ErrForbidden, session.ErrExpired, session.ErrRevoked, session.ErrInvalid, session.ErrNotFound} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// read delivers events of one connection until it breaks.
func (w *watcher) read(ctx context.Context, s stream) error {
	dead := time.AfterFunc(silence, s.cancel)
	defer dead.Stop()
	lines := bufio.NewScanner(s.body)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	var block sseBlock
	for lines.Scan() {
		dead.Reset(silence)
		if !block.add(lines.Text()) {
			continue
		}
		err := w.deliver(ctx, block)
		block = sseBlock{}
		if err != nil {
			return err
		}
	}
	return lines.Err()
}

// sseBlock collects the fields of one event. Other fields and comments are
// ignored, as the specification asks.
type sseBlock struct{ id, data string }

// add takes a line and reports whether the block is complete.
func (b *sseBlock) add(line string) bool {
	if line == "" {
		return true
	}
	field, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch field {
	case "id":
		b.id = value
	case "data":
		b.data += value
	}
	return false
}

func (w *watcher) deliver(ctx context.Context, b sseBlock) error {
	if b.data == "" {
		if id, err := strconv.ParseInt(b.id, 10, 64); err == nil && id > w.position {
			w.position = id // where the server stands; nothing happened
		}
		return nil
	}
	var doc eventDoc
	if err := json.Unmarshal([]byte(b.data), &doc); err != nil {
		return session.Refuse(session.ErrUnavailable, "The approval server's events cannot be read.")
	}
	if doc.ID <= w.position {
		return nil // seen on an earlier connection
	}
	select {
	case w.events <- doc.event():
		w.position = doc.ID
	case <-ctx.Done():
		return ctx.Err()
	}
	if w.session != "" && doc.SessionID == w.session && session.EventKind(doc.Kind) == session.EventSessionEnded {
		return errAccessEnded
	}
	return nil
}
