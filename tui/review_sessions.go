package tui

import (
	"fmt"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/jit-access/jit/session"
)

// currentSession is the session under the cursor of the sessions tab.
func (m *review) currentSession() (session.Session, bool) {
	list := m.visibleSessions()
	if i := slices.IndexFunc(list, func(s session.Session) bool { return s.ID == m.cursor }); i >= 0 {
		return list[i], true
	}
	return session.Session{}, false
}

// sessionRow is one line of the list of open sessions.
func (m *review) sessionRow(s session.Session, selected bool) string {
	mark := "  "
	if selected {
		mark = "> "
	}
	state := pad("open", riskColumn)
	if s.Emergency {
		state = pad("EMERGENCY", riskColumn)
	}
	now := m.clock()
	tail := pad(span(now.Sub(s.OpenedAt)), timeColumn) + pad(span(s.Deadline.Sub(now)), timeColumn) +
		pad(oneLine(s.Principal.Display())+" → "+agentOf(s.Agent), whoColumn(m.width)) + " " + scopeWords(s.Scope)
	switch {
	case selected:
		return m.style.selected.Render(pad(mark+state+tail, m.width))
	case s.Emergency:
		state = m.style.bad.Render(state)
	}
	return mark + state + tail
}

// sessionLines is everything known about an open session.
func (m *review) sessionLines(s session.Session) []string {
	p := paper{style: m.style, width: m.width}
	now := m.clock()
	p.line(m.style.strong.Render("Session " + oneLine(s.ID)))
	p.line(m.style.dim.Render(fmt.Sprintf("open for %s · ends in %s", span(now.Sub(s.OpenedAt)), span(s.Deadline.Sub(now)))))
	if s.Emergency {
		p.line(m.style.bad.Render("EMERGENCY: it was opened without a reviewer."))
	}
	p.gap()
	p.field("person", s.Principal.Display())
	p.field("agent", agentOf(s.Agent))
	p.field("on", joinNonEmpty(", jit ", s.Agent.Host, s.Agent.Version))
	p.scope(s.Scope)
	if s.FirstUseAt.IsZero() {
		p.field("first use", "not yet: the clock has not started")
	} else {
		p.field("first use", s.FirstUseAt.Local().Format(time.DateTime))
	}
	p.gap()
	p.line(m.style.dim.Render("x ends it now: its statements stop, and its Snowflake sessions are closed."))
	return p.lines
}

// askSession opens the question whether to end the session under the cursor.
func (m *review) askSession(a act) {
	s, ok := m.currentSession()
	switch {
	case !ok:
	case a != actRevoke:
		m.say("A session is not decided on; x ends it.")
	case m.readOnly:
		m.say("Read-only: nothing can be ended here.")
	case !m.canRevoke:
		m.say("Sessions cannot be ended from here.")
	case !m.detail:
		m.detail, m.scroll = true, 0
		m.say("Read it first, then press x again.")
	default:
		m.question = &question{act: actRevoke, session: s.ID, reason: input{limit: maxReason}}
	}
}

// settleSession ends the session that was asked about, if it is still there.
func (m *review) settleSession(q *question) tea.Cmd {
	s, ok := m.currentSession()
	if !ok || s.ID != q.session {
		m.say("That session is no longer open: nothing was done.")
		return nil
	}
	m.say("Ending the session…")
	return m.io.revoke(s.ID, q.trimmed())
}
