package cmd

import (
	"encoding/json"
	"io"
	"os"
	"sync"
	"time"

	"github.com/jit-access/jit/session/recording"
)

// feedEvent is one line of `jit exec --status-fd`. docs/exec.md describes each
// kind; members that a kind does not use are left out. Kinds and members are only
// ever added.
type feedEvent struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"`

	Session    string     `json:"session,omitempty"`
	Request    string     `json:"request,omitempty"`
	Connection string     `json:"connection,omitempty"`
	Reviewers  []string   `json:"reviewers,omitempty"`
	Expires    *time.Time `json:"expires,omitempty"`  // of a request
	Deadline   *time.Time `json:"deadline,omitempty"` // of the session
	URL        string     `json:"url,omitempty"`      // to sign in at
	Code       string     `json:"code,omitempty"`     // to type there, or of a refusal
	PID        int        `json:"pid,omitempty"`
	Statement  string     `json:"statement,omitempty"`
	Outcome    string     `json:"outcome,omitempty"` // approved, denied, expired, withdrawn
	Why        string     `json:"why,omitempty"`
	Exit       *int       `json:"exit,omitempty"`
	Signal     string     `json:"signal,omitempty"`
	Dropped    int        `json:"dropped,omitempty"` // lines lost before this one because nobody read
}

// The kinds of feed events, in the order a session meets them.
const (
	feedStarted     = "started"      // jit runs
	feedLoginNeeded = "login_needed" // a person must open url and enter code
	feedWaiting     = "waiting"      // the session's request waits for a reviewer
	feedOpen        = "open"         // the session is open
	feedRunning     = "running"      // the command runs
	feedFirstUse    = "first_use"    // a driver logged in; deadline is final
	feedExtended    = "extended"     // the session lasts until another deadline
	feedHeld        = "held"         // a statement waits for a reviewer
	feedDecided     = "decided"      // the reviewer's answer, or none in time
	feedRefused     = "refused"      // a statement did not run
	feedExpired     = "expired"      // the session is over while the command runs
	feedExited      = "exited"       // the command ended
	feedEnded       = "ended"        // jit ends; exit is its own code
)

// feed writes JSON lines to the file descriptor that whoever started jit gave it.
// A nil feed writes nowhere. A reader that is slow or gone costs lines, never the
// session: the lines go through a queue, and what does not fit is counted.
type feed struct {
	now   func() time.Time
	lines chan feedEvent
	done  chan struct{}

	mu      sync.Mutex // guards what follows
	dropped int
	closed  bool
}

const (
	feedQueue  = 1024
	feedLinger = time.Second // for the last lines to be read
)

func newFeed(w io.WriteCloser, now func() time.Time) *feed {
	f := &feed{now: now, lines: make(chan feedEvent, feedQueue), done: make(chan struct{})}
	go func() { // ends with close, or with the process if nobody reads
		defer close(f.done)
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for e := range f.lines {
			if err := enc.Encode(e); err != nil {
				break
			}
		}
		_ = w.Close() // its reader is gone, or has everything
		for range f.lines {
			continue
		}
	}()
	return f
}

func (f *feed) send(e feedEvent) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	e.Time, e.Dropped = f.now().UTC(), f.dropped
	select {
	case f.lines <- e:
		f.dropped = 0
	default:
		f.dropped++
	}
}

// end sends the last line and waits a moment for it to be read.
func (f *feed) end(code ExitCode, err error) {
	if f == nil {
		return
	}
	exit, why := int(code), ""
	if err != nil {
		why = err.Error()
	}
	f.send(feedEvent{Event: feedEnded, Exit: &exit, Why: why})
	f.mu.Lock()
	f.closed = true
	close(f.lines)
	f.mu.Unlock()
	select {
	case <-f.done:
	case <-time.After(feedLinger):
	}
}

// see sends what an event that is on disk means to an onlooker.
func (f *feed) see(e recording.Event, s runningSession, firstUse bool) {
	switch {
	case f == nil:
	case firstUse:
		f.send(feedEvent{Event: feedFirstUse, Session: s.Session, Deadline: &s.Deadline})
	case e.Kind == recording.KindExtended:
		f.send(feedEvent{Event: feedExtended, Session: s.Session, Deadline: &s.Deadline})
	case e.Kind == recording.KindRequest && e.Request != nil:
		f.send(feedEvent{Event: feedHeld, Session: s.Session, Statement: e.Statement, Request: e.Request.ID, Reviewers: e.Request.Reviewers, Expires: &e.Request.Expires})
	case e.Kind == recording.KindDecision && e.Decision != nil:
		f.send(feedEvent{Event: feedDecided, Session: s.Session, Statement: e.Statement, Request: e.Decision.Request, Outcome: e.Decision.Outcome, Why: e.Decision.Reason})
	case e.Kind == recording.KindRefused && e.Refused != nil:
		f.send(feedEvent{Event: feedRefused, Session: s.Session, Statement: e.Statement, Code: e.Refused.Code})
	}
}

// openFeed takes over file descriptor n, which whoever started jit opened. 0 is
// none.
func (a *App) openFeed(n int) (*feed, error) {
	if n == 0 {
		return nil, nil
	}
	if n < 3 {
		return nil, usagef("--status-fd %d: standard streams belong to the command; open another, as in `jit exec --status-fd 3 … 3>status.jsonl`", n)
	}
	if err := ownDescriptor(n); err != nil {
		return nil, usagef("--status-fd %d: %w", n, err)
	}
	return newFeed(os.NewFile(uintptr(n), "status"), a.Now), nil
}
