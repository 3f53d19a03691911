package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// runningSession is what `jit status --json` prints of one session, and the file
// that the running `jit exec` keeps of it. Nothing in it is secret.
type runningSession struct {
	Session    string    `json:"session"`
	State      string    `json:"state"` // open or ended
	Why        string    `json:"why,omitempty"`
	PID        int       `json:"pid"` // of jit
	Connection string    `json:"connection"`
	Role       string    `json:"role,omitempty"`
	Command    []string  `json:"command"`
	Opened     time.Time `json:"opened"`
	FirstUse   time.Time `json:"first_use,omitzero"`
	Deadline   time.Time `json:"deadline"` // the latest end; after the first use the end
	TTL        string    `json:"ttl"`      // from first use
	Statements counts    `json:"statements"`
	Pending    []pending `json:"pending"`
	Recording  string    `json:"recording"`
	Wiring     string    `json:"wiring"` // the folder with the child's connection files
	// Confinement says how the command is confined, in words.
	Confinement string `json:"confinement"`
}

// counts tells statements by what became of them at first.
type counts struct {
	Allowed int `json:"allowed"`
	Held    int `json:"held"`
	Denied  int `json:"denied"`
	Masked  int `json:"masked"` // results with masked columns
}

// pending is a held statement that waits for its decision.
type pending struct {
	Request   string    `json:"request"`
	Since     time.Time `json:"since"`
	Expires   time.Time `json:"expires"`
	Reviewers []string  `json:"reviewers,omitempty"`
}

// left is how long the session still lasts, in words.
func (s runningSession) left(now time.Time) string {
	switch {
	case s.State != stateOpen:
		return s.State
	case s.FirstUse.IsZero():
		return s.TTL + " from first use"
	case !now.Before(s.Deadline):
		return "over"
	default:
		return s.Deadline.Sub(now).Truncate(time.Second).String()
	}
}

const (
	stateOpen  = "open"
	stateEnded = "ended"
)

// Running is the folder of what running sessions say of themselves.
func (p Paths) Running() string { return filepath.Join(p.State, "running") }

// board keeps the runningSession of this process, in memory and in its file. The
// lock beside the file tells others that this process lives.
type board struct {
	file  string
	lock  *flock.Flock
	write chan struct{} // capacity 1: something changed
	stop  chan struct{}
	done  chan struct{}

	saving sync.Mutex // one save at a time
	copy   string     // a second file, guarded by saving: that of an agent who cannot see the first; empty: none
	mu     sync.Mutex // guards what follows
	s      runningSession
}

// fileBoard is the copy's name in the child's folder of connection files.
const fileBoard = "jit-session.json"

// copyTo keeps a copy of the board in a folder, from the next save on.
func (b *board) copyTo(dir string) {
	b.saving.Lock()
	defer b.saving.Unlock()
	b.copy = filepath.Join(dir, fileBoard)
}

// boardEvery is the least time between two writes of the file.
const boardEvery = 100 * time.Millisecond

// openBoard begins the board of a session.
func (p Paths) openBoard(s runningSession) (*board, error) {
	if err := os.MkdirAll(p.Running(), 0o700); err != nil {
		return nil, fmt.Errorf("keeping the session's status: %w", err)
	}
	name := filepath.Join(p.Running(), s.Session)
	b := &board{
		file: name + ".json", lock: flock.New(name+".lock", flock.SetPermissions(0o600)), s: s,
		write: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if ok, err := b.lock.TryLock(); err != nil || !ok {
		return nil, fmt.Errorf("keeping the session's status: locking %s: %w", b.lock.Path(), errors.Join(err, errLocked(ok)))
	}
	if err := b.save(); err != nil {
		return nil, errors.Join(err, b.lock.Close())
	}
	go b.loop()
	return b, nil
}

func errLocked(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("another process has it")
}

func (b *board) loop() {
	defer close(b.done)
	for {
		select {
		case <-b.stop:
			return
		case <-b.write:
		}
		_ = b.save() // the next change tries again; status is not worth a session
		select {
		case <-b.stop:
			return
		case <-time.After(boardEvery):
		}
	}
}

// save replaces the file.
func (b *board) save() error {
	b.saving.Lock()
	defer b.saving.Unlock()
	b.mu.Lock()
	data, err := json.Marshal(b.s)
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("keeping the session's status: %w", err)
	}
	data = append(data, '\n')
	if b.copy != "" {
		// An agent may break its own copy: that is its own loss.
		_ = saveBoard(b.copy, data)
	}
	return saveBoard(b.file, data)
}

