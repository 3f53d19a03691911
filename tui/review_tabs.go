package tui

import (
	"cmp"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/jit-access/jit/session"
)

// tab is one of the lists the review screen shows. The zero value is the queue,
// the only one in which something is decided.
type tab uint8

const (
	tabQueue    tab = iota
	tabMine         // what the viewer asked for
	tabSessions     // sessions that are open
	tabDecided      // what no longer waits
	tabCount
)

func (t tab) title() string {
	return [...]string{"queue", "mine", "sessions", "decided"}[t]
}

// place is where the viewer stands in a tab.
type place struct {
	cursor string // a request's or a session's id: the cursor follows it, not a position
	top    int    // first row drawn
}

// shelf is what a tab other than the queue shows.
type shelf struct {
	loaded   bool
	requests []session.Request
	sessions []session.Session
}

// shelfMsg answers a load of one tab's list.
type shelfMsg struct {
	tab   tab
	shelf shelf
	err   error
}

// switchTo shows another tab and asks for what it shows.
func (m *review) switchTo(t tab) tea.Cmd {
	if t == m.tab {
		return nil
	}
	m.places[m.tab] = place{m.cursor, m.top}
	m.tab = t
	m.cursor, m.top = m.places[t].cursor, m.places[t].top
	m.close()
	m.settleCursor(-1)
	m.changedAt = m.clock() // whatever lay under the cursor may have changed meanwhile
	return m.loadShelf()
}

// loadShelf asks for the list of the tab that is shown.
func (m *review) loadShelf() tea.Cmd {
	if m.tab == tabQueue {
		return nil
	}
	return m.io.shelf(m.tab)
}

func (m *review) onShelf(msg shelfMsg) tea.Cmd {
	if msg.err != nil {
		m.say("%s: %s", msg.tab.title(), oneLine(msg.err.Error()))
		return nil
	}
	at := m.index()
	s := msg.shelf
	s.loaded = true
	if msg.tab == tabDecided {
		s.requests = slices.DeleteFunc(s.requests, func(r session.Request) bool { return r.State == session.StatePending })
	}
	s.sessions = slices.DeleteFunc(s.sessions, func(x session.Session) bool { return x.Phase != session.PhaseOpen })
	slices.SortStableFunc(s.requests, func(a, b session.Request) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	slices.SortStableFunc(s.sessions, func(a, b session.Session) int { return cmp.Or(b.OpenedAt.Compare(a.OpenedAt), cmp.Compare(a.ID, b.ID)) })
	m.shelves[msg.tab] = s
	if msg.tab == m.tab {
		m.settleCursor(at)
	}
	return nil
}

// settleCursor puts a cursor whose row is gone on the row that took its place.
func (m *review) settleCursor(at int) {
	ids := m.ids()
	if len(ids) == 0 || slices.Contains(ids, m.cursor) {
		return
	}
	m.cursor = ids[min(max(at, 0), len(ids)-1)]
	m.changedAt = m.clock()
	m.close()
}

// close goes back from the open row to the list.
func (m *review) close() {
	m.detail, m.scroll, m.seen, m.question = false, 0, 0, nil
}

// visible are the requests the tab shows, after the filter.
func (m *review) visible() []session.Request {
	all := m.requests
	if m.tab != tabQueue {
		all = m.shelves[m.tab].requests
	}
	if m.filter.empty() {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(r session.Request) bool { return !m.filter.matches(r) })
}

// visibleSessions are the sessions the tab shows, after the filter.
func (m *review) visibleSessions() []session.Session {
	if m.tab != tabSessions {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(m.shelves[tabSessions].sessions), func(s session.Session) bool { return !m.filter.matchesSession(s) })
}

// ids are those of the rows in view.
func (m *review) ids() []string {
	var out []string
	for _, s := range m.visibleSessions() {
		out = append(out, s.ID)
	}
	if m.tab == tabSessions {
		return out
	}
	for _, r := range m.visible() {
		out = append(out, r.ID)
	}
	return out
}

// tabsLine names the tabs, that in view between brackets.
func (m *review) tabsLine() string {
	parts := make([]string, tabCount)
	for t := range tabCount {
		name := string('1'+rune(t)) + " " + t.title()
		if t == m.tab {
			parts[t] = m.style.strong.Render("[" + name + "]")
		} else {
			parts[t] = m.style.dim.Render(" " + name + " ")
		}
	}
	return strings.Join(parts, "")
}
