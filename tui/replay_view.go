package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/jit-access/jit/replay"
)

// sideBySide is the width from which list and detail stand beside each other.
const sideBySide = 110

// View implements tea.Model.
func (m *player) View() tea.View {
	v := tea.NewView(m.render())
	v.AltScreen = true
	v.WindowTitle = "jit replay " + oneLine(m.session.ID)
	return v
}

// The lines around the body: title, time bar, status, rule; notice and keys.
const playerFrame = 6

func (m *player) bodyHeight() int { return max(m.height-playerFrame, 1) }
func (m *player) wide() bool      { return m.width >= sideBySide }

func (m *player) listHeight() int {
	if m.wide() {
		return m.bodyHeight()
	}
	return max(m.bodyHeight()*2/5, 1)
}

func (m *player) listWidth() int {
	if m.wide() {
		return m.width * 2 / 5
	}
	return m.width
}

func (m *player) detailHeight() int {
	switch {
	case m.whole:
		return m.bodyHeight()
	case m.wide():
		return m.bodyHeight() - m.terminalHeight()
	}
	return max(m.bodyHeight()-m.listHeight()-1, 1) // and the rule between them
}

func (m *player) detailWidth() int {
	if m.wide() && !m.whole {
		return m.width - m.listWidth() - 3
	}
	return m.width
}

// render draws exactly height lines of at most width cells.
func (m *player) render() string {
	if m.width < minWidth || m.height < minHeight {
		return fmt.Sprintf("The terminal is too small: %d×%d is needed.", minWidth, minHeight)
	}
	lines := []string{m.titleLine(), m.barLine(), m.statusLine(), m.rule()}
	switch {
	case m.help:
		lines = append(lines, fill(m.helpLines(), m.bodyHeight())...)
	case m.whole:
		lines = append(lines, m.detailPane()...)
	case m.wide():
		list, detail := m.listPane(), append(m.detailPane(), m.terminalPane(m.detailWidth(), m.terminalHeight())...)
		bar := m.style.dim.Render(" │ ")
		for i := range list {
			lines = append(lines, pad(list[i], m.listWidth())+bar+detail[i])
		}
	case m.pane.open: // too narrow for both
		lines = append(lines, m.listPane()...)
		lines = append(lines, m.terminalPane(m.width, m.detailHeight()+1)...)
	default:
		lines = append(lines, m.listPane()...)
		lines = append(lines, m.rule())
		lines = append(lines, m.detailPane()...)
	}
	lines = append(lines, m.noticeLine(), m.keysLine())
	for i := range lines {
		lines[i] = strings.TrimRight(fit(lines[i], m.width), " ")
	}
	return strings.Join(lines, "\n")
}

func (m *player) rule() string { return m.style.dim.Render(strings.Repeat("─", m.width)) }

func (m *player) titleLine() string {
	left := m.style.title.Render("jit replay") + "  " + oneLine(strings.TrimSpace(m.session.Email+"  "+m.session.Connection)) +
		m.style.dim.Render("  "+oneLine(m.session.ID))
	r := m.report
	proof := m.style.good.Render("sealed, witnessed")
	switch {
	case m.broken != nil:
		proof = m.style.bad.Render("NOT WHAT WAS RECORDED")
	case m.follow && !r.Sealed:
		proof = m.style.warn.Render("running")
	case !r.Sealed:
		proof = m.style.warn.Render("not sealed")
	case r.Recovered:
		proof = m.style.warn.Render("sealed after a crash")
	case r.Unwitnessed > 0:
		proof = m.style.warn.Render("sealed, not witnessed")
	case !r.Trusted:
		proof = m.style.warn.Render("sealed, by a witness not known here")
	}
	return spread(left, proof, m.width)
}

func (m *player) barLine() string {
	marks, cursor := m.bar(m.width - 2)
	glyphs := []rune(barMarks)
	tones := [...]lipgloss.Style{m.style.dim, m.style.good, m.style.warn, m.style.bad}
	var b strings.Builder
	b.WriteString(m.style.dim.Render("["))
	for i, k := range marks {
		s := tones[k]
		g := string(glyphs[k])
		if i == cursor {
			s = m.style.selected
			if k == 0 {
				g = "|"
			}
		}
		b.WriteString(s.Render(g))
	}
	b.WriteString(m.style.dim.Render("]"))
	return b.String()
}

