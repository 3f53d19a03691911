package tui

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/jit-access/jit/session"
)

// The smallest terminal the screen makes sense on.
const minWidth, minHeight = 40, 10

// frameLines are the lines around the body: title, rule, notice, keys.
const frameLines = 4

// View implements tea.Model.
func (m *review) View() tea.View {
	v := tea.NewView(m.render())
	v.AltScreen = true
	if m.mouse {
		v.MouseMode = tea.MouseModeCellMotion
	}
	v.WindowTitle = "jit review"
	if n := len(m.requests); n > 0 {
		v.WindowTitle = fmt.Sprintf("jit review (%d)", n)
	}
	return v
}

func (m *review) bodyHeight() int { return max(m.height-frameLines, 1) }

// render draws exactly height lines of at most width cells.
func (m *review) render() string {
	if m.width < minWidth || m.height < minHeight {
		return fmt.Sprintf("The terminal is too small: %d×%d is needed.", minWidth, minHeight)
	}
	var body []string
	switch {
	case m.help:
		body = m.helpLines()
	case m.palette != nil:
		body = m.paletteLines()
	case m.question != nil:
		body = m.questionLines()
	case m.detail && m.index() >= 0:
		lines := m.openLines()
		body = lines[min(m.scroll, len(lines)):]
	default:
		body = m.listLines()
	}
	lines := append([]string{m.titleLine(), m.ruleLine(len(body) > m.bodyHeight())}, fill(body, m.bodyHeight())...)
	lines = append(lines, m.noticeLine(), m.keysLine())
	for i := range lines {
		lines[i] = fit(lines[i], m.width)
	}
	return strings.Join(lines, "\n")
}

// fill cuts or fills lines to exactly n.
func fill(lines []string, n int) []string {
	if len(lines) > n {
		return lines[:n]
	}
	return append(append([]string{}, lines...), make([]string, n-len(lines))...)
}

// openLines are all lines of the row that is open.
func (m *review) openLines() []string {
	if s, ok := m.currentSession(); ok {
		return m.sessionLines(s)
	}
	if req, ok := m.current(); ok {
		return m.detailLines(req)
	}
	return nil
}

// ruleLine names the tabs, and says when the body goes on below the screen.
func (m *review) ruleLine(more bool) string {
	right := ""
	if more {
		right = m.style.warn.Render(" more below ")
	}
	left := fit(m.tabsLine(), m.width-ansi.StringWidth(right))
	gap := max(m.width-ansi.StringWidth(left)-ansi.StringWidth(right), 0)
	return left + m.style.dim.Render(strings.Repeat("─", gap)) + right
}

func (m *review) titleLine() string {
	left := m.style.title.Render("jit review") + "  "
	switch {
	case !m.loaded:
		left += "loading…"
	case len(m.requests) == 0:
		left += "nothing waits"
	case len(m.requests) == 1:
		left += "1 request waits"
	default:
		left += fmt.Sprintf("%d requests wait", len(m.requests))
	}
	if m.readOnly {
		left += m.style.warn.Render("  read-only")
	}
	return spread(left+m.style.dim.Render("  "+oneLine(m.viewer.Display())), m.liveness(), m.width)
}

// liveness says how fresh the queue is.
func (m *review) liveness() string {
	switch {
	case m.ended:
		return m.style.bad.Render("× access ended")
	case m.lost != nil:
		return m.style.warn.Render("○ reconnecting")
	case !m.loaded:
		return m.style.dim.Render("○ connecting")
	case m.events == nil || !m.rewatchAt.IsZero():
		return m.style.warn.Render("○ polling")
	}
	return m.style.good.Render("● live")
}

func (m *review) noticeLine() string {
	switch {
	case len(m.outbox) > 0:
		return m.style.warn.Render(m.notice())
	case m.flash != "":
		return m.style.warn.Render(m.flash)
	case !m.filter.empty():
		return m.style.warn.Render("Only: " + oneLine(m.filter.text) + "  (esc: everything)")
	case m.lost != nil:
		return m.style.warn.Render(oneLine("No fresh answer: " + m.lost.Error()))
	}
	return ""
}

