package approval

import (
	"context"
	"errors"
	"sync"

	"github.com/jit-access/jit/session"
)

// notifier wakes every watcher after a commit. It carries no data: watchers
// read the events table, so that nothing is lost between two wake-ups, and a
// replica can be woken by anything else as well.
type notifier struct {
	mu   sync.Mutex
	wake chan struct{} // closed and replaced by poke
}

func newNotifier() *notifier { return &notifier{wake: make(chan struct{})} }

func (n *notifier) poke() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.wake)
	n.wake = make(chan struct{})
}

// next is closed at the next poke.
func (n *notifier) next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wake
}

// lastEvent is the id of the newest event.
func (s *Store) lastEvent(ctx context.Context) (int64, error) {
	var id int64
	err := s.db.read.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = 'events'`).Scan(&id)
	return id, err
}

// eventPage bounds one read of the events table.
const eventPage = 500

// readEvents reads one page of the events table.
func (s *Store) readEvents(ctx context.Context, after int64) ([]session.Event, error) {
	rows, err := s.db.read.QueryContext(ctx, `SELECT id, kind, at, request_id, session_id FROM events WHERE id > $1 ORDER BY id LIMIT $2`, after, eventPage)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var page []session.Event
	for rows.Next() {
		var (
			e    session.Event
			kind string
			at   int64
		)
		if err := rows.Scan(&e.ID, &kind, &at, &e.RequestID, &e.SessionID); err != nil {
			return nil, err
		}
		e.Kind, e.At = session.EventKind(kind), fromMicros(at)
		page = append(page, e)
	}
	return page, rows.Err()
}

// eventsAfter returns what w may see after id, the id up to which it looked,
// and whether there may be more.
func (s *Store) eventsAfter(ctx context.Context, w Caller, id int64) (seen []session.Event, last int64, more bool, err error) {
	page, err := s.readEvents(ctx, id)
	if err != nil {
		return nil, id, false, err
	}
	last = id
	for _, e := range page {
		ok, err := s.maySeeEvent(ctx, w, e)
		if err != nil {
			return nil, id, false, err
		}
		if ok {
			seen = append(seen, e)
		}
		last = e.ID
	}
	return seen, last, len(page) == eventPage, nil
}

// maySeeEvent follows what the event is about.
func (s *Store) maySeeEvent(ctx context.Context, w Caller, e session.Event) (bool, error) {
	if w.isBroker() && e.SessionID != w.Session {
		return false, nil
	}
	var err error
	if e.RequestID != "" {
		_, err = s.request(ctx, w, e.RequestID)
	} else {
		_, err = s.session(ctx, w, e.SessionID)
	}
	if errors.Is(err, session.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// follow calls deliver with every event w may see after id, and seen with the
// position reached, until ctx ends or one of them fails.
func (s *Store) follow(ctx context.Context, w Caller, after int64, deliver func(session.Event) error) error {
	for {
		wake := s.notifier.next() // before reading: a commit in between wakes us
		for more := true; more; {
			var (
				events []session.Event
				err    error
			)
			if events, after, more, err = s.eventsAfter(ctx, w, after); err != nil {
				return err
			}
			for _, e := range events {
				if err := deliver(e); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		}
	}
}

// watch is session.Desk's Watch on the store itself.
func (s *Store) watch(ctx context.Context, w Caller, after int64) (<-chan session.Event, error) {
	if after < 0 {
		var err error
		if after, err = s.lastEvent(ctx); err != nil {
			return nil, err
		}
	}
	ch := make(chan session.Event)
	go func() { // ends with ctx, or when storage fails
		defer close(ch)
		err := s.follow(ctx, w, after, func(e session.Event) error {
			select {
			case ch <- e:
				return w.lastEvent(e)
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if err != nil && ctx.Err() == nil && !errors.Is(err, errAccessEnded) {
			s.log.ErrorContext(ctx, "watching events failed", "error", err)
		}
	}()
	return ch, nil
}

// errAccessEnded ends a watch whose caller has nothing more to see.
var errAccessEnded = errors.New("access ended")

// lastEvent says that e is the last thing w may see: a broker's access ends
// with its session.
func (w Caller) lastEvent(e session.Event) error {
	if w.isBroker() && e.Kind == session.EventSessionEnded {
		return errAccessEnded
	}
	return nil
}