func (m *player) statusLine() string {
	from, length := m.span()
	state := "paused"
	switch {
	case m.playing:
		state = "playing"
	case m.follow && m.report.Sealed:
		state = "ended"
	case m.follow:
		state = "following"
	}
	left := fmt.Sprintf("%s  %s of %s  %s %g×", m.now.UTC().Format("15:04:05"), replay.Elapsed(m.now.Sub(from)),
		replay.Elapsed(length), state, speeds[m.speed])
	if limit := idles[m.idle]; limit > 0 {
		left += fmt.Sprintf("  idle ≤ %gs", limit.Seconds())
	}
	if len(m.filter.Only) > 0 {
		left += "  only " + strings.Join(m.filter.Only, ", ")
	}
	if m.query != "" {
		left += fmt.Sprintf("  %d with %q", len(m.found), oneLine(m.query))
	}
	right := fmt.Sprintf("%d statements", m.index.Statements)
	if !m.complete() {
		right = "reading… " + right
	}
	return spread(left, right, m.width)
}

func (m *player) listPane() []string {
	var lines []string
	for i := m.top; i < len(m.rows) && len(lines) < m.listHeight(); i++ {
		lines = append(lines, m.rowLine(i))
	}
	if len(m.rows) == 0 && m.complete() {
		lines = append(lines, "  Nothing here. Press f to show everything.")
	}
	return fill(lines, m.listHeight())
}

func (m *player) rowLine(i int) string {
	at := m.rows[i]
	e := m.index.Entries[at]
	mark := "  "
	if contains(m.found, at) {
		mark = "* "
	}
	when := e.At.UTC().Format("15:04:05")
	text := fmt.Sprintf("%s  %s", when, m.style.dim.Render("· "+e.Title))
	if i == m.cursor {
		text = fmt.Sprintf("%s  · %s", when, e.Title)
	}
	if e.Statement() {
		verdict, how := m.verdict(e)
		if i != m.cursor {
			verdict = m.tone(e).Render(verdict)
		}
		text = fmt.Sprintf("%s  %s %s %s", when, verdict, pad(how, 9), e.Title)
		if e.Truncated {
			text += "…"
		}
	}
	if i == m.cursor {
		return m.style.selected.Render(pad("> "+text, m.listWidth()))
	}
	return fit(mark+text, m.listWidth())
}

// verdict is what was ruled and how it went, each in one word of fixed width.
func (m *player) verdict(e replay.Entry) (verdict, how string) {
	glyph := string([]rune(barMarks)[barMark(true, e.Held(), e.Verdict == "deny")])
	how = e.Outcome.String()
	if e.Decision != "" && e.Outcome != replay.OutcomeFailed && e.Outcome != replay.OutcomeAborted {
		how = e.Decision
	} else if e.Masked {
		how = "masked"
	}
	return glyph + " " + pad(e.Verdict, 5), how
}

func (m *player) tone(e replay.Entry) lipgloss.Style {
	switch {
	case e.Denied():
		return m.style.bad
	case e.Held():
		return m.style.warn
	}
	return m.style.good
}

// contains is slices.Contains for sorted positions of a long list.
func contains(sorted []int, x int) bool {
	lo, hi := 0, len(sorted)
	for lo < hi {
		mid := (lo + hi) / 2
		switch {
		case sorted[mid] == x:
			return true
		case sorted[mid] < x:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return false
}

func (m *player) noticeLine() string {
	switch {
	case m.typing != nil:
		return m.style.key.Render("search ") + m.typing.view(m.style, m.width-7)
	case m.broken != nil:
		return m.style.bad.Render(oneLine(m.broken.Error()))
	case m.busy:
		return "searching…"
	}
	return m.style.warn.Render(oneLine(m.notice))
}

func (m *player) keysLine() string {
	keys := "space play  ←→ statement  ↑↓ row  f held/denied  / search  ? help  q quit"
	if m.typing != nil {
		keys = "enter search  esc cancel   table: column: verdict: rule: outcome: who:"
	}
	return m.style.dim.Render(keys)
}

func (m *player) helpLines() []string {
	rows := [][2]string{
		{"space", "play and pause"},
		{"+ -", "faster, slower"},
		{"i", "the longest pause that is played: 2s, 5s, any, 0.5s"},
		{"→ l  ← h", "next and previous statement"},
		{"↓ j  ↑ k", "next and previous row"},
		{"g  G", "first and last row"},
		{"f", "only held and denied statements, or everything"},
		{"t", "the terminal, if one was recorded, or the statement alone"},
		{"/  n  N", "search; next and previous match"},
		{"enter", "detail on the whole screen, and back"},
		{"PgDn PgUp", "scroll the detail"},
		{"esc", "leave the detail, forget the search"},
		{"q", "quit"},
		{"", ""},
		{"marks", "+ allowed   ? held   x denied   · something else"},
		{"search", "words, and table: column: verdict: rule: outcome: who:"},
	}
	var lines []string
	for _, r := range rows {
		lines = append(lines, "  "+m.style.key.Render(pad(r[0], 11))+r[1])
	}
	return lines
}
