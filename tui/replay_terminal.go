package tui

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/jit-access/jit/replay"
)

// terminalPane is the part of the replay screen that shows the recorded terminal.
// The recording of it is read when the pane is first opened.
type terminalPane struct {
	open     bool
	loading  bool // the recording is being read
	asking   bool // a screen is on its way; the next one is asked for after it
	terminal *replay.Terminal
	at       time.Time // what screen shows: the moment that was asked for
	screen   replay.Screen
	failed   string // why there is nothing to show
}

// toggleTerminal opens and closes the pane.
func (m *player) toggleTerminal() tea.Cmd {
	p := &m.pane
	p.open = !p.open && !p.loading
	m.scroll = 0
	if !p.open || p.terminal != nil {
		return nil
	}
	if !m.complete() {
		p.open = false
		m.notice = "The recording is still being read. Press t again in a moment."
		return nil
	}
	p.open, p.loading = false, true
	return m.io.terminal(slices.Clone(m.index.Entries))
}

func (m *player) onTerminal(msg terminalMsg) {
	p := &m.pane
	p.loading = false
	switch {
	case errors.Is(msg.err, replay.ErrNoTerminal) && !m.report.Sealed:
		m.notice = "There is no terminal to show yet: the recording proves it only when the command has ended."
	case msg.err != nil:
		m.notice = "Terminal: " + msg.err.Error()
	default:
		p.terminal, p.open = msg.terminal, true
	}
}

// askScreen asks for the screen of the moment that is replayed, one at a time:
// while it plays, what is drawn is as late as drawing takes.
func (m *player) askScreen() tea.Cmd {
	p := &m.pane
	if !p.open || p.asking || p.terminal == nil || p.at.Equal(m.now) {
		return nil
	}
	p.asking = true
	return m.io.screen(p.terminal, m.now)
}

func (m *player) onScreen(msg screenMsg) {
	p := &m.pane
	p.asking, p.at, p.screen, p.failed = false, msg.at, msg.screen, ""
	if msg.err != nil {
		p.failed = msg.err.Error()
	}
}

// terminalHeight is that of the pane below the detail of a wide screen.
func (m *player) terminalHeight() int {
	if !m.pane.open || !m.wide() || m.whole {
		return 0
	}
	return m.bodyHeight() / 2
}

// terminalPane draws a rule and below it the end of what the terminal showed.
func (m *player) terminalPane(width, height int) []string {
	if height <= 0 {
		return nil
	}
	p := &m.pane
	title := "─ terminal "
	if p.screen.Cols > 0 {
		title += fmt.Sprintf("%d×%d ", p.screen.Cols, p.screen.Rows)
	}
	if p.screen.Lost > 0 {
		title += fmt.Sprintf("%d pieces could not be drawn ", p.screen.Lost)
	}
	lines := []string{m.style.dim.Render(fit(title+strings.Repeat("─", max(width-len([]rune(title)), 0)), width))}
	if p.failed != "" {
		return fill(append(lines, m.style.bad.Render(oneLine(p.failed))), height)
	}
	shown := p.screen.Lines
	shown = shown[max(0, len(shown)-(height-1)):]
	for _, l := range shown {
		lines = append(lines, fit(sanitize(l), width)) // Screen did that already: it is cheap to be sure
	}
	return fill(lines, height)
}
