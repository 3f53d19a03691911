package tui

import (
	"strings"

	tea "charm.land/bubbletea/v2"
)

// action is one thing that can be done, and its key. Choosing one presses the
// key: the palette can do nothing that the keys cannot, and decides nothing.
type action struct{ name, key string }

var actions = []action{
	{"Approve the open request", "a"},
	{"Approve everything marked", "A"},
	{"Comment on the request", "c"},
	{"Deny the open request", "d"},
	{"End the session that runs it", "x"},
	{"Filter the list", "/"},
	{"Go to the queue", "1"},
	{"Go to what you asked for", "2"},
	{"Go to open sessions", "3"},
	{"Go to what was decided", "4"},
	{"Help", "?"},
	{"Leave", "q"},
	{"Load again", "r"},
	{"Mark for approval with others", "m"},
	{"Next request", "n"},
	{"Previous request", "p"},
	{"Undo what is not sent", "u"},
}

// palette is the list of actions, narrowed by what is typed.
type palette struct {
	typed input
	at    int
}

func (p *palette) found() []action {
	var out []action
	for _, a := range actions {
		if strings.Contains(strings.ToLower(a.name), strings.ToLower(strings.TrimSpace(p.typed.value()))) {
			out = append(out, a)
		}
	}
	return out
}

func (m *review) onPaletteKey(k tea.KeyPressMsg) tea.Cmd {
	p := m.palette
	found := p.found()
	switch k.String() {
	case "esc", "ctrl+p":
		m.palette = nil
	case "up":
		p.at = max(p.at-1, 0)
	case "down":
		p.at = min(p.at+1, max(len(found)-1, 0))
	case "enter":
		m.palette = nil
		if p.at < len(found) {
			return m.press(found[p.at].key)
		}
	default:
		p.typed.edit(k)
		p.at = 0
	}
	return nil
}

func (m *review) paletteLines() []string {
	p := m.palette
	lines := []string{m.style.strong.Render(" > ") + p.typed.view(m.style, max(m.width-4, 10)), ""}
	found := p.found()
	if len(found) == 0 {
		return append(lines, "   Nothing is called that.")
	}
	rows := max(m.bodyHeight()-len(lines), 1)
	top := max(p.at-rows+1, 0)
	for i, a := range found[top:min(len(found), top+rows)] {
		line := "   " + pad(a.name, 36) + a.key
		if top+i == p.at {
			line = m.style.selected.Render(pad(" > "+pad(a.name, 36)+a.key, min(44, m.width)))
		}
		lines = append(lines, line)
	}
	return lines
}
