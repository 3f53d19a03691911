package tui

import (
	tea "charm.land/bubbletea/v2"

	"github.com/jit-access/jit/replay"
)

// onKey acts on a key. Nothing a viewer presses changes the recording.
func (m *player) onKey(k tea.KeyPressMsg) tea.Cmd {
	m.notice = ""
	if k.String() == "ctrl+c" {
		return tea.Quit
	}
	if m.typing != nil {
		return m.onTyping(k)
	}
	if m.help {
		m.help = false
		return nil
	}
	switch k.String() {
	case "q":
		return tea.Quit
	case "?":
		m.help = true
	case "esc":
		m.whole, m.query, m.found = false, "", nil
	case "enter":
		m.whole, m.scroll = !m.whole, 0
	case "/":
		m.pause()
		m.typing = &input{limit: 200}
	case "f":
		return m.toggleFilter()
	case "t":
		return m.toggleTerminal()
	default:
		return m.onMove(k.String())
	}
	return nil
}

// onMove acts on the keys that move: in the list, the detail and in time.
func (m *player) onMove(key string) tea.Cmd {
	switch key {
	case "space":
		return m.togglePlay()
	case "+", "=":
		m.speed = min(m.speed+1, len(speeds)-1)
		return nil
	case "-":
		m.speed = max(m.speed-1, 0)
		return nil
	case "i":
		m.idle = (m.idle + 1) % len(idles)
		return nil
	case "pgdown", "ctrl+d", "J":
		m.scrollBy(m.detailHeight() - 1)
		return nil
	case "pgup", "ctrl+u", "K":
		m.scrollBy(1 - m.detailHeight())
		return nil
	}
	m.pause() // whoever looks around wants to stay there
	switch key {
	case "down", "j":
		return m.step(1)
	case "up", "k":
		return m.step(-1)
	case "right", "l":
		return m.stepStatement(1)
	case "left", "h":
		return m.stepStatement(-1)
	case "home", "g":
		return m.step(-len(m.rows))
	case "end", "G":
		return m.step(len(m.rows))
	case "n":
		return m.match(1)
	case "N":
		return m.match(-1)
	}
	return nil
}

func (m *player) onTyping(k tea.KeyPressMsg) tea.Cmd {
	switch k.String() {
	case "esc":
		m.typing = nil
	case "enter":
		return m.startSearch()
	default:
		m.typing.edit(k)
	}
	return nil
}

// toggleFilter shows only what was held or denied, or everything.
func (m *player) toggleFilter() tea.Cmd {
	if len(m.filter.Only) > 0 {
		m.setFilter(replay.Filter{})
	} else {
		m.setFilter(replay.Filter{Only: []string{"held", "denied"}})
	}
	return m.step(0)
}

// scrollBy scrolls the detail, within its lines.
func (m *player) scrollBy(by int) {
	m.scroll = max(0, min(m.scroll+by, len(m.detailLines(m.detailWidth()))-m.detailHeight()))
}
