// Package tui draws jit's full-screen views: the review queue and the replay of
// a recording.
//
// Invariants:
//
//  1. Update does no I/O and never blocks: all of it happens in commands.
//  2. Text that an agent, a requester or a reviewer wrote is drawn only through
//     sanitize: no escape sequence, control, bidi or zero-width character of
//     theirs reaches the terminal.
//  3. Nothing is decided by Enter; every question's default is No.
//  4. Colour repeats what a word and a glyph already say.
package tui

import (
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// style is the look all screens share. The sixteen ANSI colours follow the
// terminal's own theme, light or dark. The zero value draws plain text.
type style struct {
	title    lipgloss.Style // screen titles
	heading  lipgloss.Style // sections and column heads
	dim      lipgloss.Style // what is read last
	strong   lipgloss.Style
	good     lipgloss.Style
	warn     lipgloss.Style
	bad      lipgloss.Style
	selected lipgloss.Style // the row under the cursor
	key      lipgloss.Style // a key in the help line
}

// newStyle returns the look of a terminal. What the terminal or NO_COLOR rules
// out is left away when the view is written.
func newStyle() style {
	base := lipgloss.NewStyle()
	return style{
		title:    base.Bold(true),
		heading:  base.Foreground(lipgloss.BrightBlack).Bold(true),
		dim:      base.Foreground(lipgloss.BrightBlack),
		strong:   base.Bold(true),
		good:     base.Foreground(lipgloss.Green),
		warn:     base.Foreground(lipgloss.Yellow),
		bad:      base.Foreground(lipgloss.Red).Bold(true),
		selected: base.Reverse(true),
		key:      base.Foreground(lipgloss.Cyan),
	}
}

// fit cuts s, which may be styled, to width cells.
func fit(s string, width int) string {
	if width <= 0 {
		return ""
	}
	return ansi.Truncate(s, width, "…")
}

// pad cuts or fills s to exactly width cells.
func pad(s string, width int) string {
	s = fit(s, width)
	if gap := width - ansi.StringWidth(s); gap > 0 {
		s += strings.Repeat(" ", gap)
	}
	return s
}

// spread puts left and right at the two ends of a line; left gives way.
func spread(left, right string, width int) string {
	right = fit(right, width)
	gap := width - ansi.StringWidth(right)
	if gap <= 1 {
		return right
	}
	return pad(left, gap-1) + " " + right
}

// oneLine sanitises text for a single line: line ends become spaces.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' || r == '\t' }), " ")
	return sanitize(s)
}

// textLines sanitises text of several lines and wraps it to width cells.
// Line ends are the author's; everything else a terminal could act on is shown.
func textLines(s string, width int) []string {
	if s == "" || width <= 0 {
		return nil
	}
	var out []string
	for line := range strings.SplitSeq(strings.ReplaceAll(s, "\r\n", "\n"), "\n") {
		line = sanitize(strings.ReplaceAll(line, "\t", "    "))
		out = append(out, strings.Split(ansi.Hardwrap(line, width, true), "\n")...)
	}
	return out
}