func saveBoard(file string, data []byte) error {
	tmp := file + ".new"
	// The agent can write where the copy lies: what it links there is not followed.
	_ = os.Remove(tmp)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("keeping the session's status: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keeping the session's status: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("keeping the session's status: %w", err)
	}
	return nil
}

// close takes the board down.
func (b *board) close() error {
	close(b.stop)
	<-b.done
	return errors.Join(os.Remove(b.file), os.Remove(b.lock.Path()), b.lock.Close())
}

// change edits the board.
func (b *board) change(f func(s *runningSession)) runningSession {
	b.mu.Lock()
	f(&b.s)
	now := b.s
	now.Pending = slices.Clone(now.Pending)
	b.mu.Unlock()
	select {
	case b.write <- struct{}{}:
	default:
	}
	return now
}

// see learns from an event that is on disk now.
func (s *runningSession) see(e recording.Event, scope session.Scope, now time.Time) {
	switch e.Kind {
	case recording.KindLogin:
		if e.Login != nil && e.Login.OK && s.FirstUse.IsZero() {
			s.FirstUse = now
			if end := now.Add(scope.TTL); end.Before(s.Deadline) {
				s.Deadline = end
			}
		}
	case recording.KindExtended:
		if e.Session != nil {
			s.Deadline = e.Session.Deadline
		}
	case recording.KindStatement:
		if e.SQL != nil && !e.SQL.Describe {
			s.Statements.add(e.SQL.Verdict)
		}
	case recording.KindResult:
		if e.Result != nil && len(e.Result.Masked) > 0 {
			s.Statements.Masked++
		}
	case recording.KindRequest:
		if r := e.Request; r != nil && !slices.ContainsFunc(s.Pending, func(p pending) bool { return p.Request == r.ID }) {
			s.Pending = append(s.Pending, pending{Request: r.ID, Since: now, Expires: r.Expires, Reviewers: r.Reviewers})
		}
	case recording.KindDecision:
		if d := e.Decision; d != nil {
			s.Pending = slices.DeleteFunc(slices.Clone(s.Pending), func(p pending) bool { return p.Request == d.Request })
		}
	}
}

func (c *counts) add(verdict string) {
	switch verdict {
	case policy.Allow.String():
		c.Allowed++
	case policy.Hold.String():
		c.Held++
	default:
		c.Denied++
	}
}

// String is the summary line's part about statements.
func (c counts) String() string {
	total := c.Allowed + c.Held + c.Denied
	if total == 0 {
		return "no statements"
	}
	words := []string{fmt.Sprintf("%d statements", total), fmt.Sprintf("%d ran unattended", c.Allowed)}
	if total == 1 {
		words[0] = "1 statement"
	}
	for _, part := range []struct {
		n    int
		what string
	}{{c.Held, "held"}, {c.Denied, "denied"}, {c.Masked, "results masked"}} {
		if part.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	return strings.Join(words, ", ")
}

// runningSessions reads the boards of all sessions that run on this machine for
// this user, oldest first. What dead processes left is removed.
func (p Paths) runningSessions() ([]runningSession, error) {
	files, err := filepath.Glob(filepath.Join(p.Running(), "*.json"))
	if err != nil {
		return nil, fmt.Errorf("listing running sessions: %w", err)
	}
	list := []runningSession{}
	for _, file := range files {
		lock := flock.New(strings.TrimSuffix(file, ".json") + ".lock")
		if free, err := lock.TryLock(); err == nil && free {
			// Its process is gone. Others who find out at the same time do the same.
			_ = errors.Join(os.Remove(file), os.Remove(lock.Path()), lock.Close())
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it ended just now
		}
		var s runningSession
		if err := json.Unmarshal(data, &s); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		list = append(list, s)
	}
	if len(list) == 0 && p.Inside != "" { // confined: the boards are hidden
		if data, err := os.ReadFile(p.Inside); err == nil {
			var s runningSession
			if err := json.Unmarshal(data, &s); err != nil {
				return nil, fmt.Errorf("reading %s: %w", p.Inside, err)
			}
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b runningSession) int { return a.Opened.Compare(b.Opened) })
	return list, nil
}
