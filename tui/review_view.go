package tui

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

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
	switch req, ok := m.current(); {
	case m.help:
		body = m.helpLines()
	case m.question != nil && ok:
		body = m.questionLines(req)
	case m.detail && ok:
		lines := m.detailLines(req)
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

// ruleLine says when the body goes on below the screen.
func (m *review) ruleLine(more bool) string {
	const marker = " more below "
	if !more {
		return m.style.dim.Render(strings.Repeat("─", m.width))
	}
	return m.style.dim.Render(strings.Repeat("─", m.width-len(marker)-2)) + m.style.warn.Render(marker) + m.style.dim.Render("──")
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
	case m.lost != nil:
		return m.style.warn.Render(oneLine("No fresh answer: " + m.lost.Error()))
	}
	return ""
}

func (m *review) keysLine() string {
	keys := []string{"↑↓", "move", "enter", "read", "?", "help", "q", "leave"}
	switch {
	case m.help:
		keys = []string{"any key", "back"}
	case m.question != nil && m.question.confirm:
		keys = []string{"y", "yes", "enter", "no", "b", "back"}
	case m.question != nil && len(m.question.reuses) > 1:
		keys = []string{"tab", "scope", "enter", "go on", "esc", "cancel"}
	case m.question != nil:
		keys = []string{"enter", "go on", "esc", "cancel"}
	case m.detail && m.readOnly:
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
	if len(m.requests) == 0 {
		return []string{"", "  Nothing waits. New requests appear here by themselves."}
	}
	who := whoColumn(m.width)
	head := pad("", markColumn) + pad("RISK", riskColumn) + pad("AGE", timeColumn) + pad("LEFT", timeColumn) + pad("WHO → AGENT", who) + " WHAT"
	lines := []string{m.style.heading.Render(head)}
	rows := m.bodyHeight() - 1
	at := max(m.index(), 0)
	m.top = min(max(m.top, at-rows+1), at)
	for i := m.top; i < len(m.requests) && len(lines) <= rows; i++ {
		lines = append(lines, m.row(m.requests[i], i == at))
	}
	return lines
}

func (m *review) row(req session.Request, selected bool) string {
	mark := "  "
	if selected {
		mark = "> "
	}
	now := m.clock()
	r := riskOf(req)
	left := pad(span(req.ExpiresAt.Sub(now)), timeColumn)
	if !selected && req.ExpiresAt.Sub(now) < time.Minute {
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
		return note + "more time: " + scopeWords(req.Scope)
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
		m.style.strong.Render("  In the queue"),
		"    ↑ ↓ k j      move                     enter   read the request",
		"    r            load again               q       leave",
		"",
		m.style.strong.Render("  In a request"),
		"    ↑ ↓ space    scroll                   n p     next, previous",
		"    a            approve: reason, scope, then y",
		"    d            deny: reason, then y",
		"    u            undo, within 5 s         esc     back to the queue",
		"    x            end the session that runs the statement",
		"",
		m.style.strong.Render("  Good to know"),
		"    Enter never decides. A decision is sent 5 s after the yes; u takes it back.",
		"    A request that changes under the cursor cannot be decided for a second.",
		"    What you asked for yourself, somebody else must decide.",
		"    Characters that could act on the terminal are shown as their escapes.",
	}
}
