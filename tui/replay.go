package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
)

// ReplayOptions say at which terminal a recording is replayed.
type ReplayOptions struct {
	Filter  replay.Filter // what the timeline begins with
	Follow  bool          // begin at the end, and show what a running session adds
	In      io.Reader
	Out     io.Writer
	Environ []string // decides on colours; nil: the process's own
}

// Replay shows a recording until the viewer leaves or ctx ends.
func Replay(ctx context.Context, rec *replay.Recording, opt ReplayOptions) error {
	m := newPlayer(rec, recordingCommands{rec})
	m.setFilter(opt.Filter)
	m.follow = opt.Follow && !m.report.Sealed
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
	switch {
	case errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("drawing the replay screen: %w", err)
	}
	return m.broken // a recording that changed under the viewer's eyes is an error of the command too
}

// The messages of the player's commands.
type (
	batchMsg struct {
		batch replay.Batch
		err   error
	}
	entryMsg struct {
		at     int // position in the index
		detail replay.Detail
		err    error
	}
	foundMsg struct {
		query string
		at    []int
		err   error
	}
	terminalMsg struct {
		terminal *replay.Terminal
		err      error
	}
	screenMsg struct {
		at     time.Time // that was asked for
		screen replay.Screen
		err    error
	}
	playMsg   time.Time
	followMsg struct {
		report recording.Report
		err    error
	}
)

// playerCommands is what the player asks of the outside: it reads.
type playerCommands interface {
	read(from int64) tea.Cmd
	entry(at int, e replay.Entry) tea.Cmd
	search(entries []replay.Entry, text string) tea.Cmd
	terminal(entries []replay.Entry) tea.Cmd
	screen(t *replay.Terminal, at time.Time) tea.Cmd
	tick() tea.Cmd
	follow() tea.Cmd
}

const (
	batchEvents = 4096
	frameTime   = 100 * time.Millisecond
	followTime  = time.Second
)

type recordingCommands struct{ rec *replay.Recording }

func (c recordingCommands) read(from int64) tea.Cmd {
	return func() tea.Msg {
		b, err := c.rec.Read(from, batchEvents)
		return batchMsg{b, err}
	}
}

func (c recordingCommands) entry(at int, e replay.Entry) tea.Cmd {
	return func() tea.Msg {
		d, err := c.rec.Detail(e)
		return entryMsg{at, d, err}
	}
}

func (c recordingCommands) search(entries []replay.Entry, text string) tea.Cmd {
	return func() tea.Msg {
		q, err := replay.ParseQuery(text)
		if err != nil {
			return foundMsg{query: text, err: err}
		}
		at, err := c.rec.Search(entries, q)
		return foundMsg{text, at, err}
	}
}

func (c recordingCommands) terminal(entries []replay.Entry) tea.Cmd {
	return func() tea.Msg {
		t, err := c.rec.Terminal(entries)
		return terminalMsg{t, err}
	}
}

func (recordingCommands) screen(t *replay.Terminal, at time.Time) tea.Cmd {
	return func() tea.Msg {
		s, err := t.At(at)
		return screenMsg{at, s, err}
	}
}

func (recordingCommands) tick() tea.Cmd {
	return tea.Tick(frameTime, func(t time.Time) tea.Msg { return playMsg(t) })
}

// follow looks again after a while at what the session has signed.
func (c recordingCommands) follow() tea.Cmd {
	return tea.Tick(followTime, func(time.Time) tea.Msg {
		_, err := c.rec.Refresh()
		return followMsg{c.rec.Report(), err}
	})
}
