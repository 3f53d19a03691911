package cmd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jit-access/jit/session"
)

// deskOfOne is a desk with one session request that a test moves by hand.
type deskOfOne struct {
	session.Desk // what the code under test must not call panics
	events       chan session.Event

	mu        sync.Mutex
	req       session.Request
	fail      error // of Request
	withdrawn bool
	asked     int
}

func (d *deskOfOne) Submit(_ context.Context, s session.Submission) (session.Request, error) {
	d.req.Kind, d.req.Scope, d.req.Reason = s.Kind, s.Scope, s.Reason
	return d.req, nil
}

func (d *deskOfOne) Request(context.Context, string) (session.Request, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	return d.req, d.fail
}

func (d *deskOfOne) Withdraw(context.Context, string) error {
	d.withdrawn = true
	return nil
}

func (d *deskOfOne) Watch(context.Context, int64) (<-chan session.Event, error) { return d.events, nil }

// move changes the request's state and tells watchers.
func (d *deskOfOne) move(to session.State, decisions ...session.Decision) {
	d.mu.Lock()
	d.req.State, d.req.Decisions = to, decisions
	d.mu.Unlock()
	d.events <- session.Event{Kind: session.EventRequestDecided, RequestID: d.req.ID}
}

// failWith makes Request fail, or nil answer again.
func (d *deskOfOne) failWith(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

func waitingDesk(now time.Time) *deskOfOne {
	return &deskOfOne{
		req:    session.Request{ID: "req_1", Approvals: 2, Reviewers: []string{"approvers"}, CreatedAt: now, ExpiresAt: now.Add(15 * time.Minute), GrantID: "grant_1"},
		events: make(chan session.Event, 1),
	}
}

func TestAskingForASession(t *testing.T) {
	bob := session.Principal{Subject: "bob", Email: "bob@example.test"}
	for _, c := range []struct {
		name string
		o    execOptions
		act  func(d *deskOfOne, interrupt func())
		code ExitCode
		says string
	}{
		{"approved", execOptions{}, func(d *deskOfOne, _ func()) { d.move(session.StateApproved) }, ExitOK, ""},
		{"denied", execOptions{}, func(d *deskOfOne, _ func()) {
			d.move(session.StateDenied, session.Decision{Reviewer: bob, Reason: "not today"})
		}, ExitDenied, "denied by bob@example.test (not today)"},
		{"expired at the server", execOptions{}, func(d *deskOfOne, _ func()) { d.move(session.StateExpired) }, ExitExpired, "expired"},
		{"nobody decides", execOptions{}, func(*deskOfOne, func()) {}, ExitExpired, "expired before anybody decided"},
		{"waited long enough", execOptions{Wait: time.Minute}, func(*deskOfOne, func()) {}, ExitPending, "jit exec --request req_1"},
		{"not waiting", execOptions{NoWait: true}, func(*deskOfOne, func()) {}, ExitPending, "jit exec --request req_1"},
		{"interrupted", execOptions{}, func(_ *deskOfOne, interrupt func()) { interrupt() }, ExitError, "is withdrawn"},
		{"server away for a while", execOptions{}, func(d *deskOfOne, _ func()) {
			d.failWith(session.ErrUnavailable)
			time.Sleep(time.Minute) // of the bubble's clock
			d.failWith(nil)
			d.move(session.StateApproved)
		}, ExitOK, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, interrupt := context.WithCancel(t.Context())
				defer interrupt()
				var out, errOut bytes.Buffer
				a := &App{Out: &out, Err: &errOut, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
				d := waitingDesk(time.Now())
				acted := make(chan struct{})
				go func() {
					defer close(acted)
					time.Sleep(10 * time.Second)
					c.act(d, interrupt)
				}()
				c.o.Command = []string{"agent"}
				_, err := a.ask(ctx, d, c.o)
				code := a.report(err)
				if code != c.code || !strings.Contains(errOut.String(), c.says) {
					t.Errorf("exit %d, want %d and %q:\n%s", code, c.code, c.says, &errOut)
				}
				if d.withdrawn != (c.name == "interrupted") {
					t.Errorf("withdrawn: %v", d.withdrawn)
				}
				if c.o.NoWait && out.String() != "req_1\n" {
					t.Errorf("stdout is %q, want the request id", &out)
				}
				if d.asked > 100 {
					t.Errorf("asked the server %d times", d.asked)
				}
				<-acted
			})
		})
	}
}

