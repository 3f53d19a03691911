//go:build unix

package cmd

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"github.com/jit-access/jit/session"
)

// ttyScreen is what a person sees and the keys they have.
type ttyScreen struct {
	t      *testing.T
	ctx    context.Context
	master *os.File
	cells  vt10x.Terminal
}

// openTTY makes a pseudo-terminal of 100×30 cells and returns the person's end
// and the program's.
func openTTY(t *testing.T) (*ttyScreen, *os.File) {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(master, &pty.Winsize{Cols: 100, Rows: 30}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	s := &ttyScreen{t: t, ctx: ctx, master: master, cells: vt10x.New(vt10x.WithSize(100, 30), vt10x.WithWriter(io.Discard))}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(s.cells, master) // ends with the terminal
	}()
	t.Cleanup(func() {
		cancel()
		_ = tty.Close()
		_ = master.Close()
		<-copied
	})
	return s, tty
}

func (s *ttyScreen) shows(want string) {
	s.t.Helper()
	last := ""
	for s.ctx.Err() == nil {
		if last = s.cells.String(); strings.Contains(last, want) {
			return
		}
		time.Sleep(10 * time.Millisecond) // a real terminal: polled, with a deadline
	}
	s.t.Fatalf("the screen never showed %q:\n%s", want, last)
}

func (s *ttyScreen) press(keys ...string) {
	s.t.Helper()
	for _, k := range keys {
		if _, err := io.WriteString(s.master, k); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestReviewAtATerminal lets carol decide at a real terminal, against the real
// approval server, on requests that arrive while she looks.
func TestReviewAtATerminal(t *testing.T) {
	o := newOffice(t)
	alice, bob, carol := o.signIn("alice"), o.signIn("bob"), o.signIn("carol")
	bob.In = strings.NewReader(plantedPassword + "\n")
	bob.run(ExitOK, "connection", "add", "prod", "--account", "SANDBOX", "--url", o.upstream, "--user", "JIT_SVC", "--role", "ANALYST", "--password-file", "-")

	screen, tty := openTTY(t)
	t.Setenv("TERM", "xterm-256color")
	start := time.Now()
	// Carol's clock runs ten times as fast, so that the undo time is short.
	at := &App{In: tty, Out: tty, Err: tty, Getenv: carol.Getenv, Logger: carol.Logger, Paths: carol.Paths, server: o.url, source: carol.source,
		Now: func() time.Time { return start.Add(10 * time.Since(start)) }}
	done := make(chan ExitCode, 1)
	go func() { done <- at.report(at.review(screen.ctx, reviewOptions{})) }()
	screen.shows("Nothing waits.")
	screen.shows("● live")

	first := alice.ask("monthly report")
	screen.shows("1 request waits")
	screen.shows("alice@example.test")
	screen.press("\r")
	screen.shows("monthly report")
	screen.press("a")
	screen.shows("go on")
	screen.press("fine with me", "\r")
	screen.shows("Approve this?")
	screen.press("\r") // Enter is No
	screen.shows("Nothing was decided.")
	screen.press("a", "fine with me", "\r", "y")
	screen.shows("Approved " + first.ID)
	if got, err := alice.api().Request(t.Context(), first.ID); err != nil || got.State != session.StateApproved ||
		got.Decisions[0].Reason != "fine with me" || got.Decisions[0].Reviewer.Email != "carol@example.test" {
		t.Errorf("alice has %+v, %v", got, err)
	}

	second := alice.ask("and once more")
	screen.shows("1 request waits")
	screen.press("\r")
	screen.shows("and once more")
	screen.press("d", "enough for today", "\r", "y")
	screen.shows("Denied " + second.ID)
	if got, err := alice.api().Request(t.Context(), second.ID); err != nil || got.State != session.StateDenied || got.Decisions[0].Reason != "enough for today" {
		t.Errorf("alice has %+v, %v", got, err)
	}

	third := alice.ask("gone before it is read")
	screen.shows("1 request waits")
	if err := alice.api().Withdraw(t.Context(), third.ID); err != nil {
		t.Fatal(err)
	}
	screen.shows("Nothing waits.")
	screen.press("q")
	if code := <-done; code != ExitOK {
		t.Errorf("exit %d:\n%s", code, screen.cells.String())
	}
}