func (m *review) keysLine() string {
	if m.typing != nil {
		const hint = "  who: table: kind: risk:"
		return m.style.key.Render("/") + m.typing.view(m.style, max(m.width-len(hint)-2, 10)) + m.style.dim.Render(hint)
	}
	keys := []string{"↑↓", "move", "enter", "read", "tab", "lists", "/", "filter", ":", "actions", "?", "help", "q", "leave"}
	switch {
	case m.palette != nil:
		keys = []string{"↑↓", "move", "enter", "press its key", "esc", "back"}
	case m.help:
		keys = []string{"any key", "back"}
	case m.question != nil && m.question.confirm:
		keys = []string{"y", "yes", "enter", "no", "b", "back"}
	case m.question != nil && m.question.canKeep:
		keys = []string{"tab", "scope", "ctrl+t", "masks", "enter", "go on", "esc", "cancel"}
	case m.question != nil && len(m.question.reuses) > 1:
		keys = []string{"tab", "scope", "enter", "go on", "esc", "cancel"}
	case m.question != nil:
		keys = []string{"enter", "go on", "esc", "cancel"}
	case m.detail && m.tab == tabSessions:
		keys = []string{"x", "end it", "↑↓", "scroll", "esc", "back", "?", "help"}
	case m.detail && (m.readOnly || m.tab != tabQueue):
		keys = []string{"↑↓", "scroll", "n/p", "next/previous", "esc", "back", "?", "help"}
	case m.detail:
		keys = []string{"a", "approve", "d", "deny", "↑↓", "scroll", "n/p", "next/previous", "esc", "back", "?", "more"}
	}
	var b strings.Builder
	for i := 0; i+1 < len(keys); i += 2 {
		if i > 0 {
			b.WriteString("  ")
		}
		b.WriteString(m.style.key.Render(keys[i]) + " " + m.style.dim.Render(keys[i+1]))
	}
	return b.String()
}

// listHeadLines are the lines above the first row: title, tabs, column heads.
const listHeadLines = 3

// The list's columns, in cells; the last takes the rest.
const (
	markColumn = 2
	riskColumn = 10
	timeColumn = 7
)

func whoColumn(width int) int { return max(width*3/10, 14) }

func (m *review) listLines() []string {
	if !m.loaded {
		if m.lost != nil {
			return []string{"", "  " + oneLine(m.lost.Error())}
		}
		return nil
	}
	n := len(m.ids())
	if n == 0 {
		return []string{"", "  " + m.emptyWords()}
	}
	first, fourth := "RISK", "LEFT"
	if m.tab == tabSessions {
		first = "STATE"
	} else if m.tab != tabQueue {
		fourth = "STATE"
	}
	head := pad("", markColumn) + pad(first, riskColumn) + pad("AGE", timeColumn) + pad(fourth, m.fourthColumn()) + pad("WHO → AGENT", whoColumn(m.width)) + " WHAT"
	lines := []string{m.style.heading.Render(head)}
	rows := m.bodyHeight() - 1
	at := max(m.index(), 0)
	m.top = min(max(m.top, at-rows+1), at)
	requests, sessions := m.visible(), m.visibleSessions()
	for i := m.top; i < n && len(lines) <= rows; i++ {
		if m.tab == tabSessions {
			lines = append(lines, m.sessionRow(sessions[i], i == at))
		} else {
			lines = append(lines, m.row(requests[i], i == at))
		}
	}
	return lines
}

// emptyWords says why there is nothing to see.
func (m *review) emptyWords() string {
	switch {
	case !m.filter.empty():
		return "Nothing here matches the filter; esc shows everything."
	case m.tab != tabQueue && !m.shelves[m.tab].loaded:
		return "loading…"
	}
	return [...]string{
		tabQueue:    "Nothing waits. New requests appear here by themselves.",
		tabMine:     "You have asked for nothing.",
		tabSessions: "No session is open.",
		tabDecided:  "Nothing was decided yet.",
	}[m.tab]
}

// stateColumn holds the longest state.
const stateColumn = 11

func (m *review) fourthColumn() int {
	if m.tab == tabMine || m.tab == tabDecided {
		return stateColumn
	}
	return timeColumn
}