func TestEarlierRequestThatGivesNoAccess(t *testing.T) {
	for state, want := range map[session.State]ExitCode{
		session.StateUsed: ExitExpired, session.StateWithdrawn: ExitExpired, session.StateDenied: ExitDenied, session.StateExpired: ExitExpired,
	} {
		d := waitingDesk(time.Now())
		d.req.Kind, d.req.State = session.RequestSession, state
		a := &App{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}, Now: time.Now}
		_, err := a.ask(t.Context(), d, execOptions{Request: "req_1", Command: []string{"agent"}})
		if code, _ := exitOf(err); code != want {
			t.Errorf("state %v: exit %d, want %d (%v)", state, code, want, err)
		}
	}
	d := waitingDesk(time.Now())
	d.req.Kind = session.RequestStatement
	_, err := (&App{Now: time.Now}).ask(t.Context(), d, execOptions{Request: "req_1"})
	if code, _ := exitOf(err); code != ExitUsage {
		t.Errorf("a statement's request opens a session: %v", err)
	}
}

func TestExecRefusesBeforeAskingAnybody(t *testing.T) {
	for _, c := range []struct {
		args []string
		env  map[string]string
		code ExitCode
		says string
	}{
		{args: []string{"exec"}, code: ExitUsage, says: "requires at least 1 arg"},
		{args: []string{"exec", "--nope", "--", "true"}, code: ExitUsage, says: "unknown flag"},
		{args: []string{"exec", "--ttl", "0s", "--", "true"}, code: ExitUsage, says: "--ttl"},
		{args: []string{"exec", "--hold", "48h", "--", "true"}, code: ExitUsage, says: "--hold"},
		{args: []string{"exec", "--reason", strings.Repeat("x", maxReason+1), "--", "true"}, code: ExitUsage, says: "--reason"},
		{args: []string{"exec", "--wait", "1s", "--no-wait", "--", "true"}, code: ExitUsage, says: "wait"},
		{args: []string{"exec", "--request", "r", "--role", "X", "--", "true"}, code: ExitUsage, says: "role"},
		{args: []string{"exec", "--", "no-such-command-here"}, code: ExitNotFound, says: "no such command"},
		{args: []string{"exec", "--", "/"}, code: ExitNotRunnable, says: "folder"},
		{args: []string{"exec", "--", "true"}, code: ExitSignIn, says: "jit login"},
		{args: []string{"exec", "--", "true"}, env: map[string]string{"JIT_SESSION": "ses_1"}, code: ExitNotStarted, says: "already runs inside"},
		{args: []string{"--server", "http://example.com", "exec", "--", "true"}, code: ExitUsage, says: "https"},
		{args: []string{"--server", "::", "exec", "--", "true"}, code: ExitUsage, says: "--server"},
	} {
		var errOut bytes.Buffer
		dir := t.TempDir()
		a := &App{Out: &bytes.Buffer{}, Err: &errOut, Getenv: func(k string) string { return c.env[k] }, Now: time.Now,
			Paths: Paths{Config: dir, State: dir}, Logger: slog.New(slog.DiscardHandler)}
		if code := a.Run(t.Context(), c.args); code != c.code || !strings.Contains(errOut.String(), c.says) {
			t.Errorf("jit %q: exit %d, want %d and %q:\n%s", c.args, code, c.code, c.says, &errOut)
		}
	}
}

func TestFailureKeepsWhatWhyAndFix(t *testing.T) {
	var errOut bytes.Buffer
	a := &App{Err: &errOut}
	code := a.report(&Failure{What: "opening the session", Err: errors.New("evil \x1b[2J\u202e text")})
	if code != ExitError || strings.ContainsAny(errOut.String(), "\x1b\u202e") {
		t.Errorf("exit %d, printed %q", code, errOut.String())
	}
}
