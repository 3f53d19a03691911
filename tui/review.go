package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/jit-access/jit/session"
)

// ReviewOptions says who reviews and at which terminal.
type ReviewOptions struct {
	// Viewer is the reviewer: what they asked for themselves cannot be decided
	// by them. The desk enforces it; the screen says so beforehand.
	Viewer   session.Principal
	ReadOnly bool // look, never decide
	Quiet    bool // no bell and no notification when something new waits
	Mouse    bool // the mouse moves and scrolls; it decides nothing
	// History reads what the session behind a request ran last, newest first.
	// Nil: nothing is shown of it.
	History func(ctx context.Context, requestID string) ([]PastStatement, error)
	Request string // open this request at once; empty: the queue
	In      io.Reader
	Out     io.Writer
	Environ []string         // decides on colours; nil: the process's own
	Now     func() time.Time // nil: time.Now
}

// PastStatement is a statement that a session ran before.
type PastStatement struct {
	At        time.Time
	Verdict   string // allow, hold or deny
	Text      string // an agent's: sanitised before it is drawn
	Emergency bool
}

// Review shows the queue of desk and lets the viewer decide, until they leave
// or ctx ends. Decisions still within their undo time are then not sent. With
// an office, the session behind a held statement can be revoked; it may be nil.
func Review(ctx context.Context, desk session.Desk, office session.Office, opt ReviewOptions) error {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	m := newReview(opt.Viewer, opt.Now)
	m.readOnly, m.openFirst = opt.ReadOnly, opt.Request
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the watch and every command under way
	m.bell, m.mouse = !opt.Quiet, opt.Mouse
	m.io, m.canRevoke = deskCommands{ctx: ctx, desk: desk, office: office, past: opt.History}, office != nil
	options := []tea.ProgramOption{tea.WithContext(ctx)}
	if opt.In != nil {
		options = append(options, tea.WithInput(opt.In))
	}
	if opt.Out != nil {
		options = append(options, tea.WithOutput(opt.Out))
	}
	if opt.Environ != nil {
		options = append(options, tea.WithEnvironment(opt.Environ))
	}
	_, err := tea.NewProgram(m, options...).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("drawing the review screen: %w", err)
	}
	return nil
}

// The messages that commands answer with.
type (
	loadedMsg struct {
		requests []session.Request
		err      error
	}
	watchingMsg struct {
		events <-chan session.Event
		err    error
	}
	eventMsg struct {
		event session.Event
		open  bool
	}
	decidedMsg struct {
		id      string
		outcome session.Outcome
		request session.Request
		err     error
	}
	revokedMsg struct {
		session string
		err     error
	}
	commentedMsg struct {
		id  string
		err error
	}
	historyMsg struct {
		id         string
		statements []PastStatement
		err        error
	}
	tickMsg struct{}
)

// deskCommands is all the I/O of the review screen. The context is that of the
// screen, which ends with it; Update never sees it.
type deskCommands struct {
	ctx    context.Context //nolint:containedctx // commands run after Update returned
	desk   session.Desk
	office session.Office
	past   func(context.Context, string) ([]PastStatement, error)
}

const callTimeout = 15 * time.Second

func (d deskCommands) load() tea.Msg {
	ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
	defer cancel()
	requests, err := d.desk.Pending(ctx, session.Filter{})
	return loadedMsg{requests, err}
}

func (d deskCommands) watch() tea.Msg {
	events, err := d.desk.Watch(d.ctx, -1)
	return watchingMsg{events, err}
}

func (d deskCommands) next(events <-chan session.Event) tea.Cmd {
	return func() tea.Msg {
		e, open := <-events
		return eventMsg{e, open}
	}
}

func (d deskCommands) decide(id string, c session.Choice) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
		defer cancel()
		req, err := d.desk.Decide(ctx, id, c)
		return decidedMsg{id, c.Outcome, req, err}
	}
}

func (d deskCommands) revoke(id, reason string) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
		defer cancel()
		return revokedMsg{id, d.office.Revoke(ctx, id, reason)}
	}
}

func (d deskCommands) comment(id, text string) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
		defer cancel()
		_, err := d.desk.Comment(ctx, id, text)
		return commentedMsg{id, err}
	}
}

func (d deskCommands) history(id string) tea.Cmd {
	if d.past == nil {
		return nil
	}
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
		defer cancel()
		statements, err := d.past(ctx, id)
		return historyMsg{id, statements, err}
	}
}

// shelf reads what a tab other than the queue shows.
func (d deskCommands) shelf(t tab) tea.Cmd {
	if t == tabSessions && d.office == nil {
		return nil
	}
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
		defer cancel()
		var s shelf
		var err error
		if t == tabSessions {
			s.sessions, err = d.office.Sessions(ctx)
		} else {
			s.requests, err = d.desk.Pending(ctx, session.Filter{All: true, Mine: t == tabMine})
		}
		return shelfMsg{t, s, err}
	}
}

const tickEvery = 250 * time.Millisecond

func tick() tea.Cmd { return tea.Tick(tickEvery, func(time.Time) tea.Msg { return tickMsg{} }) }
