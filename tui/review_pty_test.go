//go:build unix

package tui

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"github.com/jit-access/jit/session"
)

// memoryDesk is a desk with a queue in memory.
type memoryDesk struct {
	session.Desk
	events chan session.Event

	mu       sync.Mutex // guards below
	requests []session.Request
	decided  []decision
}

func (d *memoryDesk) Pending(context.Context, session.Filter) ([]session.Request, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.requests), nil
}

func (d *memoryDesk) Watch(context.Context, int64) (<-chan session.Event, error) {
	return d.events, nil
}

func (d *memoryDesk) Decide(_ context.Context, id string, c session.Choice) (session.Request, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.decided = append(d.decided, decision{id, c})
	i := slices.IndexFunc(d.requests, func(r session.Request) bool { return r.ID == id })
	req := d.requests[i]
	req.State = session.StateApproved
	d.requests = slices.Delete(d.requests, i, i+1)
	return req, nil
}

func (d *memoryDesk) add(r session.Request) {
	d.mu.Lock()
	d.requests = append(d.requests, r)
	d.mu.Unlock()
	d.events <- session.Event{ID: 1, Kind: session.EventRequestSubmitted, RequestID: r.ID}
}

// TestReviewOnATerminal runs the whole screen on a real pseudo-terminal: keys
// in, cells out.
func TestReviewOnATerminal(t *testing.T) {
	const width, height = 100, 30
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close() //nolint:errcheck // test
	defer tty.Close()    //nolint:errcheck // test
	if err := pty.Setsize(master, &pty.Winsize{Cols: width, Rows: height}); err != nil {
		t.Fatal(err)
	}
	screen := vt10x.New(vt10x.WithSize(width, height), vt10x.WithWriter(io.Discard))
	var raw bytes.Buffer
	copied := make(chan struct{})
	go func() { // ends with the terminal
		defer close(copied)
		_, _ = io.Copy(io.MultiWriter(screen, &raw), master)
	}()

	now := time.Now()
	requests := reviewRequests()
	for i := range requests {
		requests[i].CreatedAt, requests[i].ExpiresAt = now.Add(time.Duration(i-10)*time.Second), now.Add(time.Hour)
	}
	requests[2].Reason = "\x1b[2J\x1b]0;owned\x07"
	desk := &memoryDesk{events: make(chan session.Event), requests: slices.Clone(requests[:3])}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// A clock that runs ten times as fast, so that the undo time is short.
	clock := func() time.Time { return now.Add(10 * time.Since(now)) }
	done := make(chan error, 1)
	go func() {
		done <- Review(ctx, desk, nil, ReviewOptions{Viewer: reviewer, In: tty, Out: tty, Environ: []string{"TERM=xterm-256color", "NO_COLOR=1"}, Now: clock})
	}()

	shows := func(want string) {
		t.Helper()
		last := ""
		for ctx.Err() == nil {
			if last = screen.String(); strings.Contains(last, want) {
				return
			}
			time.Sleep(10 * time.Millisecond) // a real terminal: polled, with a deadline
		}
		t.Fatalf("the screen never showed %q:\n%s", want, last)
	}
	press := func(keys string) {
		t.Helper()
		if _, err := io.WriteString(master, keys); err != nil {
			t.Fatal(err)
		}
	}
	shows("3 requests wait")
	shows("● live")
	desk.add(requests[3])
	shows("4 requests wait")
	press("jj")
	press("\r")
	shows("Statement, as it will be sent")
	press("a")
	shows("go on")
	press("fine\r")
	shows("Approve this?")
	press("y")
	shows("Press u to undo")
	shows("Approved req-3.")
	shows("3 requests wait")
	desk.mu.Lock()
	got := slices.Clone(desk.decided)
	desk.mu.Unlock()
	want := []decision{{"req-3", session.Choice{Outcome: session.OutcomeApprove, Reason: "fine", Digest: requests[2].Case.Digest()}}}
	if !slices.Equal(got, want) {
		t.Errorf("decided %+v, want %+v", got, want)
	}
	press("q")
	if err := <-done; err != nil {
		t.Errorf("Review: %v", err)
	}
	_ = tty.Close()
	<-copied
	if colour := regexp.MustCompile(`\x1b\[(\d+;)*(3|4|9|10)\d[;m]`).FindString(raw.String()); colour != "" {
		t.Errorf("NO_COLOR is set, but it draws %q", colour)
	}
	if title := screen.Title(); strings.Contains(title, "owned") {
		t.Errorf("the agent set the terminal's title to %q", title)
	}
}
