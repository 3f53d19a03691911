package tui

import (
	"fmt"
	"slices"

	tea "charm.land/bubbletea/v2"

	"github.com/jit-access/jit/session"
)

// alert rings the terminal's bell and asks it for a notification (OSC 9) when
// something new waits for the viewer. The text is jit's own: nothing of what
// was asked goes into it.
func (m *review) alert(before, after []session.Request) tea.Cmd {
	if !m.bell {
		return nil
	}
	n := 0
	for _, r := range after {
		known := slices.ContainsFunc(before, func(b session.Request) bool { return b.ID == r.ID })
		if !known && r.Principal.ID() != m.viewer.ID() {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case 1:
		return tea.Raw("\a\x1b]9;jit: a request waits for review\a")
	}
	return tea.Raw(fmt.Sprintf("\a\x1b]9;jit: %d requests wait for review\a", n))
}
