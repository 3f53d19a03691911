package cmd

import (
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/jit-access/jit/replay"
)

// The terminal's own stack of titles (XTWINOPS); terminals without one ignore it.
const (
	pushTitle = "\x1b[22;2t"
	popTitle  = "\x1b[23;2t"
)

// setTitle names the session in the title of the terminal that stderr is, and
// returns how to put the old title back. Both are written while no child runs, so
// that neither lands in the middle of a sequence of its own.
func (a *App) setTitle(cfg Config, o execOptions, s runningSession) (restore func()) {
	term := a.Getenv("TERM")
	if o.NoTitle || cfg.Title == titleOff || !isTerminal(a.Err) || term == "" || term == "dumb" || term == "linux" {
		return func() {}
	}
	words := []string{"jit", s.Connection, agentName(o.Command), "until " + s.Deadline.Local().Format("15:04")}
	title := ansi.Truncate(replay.VisibleLine(strings.Join(words, " · ")), 80, "…")
	_, _ = io.WriteString(a.Err, pushTitle+ansi.SetWindowTitle(title)) // cosmetic
	return func() { _, _ = io.WriteString(a.Err, popTitle) }           // likewise
}
