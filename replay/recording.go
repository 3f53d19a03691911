package replay

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jit-access/jit/session/recording"
)

// Recording is an opened, verified recording. Its methods only read, and are
// safe for concurrent use.
type Recording struct {
	dir string // empty: it cannot be followed
	opt recording.VerifyOptions

	mu     sync.RWMutex // guards reader and stamp
	reader *recording.Reader
	stamp  stamp
}

// Open opens the recording in a folder, or the one that a file of it names. It
// verifies with the keys the recording names itself; OpenTrusted takes others.
func Open(path string) (*Recording, error) { return OpenTrusted(path, recording.VerifyOptions{}) }

// OpenTrusted is Open with keys that the caller trusts.
func OpenTrusted(path string, opt recording.VerifyOptions) (*Recording, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening recording: %w", err)
	}
	if !st.IsDir() {
		path = filepath.Dir(path)
	}
	seen := stampOf(path) // before it is read: what changes later is seen later
	r, err := recording.OpenFS(os.DirFS(path), opt)
	if err != nil {
		return nil, err
	}
	return &Recording{dir: path, opt: opt, reader: r, stamp: seen}, nil
}

// New replays what a Reader reads, and closes it in the end.
func New(r *recording.Reader) *Recording { return &Recording{reader: r} }

// Close releases the recording's files.
func (r *Recording) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reader.Close()
}

// Report is what is proven about the recording.
func (r *Recording) Report() recording.Report {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.reader.Report()
}

// Session is what the recording says of its session.
func (r *Recording) Session() recording.SessionFacts {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.reader.Session()
}

// OpenedAt is when the session was opened.
func (r *Recording) OpenedAt() (time.Time, error) {
	e, err := r.event(0)
	return e.At, err
}

func (r *Recording) len() int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.reader.Len()
}

func (r *Recording) event(seq int64) (recording.Event, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.reader.Event(seq)
}

// skim reads an event for the index.
func (r *Recording) skim(seq int64) (recording.Event, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.reader.Skim(seq)
}

// line is an event as one line of JSON, without the newline.
func (r *Recording) line(seq int64) ([]byte, error) {
	e, err := r.event(seq)
	if err != nil {
		return nil, err
	}
	return recording.EventJSON(e)
}

// Detail is everything recorded about one entry.
type Detail struct {
	Entry  Entry
	Events []recording.Event
}

// Detail reads the events of an entry.
func (r *Recording) Detail(e Entry) (Detail, error) {
	d := Detail{Entry: e, Events: make([]recording.Event, 0, len(e.Events))}
	for _, seq := range e.Events {
		ev, err := r.event(int64(seq))
		if err != nil {
			return Detail{}, err
		}
		d.Events = append(d.Events, ev)
	}
	return d, nil
}

// Last is the last event of a kind; false if there is none.
func (d Detail) Last(k recording.Kind) (recording.Event, bool) {
	for i := len(d.Events) - 1; i >= 0; i-- {
		if d.Events[i].Kind == k {
			return d.Events[i], true
		}
	}
	return recording.Event{}, false
}