func (m *review) row(req session.Request, selected bool) string {
	mark := " "
	if selected {
		mark = ">"
	}
	if m.isMarked(req) {
		mark += "*"
	} else {
		mark += " "
	}
	now := m.clock()
	r := riskOf(req)
	left := pad(span(req.ExpiresAt.Sub(now)), timeColumn)
	switch {
	case m.tab != tabQueue:
		left = pad(req.State.String(), stateColumn)
	case !selected && req.ExpiresAt.Sub(now) < time.Minute:
		left = m.style.bad.Render(left)
	}
	who := whoOf
	if m.width < 100 {
		who = shortWho
	}
	tail := pad(span(now.Sub(req.CreatedAt)), timeColumn) + left +
		pad(who(req), whoColumn(m.width)) + " " + m.whatOf(req)
	grade := pad(r.glyph()+" "+r.word(), riskColumn)
	if selected {
		return m.style.selected.Render(pad(mark+grade+tail, m.width))
	}
	return mark + r.style(m.style).Render(grade) + tail
}

func whoOf(req session.Request) string {
	return oneLine(req.Principal.Display()) + " → " + agentOf(req.Agent)
}

// shortWho leaves the domain of an e-mail address to the detail, so that a
// narrow list still shows the agent.
func shortWho(req session.Request) string {
	name, _, _ := strings.Cut(req.Principal.Display(), "@")
	return oneLine(name) + " → " + agentOf(req.Agent)
}

func agentOf(a session.Agent) string {
	if len(a.Command) == 0 {
		return "?"
	}
	return oneLine(strings.Join(a.Command, " "))
}

// whatOf says in one line what is asked for.
func (m *review) whatOf(req session.Request) string {
	var note string
	switch {
	case req.Emergency:
		note = "EMERGENCY "
	case req.Principal.ID() == m.viewer.ID():
		note = "(yours) "
	case m.waiting(req.ID):
		note = "(deciding) "
	case req.Approvals > 1:
		note = fmt.Sprintf("(%d of %d) ", approvals(req), req.Approvals)
	}
	switch req.Kind {
	case session.RequestSession:
		return note + "session: " + scopeWords(req.Scope)
	case session.RequestExtension:
		return note + span(req.Scope.TTL) + " more for session " + oneLine(req.Case.SessionID)
	}
	return note + oneLine(req.Case.Canonical)
}

func approvals(req session.Request) int {
	n := 0
	for _, d := range req.Decisions {
		if d.Outcome == session.OutcomeApprove {
			n++
		}
	}
	return n
}

func scopeWords(s session.Scope) string {
	words := oneLine(s.Connection)
	if s.Role != "" {
		words += " as " + oneLine(s.Role)
	}
	if s.TTL > 0 {
		words += " for " + span(s.TTL)
	}
	return words
}

// span writes a duration in one or two units; what is over is "0s".
func span(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		if s := int(d.Seconds()) % 60; s > 0 && d < 10*time.Minute {
			return fmt.Sprintf("%dm%02ds", int(d.Minutes()), s)
		}
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		if mins := int(d.Minutes()) % 60; mins > 0 {
			return fmt.Sprintf("%dh%02dm", int(d.Hours()), mins)
		}
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

func (m *review) helpLines() []string {
	return []string{
		"",
		m.style.strong.Render("  In a list"),
		"    ↑ ↓ k j      move                     enter   read it",
		"    tab 1 2 3 4  queue, mine, sessions, decided",
		"    /            filter: words, who:alice table:orders kind:drop risk:high",
		"    m            mark what you have read  A       approve what is marked",
		"    : r q        actions by name, load again, leave",
		"",
		m.style.strong.Render("  In a request"),
		"    ↑ ↓ space    scroll                   n p     next, previous",
		"    a d          approve, deny: scope, reason, then y",
		"    u            undo, within 5 s         c       comment",
		"    x            end the session          esc     back to the list",
		"",
		m.style.strong.Render("  Good to know"),
		"    Enter never decides. A decision is sent 5 s after the yes; u takes it back.",
		"    What changes under the cursor, or was not read to its end, cannot be",
		"    approved. What you asked for yourself, somebody else must decide.",
		"    Characters that could act on the terminal are shown as their escapes.",
	}
}
