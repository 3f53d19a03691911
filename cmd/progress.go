package cmd

import (
	"fmt"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/jit-access/jit/replay"
)

// progress shows that a wait goes on: one line that rewrites itself on a
// terminal, one line a half minute elsewhere.
type progress struct {
	a        *App
	what     string
	start    time.Time
	extra    string
	live     bool
	nextLine time.Duration
	drawn    bool
}

const plainProgressEvery = 30 * time.Second

func newProgress(a *App, what string, start time.Time) *progress {
	return &progress{a: a, what: what, start: start, live: isTerminal(a.Err), nextLine: plainProgressEvery}
}

// note adds words behind the elapsed time; empty removes them.
func (p *progress) note(words string) { p.extra = replay.Visible(words) }

func (p *progress) show(now time.Time) {
	elapsed := now.Sub(p.start).Truncate(time.Second)
	line := fmt.Sprintf("%s · %s", p.what, elapsed)
	if p.extra != "" {
		line += " · " + p.extra
	}
	if p.live {
		_, _ = fmt.Fprint(p.a.Err, "\r"+ansi.EraseLineRight+ansi.Truncate(line, 78, "…"))
		p.drawn = true
		return
	}
	if elapsed >= p.nextLine {
		p.a.say("%s", line)
		p.nextLine += plainProgressEvery
	}
}

// done clears the line.
func (p *progress) done() {
	if p.drawn {
		_, _ = fmt.Fprint(p.a.Err, "\r"+ansi.EraseLineRight)
	}
}
