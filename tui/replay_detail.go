package tui

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"

	"github.com/jit-access/jit/replay"
)

const labelWidth = 12

// detailPane draws the entry under the cursor, scrolled.
func (m *player) detailPane() []string {
	lines := m.detailLines(m.detailWidth())
	h := m.detailHeight()
	from := max(0, min(m.scroll, len(lines)-h))
	rest := len(lines) - from - h
	lines = fill(lines[from:], h)
	if rest > 0 {
		lines[h-1] = m.style.dim.Render(fmt.Sprintf("… %d more lines: PgDn, or Enter for the whole screen", rest+1))
	}
	return lines
}

// detailLines is all of the detail: the statement as it was sent, then what is
// known about it.
func (m *player) detailLines(width int) []string {
	at, ok := m.current()
	if !ok {
		return nil
	}
	if m.shown != at {
		return []string{m.style.dim.Render("reading…")}
	}
	d := m.detail
	e := d.Entry
	if !e.Statement() {
		lines := []string{m.style.strong.Render(e.Title)}
		return append(lines, m.factLines(d.Facts(), width)...)
	}
	head := fmt.Sprintf("#%d  %s, %s", e.Number, strings.ToUpper(e.Verdict), e.Summary())
	lines := []string{spread(m.tone(e).Render(head), e.At.UTC().Format("2006-01-02 15:04:05.000"), width)}
	for _, l := range m.sqlLines(d.SQL(), width-2) {
		lines = append(lines, "  "+l)
	}
	lines = append(lines, "")
	return append(lines, m.factLines(d.Facts(), width)...)
}

func (m *player) factLines(facts []replay.Fact, width int) []string {
	tones := [...]lipgloss.Style{
		replay.ToneNormal: lipgloss.NewStyle(), replay.ToneGood: m.style.good, replay.ToneWarn: m.style.warn,
		replay.ToneBad: m.style.bad, replay.ToneDim: m.style.dim,
	}
	var lines []string
	for _, f := range facts {
		label := f.Label
		for _, l := range textLines(f.Text, max(width-labelWidth-1, 1)) {
			lines = append(lines, m.style.dim.Render(pad(label, labelWidth))+" "+tones[f.Tone].Render(l))
			label = ""
		}
	}
	return lines
}
